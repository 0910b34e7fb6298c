"""Single-Path NAS: a chain of MBConv layers whose options are slices of one super-kernel.

Reference: Stamoulis et al., "Single-Path NAS: designing hardware-efficient ConvNets in less than 4 hours", ECML PKDD
2019, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archsearch.spaces.mobilenet import Activation, MobileNet
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

CANDIDATES = ((3, 3), (3, 6), (5, 3), (5, 6))
"""(kernel, expansion) of the paper."""


class SinglePath(MobileNet):
    """A chain of MBConv layers, each k3e3, k3e6, k5e3 or k5e6, or left out where it is residual: 5 options.

    Architectures, texts and ``canonical`` are those of ``MobileNet``. In the super-network a layer has the parameters
    of its largest option alone: a 3x3 kernel is the inner part of the 5x5 one, expansion 3 has the first half of the
    hidden channels. Stand-alone networks have the same layers, cut to size.

    Args:
        stages: See ``MobileNet``.
        stem_channels: See ``MobileNet``.
        stem_stride: See ``MobileNet``.
        first_channels: See ``MobileNet``.
        head_channels: See ``MobileNet``.
        activation: See ``MobileNet``.

    Raises:
        UsageError: If a setting is out of range; the message names it.
    """

    # Its networks keep kernels in another order than MobileNet's, whose edits do not fit them.
    morph = None  # type: ignore[assignment]

    def __init__(
        self,
        stages: Sequence[tuple[int, int, int]] | None = None,
        stem_channels: int = 16,
        stem_stride: int = 1,
        first_channels: int | None = None,
        head_channels: int | None = 160,
        activation: Activation = "relu6",
    ) -> None:
        super().__init__(
            stages, CANDIDATES, "residual", stem_channels, stem_stride, first_channels, head_channels, activation
        )

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int | None) -> Network:
        from archsearch.spaces.networks.single_path import SinglePathNetwork

        width = self.rules.first_width(type(self).__name__, channels)
        return SinglePathNetwork(architecture, task, self.rules, width)
