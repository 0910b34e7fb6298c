"""A network over the graph of operations, trained to rank architectures rather than to hit their scores.

Reference: Ning et al., "A generic graph-based neural architecture encoding scheme for predictor-based NAS", ECCV 2020
(GATES), sections 3 and 4. What flows through an architecture is followed from its input to its output: what arrives
at an operation is transformed and let through a gate that the kind of operation sets. What arrives at the output is
scored, and the hinge loss asks of each pair of labels that the better one be scored higher by a margin.

Numbering the operations of an architecture otherwise changes nothing but the order of sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from archsearch.basics.operation_graphs import OperationGraphs
from archsearch.model import Features, Prediction
from archsearch.models import networks as nets
from archsearch.models.networks import NetworkEnsemble, Weights
from archsearch.trial import Architecture

MARGIN = 0.1
BATCH = 32
DECAY = 0.1
ROWS = 2_048
"""Architectures that are predicted at a time, so that what flows through them stays small."""


class GraphNetwork(NetworkEnsemble):
    """Flow through the graph of operations, pairwise hinge loss: precise with a few hundred labels, and slow.

    Operations that cannot matter are left out. Scores that were trained to rank have no scale: a straight line through
    the labels, fitted by least squares, brings each network's to the targets. The spread is the standard deviation
    across networks. Features join what arrives at the output.

    The paper has one larger network (hidden states of 128, embeddings of 48, five layers over the graph, a head of five
    layers), batches of 128, a learning rate of 0.001 and 50 epochs; margin and loss are as there. With a few hundred
    labels many small steps do better: Kendall's tau on NAS-Bench-201 with 200 labels is 0.81 instead of 0.77 with these
    batches and rates, and three times the epochs.

    Args:
        width: Numbers that flow along an edge, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    takes_features: ClassVar[bool] = True

    def _fit(self, rng: np.random.Generator) -> None:
        graphs = self.space.operation_graphs(self.architectures).pruned()
        figures = _figures(self._features, len(graphs.labels))
        labels, edges, seen = _tensors(graphs, figures, slice(None))
        targets = torch.from_numpy(self.targets.astype(np.float32))
        random = nets.generator(rng)

        def loss(weights: Weights, places: torch.Tensor) -> torch.Tensor:
            return _hinge(_scores(weights, labels[places], edges[places], seen[places]), targets[places])

        start = self._drawn(graphs.kinds, figures.shape[1], random)
        self._weights = self._trained(start, loss, random, BATCH, decay=DECAY)
        self._line = _fitted_line(self._all_scores(graphs, figures), self.targets)

    def _drawn(self, kinds: int, figures: int, random: torch.Generator) -> Weights:
        shapes: dict[str, tuple[int, ...]] = {
            "flow": (self.width, self.width),
            "flow.bias": (self.width,),
            "hidden": (self.width + figures, self.width),
            "hidden.bias": (self.width,),
            "score": (self.width, 1),
            "score.bias": (1,),
        }
        weights = nets.drawn(self.networks, shapes, random)
        weights["input"] = torch.randn(self.networks, self.width, generator=random)
        weights["gate"] = torch.randn(self.networks, kinds, self.width, generator=random)
        weights["operation"] = 0.3 * torch.randn(self.networks, kinds, self.width, generator=random)
        return weights

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        graphs = self.space.operation_graphs(architectures).pruned()
        scores = self._all_scores(graphs, _figures(features, len(graphs.labels)))
        found = self._line[:, :1] + self._line[:, 1:] * scores
        return Prediction(found.mean(0), found.std(0))

    def _all_scores(self, graphs: OperationGraphs, figures: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Of every network, shape (networks, n)."""
        found = []
        with nets.one_thread(), torch.no_grad():
            for begin in range(0, len(graphs.labels), ROWS):
                tensors = _tensors(graphs, figures, slice(begin, begin + ROWS))
                same = (each.expand(self.networks, *each.shape) for each in tensors)
                found.append(_scores(self._weights, *same))
        return torch.cat(found, 1).double().numpy()

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"line": self._line, **super()._state()}

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._line = np.asarray(state["line"], np.float64)
        super()._load_state({name: array for name, array in state.items() if name != "line"})


def _figures(features: Features | None, n: int) -> npt.NDArray[np.float32]:
    """The features of n architectures; without any, no columns."""
    return np.zeros((n, 0), np.float32) if features is None else features.astype(np.float32)


def _tensors(
    graphs: OperationGraphs, figures: npt.NDArray[np.float32], rows: slice
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Kinds of operations, edges, and features of some of the graphs."""
    edges = torch.from_numpy(graphs.adjacency[rows].astype(np.float32))
    return torch.from_numpy(graphs.labels[rows]), edges, torch.from_numpy(figures[rows])


def _scores(weights: Weights, labels: torch.Tensor, edges: torch.Tensor, figures: torch.Tensor) -> torch.Tensor:
    """Of graphs whose first axes count networks and graphs; shape (networks, graphs)."""
    there = labels >= 0
    kinds = labels.clamp(min=0)
    gates = nets.look_up(weights["gate"], kinds).sigmoid() * there[..., None]
    operations = nets.look_up(weights["operation"], kinds)
    leaving = [weights["input"][:, None].expand(*labels.shape[:2], -1)]
    for place in range(1, labels.shape[2] - 1):
        arriving = _gathered(leaving, edges, place)
        changed = (nets.linear(arriving, weights, "flow") + operations[:, :, place]).relu()
        leaving.append(gates[:, :, place] * (arriving + changed))
    arriving = torch.cat([_gathered(leaving, edges, labels.shape[2] - 1), figures], 2)
    return nets.linear(nets.linear(arriving, weights, "hidden").relu(), weights, "score").squeeze(2)


def _gathered(leaving: list[torch.Tensor], edges: torch.Tensor, place: int) -> torch.Tensor:
    """The sum of what the edges that end in a place bring from earlier ones."""
    return (edges[:, :, None, :place, place] @ torch.stack(leaving[:place], 2)).squeeze(2)


def _hinge(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the pairs of each network's batch of which one is better."""
    better = targets[:, :, None] > targets[:, None, :]
    short = (MARGIN - scores[:, :, None] + scores[:, None, :]).relu() * better
    return (short.sum((1, 2)) / better.sum((1, 2)).clamp(min=1)).sum()


def _fitted_line(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intercept and slope by least squares for each network, shape (networks, 2); targets have mean 0."""
    middle = scores.mean(1, keepdims=True)
    away = scores - middle
    # No line turns an order around. Scores much closer than the margin, of a network that has learned little, are not
    # blown up until they fit.
    slope = np.maximum((away * targets).sum(1, keepdims=True), 0) / (
        np.square(away).sum(1, keepdims=True) + MARGIN**2 / 10
    )
    return np.concatenate([-slope * middle, slope], axis=1)
