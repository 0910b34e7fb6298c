"""FairNAS: a chain of 19 MBConv layers, none of which can be left out.

Reference: Chu, Zhang & Xu, "FairNAS: rethinking evaluation fairness of weight sharing neural architecture search", ICCV
2021, section 4 and the figure of its architectures.
"""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.chain.blocks import MBConv
from archsearch.chain.chain import MorphableChain
from archsearch.chain.rules import Rules

BLOCKS = tuple(MBConv(kernel, expansion) for expansion in (3, 6) for kernel in (3, 5, 7))

NAMES: Mapping[str, str] = {
    "FairNAS-A": ("k7e3-k3e3-k7e3-k3e6-k7e6-k3e3-k3e3-k7e6-k7e6-k5e3-k3e6-k5e3-k5e3-k3e6-k3e6-k7e6-k3e6-k7e6-k5e6"),
    "FairNAS-B": ("k5e3-k3e3-k5e3-k3e3-k3e6-k5e3-k7e3-k3e3-k3e6-k5e3-k3e3-k3e6-k7e3-k3e3-k7e6-k5e6-k7e6-k3e6-k5e6"),
    "FairNAS-C": ("k5e3-k3e3-k7e3-k3e3-k3e3-k3e3-k3e3-k3e3-k3e3-k3e6-k3e3-k3e3-k3e3-k3e3-k7e6-k7e6-k3e6-k3e6-k5e6"),
}


class FairNAS(MorphableChain):
    """Chains of 19 MBConv layers, 6^19 = 6.0936e14 encodings: kernel and expansion of each.

    Every layer has as many options, as the strictly fair sampling of the paper wants: ``OneShot(sampler="fair")``. They
    are in the authors' order: k3e3, k5e3, k7e3, k3e6, k5e6, k7e6. ``parse`` knows ``FairNAS-A``, ``-B`` and ``-C``.

    Args:
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first stage has a stride, and a
            stage has at most two layers. Published names are not read then.

    Raises:
        UsageError: If ``small`` is neither true nor false.
    """

    def __init__(self, small: bool = False) -> None:
        self.small = small
        rules = Rules(
            ((32, 2, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)),
            BLOCKS,
            stem_channels=32,
            stem_stride=2,
            first_channels=16,
            head_channels=1280,
            names=NAMES,
        )
        super().__init__(rules.shrunk("FairNAS", small))
