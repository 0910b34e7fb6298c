"""Networks: one definition that serves stand-alone training and weight sharing alike.

A space that is trainable defines one subclass of ``Network``. Made for an architecture it holds that architecture's
candidates only; made for ``None`` it is the super-network, with every candidate at every choice. Parameters have
the same names in both, so that inheriting weights is picking them by name.

Networks are built without values (``build`` puts them on PyTorch's meta device first) and get them from a generator
of their own: no global generator is read or written.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import nn
from torch.nn import functional

from archsearch.basics.kinds import IMAGES, PIXELS, TABLES, TOKENS, kinds_of
from archsearch.errors import UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

__all__ = ["Choice", "InputShape", "Network", "build", "initialise", "two_to_morph"]

Weights = Mapping[int, "float | torch.Tensor"]
"""Of the candidates of one choice that are mixed: their weights, numbers or tensors of shape ()."""


class InputShape(NamedTuple):
    """What a network must know of a task; a ``Task`` has the same attributes.

    Attributes:
        input_shape: Of one example: channels, height and width of an image; (1,) for a token; (columns,) of a table.
        classes: Number of classes; of tokens, the size of the vocabulary; 1 where a number is predicted.
    """

    input_shape: tuple[int, ...]
    classes: int


EXAMPLES: Mapping[str, InputShape] = {
    IMAGES: InputShape((3, 32, 32), 10),
    TOKENS: InputShape((1,), 10),
    TABLES: InputShape((10,), 3),
    PIXELS: InputShape((3, 32, 32), 4),
}
"""For each kind of network a task that it can be built for, where only its structure is asked for."""


class Choice(nn.ModuleDict):
    """The candidates of one choice, by name; a forward pass computes the one that is asked for.

    Args:
        candidates: Name to a function that makes the candidate.
        only: Make this candidate alone (none, if it has no such name); None makes all.
    """

    def __init__(self, candidates: Mapping[str, Callable[[], nn.Module]], only: str | None = None) -> None:
        super().__init__({name: make() for name, make in candidates.items() if only in (None, name)})

    def forward(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """The output of the candidate called ``name``."""
        output: torch.Tensor = self[name](x)
        return output

    def mixed(
        self,
        x: torch.Tensor,
        weights: Mapping[str, float | torch.Tensor],
        drop: Callable[[str, torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The weighted sum of the candidates that are named, at least one.

        Args:
            x: Shape (batch, channels, height, width).
            weights: Candidate to its weight.
            drop: Drop-path, which is told whose output it is given.
        """
        return self.sum({name: self(x, name) for name in weights}, weights, drop)

    @staticmethod
    def sum(
        outputs: Mapping[str, torch.Tensor],
        weights: Mapping[str, float | torch.Tensor],
        drop: Callable[[str, torch.Tensor], torch.Tensor] | None,
    ) -> torch.Tensor:
        """The weighted sum of the candidates' outputs."""
        return weighted_sum([drop(name, y) if drop else y for name, y in outputs.items()], list(weights.values()))


