"""Chains of MBConv layers, as in ProxylessNAS and FairNAS, and the exact space of NAS-Bench-Macro.

References: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, section 3 (the layer);
Cai, Zhu & Han, "ProxylessNAS", ICLR 2019; Chu, Zhang & Xu, "FairNAS", ICCV 2021; Su et al., "Prioritized architecture
sampling with Monte-Carlo tree search", CVPR 2021 (NAS-Bench-Macro). Widths and strides are those of the public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.relaxing import RelaxedDecisions
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx
    import torch

    from archsearch.networks.network import InputShape, Network

IDENTITY = "identity"

Identity = Literal["never", "residual", "always"]
Activation = Literal["relu", "relu6"]

SMALL_STAGES = ((24, 2, 1), (40, 3, 2), (80, 3, 2))
"""The default stages, for 32x32 images: 8 layers down to 8x8."""

ALL_CANDIDATES = ((3, 3), (3, 6), (5, 3), (5, 6), (7, 3), (7, 6))
"""(kernel, expansion): the six of ProxylessNAS and FairNAS, in the order of their code."""

PROXYLESSNAS: dict[str, Any] = {
    "stages": ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)),
    "candidates": ALL_CANDIDATES,
    "identity": "residual",
    "stem_channels": 32,
    "stem_stride": 2,
    "first_channels": 16,
    "head_channels": 1280,
}
"""``MobileNet(**PROXYLESSNAS)``: 21 layers for ImageNet, 6^6 * 7^15 = 2.2150e17 encodings.

