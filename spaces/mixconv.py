"""MixConv: a chain of MBConv layers whose depthwise convolutions have kernels of several sizes at once.

Reference: Tan & Le, "MixConv: mixed depthwise convolutional kernels", BMVC 2019, sections 3 and 4.3; everything that is
fixed is that of MixNet-S in the authors' code.
"""

from __future__ import annotations

from archsearch.chain.blocks import MBConv
from archsearch.chain.chain import Chain
from archsearch.chain.rules import Rules, Stage

MIXTURES = ((3,), (3, 5), (3, 5, 7), (3, 5, 7, 9), (3, 5, 7, 9, 11))

ROWS = (
    (24, 1, 2, (2, 2), 0.0),
    (24, 1, 1, (2, 2), 0.0),
    (40, 1, 2, (1, 1), 0.5),
    (40, 3, 1, (2, 2), 0.5),
    (80, 1, 2, (1, 2), 0.25),
    (80, 2, 1, (1, 2), 0.25),
    (120, 1, 1, (2, 2), 0.5),
    (120, 2, 1, (2, 2), 0.5),
    (200, 1, 2, (1, 1), 0.5),
    (200, 2, 1, (1, 2), 0.5),
)
"""Channels, layers, stride, groups of both 1x1 convolutions, and ratio of squeeze-and-excitation."""

NAMES = {
    "MixNet-S": (
        "k3e1-k3e6-k3e3-k3.5.7e6-k3.5e6-k3.5e6-k3.5e6-k3.5.7e6-k3.5e6-k3.5e6-k3.5.7e6-k3.5.7.9e3-k3.5.7.9e3-"
        "k3.5.7.9.11e6-k3.5.7.9e6-k3.5.7.9e6"
    )
}


def _block(mixture: tuple[int, ...], expansion: int, groups: tuple[int, int], squeeze: float) -> MBConv:
    activation = "swish" if squeeze else None
    name = MBConv(mixture, expansion).name
    return MBConv(mixture, expansion, groups, squeeze, activation=activation, name=name)


class MixConv(Chain):
    """Chains of 15 MBConv layers, 10^15 encodings: the sizes of the kernels of each layer, and its expansion, 3 or 6.

    The channels of a depthwise convolution are shared out equally among kernels of 3, of 3 and 5, and so on up to 11,
    as in ``k3.5.7e6``. A first layer, ``k3e1``, is fixed. Squeeze-and-excitation, swish and groups of the 1x1
    convolutions are those of MixNet-S, which ``parse`` knows by that name.

    Args:
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first stage has a stride, and a
            stage, a row of ``ROWS``, has at most two layers. Published names are not read then.

    Raises:
        UsageError: If ``small`` is neither true nor false.
    """

    def __init__(self, small: bool = False) -> None:
        self.small = small
        stages = [Stage(16, 1, 1, (MBConv(3, 1),))]
        for channels, layers, stride, groups, squeeze in ROWS:
            blocks = [_block(mixture, expansion, groups, squeeze) for mixture in MIXTURES for expansion in (3, 6)]
            stages.append(Stage(channels, layers, stride, tuple(blocks)))
        rules = Rules(stages, stem_channels=16, stem_stride=2, head_channels=1536, activation="relu", names=NAMES)
        super().__init__(rules.shrunk("MixConv", small))
