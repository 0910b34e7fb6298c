"""Chains of MBConv layers, as in ProxylessNAS and FairNAS, and the exact space of NAS-Bench-Macro.

References: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, section 3 (the layer);
Cai, Zhu & Han, "ProxylessNAS", ICLR 2019; Chu, Zhang & Xu, "FairNAS", ICCV 2021; Su et al., "Prioritized architecture
sampling with Monte-Carlo tree search", CVPR 2021 (NAS-Bench-Macro). Widths and strides are those of the public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.chain.blocks import MBConv
from archsearch.chain.chain import MorphableChain
from archsearch.chain.rules import IdentityWhere, Rules, checked_list, checked_numbers, checked_stages, one_of
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.trial import Architecture

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


class MobileNet(MorphableChain):
    """A chain of MBConv layers, each with a choice of kernel and expansion, and some of which may be left out.

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
        stem_stride: Stride of that convolution, 1 or 2.
        first_channels: Channels of a fixed MBConv k3e1 after it, without residual connection; None for none.
        head_channels: Channels of a 1x1 convolution before the global pooling; None for none.
        activation: Activation after every convolution but the last of an MBConv.

    Raises:
        UsageError: If a setting is out of range; the message names it.

    Attributes:
        layers: The layers with their widths, strides and options.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int, int]] | None = None,
        candidates: Sequence[tuple[int, int]] = ALL_CANDIDATES,
        identity: IdentityWhere = "residual",
        stem_channels: int = 16,
        stem_stride: int = 1,
        first_channels: int | None = None,
        head_channels: int | None = 160,
        activation: Activation = "relu6",
    ) -> None:
        self.stages = checked_stages("MobileNet", SMALL_STAGES if stages is None else stages)
        self.candidates = _checked_candidates(candidates)
        self.identity: IdentityWhere = one_of("MobileNet", "identity", identity, get_args(IdentityWhere))
        self.stem_channels = at_least_one("MobileNet", "stem_channels", stem_channels)
        self.stem_stride: int = whole_number("MobileNet", "stem_stride", stem_stride, 1, 2)
        self.first_channels = _at_least_one_or_none("first_channels", first_channels)
        self.head_channels = _at_least_one_or_none("head_channels", head_channels)
        self.activation: Activation = one_of("MobileNet", "activation", activation, get_args(Activation))
        rules = Rules(
            self.stages,
            [MBConv(kernel, expansion) for kernel, expansion in self.candidates],
            self.identity,
            self.stem_channels,
            self.stem_stride,
            self.first_channels,
            self.head_channels,
            self.activation,
        )
        super().__init__(rules)


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


# -- checks of the settings --------------------------------------------------------------------


def _checked_candidates(candidates: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    checked: list[tuple[int, int]] = []
    for i, candidate in enumerate(checked_list("MobileNet", "candidates", candidates)):
        kernel, expansion = checked_numbers("MobileNet", f"candidates[{i}]", candidate, ("kernel", "expansion"))
        if kernel % 2 == 0:
            raise UsageError(f"MobileNet: candidates[{i}]: kernel: expected an odd number, got {kernel}")
        if (kernel, expansion) in checked:
            raise UsageError(f"MobileNet: candidates[{i}]: {MBConv(kernel, expansion).name} is there already")
        checked.append((kernel, expansion))
    return checked


def _at_least_one_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else at_least_one("MobileNet", name, value)
