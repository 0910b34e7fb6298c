"""A space of one's own: a chain of layers whose kernel is asked for only where there is a convolution."""

from archsearch import Evaluation, Space, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.testing import check_space

OPERATIONS = ("stop", "conv", "pool", "skip")
KERNELS = (3, 5, 7)


class Chain(Space):
    """At most ``layers`` layers, until the operation ``stop``. A convolution is followed by its kernel.

    Args:
        layers: Most layers, >= 1.
    """

    def __init__(self, layers: int = 4) -> None:
        super().__init__(max_length=2 * layers, max_options=len(OPERATIONS))
        self.layers = layers

    def arity(self, prefix):
        """The one question that a space has to answer: options of the next decision, 0 if there is none."""
        chain, kernel_is_due = self.read(prefix)
        if kernel_is_due:
            return len(KERNELS)
        ended = len(chain) == self.layers or (chain and chain[-1] == "stop")
        return 0 if ended else len(OPERATIONS)

    def read(self, prefix):
        """The layers so far, such as ``["conv3", "pool"]``, and whether the next decision is a kernel."""
        chain, kernel_is_due = [], False
        for option in prefix:
            if kernel_is_due:
                chain[-1] += str(KERNELS[option])
                kernel_is_due = False
            else:
                chain.append(OPERATIONS[option])
                kernel_is_due = chain[-1] == "conv"
        return chain, kernel_is_due

    def decode(self, architecture):
        """What a function that scores architectures receives."""
        return self.read(architecture)[0]

    def canonical(self, architecture):
        """Layers that do nothing do not tell networks apart."""
        return tuple(layer for layer in self.decode(architecture) if layer not in ("skip", "stop"))


def score(chain):
    """Wide kernels first, small ones later, and no layer that is not needed."""
    kernels = [int(layer[-1]) for layer in chain if layer.startswith("conv")]
    fit = sum(kernel / (place + 1) for place, kernel in enumerate(kernels))
    return Evaluation(fit - 0.8 * sum(kernels) / 3, {"layers": len(chain)})


if __name__ == "__main__":
    check_space(Chain)
    space = Chain()
    forms = {space.canonical(architecture) for architecture in space.enumerate()}
    print(f"{space.size()} encodings, {len(forms)} different networks; the contract suite passes")
    result = search(space, RegularizedEvolution(20, 5), Function(score), trials=150, seed=0, duplicates="reuse")
    best = result.best
    print(f"evaluated {result.completed}, answered {result.reused} repeats from memory ({result.stopped})")
    print(f"best {best.score:.2f}: {' '.join(space.decode(best.architecture))}  encoded as {result.best_name}")
