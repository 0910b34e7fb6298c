"""Networks: one definition that serves stand-alone training and weight sharing alike.

A space that is trainable defines one subclass of ``Network``. Made for an architecture it holds that architecture's
candidates only; made for ``None`` it is the super-network, with every candidate at every choice. Parameters have
the same names in both, so that inheriting weights is picking them by name.

Networks are built without values (``build`` puts them on PyTorch's meta device first) and get them from a generator
of their own: no global generator is read or written.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Trainable
from archsearch.space import Space
from archsearch.trial import Architecture

__all__ = [
    "Choice",
    "InputShape",
    "Mixing",
    "MultiplyAddCounter",
    "Network",
    "build",
    "initialise",
    "latency_seconds",
    "multiply_adds",
    "parameter_count",
    "skeleton_settings",
    "trainable",
    "two_to_morph",
]


class InputShape(NamedTuple):
    """What a network must know of a task; a ``Task`` has the same attributes.

    Attributes:
        input_shape: Channels, height and width of an image.
        classes: Number of classes.
    """

    input_shape: tuple[int, int, int]
    classes: int


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


class Network(nn.Module):
    """Base class of all networks of a space.

    Subclasses write ``forward(images, architecture=None)`` to logits, shape (batch, classes);
    ``self.path(architecture)`` says which architecture to compute.

    Attributes:
        architecture: What this network stands for; None: it is a super-network and holds all candidates.
        drop_path: Probability, 0 to 1, with which ``drop`` lets a path fall out in training; 0 for no dropping.
        generator: Source of randomness of ``drop``.
    """

    drop_path: float = 0.0
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


@runtime_checkable
class Mixing(Protocol):
    """A network whose forward pass can take several options of each decision at once; for spaces of fixed length.

    Bender et al., "Understanding and simplifying one-shot architecture search", ICML 2018, train super-networks so,
    dropping options at random. They add the outputs of the options that are kept. Here the output of a choice is their
    mean, so that a single path has the scale that the weights were trained with, however many options were kept then.
    """

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits, shape (batch, classes); with one option per decision, exactly those of that architecture.

        Parameters and batch statistics of options that are not kept are not touched.

        Args:
            images: Shape (batch, channels, height, width).
            options: For each decision the options that are kept, at least one; in any order, repeats count once.

        Raises:
            UsageError: If the options are none of the space, or this is no super-network and they keep more than its
                architecture.
        """
        ...


# -- asking a space ----------------------------------------------------------------------------


def trainable(space: Space, who: str) -> Trainable:
    """The space, if it can build networks.

    Args:
        space: Any space.
        who: Name of the evaluator that asks.

    Raises:
        MissingAbility: If it cannot.
    """
    if not isinstance(space, Trainable):
        raise MissingAbility(
            f"{who} trains networks, which {type(space).__name__} does not build; use a trainable space such as "
            "NASBench201, or give your space a method network(architecture, task)"
        )
    return space


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


def skeleton_settings(space: Trainable) -> tuple[str, ...]:
    """Names of the settings that the space's ``network`` takes, such as channels and cells."""
    parameters = inspect.signature(space.network).parameters.values()
    return tuple(p.name for p in parameters if p.kind == p.KEYWORD_ONLY)


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
    """Gives every parameter and buffer its initial value: PyTorch's own defaults, drawn from ``generator``.

    A module with parameters that are neither convolution, linear nor batch-norm must offer ``initialise(generator)``.

    Raises:
        TypeError: If there is a module whose initial values are not known.
    """
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(module.weight[0].numel())  # Kaiming uniform with a = sqrt(5)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False)):
            if not hasattr(module, "initialise"):
                raise TypeError(
                    f"{name} ({type(module).__name__}) has parameters or buffers of its own: it must offer "
                    "initialise(generator), which gives them their initial values"
                )
            module.initialise(generator)


# -- size and speed ----------------------------------------------------------------------------


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def multiply_adds(
    network: nn.Module, input_shape: tuple[int, int, int], architecture: Architecture | None = None
) -> int:
    """Multiply-adds of one image, as NAS-Bench-201 counts them: convolutions, and linear layers with their biases.

    So do both products of attention. Batch normalisation, activations and pooling are not counted. A floating-point
    operation is half a multiply-add.

    Args:
        network: On any device, the meta device included.
        input_shape: Channels, height and width of an image.
        architecture: Of a super-network, the path to count.
    """
    training = network.training
    network.eval()
    path = () if architecture is None else (architecture,)
    device = next(network.parameters()).device
    try:
        with torch.no_grad(), _without_fast_path(), MultiplyAddCounter() as counter:
            network(torch.empty(1, *input_shape, device=device), *path)
    finally:
        network.train(training)
    return int(counter.multiply_adds)


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """Inside, PyTorch's transformer layers do their operations one by one: the fused ones have no formula."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class MultiplyAddCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up PyTorch's own formulas while it is entered, outside of inference mode, which hides what operations do.

    PyTorch's ``FlopCounterMode`` also tracks modules, which takes longer, and leaves the biases of linear layers out.

    Attributes:
        multiply_adds: So far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        operation = func._overloadpacket
        if operation in flop_registry:
            self.multiply_adds += int(flop_registry[operation](*args, **(kwargs or {}), out_val=output)) // 2
        if operation is torch.ops.aten.addmm:
            self.multiply_adds += output.numel()  # the biases
        if operation is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:  # no formula in PyTorch's registry
            query, key, value = args[:3]
            self.multiply_adds += math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return output


def latency_seconds(network: nn.Module, images: torch.Tensor, repeats: int = 5) -> float:
    """Median time of a forward pass over ``images`` in evaluation mode, in seconds, after one that does not count."""
    training = network.training
    network.eval()
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            begun = time.perf_counter()
            network(images)
            synchronise(images.device)
            times.append(time.perf_counter() - begun)
    network.train(training)
    return sorted(times[1:])[repeats // 2]


def synchronise(device: torch.device) -> None:
    """Waits until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# -- layers that several spaces use ------------------------------------------------------------


def mean(terms: Sequence[torch.Tensor], count: int) -> torch.Tensor:
    """Mean of ``count`` terms, of which those not given are zero; the mean of one term is that term."""
    total = functools.reduce(torch.add, terms)
    return total if count == 1 else total / count


class GlobalAveragePool(nn.Module):
    """Mean over height and width: (batch, channels, height, width) to (batch, channels)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)
