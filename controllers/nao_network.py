"""The networks of ``NAO``: an encoder, what predicts scores from its outputs, and a decoder.

Reference: Luo, Tian, Qin, Chen & Liu, "Neural architecture optimization", NeurIPS 2018, section 3, and the authors'
code: the outputs of the encoder are brought to length 1, their mean is the embedding, which the predictor reads and
the decoder begins with; the decoder attends to the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from archsearch.models.networks import one_thread
from archsearch.networks.network import build
from archsearch.space import Space
from archsearch.trial import Architecture

BATCH = 100
RATE = 0.001
DECAY = 1e-4
CLIP = 5.0
"""Examples per step, the least of Adam's learning rates, weight decay, largest norm of a gradient; see ``fitted``."""


class Read(NamedTuple):
    """Architectures as tensors, all of shape (n, length).

    Attributes:
        options: 1 + the option of each decision; 0 where there is none.
        arities: Options of each decision; 0 where there is none.
    """

    options: torch.Tensor
    arities: torch.Tensor

    @property
    def there(self) -> torch.Tensor:
        """Whether there is a decision."""
        return self.options > 0


def read(space: Space, architectures: Sequence[Architecture]) -> Read:
    """Architectures of a space as tensors."""
    options = np.zeros((len(architectures), max(map(len, architectures))), np.int64)
    arities = np.zeros_like(options)
    for row, architecture in enumerate(architectures):
        options[row, : len(architecture)] = np.array(architecture) + 1
        arities[row, : len(architecture)] = [space.arity(architecture[:i]) for i in range(len(architecture))]
    return Read(torch.from_numpy(options), torch.from_numpy(arities))


