"""FBNet: a chain of 22 layers with nine blocks each, one of which leaves the layer out.

Reference: Wu et al., "FBNet: hardware-aware efficient ConvNet design via differentiable neural architecture search",
CVPR 2019, tables 1 and 2; architectures are those of the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.chain.blocks import MBConv
from archsearch.chain.chain import MorphableChain
from archsearch.chain.rules import Rules, one_of

BLOCKS = tuple(
    MBConv(kernel, expansion, groups, expands=True)
    for kernel in (3, 5)
    for expansion, groups in ((1, 1), (1, 2), (3, 1), (6, 1))
)

NAMES: Mapping[str, str] = {
    "FBNet-A": (
        "identity-k3e3-k3e1-identity-identity-k5e6-k3e3-k5e1-k3e3-k5e6-k5e3-k5e1g2-k5e6-k3e6-k5e1g2-k5e3-k3e1g2-k5e6-"
        "k5e6-k5e3-k5e6-k5e6"
    ),
    "FBNet-B": (
        "k3e1-k3e6-k5e1-k3e1-k3e1-k5e6-k5e3-k3e6-k5e6-k5e6-k5e6-identity-k5e3-k5e6-k3e1-k5e1-k5e3-k5e6-k5e1-k5e6-k5e6-"
        "k3e6"
    ),
    "FBNet-C": (
        "k3e1-k3e6-identity-k3e1-k3e1-k5e6-k5e3-k5e6-k3e6-k5e6-k5e3-k5e6-k5e6-k5e6-k5e6-k5e6-k5e3-k5e6-k5e6-k5e6-k5e6-"
        "k3e6"
    ),
}


class FBNet(MorphableChain):
    """Chains of 22 layers, 9^22 = 9.848e20 encodings: one of 9 blocks for each layer.

    Blocks are inverted bottlenecks of kernel 3 or 5 with an expansion of 1, of 1 with two groups in the 1x1
    convolutions (``k3e1g2``), of 3 or of 6, and ``identity``. The first 1x1 convolution is there with an expansion of
    1, too. An identity that changes width or size is a 1x1 convolution. ``parse`` knows ``FBNet-A``, ``-B`` and ``-C``;
    the first has a narrower head than the others in the authors' code.

    Args:
        head_channels: Channels before the pooling, 1984 or, for FBNet-A, 1504.
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first stage has a stride, and a
            stage has at most two layers. Published names are not read then.

    Raises:
        UsageError: If a setting is none of these.
    """

    def __init__(self, head_channels: int = 1984, small: bool = False) -> None:
        self.head_channels: int = one_of("FBNet", "head_channels", head_channels, (1984, 1504))
        self.small = small
        rules = Rules(
            ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1)),
            BLOCKS,
            identity="always",
            stem_channels=16,
            stem_stride=2,
            head_channels=head_channels,
            activation="relu",
            names=NAMES,
        )
        super().__init__(rules.shrunk("FBNet", small))
