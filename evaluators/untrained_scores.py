"""The scores of ``ZeroCost``: functions of an untrained network, a batch of images and their labels.

Those of blocks are in ``block_scores.py``, that of the Fisher information's spectrum in ``fisher_spectrum.py``. Each is
a function that changes nothing of the network, a name in ``Score`` and an entry in ``PROXIES``. References: see
``zero_cost.py`` and each score.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.components import import_object
from archsearch.errors import UsageError
from archsearch.evaluators.block_scores import expressivity, progressivity, trainability
from archsearch.evaluators.fisher_spectrum import DIRECTIONS, vkdnw
from archsearch.evaluators.untrained_passes import UNSCORABLE, UNUSED, constant, unchanged
from archsearch.networks.network import Network

Score = Literal[
    "params",
    "flops",
    "grad_norm",
    "snip",
    "grasp",
    "fisher",
    "synflow",
    "jacob_cov",
    "naswot",
    "swap",
    "expressivity",
    "progressivity",
    "trainability",
    "vkdnw",
]
"""What there is: ``params`` and ``flops``, which are measured, and the names in ``PROXIES``."""


def grad_norm(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Norms of the gradients of all weights, added up layer by layer (Abdelfattah et al. 2021)."""
    with unchanged(network):
        gradients = torch.autograd.grad(_loss(network, images, labels), _weights(network), **UNUSED)
    return float(sum(gradient.norm() for gradient in gradients))


