"""VKDNW: how evenly the eigenvalues of a network's Fisher information are spread.

Reference: Tybl & Neumann, "Training-free neural architecture search through variance of knowledge of deep network
weights", CVPR 2025. What was chosen here, where the paper leaves it open or is not followed:

- One weight of each layer: that from its first channel to its first, at the kernel's centre.
- Batch normalisation has the statistics of the batch, as constants: then what a network says of one image has a
  gradient of its own. In layers that normalise by functions of their own, the gradient goes through the statistics.
- Up to ``DIRECTIONS`` classes the Fisher information of each image is exact. With more, it is that of as many random
  directions in the space of classes, the same in every call: right on average, at the same cost for any number.
- The entropy is divided by its largest value, so that it is a fraction and the number of layers the integer part.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from archsearch.evaluators.untrained_passes import UNUSED, LayerCall, LayerCalls, constant, entropy, unchanged
from archsearch.networks.network import Network

DIRECTIONS = 8
"""Most backward passes."""

QUANTILES = tuple(i / 10 for i in range(2, 10))
"""Of the eigenvalues: the second to the ninth decile."""


def vkdnw(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """The number of layers with weights, plus the entropy of the deciles of the Fisher information's eigenvalues.

    The entropy is between 0 and 1: 1 where all directions of the weights tell as much of the classes. Where the output
    is the same for all images the score is 0.
    """
    with unchanged(network):
        with LayerCalls(steady=True) as layers:
            outputs = network(images)
        if constant(outputs):
            return 0.0
        values = torch.linalg.eigvalsh(_information(outputs, layers.calls).double().cpu()).clamp(min=0)
    return len(layers.calls) + evenness(values)


def evenness(values: torch.Tensor) -> float:
    """Of eigenvalues >= 0: the entropy of their deciles, as shares of their sum, between 0 and 1; 0 if all are 0."""
    deciles = torch.quantile(values, values.new_tensor(QUANTILES))
    return entropy(deciles) / math.log(len(QUANTILES))


def _information(outputs: torch.Tensor, calls: list[LayerCall]) -> torch.Tensor:
    """The Fisher information of a weight of each layer, the mean over images, shape (layers, layers).

    An image's is J' (diag(p) - p p') J, with J the Jacobian of the logits and p the probabilities of the classes; the
    matrix in the middle is a product R R', whose columns are passed backward one by one.
    """
    factors = [_factor(call) for call in calls]
    shares = functional.softmax(outputs.detach(), 1)
    roots, directions = shares.sqrt(), _directions(outputs.shape[1]).to(shares)
    # R is diag(sqrt p) - p sqrt(p)': R R' is diag(p) - p p', as the squares of sqrt p add up to 1.
    columns = (roots[:, :, None] * directions - shares[:, :, None] * (roots @ directions)[:, None]).unbind(2)
    found = torch.zeros(len(calls), len(calls), dtype=torch.float64, device=outputs.device)
    for column in columns:
        gradients = torch.autograd.grad(outputs, [call.output for call in calls], column, retain_graph=True, **UNUSED)
        rows = torch.stack(
            [_of_weight(call, gradient, each) for call, gradient, each in zip(calls, gradients, factors, strict=True)]
        ).double()
        found += rows @ rows.T
    return found / len(outputs)


def _directions(classes: int) -> torch.Tensor:
    """Orthogonal columns that span all classes, or ``DIRECTIONS`` random ones, of such length that D D' averages 1."""
    if classes <= DIRECTIONS:
        return torch.eye(classes)
    noise = torch.randn(classes, DIRECTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found: torch.Tensor = torch.linalg.qr(noise).Q * math.sqrt(classes / DIRECTIONS)
    return found


def _factor(call: LayerCall) -> torch.Tensor:
    """What the weight is multiplied by, at each position of the layer's first output channel."""
    images = call.images.detach()
    if call.options is None:
        return images[..., 0]
    height, width = call.weight.shape[2:]
    kernel = torch.zeros_like(call.weight[:1, :1])
    kernel[0, 0, height // 2, width // 2] = 1
    first: torch.Tensor = functional.conv2d(images[:, :1], kernel, None, *call.options)[:, 0]
    return first


def _of_weight(call: LayerCall, gradient: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """For each image the gradient with respect to the weight, from that with respect to the layer's output."""
    first = gradient[..., 0] if call.options is None else gradient[:, 0]
    return (first * factor).reshape(len(gradient), -1).sum(1)
