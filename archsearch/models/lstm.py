"""A recurrent network that reads an architecture decision by decision: a predictor in the manner of Peephole.

Reference: Deng, Yan & Lin, "Peephole: predicting network performance before training", 2017: codes of layers are
embedded, an LSTM (Hochreiter & Schmidhuber, 1997) reads them, and a small network scores its last state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from archsearch.model import Features, Prediction
from archsearch.models import networks as nets
from archsearch.models.networks import NetworkEnsemble, Weights
from archsearch.space import tokens, vocabulary
from archsearch.trial import Architecture

BATCH = 32
DECAY = 0.1
ROWS = 4_096
"""Architectures that are predicted at a time, so that states stay small."""


class LSTM(NetworkEnsemble):
    """LSTM over the decisions of an architecture, few or many: needs no graph, but several times as many labels.

    The spread is the standard deviation across networks. The loss is the mean absolute error. Peephole also embeds the
    epoch whose accuracy is predicted, and reads one layer of a chain at a time; here a decision is read at a time, as
    the sum of an embedding of its option and one of option and place. It cannot see that two architectures compute
    the same.

    Args:
        width: Units of the LSTM, and of the layer after it, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    def _fit(self, rng: np.random.Generator) -> None:
        read = torch.from_numpy(tokens(self.space, self.architectures))
        targets = torch.from_numpy(self.targets.astype(np.float32))
        random = nets.generator(rng)

        def loss(weights: Weights, places: torch.Tensor) -> torch.Tensor:
            return (_outputs(weights, read[places]) - targets[places]).abs().mean(1).sum()

        self._weights = self._trained(self._drawn(random), loss, random, BATCH, decay=DECAY)

    def _drawn(self, random: torch.Generator) -> Weights:
        width, options = self.width, self.space.max_options
        shapes: dict[str, tuple[int, ...]] = {
            "before": (width, 4 * width),
            "hidden": (width, width),
            "hidden.bias": (width,),
            "score": (width, 1),
            "score.bias": (1,),
        }
        weights = nets.drawn(self.networks, shapes, random)
        weights["before"] /= 2
        # Embeddings are read through one matrix only, so the tables hold the products: signals of all four gates.
        weights["option"] = torch.randn(self.networks, options, 4 * width, generator=random) / 2
        decisions = vocabulary(self.space)
        weights["decision"] = torch.randn(self.networks, decisions, 4 * width, generator=random) / 10
        weights["decision"][:, :, width : 2 * width] += 1  # memory is kept unless learned otherwise
        return weights

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        read = torch.from_numpy(tokens(self.space, architectures))
        with torch.no_grad():
            return nets.together(
                _outputs(self._weights, part.expand(self.networks, *part.shape)) for part in torch.split(read, ROWS)
            )


def _outputs(weights: Weights, read: torch.Tensor) -> torch.Tensor:
    """Of tokens (networks, n, length): shape (networks, n)."""
    options, width = weights["option"].shape[1], weights["hidden"].shape[1]
    state = memory = torch.zeros(*read.shape[:2], width)
    for token in read.unbind(2):
        there, decision = token[..., None] > 0, (token - 1).clamp(min=0)
        code = nets.look_up(weights["decision"], decision) + nets.look_up(weights["option"], decision % options)
        signals = torch.baddbmm(code, state, weights["before"])
        write, keep, show = signals[..., : 3 * width].sigmoid().chunk(3, -1)
        changed = keep * memory + write * signals[..., 3 * width :].tanh()
        state = torch.where(there, show * changed.tanh(), state)
        memory = torch.where(there, changed, memory)
    return nets.linear(nets.linear(state, weights, "hidden").relu(), weights, "score").squeeze(2)