def snip(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """What leaving a weight out does to the loss, to first order: |weight x gradient|, added up.

    Lee, Ajanthan & Torr, "SNIP: single-shot network pruning based on connection sensitivity", ICLR 2019.
    """
    weights = _weights(network)
    with unchanged(network):
        gradients = torch.autograd.grad(_loss(network, images, labels), weights, **UNUSED)
    return _total((weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True))


def grasp(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """What leaving a weight out does to the flow of gradients: -weight x (Hessian x gradient), added up.

    Wang, Zhang & Grosse, "Picking winning tickets before training by preserving gradient flow", ICLR 2020. The sign is
    that of the paper and of the published scores; positive and negative terms cancel, so any sum is possible. Where all
    gradients are 0 it is ``UNSCORABLE``.
    """
    weights = _weights(network)
    with unchanged(network):
        loss = _loss(network, images, labels)
        gradients = torch.autograd.grad(loss, weights, create_graph=True, **UNUSED)
        if not any(gradient.any() for gradient in gradients):
            return UNSCORABLE
        # The derivative of g(w) * g, with the second g held fast, is the Hessian times g.
        product = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
        curvatures = torch.autograd.grad(product, weights, **UNUSED)
    return _total(-weight * curvature for weight, curvature in zip(weights, curvatures, strict=True))


def fisher(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """What leaving a channel out does to the loss, to second order: half the mean square of activation x gradient.

    Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018; Turner et al., "BlockSwap",
    ICLR 2020. Channels are those that a layer with weights puts out; a channel's product is summed over its pixels,
    then squared. As in the published scores, each channel counts as often as it has weights.
    """
    layers: list[tuple[int, torch.Tensor]] = []

    def keep(weights: int, _module: nn.Module, _given: Any, output: torch.Tensor) -> None:
        layers.append((weights, output))

    with unchanged(network), contextlib.ExitStack() as hooks:
        for module in network.modules():
            per_channel = sum(weight[0].numel() for weight in module.parameters(recurse=False) if weight.dim() > 1)
            if per_channel:
                hooks.callback(module.register_forward_hook(functools.partial(keep, per_channel)).remove)
        outputs = network(images)
        if constant(outputs):  # else what the classifier's biases contribute would be left
            return 0.0
        loss = functional.cross_entropy(outputs, labels)
        gradients = torch.autograd.grad(loss, [output for _, output in layers], **UNUSED)
    products = (
        (weights, (output * gradient).flatten(2).sum(2) if output.dim() > 2 else output * gradient)
        for (weights, output), gradient in zip(layers, gradients, strict=True)
    )
    return _total(weights * product.square().mean(0) / 2 for weights, product in products)


def synflow(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """The flow through the weights of a positive network: weight x gradient of the summed output, added up; log(1 + .).

    Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow", NeurIPS 2020.
    All parameters have their absolute values, the image is all ones, batch normalisation passes on what it is given,
    and numbers have 64 bits. Of ``images`` the shape alone is used.
    """
    state = {
        name: value.detach().abs().double() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    weights = [state[name].requires_grad_() for name, parameter in network.named_parameters() if parameter.dim() > 1]
    with unchanged(network), contextlib.ExitStack() as hooks:
        network.eval()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                hooks.callback(module.register_forward_hook(lambda _module, given, _output: given[0]).remove)
        output = functional_call(network, state, (torch.ones_like(images[:1], dtype=torch.float64),))
        gradients = torch.autograd.grad(output.sum(), weights, **UNUSED)
    return math.log1p(_total((weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)))


def jacob_cov(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """How little the gradients of the summed outputs, with respect to each image, are correlated among the images.

    Mellor et al., "Neural architecture search without training", first version (arXiv 2006.04647v1), 2020: with v
    the eigenvalues of the correlation matrix, -sum(log(v + k) + 1 / (v + k)), k = 1e-5. A gradient that is
    the same for all pixels has no correlation; it counts as fully correlated with all others.
    """
    inputs = images.detach().clone().requires_grad_()
    with unchanged(network):
        (gradients,) = torch.autograd.grad(network(inputs).sum(), [inputs], **UNUSED)
    rows = gradients.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    lengths = rows.norm(dim=1)
    scale = lengths[:, None] * lengths
    correlation = torch.where(scale > 0, rows @ rows.T / scale.where(scale > 0, 1.0), 1.0)
    values = torch.linalg.eigvalsh(correlation.cpu()).clamp(min=0) + SMALLEST
    return -float((values.log() + 1 / values).sum())


def naswot(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """How well images are told apart by which ReLUs they make active: log |det K|.

    Mellor et al., "Neural architecture search without training", ICML 2021: K counts for each pair of images the ReLUs
    (of the whole network, ReLU6 included) that are in the same state, active or not. Images that make the same
    ReLUs active make K singular: eigenvalues below 1e-5 count as 1e-5, as do all where the output is the same for
    all images. K holds whole numbers, so where no two images are alike its eigenvalues are far larger.
    """
    with unchanged(network), torch.no_grad(), _Agreement() as counted:
        outputs = network(images)
    values = torch.zeros(len(images), dtype=torch.float64)
    if counted.kernel is not None and not constant(outputs):
        values = torch.linalg.eigvalsh(counted.kernel.cpu())
    return float(values.clamp(min=SMALLEST).log().sum())


def swap(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """In how many different ways the ReLUs' places tell the images apart; log(1 + .).

    Peng et al., "SWAP-NAS: sample-wise activation patterns for ultra-fast NAS", ICLR 2024: each place (a channel at a
    pixel) behind a ReLU is active for some images of the batch and not for others; counted is how many of these
    patterns differ. Where the output is the same for all images it is 0.
    """
    with unchanged(network), torch.no_grad(), _Patterns() as seen:
        outputs = network(images)
    if not seen.patterns or constant(outputs):
        return 0.0
    return math.log1p(len(torch.unique(torch.cat(seen.patterns))))


class Proxy(NamedTuple):
    """A score of a network, and what it takes.

    Attributes:
        score: The function.
        passes: What it takes for each image, in forward passes; a backward pass counts as two of them.
        uses_images: Whether it sees the batch, or a single image that is none.
    """

    score: Callable[[Network, torch.Tensor, torch.Tensor], float]
    passes: int
    uses_images: bool = True


PROXIES: Mapping[str, Proxy] = {
    "grad_norm": Proxy(grad_norm, 3),
    "snip": Proxy(snip, 3),
    "grasp": Proxy(grasp, 9),  # the second backward pass goes through the first, too: 1 + 2 + 2 * (1 + 2)
    "fisher": Proxy(fisher, 2),  # backward to what the layers put out, not to the weights
    "synflow": Proxy(synflow, 3, uses_images=False),
    "jacob_cov": Proxy(jacob_cov, 2),  # backward to the images, not to the weights
    "naswot": Proxy(naswot, 1),
    "swap": Proxy(swap, 1),
    "expressivity": Proxy(expressivity, 1),
    "progressivity": Proxy(progressivity, 1),
    "trainability": Proxy(trainability, 2),  # backward from block to block
    "vkdnw": Proxy(vkdnw, 1 + DIRECTIONS),  # backward to what the layers put out, once for each direction
}
"""The scores that need a network; ``params`` and ``flops`` are measured."""

PASSES_OF_OTHERS = 3
"""What a function of the user's is billed as: one pass forward and one backward."""

SMALLEST = 1e-5
"""Least eigenvalue that is told from 0; k of ``jacob_cov``."""


def proxy_of(score: Score | Callable[..., Any] | str) -> Proxy | None:
    """The score of that name, or one of the user's; None: it needs no network's weights, but is measured.

    Args:
        score: A name, a function as those above, or the import path of one.

    Raises:
        UsageError: If it is none of these.
    """
    if isinstance(score, str) and score in get_args(Score):
        return PROXIES.get(score)
    function = import_object(score) if isinstance(score, str) and re.search("[.:]", score) else score
    if not callable(function):
        raise UsageError(
            f"ZeroCost: score: expected one of {', '.join(get_args(Score))}, or the import path of a function of "
            f"yours, got {score!r}"
        )
    return Proxy(function, PASSES_OF_OTHERS)


def _weights(network: Network) -> list[nn.Parameter]:
    """Kernels and matrices, as the papers score; neither biases nor what belongs to batch normalisation."""
    return [parameter for parameter in network.parameters() if parameter.dim() > 1]


def _loss(network: Network, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(network(images), labels)


def _total(terms: Iterator[torch.Tensor]) -> float:
    return float(sum(term.detach().sum(dtype=torch.float64) for term in terms))


class _Activations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Is told which ReLUs are active for which images while it is entered, those that are no modules included."""

    _RELUS = (torch.ops.aten.relu, torch.ops.aten.relu_, torch.ops.aten.hardtanh, torch.ops.aten.hardtanh_)

    def note(self, active: torch.Tensor) -> None:
        """What one of them does, shape (images, places)."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func._overloadpacket in self._RELUS:
            self.note((args[0] > 0).flatten(1))
        return func(*args, **(kwargs or {}))


class _Agreement(_Activations):  # type: ignore[no-untyped-call]
    """Counts ReLUs in the same state.

    Attributes:
        kernel: For each pair of images how many there were; None: none at all.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel: torch.Tensor | None = None

    def note(self, active: torch.Tensor) -> None:
        """Adds a layer of them."""
        ones = active.float()
        # n - a - b + 2ab is 1 where both are active or neither is: one product instead of two.
        counts = ones.sum(1)
        same = ones.shape[1] - counts[:, None] - counts + 2 * ones @ ones.T
        self.kernel = same.double() if self.kernel is None else self.kernel + same


class _Patterns(_Activations):  # type: ignore[no-untyped-call]
    """Numbers for which images each place behind a ReLU is active.

    Equal patterns have equal numbers. Up to ``DIGITS`` images different ones have different numbers; with more, two of
    them share one with a probability of about 2^-64.

    Attributes:
        patterns: The different ones of each layer.
    """

    DIGITS, FACTOR = 48, 0x5851F42D4C957F2D  # binary digits that a double holds with room to spare; an odd number

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.patterns: list[torch.Tensor] = []

    def note(self, active: torch.Tensor) -> None:
        """Adds those of a layer."""
        numbers = torch.zeros(active.shape[1], dtype=torch.int64, device=active.device)
        for some in torch.split(active.double(), self.DIGITS):
            digits = 2.0 ** torch.arange(len(some), dtype=torch.float64, device=active.device)
            numbers = numbers * self.FACTOR + (digits @ some).long()
        self.patterns.append(torch.unique(numbers))