class Autoencoder(nn.Module):
    """Encoder, predictor and decoder.

    Args:
        options: Most options of a decision.
        places: Most decisions.
        width: Of embeddings, LSTMs and the hidden layer.
    """

    def __init__(self, options: int, places: int, width: int) -> None:
        super().__init__()
        self.options = options
        self.option = _Embedding(options + 1, width)
        self.decision = _Embedding(places * options + 1, width)
        self.encoder = _LSTM(width, width, batch_first=True)
        self.decoder = _LSTM(width, width, batch_first=True)
        self.asked = nn.Linear(width, width)
        self.joined = nn.Linear(2 * width, width)
        self.chosen = nn.Linear(width, options)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)

    def _embedded(self, options: torch.Tensor, first: int) -> torch.Tensor:
        """Decisions as vectors: the option, and the option at that place; 0 is no decision, and the begin."""
        places = torch.arange(first, first + options.shape[1])
        found: torch.Tensor = self.option(options) + self.decision((places * self.options + options) * (options > 0))
        return found

    def encode(self, given: Read) -> torch.Tensor:
        """Outputs of length 1 after each decision, shape (n, length, width); zeros where there is none."""
        outputs = self.encoder(self._embedded(given.options, 0))[0]
        return functional.normalize(outputs, dim=-1) * given.there[..., None]

    def embedding(self, outputs: torch.Tensor) -> torch.Tensor:
        """Of architectures: shape (n, length, width) to (n, width)."""
        return functional.normalize(outputs.sum(1), dim=-1)

    def predict(self, outputs: torch.Tensor) -> torch.Tensor:
        """Scores between 0 and 1, shape (n,)."""
        hidden = functional.relu(self.hidden(self.embedding(outputs)))
        found: torch.Tensor = torch.sigmoid(self.score(hidden)).squeeze(1)
        return found

    def decode(
        self,
        outputs: torch.Tensor,
        fed: torch.Tensor,
        first: int = 0,
        state: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Logits of the next options.

        Args:
            outputs: Of the encoder, perhaps moved.
            fed: The decisions before each, as in ``Read.options``, 0 at the begin: shape (n, steps).
            first: Place of the first of them.
            state: Of the decoder before; None: this is the begin.

        Returns:
            Shape (n, steps, options), and the state of the decoder after them.
        """
        if state is None:
            begin = self.embedding(outputs)[None]
            state = begin, begin
        found, state = self.decoder(self._embedded(fed, first - 1), state)
        there = outputs.abs().sum(-1) > 0
        weights = self.asked(found) @ outputs.transpose(1, 2)
        weights = weights.masked_fill(~there[:, None], -math.inf).softmax(-1)
        joined = torch.tanh(self.joined(torch.cat([weights @ outputs, found], -1)))
        return self.chosen(joined), state


def fitted(
    space: Space,
    architectures: Sequence[Architecture],
    targets: Sequence[float],
    *,
    width: int,
    epochs: int,
    weight: float,
    noise: float,
    seed: int,
) -> Autoencoder:
    """Trains all three parts together: Adam, whose learning rate rises to ten times ``RATE`` and falls (ours).

    Args:
        space: Where the architectures are from.
        architectures: To learn from.
        targets: Their scores, from 0 to 1.
        width: Of the networks.
        epochs: Passes over the architectures.
        weight: Of the loss of the predictor, 0 to 1; the decoder has the rest.
        noise: Standard deviation of what is added to the encoder's outputs.
        seed: Decides initial weights, batches and noise.
    """
    given, wanted = read(space, architectures), torch.tensor(targets, dtype=torch.float32)
    fed = functional.pad(given.options, (1, 0))[:, :-1]
    network: Autoencoder = build(lambda: Autoencoder(space.max_options, space.max_length, width), seed)
    random = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), RATE, weight_decay=DECAY, foreach=False)
    rows = -(-len(wanted) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 10 * RATE, total_steps=epochs * rows)
    with one_thread(), torch.enable_grad():
        for _ in range(epochs):
            for places in torch.randperm(len(wanted), generator=random).chunk(rows):
                some = Read(given.options[places], given.arities[places])
                outputs = network.encode(some)
                outputs = outputs + noise * torch.randn(outputs.shape, generator=random) * some.there[..., None]
                logits = _possible(network.decode(outputs, fed[places])[0], some.arities)
                told = functional.cross_entropy(logits[some.there], some.options[some.there] - 1)
                loss = weight * functional.mse_loss(network.predict(outputs), wanted[places]) + (1 - weight) * told
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), CLIP, foreach=False)
                optimiser.step()
                schedule.step()
    return network


@torch.no_grad()
def predicted(network: Autoencoder, space: Space, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
    """What the predictor says of architectures, shape (n,), from 0 to 1."""
    with one_thread():
        return network.predict(network.encode(read(space, architectures))).double().numpy()


def moved(network: Autoencoder, given: Read, step: float) -> torch.Tensor:
    """The encoder's outputs, moved along the gradient of what is predicted; by step 0 as they are."""
    with one_thread(), torch.enable_grad():
        outputs = network.encode(given).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(network.predict(outputs).sum(), outputs)
    return (outputs + step * gradient).detach() * given.there[..., None]


@torch.no_grad()
def decoded(network: Autoencoder, space: Space, outputs: torch.Tensor) -> list[Architecture]:
    """The most probable option of each decision, one after another; all are architectures of the space."""
    prefixes: list[Architecture] = [()] * len(outputs)
    fed, state = torch.zeros(len(outputs), 1, dtype=torch.long), None
    with one_thread():
        for place in range(space.max_length):
            arities = [space.arity(prefix) for prefix in prefixes]
            if not any(arities):
                break
            logits, state = network.decode(outputs, fed, place, state)
            options = _possible(logits[:, 0], torch.tensor(arities)).argmax(-1)
            prefixes = [
                (*prefix, option) if arity else prefix
                for prefix, option, arity in zip(prefixes, options.tolist(), arities, strict=True)
            ]
            fed = options[:, None] + 1
    return prefixes


def _possible(logits: torch.Tensor, arities: torch.Tensor) -> torch.Tensor:
    """Logits without options that a decision does not have."""
    return logits.masked_fill(torch.arange(logits.shape[-1]) >= arities[..., None], -1e9)


class _LSTM(nn.LSTM):
    """An LSTM whose weights are drawn from a generator, as PyTorch's own are from the global one."""

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            weight.detach().uniform_(-bound, bound, generator=generator)


class _Embedding(nn.Embedding):
    """An embedding, likewise."""

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``."""
        self.weight.detach().normal_(generator=generator)