class Network(nn.Module):
    """Base class of all networks of a space.

    Subclasses write ``forward(images, architecture=None)`` to logits, shape (batch, classes), or (batch, classes,
    height, width) where each pixel is told a class;
    ``self.path(architecture)`` says which architecture to compute. Those that read tokens begin with
    ``RecurrentNetwork``.

    Attributes:
        input_dtype: Type of its inputs.
        architecture: What this network stands for; None: it is a super-network and holds all candidates.
        drop_path: Probability, 0 to 1, with which ``drop`` lets a path fall out in training; 0 for no dropping.
        dropout: Probability, 0 to 1, with which units fall out in training, in networks that have variational dropout.
        generator: Source of randomness of both.
    """

    input_dtype: ClassVar[torch.dtype] = torch.float32
    drop_path: float = 0.0
    dropout: float = 0.0
    generator: torch.Generator | None = None

    def __init__(self, architecture: Architecture | None) -> None:
        super().__init__()
        self.architecture = architecture

    def path(self, architecture: Architecture | None) -> Architecture:
        """The architecture to compute.

        Raises:
            UsageError: If this is a super-network and none is given, or it stands for another one.
        """
        if architecture is None:
            architecture = self.architecture
        if architecture is None:
            raise UsageError("a super-network computes one architecture at a time: call network(images, architecture)")
        if self.architecture not in (None, architecture):
            raise UsageError(f"this network stands for {self.architecture}, it cannot compute {architecture}")
        return architecture

    def show(self, architecture: Architecture | None) -> bool:
        """Makes a super-network look like an architecture's own network, by hiding all other candidates; None: whole.

        Modules, parameters and their order are then those of the stand-alone network, at a hundredth of what making one
        takes. Candidates that are hidden are in no ``state_dict``: show all again before others see the network.

        Returns:
            Whether it could; where a candidate depends on others, as the widths of NAS-Bench-101 do, it cannot.
        """
        return False

    def own_values(self, generator: torch.Generator) -> Mapping[str, torch.Tensor] | None:
        """Initial values of parameters and buffers by name, of a network that has others than PyTorch's defaults."""
        return None

    def kept(self, options: Sequence[Collection[int]], arities: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The options to mix: those of each decision once each, in rising order.

        Args:
            options: As ``Mixing.mixture`` takes them.
            arities: Options of each decision of the space.

        Raises:
            UsageError: If there are more or fewer collections than decisions, one of them is empty or names an option
                that is none, or this network stands for an architecture and they keep anything else.
        """
        if len(options) != len(arities):
            raise UsageError(
                f"mixture: expected one collection of kept options for each of {len(arities)} decisions, "
                f"got {len(options)}"
            )
        for decision, (some, arity) in enumerate(zip(options, arities, strict=True)):
            if not isinstance(some, Collection) or not len(some) or any(option not in range(arity) for option in some):
                raise UsageError(
                    f"mixture: decision {decision}: expected a collection of one or more options from 0 to "
                    f"{arity - 1}, got {some!r}"
                )
        kept = tuple(tuple(sorted({int(option) for option in some})) for some in options)
        if self.architecture is not None and kept != tuple((option,) for option in self.architecture):
            raise UsageError(
                f"this network stands for {self.architecture}, it cannot mix {kept}; only a super-network mixes options"
            )
        return kept

    def weighed(self, weights: Sequence[Weights], arities: Sequence[int]) -> Sequence[Weights]:
        """The weights to mix with, as ``Relaxed.relaxed`` takes them.

        Args:
            weights: Of each choice.
            arities: Candidates of each choice.

        Raises:
            UsageError: If there are more or fewer than choices, or one of them names a candidate that is none.
        """
        if len(weights) != len(arities):
            raise UsageError(f"relaxed: expected weights for each of {len(arities)} choices, got {len(weights)}")
        for choice, (some, arity) in enumerate(zip(weights, arities, strict=True)):
            if not isinstance(some, Mapping) or not all(type(i) is int and 0 <= i < arity for i in some):
                raise UsageError(
                    f"relaxed: choice {choice}: expected candidates from 0 to {arity - 1}, each with a weight, "
                    f"got {some!r:.80}"
                )
        return weights

    def running(self, weights: Sequence[Weights]) -> Sequence[Weights]:
        """Of the weights that ``relaxed`` is given, those whose candidates it computes; by default all of them."""
        return weights

    def with_auxiliary(
        self, images: torch.Tensor, architecture: Architecture | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, and those of the auxiliary head; None where the network has none."""
        return self(images, architecture), None

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        """Drop-path (Larsson et al. 2017): in training, zeroes whole images of ``x`` and scales up the others."""
        if not self.training or self.drop_path <= 0:
            return x
        kept = 1 - self.drop_path
        mask = torch.rand(len(x), 1, 1, 1, generator=self.generator).to(x.device) < kept
        return x * mask / kept


def show_only(modules: nn.Module, names: Collection[str] | None) -> None:
    """Hides all direct parts of a module, such as a ``Choice``, but those of some names; None: none."""
    whole = modules.__dict__.setdefault("_whole", modules._modules)
    shown = whole if names is None else {name: module for name, module in whole.items() if name in names}
    modules.__dict__["_modules"] = shown  # past ``nn.Module.__setattr__``, which would look through all that it has


N = TypeVar("N", bound=Network)


def two_to_morph(space: Space, network: Network, child: Network, kind: type[N]) -> tuple[N, N]:
    """The network of a parent and that of its child, if a space's ``morph`` can take them.

    Raises:
        UsageError: If one of them is no stand-alone network of this space.
    """
    for each in (network, child):
        if not isinstance(each, kind) or each.architecture not in space:
            raise UsageError(
                f"{type(space).__name__}.morph: expected two stand-alone networks that this space's network() made, "
                f"got {type(each).__name__} of {each.architecture}"
            )
    assert isinstance(network, kind)
    assert isinstance(child, kind)
    return network, child


def structure_of(space: Any) -> Any:
    """The super-network of a space that has one, without values, for an example of its tasks: to see what it can do."""
    with torch.device("meta"):
        return space.super_network(EXAMPLES[kinds_of(space)[0]])


def build(make: Callable[[], nn.Module], seed: int, device: torch.device | str = "cpu") -> Any:
    """Makes a network whose initial weights depend on the seed alone, whatever the device.

    Args:
        make: Gives the network, for example ``lambda: space.network(architecture, task)``.
        seed: 0 <= seed < 2**63.
        device: Where it is to be.
    """
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    initialise(network, torch.Generator().manual_seed(seed))
    return network.to(device)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Gives every parameter and buffer its initial value: the network's own, or PyTorch's defaults, from ``generator``.

    A module with parameters that are neither convolution, linear nor batch-norm must offer ``initialise(generator)``.

    Raises:
        TypeError: If there is a module whose initial values are not known.
    """
    own = network.own_values(generator) if isinstance(network, Network) else None
    if own is not None:
        with torch.no_grad():
            for name, value in itertools.chain(network.named_parameters(), network.named_buffers()):
                value.copy_(own[name])
        return
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(module.weight[0].numel())  # Kaiming uniform with a = sqrt(5)
            module.weight.detach().uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.detach().uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif any(value is not None for value in (*module._parameters.values(), *module._buffers.values())):
            if not hasattr(module, "initialise"):
                raise TypeError(
                    f"{name} ({type(module).__name__}) has parameters or buffers of its own: it must offer "
                    "initialise(generator), which gives them their initial values"
                )
            module.initialise(generator)


# -- layers that several spaces use ------------------------------------------------------------


def weighted_sum(terms: Sequence[torch.Tensor], weights: Sequence[float | torch.Tensor]) -> torch.Tensor:
    """Sum of one or more terms, each times its weight; with the number 1 a term is left as it is."""
    scaled = (
        term if isinstance(weight, float) and weight == 1 else term * weight
        for term, weight in zip(terms, weights, strict=True)
    )
    return functools.reduce(torch.add, scaled)


def equal_weights(options: Sequence[int]) -> dict[int, float]:
    """The weights of a mean over some options."""
    return dict.fromkeys(options, 1 / len(options))


class GlobalAveragePool(nn.Module):
    """Mean over height and width: (batch, channels, height, width) to (batch, channels)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)
