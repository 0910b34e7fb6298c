"""ProxylessNAS: a chain of 21 MBConv layers, of which those that change neither width nor size can be left out.

Reference: Cai, Zhu & Han, "ProxylessNAS: direct neural architecture search on target task and hardware", ICLR 2019,
section 4.2; widths, strides and architectures are those of the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from archsearch.chain.blocks import MBConv
from archsearch.chain.chain import MorphableChain
from archsearch.chain.rules import Rules, one_of

Widths = Literal["search", "mobile", "gpu", "cpu"]

BLOCKS = tuple(MBConv(kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 6))
STAGES = ((4, 2), (4, 2), (4, 2), (4, 1), (4, 2), (1, 1))
"""Layers and stride of each."""

WIDTHS: Mapping[Widths, dict[str, Any]] = {
    "search": {"stem": 32, "first": 16, "stages": (24, 40, 80, 96, 192, 320), "head": 1280},
    "mobile": {"stem": 32, "first": 16, "stages": (32, 40, 80, 96, 192, 320), "head": 1280},
    "gpu": {"stem": 40, "first": 24, "stages": (32, 56, 112, 128, 256, 432), "head": 1728},
    "cpu": {"stem": 40, "first": 24, "stages": (32, 48, 88, 104, 216, 360), "head": 1432},
}
"""Channels in the search, and of the networks that the authors trained for three kinds of device."""

NAMES: Mapping[str, str] = {
    "Proxyless-Mobile": (
        "k5e3-k3e3-identity-identity-k7e3-k3e3-k5e3-k5e3-k7e6-k5e3-k5e3-k5e3-k5e6-k5e3-k5e3-k5e3-k7e6-k7e6-k7e3-k7e3-"
        "k7e6"
    ),
    "Proxyless-GPU": (
        "k5e3-identity-identity-identity-k7e3-identity-identity-k3e3-k7e6-identity-identity-k5e3-k5e6-identity-k3e3-"
        "k5e3-k7e6-k7e6-k7e6-k5e6-k7e6"
    ),
    "Proxyless-CPU": (
        "k3e6-k3e3-k3e3-k3e3-k3e6-k3e3-k3e3-k5e3-k3e6-identity-identity-k3e3-k5e6-k3e3-k3e3-k3e3-k5e6-k5e3-k5e3-k3e3-"
        "k5e6"
    ),
}


class ProxylessNAS(MorphableChain):
    """Chains of 21 MBConv layers, 6^6 * 7^15 = 2.2150e17 encodings: kernel and expansion of each.

    Six layers, the first ones of the stages, have the options k3e3, k3e6, k5e3, k5e6, k7e3 and k7e6; the others may be
    left out, too. What is called Zero there is ``identity`` here, and comes first instead of last. ``parse`` knows the
    architectures ``Proxyless-Mobile``, ``Proxyless-GPU`` and ``Proxyless-CPU``, which have their published sizes in
    the widths of that name.

    Args:
        widths: Those of the search, or those of the networks for ``mobile``, ``gpu`` or ``cpu``.
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first stage has a stride, and a
            stage has at most two layers. Published names are not read then.

    Raises:
        UsageError: If a setting is none of these.
    """

    def __init__(self, widths: Widths = "search", small: bool = False) -> None:
        self.widths: Widths = one_of("ProxylessNAS", "widths", widths, get_args(Widths))
        self.small = small
        channels = WIDTHS[widths]
        rules = Rules(
            [(width, *stage) for width, stage in zip(channels["stages"], STAGES, strict=True)],
            BLOCKS,
            identity="residual",
            stem_channels=channels["stem"],
            stem_stride=2,
            first_channels=channels["first"],
            head_channels=channels["head"],
            activation="relu6",
            names=NAMES,
        )
        super().__init__(rules.shrunk("ProxylessNAS", small))
