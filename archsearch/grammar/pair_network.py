"""Networks of cells whose nodes have two different inputs: several operations of an edge at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from archsearch.grammar.network import CellNetwork
from archsearch.grammar.rules import PAIRS, CellPlan, Edge, NodePlan, Rules, Term
from archsearch.networks.network import Weights
from archsearch.relaxing import NONE

Shares = Mapping[Edge, "float | torch.Tensor"]
"""What feeds a node in a mixture: each edge that occurs, to its factor in the sum."""


class PairNetwork(CellNetwork):
    """A network of such cells; see ``CellNetwork``."""

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits with several pairs of inputs and operations of each node; see ``archsearch.abilities.Mixing``.

        A node is the mean over its kept pairs; a pair is the mean of the first operations on its lower input plus the
        mean of the second operations on its higher input. The auxiliary head is left out.
        """
        kept = self.kept(options, self.rules.arities())
        return self.compute(images, mixed_plans(self.rules, kept), None)[0]

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with a weighted sum of operations on each edge of a cell; see ``archsearch.relaxing``.

        A node is the sum of all edges that end in it; ``none`` is zero. The auxiliary head is left out.
        """
        places = [(kind, *edge) for kind in range(len(self.rules.cells)) for edge in self.rules.relaxed_edges]
        candidates = [self.rules.candidates(*place) for place in places]
        shares: dict[tuple[int, int], dict[Edge, float | torch.Tensor]] = {}
        for place, names, some in zip(places, candidates, self.weighed(weights, [*map(len, candidates)]), strict=True):
            kind, source, target = place
            into = shares.setdefault((kind, target), {})
            into |= {Edge(source, names[option]): w for option, w in some.items() if names[option] != NONE}
        nodes = [[shares[kind, t] for t in self.rules.targets] for kind in range(len(self.rules.cells))]
        return self.compute(images, [plan_of(self.rules, each) for each in nodes], None)[0]


def mixed_plans(rules: Rules, kept: Sequence[tuple[int, ...]]) -> list[CellPlan]:
    """The cells in which each decision keeps these options."""
    plans = []
    for kind, cell in enumerate(rules.split(tuple(kept))):  # type: ignore[arg-type]
        nodes = []
        for target, i in zip(rules.targets, range(0, len(cell), 3), strict=True):
            pairs, *operations = cell[i : i + 3]
            shares: dict[Edge, float] = {}
            # One weighted sum, so that an edge that several pairs share is computed once.
            for pair in pairs:  # type: ignore[attr-defined]
                for source, options in zip(PAIRS[pair], operations, strict=True):
                    for option in options:  # type: ignore[attr-defined]
                        edge = Edge(source, rules.operations_of(kind, source, target)[option])
                        shares[edge] = shares.get(edge, 0.0) + 1 / (len(pairs) * len(options))  # type: ignore[arg-type]
            nodes.append(shares)
        plans.append(plan_of(rules, nodes))
    return plans


def plan_of(rules: Rules, nodes: Sequence[Shares]) -> CellPlan:
    """A cell, given what feeds each node."""
    plans = []
    for target, shares in zip(rules.targets, nodes, strict=True):
        by_source: dict[int, dict[str, float | torch.Tensor]] = {}
        for edge, share in shares.items():
            by_source.setdefault(edge.source, {})[edge.operation] = share
        terms = [Term(rules.slot(source, target, 0), source, weights) for source, weights in by_source.items()]
        plans.append(NodePlan(tuple(terms)))
    return CellPlan(tuple(plans), tuple(rules.targets))
