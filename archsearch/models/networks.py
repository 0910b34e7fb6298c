"""Several small networks of one shape, trained at once: what the models share that are ensembles of networks.

The first axis of every tensor counts the networks, so that a matrix product serves all of them: for networks this small
it is the number of calls that takes the time. All weights lie in one vector, which makes a step of Adam one call too.
"""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from archsearch.basics.checks import at_least_one, is_finite
from archsearch.errors import UsageError
from archsearch.model import Model, Prediction

Weights = dict[str, torch.Tensor]
"""By name; the first axis counts the networks."""

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of a network's weights by name, the axis of its inputs last but one; biases have one axis."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Products this small take longer with threads, and up to 60 times as long where other processes use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def generator(rng: np.random.Generator) -> torch.Generator:
    """A generator of PyTorch that is seeded by one of NumPy."""
    return torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))


def drawn(networks: int, shapes: Shapes, random: torch.Generator) -> Weights:
    """Weights drawn uniformly with variance 2 / inputs (He et al., ICCV 2015); biases are zero."""
    weights = {}
    for name, shape in shapes.items():
        weights[name] = torch.zeros(networks, *shape)
        if len(shape) > 1:
            bound = math.sqrt(6 / shape[-2])
            weights[name].uniform_(-bound, bound, generator=random)
    return weights


def linear(inputs: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    """A layer whose weights are called ``name`` and whose bias ``name.bias``: (networks, n, inputs) to outputs."""
    return torch.baddbmm(weights[f"{name}.bias"][:, None], inputs, weights[name])


def batches(networks: int, n: int, size: int, random: torch.Generator) -> Iterator[torch.Tensor]:
    """An epoch: the places of n examples in batches of shape (networks, size); each network has an order of its own."""
    order = torch.rand(networks, n, generator=random).argsort(1)
    for begin in range(0, n, size):
        yield order[:, begin : begin + size]


def train(
    weights: Weights,
    loss: Callable[[Weights, torch.Tensor], torch.Tensor],
    n: int,
    random: torch.Generator,
    *,
    epochs: int,
    batch: int,
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    decay: float = 0.0,
) -> Weights:
    """Adam, the learning rate falling to zero along half a cosine.

    Args:
        weights: Where it begins.
        loss: Of weights and places of examples, shape (networks, batch): the sum over networks of their mean losses.
        n: Number of examples.
        random: Draws the order of the examples.
        epochs: Passes over the examples.
        batch: Examples per step.
        rate: Learning rate at the beginning.
        betas: Of Adam.
        decay: Decoupled weight decay, as in AdamW.
    """
    sizes, shapes = [each.numel() for each in weights.values()], [each.shape for each in weights.values()]
    flat = torch.cat([each.reshape(-1) for each in weights.values()]).requires_grad_()
    optimiser = torch.optim.AdamW([flat], rate, betas, weight_decay=decay, foreach=False)
    steps, step = epochs * math.ceil(n / batch), 0

    def named() -> Weights:
        parts = [part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)]
        return dict(zip(weights, parts, strict=True))

    with one_thread(), torch.enable_grad():
        for _ in range(epochs):
            for places in batches(shapes[0][0], n, batch, random):
                optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
                optimiser.zero_grad()
                loss(named(), places).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
    # Copies: each tensor of its own, not a view of all.
    return {name: each.detach().clone() for name, each in named().items()}


def look_up(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Each network's rows of its own table: (networks, rows, width) and (networks, ...) to (networks, ..., width)."""
    first = torch.arange(len(table)).mul(table.shape[1]).view(-1, *[1] * (rows.dim() - 1))
    return torch.nn.functional.embedding(rows + first, table.flatten(0, 1))


def together(parts: Iterable[torch.Tensor]) -> Prediction:
    """Mean and standard deviation across networks of what they give, in parts of shape (networks, some of n)."""
    with one_thread():
        found = torch.cat(list(parts), 1).double().numpy()
    return Prediction(found.mean(0), found.std(0))


def above_zero(owner: str, name: str, value: float) -> float:
    """``value`` if it is a finite number > 0.

    Raises:
        UsageError: If not; the message names the owner and the setting.
    """
    if not is_finite(value) or value <= 0:
        raise UsageError(f"{owner}: {name}: expected a number > 0, got {value!r}")
    return value


class NetworkEnsemble(Model, abc.ABC):
    """Base of the models that are several networks trained at once: their common settings, training and files.

    Args:
        networks: How many, >= 1; a single one has no spread.
        width: Units of a layer, >= 1.
        epochs: Passes over the labels, >= 1.
        learning_rate: At the beginning; it falls to zero along half a cosine. > 0.
    """

    _weights: Weights

    def __init__(self, networks: int = 3, width: int = 32, epochs: int = 100, learning_rate: float = 0.01) -> None:
        owner = type(self).__name__
        self.networks = at_least_one(owner, "networks", networks)
        self.width = at_least_one(owner, "width", width)
        self.epochs = at_least_one(owner, "epochs", epochs)
        self.learning_rate = above_zero(owner, "learning_rate", learning_rate)

    @abc.abstractmethod
    def _fit(self, rng: np.random.Generator) -> None: ...

    def _trained(
        self,
        weights: Weights,
        loss: Callable[[Weights, torch.Tensor], torch.Tensor],
        random: torch.Generator,
        batch: int,
        **settings: Any,
    ) -> Weights:
        """The weights after all epochs; ``settings`` are those of ``train``."""
        n = len(self.targets)
        return train(weights, loss, n, random, epochs=self.epochs, batch=batch, rate=self.learning_rate, **settings)

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {name: each.numpy() for name, each in self._weights.items()}

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._weights = {name: torch.from_numpy(np.array(each)) for name, each in state.items()}
