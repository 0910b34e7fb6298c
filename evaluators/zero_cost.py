"""Scores at initialisation: what a network's weights and one batch of images tell before any training.

References: Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021 (which made scores of networks out of
``grad_norm``, ``snip``, ``grasp``, ``fisher`` and ``synflow``, by adding up what they give each weight or channel), and
those named at each score below. For the published scores of NAS-Bench-201 see ``Tabular(zero_cost=...)``.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.abilities import trainable
from archsearch.basics.checks import at_least_one, whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import UsageError
from archsearch.evaluators.training import BuiltOnTraining, Training
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import Network, build
from archsearch.space import Space
from archsearch.task import Task
from archsearch.training.meter import Meter
from archsearch.training.repeats import repeat_seed
from archsearch.trial import Architecture, Cost, Evaluation

Score = Literal["params", "flops", "grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov", "naswot"]


class ZeroCost(BuiltOnTraining):
    """Scores a network as it is initialised, without training it; higher is meant to be better.

    ``params``: number of parameters; ``flops``: multiply-adds of an image. Neither looks at weights or images. Where
    sizes of options add up, as parameters mostly do, no network is built for it, but some once, as set-up.
    ``synflow``: weights times gradients of a positive network, without images; log(1 + .) of the published sum, which
    keeps its order and is finite for deep networks.
    ``grad_norm``, ``snip``, ``grasp``, ``fisher``: from the gradient of the cross-entropy on one batch.
    ``jacob_cov``, ``naswot``: how well one batch's images are told apart by their gradients, or by which ReLUs they
    make active; labels are not used.

    A network whose output is the same for all images, such as one of a NAS-Bench-201 cell without a path to its output,
    has the lowest score that there is: 0 (``grad_norm``, ``snip``, ``fisher``, ``synflow``), that of images that
    nothing tells apart (``jacob_cov``, ``naswot``), or, since ``grasp`` has no lowest one, ``UNSCORABLE``.

    Reported: ``params`` and ``flops`` of networks that are scored, with ``repeats`` above 1 ``score_deviation``.
    Billed: seconds of the device, examples that went forward and backward, and floating-point operations of all passes
    of the network.

    Args:
        score: Which score.
        training: Says which task, skeleton, device and threads to use, and with ``train_examples`` which images; the
            rest of it plays no part. None: ``Training(task)``.
        task: A task by name or path, or a ``Task``: short for a ``training`` with nothing else.
        batch: Training images in the batch, >= 2, not augmented; drawn by the seed, as are the weights.
        repeats: Initialisations, each with its own batch, whose scores are averaged, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        score: Score = "synflow",
        training: Training | None = None,
        task: str | Task | None = None,
        batch: int = 64,
        repeats: int = 1,
    ) -> None:
        super().__init__(task, training)
        if score not in get_args(Score):
            raise UsageError(f"ZeroCost: score: expected one of {', '.join(get_args(Score))}, got {score!r}")
        self.score = score
        self.batch = whole_number("ZeroCost", "batch", batch, 2)
        self.repeats = at_least_one("ZeroCost", "repeats", repeats)

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space builds no networks, ``UsageError`` if it lacks a given setting."""
        trainable(space, "ZeroCost")
        self.training.check(space)

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space, and reads the task."""
        super().start(space)
        self._parts: list[list[int]] | None = None
        images = len(self.trainer.chosen)
        if self.score in PROXIES and PROXIES[self.score].uses_images and self.batch > images:
            raise UsageError(
                f"ZeroCost: batch: expected at most {images}, the training images in use, got {self.batch}"
            )

    def fingerprints(self) -> Mapping[str, str]:
        """See ``Evaluator``: the images."""
        return {"task": self.trainer.data.fingerprint}

    def prepare(self) -> Cost:
        """Finds out, for ``params`` and ``flops``, whether options add up to the size of a network."""
        cost = self.training.prepare()
        if self.score in PROXIES:
            return cost
        with self.trainer.session() as meter:
            self._parts = parts(self.space, lambda architecture: int(self.measure(architecture)[self.score]))
            return cost + meter.cost()

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores an architecture's network; a score that is not finite makes the trial a failed one."""
        self.space.validate(architecture)
        if self._parts is not None:
            begun = time.process_time()
            size = float(sum(part[option] for part, option in zip(self._parts, architecture, strict=True)))
            return Evaluation(size, {self.score: size}, Cost(device_seconds=time.process_time() - begun))
        with self.trainer.session() as meter:
            if self.score not in PROXIES:
                size = float(self.measure(architecture)[self.score])
                return Evaluation(size, {self.score: size}, meter.cost())
            found = [self._once(architecture, repeat_seed(seed, i), meter) for i in range(self.repeats)]
            metrics = dict(found[0][1])
            scores = [score for score, _ in found]
            if self.repeats > 1:
                metrics["score_deviation"] = float(np.std(scores, ddof=1))
            return Evaluation(float(np.mean(scores)), metrics, meter.cost())

    def _once(self, architecture: Architecture, seed: int, meter: Meter) -> tuple[float, Mapping[str, float]]:
        """The score of one initialisation, and the network's sizes."""
        trainer, proxy = self.trainer, PROXIES[self.score]
        network: Network = build(lambda: trainer.network(architecture), seed, trainer.where)
        # Of the network that is there anyhow: ``measure`` would build another one.
        macs = multiply_adds(network, trainer.data.input_shape)
        score = proxy.score(network, *self._images(seed))
        if proxy.uses_images and proxy.passes > 1:
            meter.trained(self.batch, 0)  # counts the examples; the operations are counted here
        meter.forwarded(proxy.passes * (self.batch if proxy.uses_images else 1), macs)
        return score, {"params": parameter_count(network), "flops": macs}

    def _images(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The images and labels of a batch."""
        images, labels = self.trainer.data.part("train", self.trainer.where)
        chosen = self.trainer.chosen
        drawn = stream(seed, "batch").choice(len(chosen), min(self.batch, len(chosen)), replace=False)
        batch = chosen[torch.from_numpy(drawn)].to(self.trainer.where)
        return images[batch], labels[batch]


def parts(space: Space, size: Callable[[Architecture], int]) -> list[list[int]] | None:
    """What each option of each decision adds to the size of a network, if that is all there is to it.

    The size of one architecture is shared among the decisions, so that those of an architecture's options add up to its
    own. Tried on ``TRIED`` random architectures: a single one that is of another size tells that options do not add up,
    as where the width of a layer counts in the next one.

    Args:
        space: The space.
        size: The true size.

    Returns:
        The sizes by decision and option; None if they do not add up, or the space is of no fixed length.
    """
    if space.arities is None:
        return None
    first = (0,) * space.max_length
    whole = size(first)
    found = [
        [size((*first[:place], option, *first[place + 1 :])) - whole for option in range(arity)]
        for place, arity in enumerate(space.arities)
    ]
    found[0] = [part + whole for part in found[0]]
    rng = stream(0, "parts")
    for _ in range(TRIED):
        architecture = space.sample(rng)
        if sum(part[option] for part, option in zip(found, architecture, strict=True)) != size(architecture):
            return None
    return found


TRIED = 20
"""Random architectures whose size must be the sum of their parts."""


# -- the scores: each takes a network with its initial weights, images and labels, and changes none of them --


def grad_norm(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Norms of the gradients of all weights, added up layer by layer (Abdelfattah et al. 2021)."""
    with _unchanged(network):
        gradients = torch.autograd.grad(_loss(network, images, labels), _weights(network), **_UNUSED)
    return float(sum(gradient.norm() for gradient in gradients))


def snip(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """What leaving a weight out does to the loss, to first order: |weight x gradient|, added up.

    Lee, Ajanthan & Torr, "SNIP: single-shot network pruning based on connection sensitivity", ICLR 2019.
    """
    weights = _weights(network)
    with _unchanged(network):
        gradients = torch.autograd.grad(_loss(network, images, labels), weights, **_UNUSED)
    return _total((weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True))


def grasp(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """What leaving a weight out does to the flow of gradients: -weight x (Hessian x gradient), added up.

    Wang, Zhang & Grosse, "Picking winning tickets before training by preserving gradient flow", ICLR 2020. The sign is
    that of the paper and of the published scores; positive and negative terms cancel, so any sum is possible. Where all
    gradients are 0 it is ``UNSCORABLE``.
    """
    weights = _weights(network)
    with _unchanged(network):
        loss = _loss(network, images, labels)
        gradients = torch.autograd.grad(loss, weights, create_graph=True, **_UNUSED)
        if not any(gradient.any() for gradient in gradients):
            return UNSCORABLE
        # The derivative of g(w) * g, with the second g held fast, is the Hessian times g.
        product = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
        curvatures = torch.autograd.grad(product, weights, **_UNUSED)
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

    with _unchanged(network), contextlib.ExitStack() as hooks:
        for module in network.modules():
            per_channel = sum(weight[0].numel() for weight in module.parameters(recurse=False) if weight.dim() > 1)
            if per_channel:
                hooks.callback(module.register_forward_hook(functools.partial(keep, per_channel)).remove)
        outputs = network(images)
        if _constant(outputs):  # else what the classifier's biases contribute would be left
            return 0.0
        loss = functional.cross_entropy(outputs, labels)
        gradients = torch.autograd.grad(loss, [output for _, output in layers], **_UNUSED)
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
    with _unchanged(network), contextlib.ExitStack() as hooks:
        network.eval()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                hooks.callback(module.register_forward_hook(lambda _module, given, _output: given[0]).remove)
        output = functional_call(network, state, (torch.ones_like(images[:1], dtype=torch.float64),))
        gradients = torch.autograd.grad(output.sum(), weights, **_UNUSED)
    return math.log1p(_total((weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)))


def jacob_cov(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """How little the gradients of the summed outputs, with respect to each image, are correlated among the images.

    Mellor et al., "Neural architecture search without training", first version (arXiv 2006.04647v1), 2020: with v
    the eigenvalues of the correlation matrix, -sum(log(v + k) + 1 / (v + k)), k = 1e-5. A gradient that is
    the same for all pixels has no correlation; it counts as fully correlated with all others.
    """
    inputs = images.detach().clone().requires_grad_()
    with _unchanged(network):
        (gradients,) = torch.autograd.grad(network(inputs).sum(), [inputs], **_UNUSED)
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
    with _unchanged(network), torch.no_grad(), _Agreement() as counted:
        outputs = network(images)
    values = torch.zeros(len(images), dtype=torch.float64)
    if counted.kernel is not None and not _constant(outputs):
        values = torch.linalg.eigvalsh(counted.kernel.cpu())
    return float(values.clamp(min=SMALLEST).log().sum())


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
}
"""The scores that need a network; ``params`` and ``flops`` are measured."""

SMALLEST = 1e-5
"""Least eigenvalue that is told from 0; k of ``jacob_cov``."""

UNSCORABLE = -1e8
"""``grasp`` where there is no gradient: what NAS-Bench-Suite-Zero has for networks that it could not score."""

_UNUSED: Mapping[str, Any] = {"allow_unused": True, "materialize_grads": True}
"""Of weights that no path uses the gradient is 0."""


def _weights(network: Network) -> list[nn.Parameter]:
    """Kernels and matrices, as the papers score; neither biases nor what belongs to batch normalisation."""
    return [parameter for parameter in network.parameters() if parameter.dim() > 1]


def _loss(network: Network, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(network(images), labels)


def _constant(outputs: torch.Tensor) -> bool:
    """Whether a network gives the same for all images."""
    return bool((outputs == outputs[:1]).all())


def _total(terms: Iterator[torch.Tensor]) -> float:
    return float(sum(term.detach().sum(dtype=torch.float64) for term in terms))


@contextlib.contextmanager
def _unchanged(network: Network) -> Iterator[None]:
    """Makes batch normalisation use the statistics of the batch for a while; then all is as before."""
    training = network.training
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train()
    try:
        yield
    finally:
        network.train(training)
        for buffer, value in kept:
            buffer.copy_(value)


class _Agreement(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, for each pair of images, ReLUs in the same state while it is entered, also those that are no modules."""

    _RELUS = (torch.ops.aten.relu, torch.ops.aten.relu_, torch.ops.aten.hardtanh, torch.ops.aten.hardtanh_)

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel: torch.Tensor | None = None  # none at all

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func._overloadpacket in self._RELUS:
            active = (args[0] > 0).flatten(1).float()
            # n - a - b + 2ab is 1 where both are active or neither is: one product instead of two.
            counts = active.sum(1)
            same = active.shape[1] - counts[:, None] - counts + 2 * active @ active.T
            self.kernel = same.double() if self.kernel is None else self.kernel + same
        return func(*args, **(kwargs or {}))