The option called "Zero" there, which leaves a layer out, is ``identity`` here, and it comes first instead of last.
"""

FAIRNAS: dict[str, Any] = {
    "stages": ((32, 2, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)),
    "candidates": ALL_CANDIDATES,
    "identity": "never",
    "stem_channels": 32,
    "stem_stride": 2,
    "first_channels": 16,
    "head_channels": 1280,
}
"""``MobileNet(**FAIRNAS)``: 19 layers for ImageNet, none can be left out, 6^19 = 6.0936e14 encodings."""


class Layer(NamedTuple):
    """A layer of the chain.

    Attributes:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of its depthwise convolution.
        residual: Whether its input is added to its output: stride 1, and widths that are equal in the space as
            declared. Rounding that makes the widths of a scaled network equal changes nothing in this.
        options: Names of the options, such as ``identity`` and ``k3e6``.
    """

    inputs: int
    outputs: int
    stride: int
    residual: bool
    options: tuple[str, ...]


class MobileNet(RelaxedDecisions, Space):
    """A chain of MBConv layers with a choice of kernel and expansion for each, and of leaving it out.

    One decision per layer. Its options are ``identity``, where the layer has it, then the candidates in their order;
    a candidate such as ``k5e6`` is an MBConv with a 5x5 depthwise convolution on 6 times the layer's input channels.
    Texts are these names joined by dashes.

    ``canonical``: identities inside a run of residual layers (stride 1, equal widths) compute nothing, so only the
    sequence of the other layers of the run counts: 3 such layers with 6 candidates have 1 + 6 + 36 + 216 = 259
    different forms, not 343. An identity that changes width or size is a layer like any other.

    Args:
        stages: (channels, layers, stride) of each stage; the stride, 1 or 2, is that of its first layer. None: 8 layers
            for 32x32 images, ``SMALL_STAGES``.
        candidates: (kernel, expansion) of each MBConv that a layer can be; kernels are odd.
        identity: Which layers can be left out: ``never`` any, only ``residual`` ones, or ``always`` every one; what
            leaves out a layer that changes width or size is a 1x1 convolution of its stride with batch normalisation.
        stem_channels: Channels after the 3x3 convolution at the start, >= 1.
        stem_stride: Its stride, 1 or 2.
        first_channels: Channels of a fixed MBConv k3e1 after it, without residual connection; None for none.
        head_channels: Channels of a 1x1 convolution before the global pooling; None for none.
        activation: After every convolution but the last of an MBConv.

    Raises:
        UsageError: If a setting is out of range; the message names it.

    Attributes:
        layers: The layers with their widths, strides and options.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int, int]] | None = None,
        candidates: Sequence[tuple[int, int]] = ALL_CANDIDATES,
        identity: Identity = "residual",
        stem_channels: int = 16,
        stem_stride: int = 1,
        first_channels: int | None = None,
        head_channels: int | None = 160,
        activation: Activation = "relu6",
    ) -> None:
        self.stages = _checked_stages(SMALL_STAGES if stages is None else stages)
        self.candidates = _checked_candidates(candidates)
        self.identity: Identity = _one_of("identity", identity, get_args(Identity))
        self.stem_channels = at_least_one("MobileNet", "stem_channels", stem_channels)
        self.stem_stride: int = whole_number("MobileNet", "stem_stride", stem_stride, 1, 2)
        self.first_channels = _at_least_one_or_none("first_channels", first_channels)
        self.head_channels = _at_least_one_or_none("head_channels", head_channels)
        self.activation: Activation = _one_of("activation", activation, get_args(Activation))
        self.layers = self._layers()
        super().__init__(arities=[len(layer.options) for layer in self.layers])

    def _layers(self) -> tuple[Layer, ...]:
        names = tuple(candidate_name(kernel, expansion) for kernel, expansion in self.candidates)
        inputs = self.stem_channels if self.first_channels is None else self.first_channels
        layers = []
        for channels, count, first_stride in self.stages:
            for i in range(count):
                stride = 1 if i else first_stride
                residual = stride == 1 and inputs == channels
                skippable = self.identity == "always" or (self.identity == "residual" and residual)
                layers.append(Layer(inputs, channels, stride, residual, (IDENTITY, *names) if skippable else names))
                inputs = channels
        return tuple(layers)

    def names(self, architecture: Architecture) -> tuple[str, ...]:
        """The name of each layer's option, such as ``("identity", "k3e6")``."""
        return tuple(layer.options[option] for layer, option in zip(self.layers, architecture, strict=True))

    def label(self, prefix: Architecture) -> str:
        """The layer, such as ``layer 3``; counted from 0, as in the networks."""
        return f"layer {len(prefix)}"

    def candidate_names(self, decision: int) -> tuple[str, ...]:
        """The options of a layer by name; of a layer without a residual connection, identity is no identity."""
        layer = self.layers[decision]
        return tuple("1x1" if name == IDENTITY and not layer.residual else name for name in layer.options)

    def format(self, architecture: Architecture) -> str:
        """The names of the options joined by dashes, such as ``k3e6-identity-k5e3``."""
        return "-".join(self.names(architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` has another number of layers, or a layer lacks the option named.
        """
        names = text.strip().split("-")
        if len(names) != len(self.layers):
            raise InvalidArchitecture(
                f"{text!r} is no architecture of {type(self).__name__}: expected {len(self.layers)} layers joined by "
                f"dashes, such as {self.format((0,) * len(self.layers))}, got {len(names)}"
            )
        for i, (name, layer) in enumerate(zip(names, self.layers, strict=True)):
            if name not in layer.options:
                raise InvalidArchitecture(
                    f"{text!r} is no architecture of {type(self).__name__}: layer {i}: expected one of "
                    f"{', '.join(layer.options)}, got {name!r}"
                )
        return tuple(layer.options.index(name) for name, layer in zip(names, self.layers, strict=True))

    def decode(self, architecture: Architecture) -> str:
        """The text of the architecture."""
        return self.format(architecture)

    def canonical(self, architecture: Architecture) -> str:
        """The names of the layers without the identities of residual layers; ``|`` stands where a run begins or ends.

        A run is a longest sequence of residual layers. The class's docstring says why their identities do not count.
        """
        runs: list[list[str]] = [[]]
        for name, layer in zip(self.names(architecture), self.layers, strict=True):
            if not layer.residual:
                runs += [[name], []]
            elif name != IDENTITY:
                runs[-1].append(name)
        return "|".join("-".join(run) for run in runs)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain of layers; labels are such as ``layer 3: k5e6``."""
        graph = super().graph(architecture)
        for i, name in enumerate(self.names(architecture)):
            graph.nodes[i]["label"] = f"{self.label(architecture[:i])}: {name}"
        return graph

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network of an architecture.

        Args:
            architecture: One option per layer.
            task: What has an input shape and a number of classes.
            channels: Width of the first stage; all other widths are scaled in proportion and rounded to multiples of 4,
                at least 4. None: the space's own widths, exactly.
        """
        return self._network(self.validate(architecture), task, channels)

    def super_network(self, task: InputShape, *, channels: int | None = None) -> Network:
        """The network with all options of every layer; see ``network``."""
        return self._network(None, task, channels)

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int | None) -> Network:
        from archsearch.spaces.networks.mobilenet import MobileNetNetwork

        return MobileNetNetwork(architecture, task, self, self.first_width(channels))

    def first_width(self, channels: int | None) -> int:
        """Channels of the first stage: the space's own, if none are given."""
        return self.stages[0][0] if channels is None else at_least_one(type(self).__name__, "channels", channels)

    def scaled_width(self, width: int, channels: int) -> int:
        """``width`` in a network whose first stage has ``channels`` channels; equal widths stay equal."""
        own = self.stages[0][0]
        if channels == own:
            return width
        return channels if width == own else max(4, 4 * round(width * channels / (4 * own)))

    def morph(self, network: Network, child: Network, generator: torch.Generator) -> bool:
        """Gives ``child`` as much of the function of ``network`` as can be.

        Kept exactly: a residual layer that was left out becomes an MBConv, kernels grow, expansions grow. All other
        changes lose something: what fits is copied, the rest stays as ``child`` was initialised. An expansion of 1 has
        no convolution that could be widened. Wider layers replicate hidden channels (Net2Wider, Chen et al. 2016), but
        the copies of a channel divide its outgoing weights unequally, so that they part in training without any noise.

        Args:
            network: The trained parent, a stand-alone network of this space.
            child: Another one, with initial weights; changed in place.
            generator: Draws which hidden channels a wider layer replicates.

        Returns:
            Whether the child computes the same function, up to rounding, in evaluation mode.

        Raises:
            UsageError: If one of them is no stand-alone network of this space.
        """
        from archsearch.networks.network import two_to_morph
        from archsearch.spaces.networks.mobilenet import MobileNetNetwork, morph

        return morph(*two_to_morph(self, network, child, MobileNetNetwork), generator)


class NASBenchMacro(MobileNet):
    """NAS-Bench-Macro: 8 layers with 3 options each, 3^8 = 6,561 encodings, all trained on CIFAR-10.

    Options are identity, MBConv k3e3 and MBConv k5e6; texts are the 8 digits of the table, such as ``22212202``, the
    best one. The first layers of the stages (0, 2 and 5) halve the size and double the width; identity is a 1x1
    convolution there. 3,969 encodings are different under ``canonical``; the others were trained all the same.

    For CIFAR-10, parameters of all networks equal the published ones. So do multiply-adds, once the 10 biases of the
    classifier, which ``archsearch.networks.multiply_adds.multiply_adds`` counts, are taken off.
    """

    def __init__(self) -> None:
        super().__init__(
            stages=((64, 2, 2), (128, 3, 2), (256, 3, 2)),
            candidates=((3, 3), (5, 6)),
            identity="always",
            stem_channels=32,
            head_channels=1280,
            activation="relu",
        )

    def format(self, architecture: Architecture) -> str:
        """The official code: 8 digits, each 0, 1 or 2."""
        return "".join(map(str, architecture))

    def parse(self, text: str) -> Architecture:
        """Reads an official code.

        Raises:
            InvalidArchitecture: If ``text`` is none.
        """
        code = text.strip()
        if len(code) != len(self.layers) or set(code) - set("012"):
            raise InvalidArchitecture(
                f"{text!r} is no NAS-Bench-Macro architecture: expected 8 digits, each 0 (identity), 1 (MBConv k3e3) "
                "or 2 (MBConv k5e6), such as 22212202"
            )
        return tuple(map(int, code))


def candidate_name(kernel: int, expansion: int) -> str:
    """The name of an MBConv, such as ``k5e6``."""
    return f"k{kernel}e{expansion}"


# -- checks of the settings --------------------------------------------------------------------


def _checked_stages(stages: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    checked = []
    for i, stage in enumerate(_list("stages", stages)):
        channels, layers, stride = _numbers(f"stages[{i}]", stage, ("channels", "layers", "stride"))
        checked.append((channels, layers, _one_of(f"stages[{i}]: stride", stride, (1, 2))))
    return checked


def _checked_candidates(candidates: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    checked = []
    for i, candidate in enumerate(_list("candidates", candidates)):
        kernel, expansion = _numbers(f"candidates[{i}]", candidate, ("kernel", "expansion"))
        if kernel % 2 == 0:
            raise UsageError(f"MobileNet: candidates[{i}]: kernel: expected an odd number, got {kernel}")
        if (kernel, expansion) in checked:
            raise UsageError(f"MobileNet: candidates[{i}]: {candidate_name(kernel, expansion)} is there already")
        checked.append((kernel, expansion))
    return checked


def _list(name: str, value: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    if not isinstance(value, (list, tuple)) or not value:
        raise UsageError(f"MobileNet: {name}: expected a list that is not empty, got {value!r}")
    return value


def _numbers(where: str, value: Sequence[int], names: tuple[str, ...]) -> list[int]:
    if not isinstance(value, (list, tuple)) or len(value) != len(names):
        raise UsageError(f"MobileNet: {where}: expected [{', '.join(names)}], got {value!r}")
    return [at_least_one("MobileNet", f"{where}: {name}", number) for name, number in zip(names, value, strict=True)]


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> Any:
    if isinstance(value, bool) or value not in known:
        raise UsageError(f"MobileNet: {name}: expected one of {', '.join(map(str, known))}, got {value!r}")
    return value


def _at_least_one_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else at_least_one("MobileNet", name, value)
