"""Once-for-all: units of MBConv layers with an elastic depth, and an elastic kernel and width in each layer.

Reference: Cai, Gan, Wang, Zhang & Han, "Once-for-all: train one network and specialize it for efficient deployment",
ICLR 2020, section 4, and the authors' code (widths, strides, activations, and which units have squeeze-and-excitation:
those of MobileNetV3-Large). Five units of 2 to 4 layers with 9 options each have (9^2 + 9^3 + 9^4)^5 = 2.1759e19
architectures; their input has one of 25 resolutions, 128 to 224.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

ACTIVATIONS = ("relu", "hard_swish")

SMALL_UNITS = (
    (8, 2, "relu", False),
    (12, 1, "relu", True),
    (16, 2, "hard_swish", False),
    (20, 1, "hard_swish", True),
    (24, 1, "hard_swish", True),
)
"""The default units, for 8x8 to 32x32 images."""

OFA: dict[str, Any] = {
    "units": (
        (24, 2, "relu", False),
        (40, 2, "relu", True),
        (80, 2, "hard_swish", False),
        (112, 1, "hard_swish", True),
        (160, 2, "hard_swish", True),
    ),
    "resolutions": tuple(range(128, 225, 4)),
    "stem_channels": 16,
    "stem_stride": 2,
    "head_channels": (960, 1280),
}
"""``OnceForAll(**OFA)``: the skeleton for ImageNet, with its 25 resolutions."""


class Unit(NamedTuple):
    """A unit: layers of one width.

    Attributes:
        channels: That go out.
        stride: Of its first layer, 1 or 2.
        activation: relu or hard_swish.
        squeeze: Whether its layers have squeeze-and-excitation.
    """

    channels: int
    stride: int
    activation: str
    squeeze: bool


class Form(NamedTuple):
    """What an architecture stands for.

    Attributes:
        resolution: Height and width of the images that the first layer is given; None: as they come.
        units: Of each unit the layers, each a kernel and an expansion.
    """

    resolution: int | None
    units: tuple[tuple[tuple[int, int], ...], ...]


class OnceForAll(Space):
    """Units of MBConv layers: a decision for the depth of each, and two for each layer that it has.

    Decisions, in order: the resolution, if there are several; then for each unit its depth, and for each of so many
    layers the kernel and the expansion. Options of each rise in size, so that the last ones together are the largest
    network, of which all others are parts. Layers beyond a unit's depth have no decisions: what a fixed-length code has
    in their places is nowhere, neither in features nor in ``canonical``; ``encode`` reads such codes.

    Texts are such as ``r8:k3e3-k5e6:k3e4-k3e4-k7e6:...``, layers joined by dashes and units by colons.

    Args:
        units: (channels, stride, activation, squeeze) of each unit; the stride, 1 or 2, is that of its first layer, the
            activation ``relu`` or ``hard_swish``, and squeeze says whether its layers have squeeze-and-excitation.
            None: 5 units for 8x8 to 32x32 images, ``SMALL_UNITS``.
        depths: Layers that a unit can have, rising.
        kernels: Of the depthwise convolutions, odd, rising.
        expansions: Hidden channels per input channel of a layer, rising.
        resolutions: Heights and widths to which images can be scaled, rising; None: they are taken as they come.
        stem_channels: Channels after the 3x3 convolution at the start, and after the fixed layer that follows it.
        stem_stride: Its stride, 1 or 2.
        head_channels: Channels of the two 1x1 convolutions of the head, the second after pooling.
        transform: Whether smaller kernels are transformed centres of larger ones, as in the paper, or plain centres.

    Raises:
        UsageError: If a setting is out of range; the message names it.
    """

    def __init__(
        self,
        units: Sequence[tuple[int, int, str, bool]] | None = None,
        depths: Sequence[int] = (2, 3, 4),
        kernels: Sequence[int] = (3, 5, 7),
        expansions: Sequence[int] = (3, 4, 6),
        resolutions: Sequence[int] | None = None,
        stem_channels: int = 8,
        stem_stride: int = 1,
        head_channels: Sequence[int] = (64, 96),
        transform: bool = True,
    ) -> None:
        self.units = _checked_units(SMALL_UNITS if units is None else units)
        self.depths = _rising("depths", depths)
        self.kernels = _rising("kernels", kernels)
        self.expansions = _rising("expansions", expansions)
        self.resolutions = None if resolutions is None else _rising("resolutions", resolutions)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UsageError(f"OnceForAll: kernels: expected odd numbers, got {list(kernels)}")
        self.stem_channels = at_least_one("OnceForAll", "stem_channels", stem_channels)
        self.stem_stride = whole_number("OnceForAll", "stem_stride", stem_stride, 1, 2)
        if len(head_channels) != 2:
            raise UsageError(f"OnceForAll: head_channels: expected two numbers, got {head_channels!r}")
        self.head_channels = [at_least_one("OnceForAll", "head_channels", number) for number in head_channels]
        self.transform = transform
        most = len(self.units) * (1 + 2 * max(self.depths)) + (self.resolutions is not None)
        widest = max(map(len, (self.depths, self.kernels, self.expansions, self.resolutions or ())))
        super().__init__(max_length=most, max_options=widest)

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Options of the next decision."""
        kind, _, _ = self._place(prefix)
        return len(self._options(kind)) if kind else 0

    def _place(self, prefix: Architecture) -> tuple[str, int, int]:
        """What is decided next, with the unit and the layer in it; an empty text: nothing is."""
        i = 0
        if self.resolutions is not None:
            if not prefix:
                return "resolution", 0, 0
            i = 1
        for unit in range(len(self.units)):
            if i == len(prefix):
                return "depth", unit, 0
            decisions = 2 * self.depths[prefix[i]]
            done = len(prefix) - i - 1
            if done < decisions:
                return ("width" if done % 2 else "kernel"), unit, done // 2
            i += 1 + decisions
        return "", len(self.units), len(prefix) - i  # what is over, if anything, is none of this space

    def _options(self, kind: str) -> Sequence[int]:
        return {
            "resolution": self.resolutions or (),
            "depth": self.depths,
            "kernel": self.kernels,
            "width": self.expansions,
        }[kind]

    def dimension(self, prefix: Architecture) -> str:
        """See ``archsearch.abilities.Elastic``: resolution, depth, kernel or width (the expansion)."""
        return self._place(prefix)[0]

    def label(self, prefix: Architecture) -> str:
        """The decision, such as ``resolution``, ``unit 0 depth`` or ``unit 0 layer 1 kernel``."""
        kind, unit, layer = self._place(prefix)
        if kind == "resolution":
            return kind
        return f"unit {unit} depth" if kind == "depth" else f"unit {unit} layer {layer} {kind}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """The decision, and how many layers its unit still has."""
        kind, unit, layer = self._place(prefix)
        if kind in ("resolution", "depth", ""):
            return kind, unit
        i = int(self.resolutions is not None)
        for _ in range(unit):
            i += 1 + 2 * self.depths[prefix[i]]
        return kind, unit, self.depths[prefix[i]] - layer

    def one_hot(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """One-hot encoding in which a layer always has the same columns; those of layers that are not there are zero.

        Returns:
            Shape (n, columns): of the resolution, then for each unit of its depth, and of kernel and width of each
            layer that it can have.
        """
        names: list[tuple[str, Sequence[int]]] = [] if self.resolutions is None else [("resolution", self.resolutions)]
        for unit in range(len(self.units)):
            names.append((f"unit {unit} depth", self.depths))
            for layer in range(max(self.depths)):
                names += [(f"unit {unit} layer {layer} {kind}", self._options(kind)) for kind in ("kernel", "width")]
        counts = [len(options) for _, options in names]
        begins = dict(zip((name for name, _ in names), itertools.accumulate(counts, initial=0), strict=False))
        encoded = np.zeros((len(architectures), sum(counts)), np.float32)
        for row, architecture in enumerate(architectures):
            for name, option in self._by_label(architecture).items():
                encoded[row, begins[name] + option] = 1.0
        return encoded

    # -- forms ---------------------------------------------------------------------------------

    def form(self, architecture: Architecture) -> Form:
        """What an architecture stands for."""
        options = iter(architecture)
        resolution = None if self.resolutions is None else self.resolutions[next(options)]
        units = [
            tuple(
                (self.kernels[next(options)], self.expansions[next(options)]) for _ in range(self.depths[next(options)])
            )
            for _ in self.units
        ]
        return Form(resolution, tuple(units))

    def encode(
        self,
        kernels: Sequence[int],
        expansions: Sequence[int],
        depths: Sequence[int],
        resolution: int | None = None,
    ) -> Architecture:
        """The architecture of a fixed-length code, as the authors write them (``ks``, ``e``, ``d``, ``r``).

        Args:
            kernels: Of each layer, as many as each unit can have, those beyond its depth included.
            expansions: Likewise.
            depths: Of each unit.
            resolution: None where the space has no such decision.

        Raises:
            InvalidArchitecture: If it is none of this space; what is beyond the depth may be anything.
        """
        most = max(self.depths)
        wanted = most * len(self.units)
        for name, values, count in (
            ("kernels", kernels, wanted),
            ("expansions", expansions, wanted),
            ("depths", depths, len(self.units)),
        ):
            if len(values) != count:
                raise InvalidArchitecture(f"OnceForAll: {name}: expected {count} numbers, got {len(values)}")
        units = []
        for i, depth in enumerate(depths):
            layers = list(zip(kernels[i * most :], expansions[i * most :], strict=False))[:depth]
            units.append(tuple(layers))
        return self._encoded(Form(resolution, tuple(units)), f"{kernels!r}, {expansions!r}, {depths!r}, {resolution!r}")

    def _encoded(self, form: Form, text: str) -> Architecture:
        found: list[int] = []

        def add(what: str, value: int | None, known: Sequence[int]) -> None:
            if value not in known:
                raise InvalidArchitecture(
                    f"{text} is no architecture of OnceForAll: {what}: expected one of {list(known)}, got {value}"
                )
            found.append(known.index(value))

        if self.resolutions is not None:
            add("resolution", form.resolution, self.resolutions)
        elif form.resolution is not None:
            raise InvalidArchitecture(f"{text}: resolution: this OnceForAll has none, got {form.resolution}")
        if len(form.units) != len(self.units):
            raise InvalidArchitecture(f"{text}: expected {len(self.units)} units, got {len(form.units)}")
        for i, layers in enumerate(form.units):
            add(f"unit {i} depth", len(layers), self.depths)
            for j, (kernel, expansion) in enumerate(layers):
                add(f"unit {i} layer {j} kernel", kernel, self.kernels)
                add(f"unit {i} layer {j} width", expansion, self.expansions)
        return tuple(found)

    def decode(self, architecture: Architecture) -> Mapping[str, Any]:
        """``resolution`` (None: as images come) and ``units``: of each the layers, (kernel, expansion)."""
        return self.form(architecture)._asdict()

    def format(self, architecture: Architecture) -> str:
        """See the class."""
        form = self.form(architecture)
        units = ["-".join(f"k{kernel}e{expansion}" for kernel, expansion in layers) for layers in form.units]
        return ":".join(units if form.resolution is None else [f"r{form.resolution}", *units])

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no architecture of this space.
        """
        parts = text.strip().split(":")
        try:
            resolution = int(parts.pop(0).removeprefix("r")) if parts[0].startswith("r") else None
            units = tuple(tuple(_layer(layer) for layer in part.split("-")) for part in parts)
        except ValueError:
            example = self.format(self._encoded(self._smallest(), ""))
            raise InvalidArchitecture(
                f"{text!r} is no architecture of OnceForAll: expected such as {example}"
            ) from None
        return self._encoded(Form(resolution, units), repr(text))

    def _smallest(self) -> Form:
        layer = (self.kernels[0], self.expansions[0])
        resolution = None if self.resolutions is None else self.resolutions[0]
        return Form(resolution, ((layer,) * self.depths[0],) * len(self.units))

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape) -> Network:
        """The stand-alone network of an architecture, with layers of its own sizes; it scales the images itself."""
        return self._network(self.validate(architecture), task)

    def super_network(self, task: InputShape) -> Network:
        """The largest network, which computes all others as parts of it."""
        return self._network(None, task)

    def _network(self, architecture: Architecture | None, task: InputShape) -> Network:
        from archsearch.spaces.networks.once_for_all import OnceForAllNetwork

        return OnceForAllNetwork(architecture, task, self)


