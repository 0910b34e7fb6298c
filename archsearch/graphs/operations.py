"""What the nodes of graphs compute; an operation has the attributes that its class takes.

Convolutions keep height and width, up to their stride, and are followed by batch normalisation and a ReLU, unless
their activation is ``none``: then they are linear, with a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from archsearch.graphs.graph import Node


class Conv(nn.Module):
    """A convolution.

    Args:
        inputs: Channels that come in.
        node: With channels, with kernel or height and width, perhaps with stride and activation.
    """

    def __init__(self, inputs: int, node: Node) -> None:
        super().__init__()
        linear = node.has("activation") and node["activation"] == "none"
        kernel = (node.number("height", node.number("kernel")), node.number("width", node.number("kernel")))
        padding, stride = (kernel[0] // 2, kernel[1] // 2), node.number("stride")
        self.conv = nn.Conv2d(inputs, node.number("channels"), kernel, stride, padding, bias=linear)
        self.norm = None if linear else nn.BatchNorm2d(node.number("channels"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, channels, ...)."""
        x = self.conv(x)
        return x if self.norm is None else functional.relu(self.norm(x))


class Separable(Conv):
    """A depthwise convolution, then one of 1x1; arguments as those of ``Conv``."""

    def __init__(self, inputs: int, node: Node) -> None:
        super().__init__(inputs, node)
        whole, bias = self.conv, self.conv.bias is not None
        kernel, stride = (whole.kernel_size[0], whole.kernel_size[1]), (whole.stride[0], whole.stride[1])
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.depthwise = nn.Conv2d(inputs, inputs, kernel, stride, padding, groups=inputs, bias=False)
        self.conv = nn.Conv2d(inputs, whole.out_channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return super().forward(self.depthwise(x))


def _max_pool(_inputs: int, node: Node) -> nn.Module:
    size, stride = node.number("size", 2), node.number("stride", 2)
    # ceil_mode: no row or column is lost, and images of one pixel remain.
    return nn.MaxPool2d(size, stride, padding=(size - 1) // 2, ceil_mode=True)


def _avg_pool(_inputs: int, node: Node) -> nn.Module:
    size, stride = node.number("size", 2), node.number("stride", 2)
    return nn.AvgPool2d(size, stride, padding=(size - 1) // 2, ceil_mode=True, count_include_pad=False)


OPERATIONS: Mapping[str, Callable[[int, Node], nn.Module]] = {
    "conv": Conv,
    **dict.fromkeys(("conv3", "conv5", "conv7"), Conv),
    "separable": Separable,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "identity": lambda _inputs, _node: nn.Identity(),
}
"""What makes each: of the channels that come in and the node."""
