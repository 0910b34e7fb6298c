"""An ensemble of feed-forward networks on encodings of an architecture: the predictor of BANANAS.

Reference: White, Neiswanger & Savani, "BANANAS: Bayesian optimization with neural architectures for neural architecture
search", AAAI 2021, sections 4 and 5. The networks begin with different weights and see the labels in different orders;
where they differ much, they have learned little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from archsearch.encoding import DEFAULT, PATH_COLUMNS, Encoding, checked_encodings, encode
from archsearch.model import Features, Model, Prediction
from archsearch.models import networks as nets
from archsearch.models.networks import Weights, above_zero
from archsearch.space import at_least_one
from archsearch.trial import Architecture

BATCH = 32
BETAS = (0.9, 0.99)
ROWS = 4_096
"""Architectures that are predicted at a time, so that layers stay small."""


class MLPEnsemble(Model):
    """Feed-forward networks on the path encoding and more; the spread is the standard deviation across networks.

    The paper has 10 layers of 20 units on the (truncated) path encoding alone, that is ``layers=10, width=20,
    encodings=["path_bits"]``, and a constant learning rate; loss, epochs, batches and Adam's settings are as there. On
    NAS-Bench-201 the defaults rank better than those networks and that encoding: Kendall's tau with 50, 100, 200 and
    400 labels is 0.69, 0.74, 0.78 and 0.82 instead of 0.57, 0.68, 0.75 and 0.80. Of paths with more operations than
    ``path_columns`` has room for, only the operations are seen.

    Args:
        networks: How many, >= 1; a single one has no spread.
        layers: Hidden layers, >= 1.
        width: Units of a layer, >= 1.
        epochs: Passes over the labels, >= 1.
        learning_rate: At the beginning; it falls to zero along half a cosine. > 0.
        encodings: What the networks see; see ``archsearch.encoding``. None: operations, paths and counts.
        path_columns: Most columns of path encodings, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    takes_features: ClassVar[bool] = True

    def __init__(
        self,
        networks: int = 5,
        layers: int = 3,
        width: int = 64,
        epochs: int = 150,
        learning_rate: float = 0.01,
        encodings: list[Encoding] | None = None,
        path_columns: int = PATH_COLUMNS,
    ) -> None:
        self.networks = at_least_one("MLPEnsemble", "networks", networks)
        self.layers = at_least_one("MLPEnsemble", "layers", layers)
        self.width = at_least_one("MLPEnsemble", "width", width)
        self.epochs = at_least_one("MLPEnsemble", "epochs", epochs)
        self.learning_rate = above_zero("MLPEnsemble", "learning_rate", learning_rate)
        self.encodings = encodings
        self.path_columns = at_least_one("MLPEnsemble", "path_columns", path_columns)
        self._encodings = checked_encodings("MLPEnsemble", DEFAULT if encodings is None else encodings)

    def _fit(self, rng: np.random.Generator) -> None:
        inputs = self._inputs(self.architectures, self._features)
        targets = torch.from_numpy(self.targets.astype(np.float32))
        random = nets.generator(rng)
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (before, after) in enumerate(pairwise([inputs.shape[1], *[self.width] * self.layers, 1])):
            shapes |= {str(layer): (before, after), f"{layer}.bias": (after,)}

        def loss(weights: Weights, places: torch.Tensor) -> torch.Tensor:
            return (self._outputs(weights, inputs[places]) - targets[places]).abs().mean(1).sum()

        self._weights = nets.train(
            nets.drawn(self.networks, shapes, random),
            loss,
            len(targets),
            random,
            epochs=self.epochs,
            batch=BATCH,
            rate=self.learning_rate,
            betas=BETAS,
        )

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        inputs = self._inputs(architectures, features)
        with torch.no_grad():
            return nets.together(
                self._outputs(self._weights, part.expand(self.networks, *part.shape))
                for part in torch.split(inputs, ROWS)
            )

    def _outputs(self, weights: Weights, inputs: torch.Tensor) -> torch.Tensor:
        """Of inputs (networks, n, columns): shape (networks, n)."""
        for layer in range(self.layers):
            inputs = nets.linear(inputs, weights, str(layer)).relu()
        return nets.linear(inputs, weights, str(self.layers)).squeeze(2)

    def _inputs(self, architectures: Sequence[Architecture], features: Features | None) -> torch.Tensor:
        found = encode(self.space, architectures, self._encodings, self.path_columns)
        if features is not None:
            found.append(features.astype(np.float32))
        return torch.from_numpy(np.concatenate(found, axis=1))

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        return nets.arrays(self._weights)

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._weights = nets.tensors(state)