def _layer(text: str) -> tuple[int, int]:
    kernel, _, expansion = text.removeprefix("k").partition("e")
    if not text.startswith("k"):
        raise ValueError(text)
    return int(kernel), int(expansion)


# -- checks of the settings --------------------------------------------------------------------


def _checked_units(units: Sequence[Sequence[Any]]) -> list[tuple[int, int, str, bool]]:
    checked = []
    for i, unit in enumerate(units):
        if not isinstance(unit, (list, tuple)) or len(unit) != 4:
            raise UsageError(
                f"OnceForAll: units[{i}]: expected [channels, stride, activation, squeeze], such as "
                f"[16, 2, relu, true], got {unit!r}"
            )
        channels, stride, activation, squeeze = unit
        at_least_one("OnceForAll", f"units[{i}]: channels", channels)
        for name, value, known in (
            ("stride", stride, (1, 2)),
            ("activation", activation, ACTIVATIONS),
            ("squeeze", squeeze, (False, True)),
        ):
            if value not in known or isinstance(value, bool) != (name == "squeeze"):
                raise UsageError(
                    f"OnceForAll: units[{i}]: {name}: expected one of {', '.join(map(str, known))}, got {value!r}"
                )
        checked.append((channels, stride, activation, squeeze))
    if not checked:
        raise UsageError("OnceForAll: units: expected at least one, got none")
    return checked


def _rising(name: str, values: Sequence[int]) -> list[int]:
    if not isinstance(values, (list, tuple)) or not values:
        raise UsageError(f"OnceForAll: {name}: expected a list of numbers, got {values!r}")
    checked = [at_least_one("OnceForAll", name, value) for value in values]
    if checked != sorted(set(checked)):
        raise UsageError(f"OnceForAll: {name}: expected rising numbers, got {list(values)}")
    return checked
