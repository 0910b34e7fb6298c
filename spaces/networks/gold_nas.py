"""The networks of GOLD-NAS: those of DARTS, with operations of its own in every cell, any number on an edge.

Reference: Bi, Xie, Chen, Wei & Tian, "GOLD-NAS: gradual, one-level, differentiable", 2020, section 3.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from archsearch.grammar.network import CellNetwork
from archsearch.grammar.pair_network import plan_of
from archsearch.grammar.rules import CellPlan, Edge, Rules
from archsearch.networks.network import InputShape, Weights
from archsearch.spaces.darts import RELAXED_EDGES, RULES
from archsearch.spaces.gold_nas import OPERATIONS, OPTIONS
from archsearch.trial import Architecture

OFF, ON = 0, 1
"""Candidates of a choice: ``none``, and an operation of an edge."""

CHOICES = len(RELAXED_EDGES) * len(OPERATIONS)
"""Of a cell."""


class GOLDRules(Rules):
    """Each cell of the network for itself, and any operations on an edge."""

    def plans(self, architecture: Architecture) -> tuple[CellPlan, ...]:
        """See ``Rules``."""
        present = [int(i in OPTIONS[option]) for option in architecture for i in range(len(OPERATIONS))]
        return self.mixed([{ON: 1.0} if there else {OFF: 1.0} for there in present])

    def mixed(self, weights: Sequence[Weights]) -> tuple[CellPlan, ...]:
        """The cells, given the weights of all choices."""
        return tuple(self._cell(weights[i : i + CHOICES]) for i in range(0, len(weights), CHOICES))

    def _cell(self, weights: Sequence[Weights]) -> CellPlan:
        nodes: dict[int, dict[Edge, float | torch.Tensor]] = {node: {} for node in self.targets}
        for number, some in enumerate(weights):
            edge, operation = divmod(number, len(OPERATIONS))
            source, target = RELAXED_EDGES[edge]
            if ON in some:
                nodes[target][Edge(source, OPERATIONS[operation])] = some[ON]
        return plan_of(self, list(nodes.values()))


class GOLDNetwork(CellNetwork):
    """A network of such cells; see ``CellNetwork``.

    Args:
        architecture: The operations of all edges, or None for the super-network with both on each.
        task: Input shape and classes.
        channels: Channels of a node in the first cells; each reduction doubles them.
        layers: Number of cells.
    """

    rules: GOLDRules

    def __init__(self, architecture: Architecture | None, task: InputShape, channels: int, layers: int) -> None:
        facts = {each.name: getattr(RULES, each.name) for each in dataclasses.fields(RULES)}
        cells = tuple(f"cell{layer}" for layer in range(layers))
        rules = GOLDRules(**facts | {"operations": OPERATIONS, "cells": cells, "separate": True, "names": {}})
        super().__init__(rules, architecture, task, channels, layers, auxiliary=False)

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with each operation times its weight; see ``archsearch.relaxing``.

        A node is the sum of all that ends in it; ``none`` is zero.
        """
        return self.compute(images, self.rules.mixed(self.weighed(weights, [2] * CHOICES * len(self.cells))), None)[0]
