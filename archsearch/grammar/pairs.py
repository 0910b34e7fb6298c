"""Spaces of cells whose nodes have two different inputs: their neighbours, and search by gradient.

Only there an edge has a name of its own, its source and its target, so that the operations on it can compete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.grammar.cells import Cells
from archsearch.grammar.rules import PAIRS, Rules
from archsearch.relaxing import RelaxedChoice, shares
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.grammar.pair_network import PairNetwork
    from archsearch.networks.network import InputShape, Network


class PairCells(Cells):
    """Base of spaces of cells whose nodes have two different inputs; see ``Cells``."""

    def __init__(self, rules: Rules, layers: int, channels: int, auxiliary: bool) -> None:
        super().__init__(rules, layers, channels, auxiliary)
        nodes = len(rules.cells) * rules.nodes
        # An input change: number of the node, over all cells, which of its inputs, which of the states not yet used.
        self._input_changes = [
            (node, side, other) for node in range(nodes) for side in range(2) for other in range(node % rules.nodes)
        ]
        self._options = rules.arities()[1]

    # -- variation -----------------------------------------------------------------------------

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """The architectures that differ in one operation or in one input.

        An operation stays with its edge when the edge's input changes; the two inputs of a node remain different.
        """
        for number in range(self._neighbours):
            yield self._neighbour(architecture, number)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One of the neighbours, drawn uniformly."""
        return self._neighbour(architecture, int(rng.integers(self._neighbours)))

    @property
    def _operation_changes(self) -> int:
        return 2 * len(self.rules.cells) * self.rules.nodes * (self._options - 1)

    @property
    def _neighbours(self) -> int:
        return self._operation_changes + len(self._input_changes)

    def _neighbour(self, architecture: Architecture, number: int) -> Architecture:
        """Neighbour of that number: first those with another operation, then those with another input."""
        if number < self._operation_changes:
            edge, option = divmod(number, self._options - 1)
            position = 3 * (edge // 2) + 1 + edge % 2
            option += option >= architecture[position]  # every option but the present one
            return (*architecture[:position], option, *architecture[position + 1 :])
        node, side, other = self._input_changes[number - self._operation_changes]
        pair, lower, higher = architecture[3 * node : 3 * node + 3]
        inputs = list(PAIRS[pair])
        unused = [source for source in range(2 + node % self.rules.nodes) if source not in inputs]
        inputs[side] = unused[other]
        changed = self.rules.write((inputs[0], lower), (inputs[1], higher), 0)
        return (*architecture[: 3 * node], *changed, *architecture[3 * node + 3 :])

    # -- relaxation ------------------------------------------------------------------------------

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """The edges of each kind of cell by the node in which they end; ``none`` comes first, where there is one."""
        return tuple(
            RelaxedChoice(
                f"{cell} {source}->{target}", self.rules.candidates(kind, source, target), f"{cell} ->{target}"
            )
            for kind, cell in enumerate(self.rules.cells)
            for source, target in self.rules.relaxed_edges
        )

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """Weight 1 for an edge's operation; an edge that is not there has no weights."""
        chosen: list[Mapping[int, float]] = []
        for cell in self.rules.split(architecture):
            joints = zip(self.rules.targets, self.rules.joints(cell), strict=True)
            at = {(source, target): option for target, joint in joints for source, option in joint[:2]}
            chosen += [{self.rules.none + at[e]: 1.0} if e in at else {} for e in self.rules.relaxed_edges]
        return tuple(chosen)

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """The rule of DARTS (section 2.4) where the strengths are softmax weights, made a distribution.

        An edge is as strong as the strongest operation on it that is not ``none``; a pair of inputs is as probable as
        the product of its edges' strengths, so that the most probable pair has the two strongest edges.
        """
        number, what = divmod(len(prefix), 3)
        kind, node = divmod(number, self.rules.nodes)
        target = self.rules.targets[node]
        edges = self.rules.relaxed_edges
        first = kind * len(edges) + edges.index((0, target))
        if what == 0:
            best = [max(strengths[first + source][self.rules.none :]) for source in range(target)]
            return shares([best[low] * best[high] for low, high in PAIRS[: target * (target - 1) // 2]])
        return shares(strengths[first + PAIRS[prefix[3 * number]][what - 1]][self.rules.none :])

    def super_network(
        self, task: InputShape, *, channels: int | None = None, layers: int | None = None, part: int = 1
    ) -> Network:
        """The network with all operations on all edges of every cell; see ``network``.

        The operations see one of ``part`` channels (PC-DARTS).
        """
        return self._network(None, task, channels, layers, part)

    def _network_class(self) -> type[PairNetwork]:
        from archsearch.grammar.pair_network import PairNetwork

        return PairNetwork
