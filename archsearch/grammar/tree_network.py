"""Networks of recurrent cells whose nodes form a tree.

Where the output is the average of all nodes (``DARTSCell``) a node has one linear map, whichever node it reads; so the
super-network has the parameters of any stand-alone network, and no more. Elsewhere (``ENASCell``) each pair of nodes
has one; a stand-alone network has those that its tree needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from archsearch.grammar.recurrent import ACTIVATIONS, FIXED, TreeCell, tree_edges
from archsearch.networks.network import InputShape, Weights
from archsearch.networks.recurrent import CarriedState, RecurrentCell, RecurrentNetwork, States, highway
from archsearch.trial import Architecture

Activations = Sequence[tuple[str, Any]]
"""Names, each with a weight."""


class Choice(NamedTuple):
    """What a cell computes.

    Attributes:
        first: Activation of node 0.
        nodes: Of each later node the nodes that it reads, each with activations; their terms are added up.
        ends: The nodes whose average is the output.
        is_mixture: Whether some node adds up several terms; then each node is normalised.
    """

    first: Activations
    nodes: Sequence[Sequence[tuple[int, Activations]]]
    ends: Sequence[int]
    is_mixture: bool = False


class TreeCellNetwork(RecurrentNetwork):
    """A recurrent network with such a cell.

    Args:
        space: Which cells.
        architecture: The cell, or None for the super-network.
        task: See ``RecurrentNetwork``.
        width: See ``RecurrentNetwork``.
    """

    def __init__(self, space: TreeCell, architecture: Architecture | None, task: InputShape, width: int) -> None:
        nodes = space.max_length // 2
        if space.averages_all:
            maps = [str(node) for node in range(1, nodes + 1)]
        elif architecture is None:
            maps = [f"{source}-{node}" for node in range(1, nodes + 1) for source in range(node)]
        else:
            maps = [f"{each.source}-{node}" for node, each in enumerate(space.decode(architecture).nodes, 1)]
        super().__init__(architecture, task, TreeRecurrentCell(maps, width), width, space.tied)
        self.space = space

    def chosen(self, architecture: Architecture) -> Choice:
        """The tree, as the cell computes it."""
        cell = self.space.decode(architecture)
        nodes = [[(node.source, [(node.activation, 1)])] for node in cell.nodes]
        return Choice([(cell.first, 1)], nodes, self.space.ends(architecture))

    def relaxed(
        self, tokens: torch.Tensor, weights: Sequence[Weights], carried: CarriedState | None = None
    ) -> torch.Tensor:
        """Logits with a weighted sum of activations on every edge of ``DARTSCell``; see ``archsearch.relaxing``.

        Sums grow from node to node, and the hidden state from token to token; so each node of a mixture goes through
        batch normalisation without parameters, as in the authors' search. With weight 1 for one cell none does.
        """
        edges = tree_edges(self.space.max_length // 2)
        weights = self.weighed(weights, [1 + len(ACTIVATIONS)] * len(edges))
        nodes: list[list[tuple[int, Activations]]] = [[] for _ in range(edges[-1][1])]
        for (source, node), some in zip(edges, weights, strict=True):
            named = [(ACTIVATIONS[option - 1], weight) for option, weight in some.items() if option]
            if named:
                nodes[node - 1].append((source, named))
        is_mixture = any(len(terms) != 1 or len(terms[0][1]) != 1 for terms in nodes)
        choice = Choice([(FIXED, 1)], nodes, range(1, len(nodes) + 1), is_mixture)
        return self.unrolled(tokens, choice, carried)


class TreeRecurrentCell(RecurrentCell):
    """The cell.

    Args:
        maps: Names of the linear maps: of nodes, or of pairs ``source-node``.
        width: Of states.
    """

    def __init__(self, maps: Sequence[str], width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, 2 * width, bias=False)
        self.hidden_state = nn.Linear(width, 2 * width, bias=False)
        self.maps = nn.ModuleDict({name: nn.Linear(width, 2 * width, bias=False) for name in maps})

    def projected(self, x: torch.Tensor, choice: Choice) -> torch.Tensor:
        """The first node's linear map of the inputs."""
        found: torch.Tensor = self.input(x)
        return found

    def step(self, x: torch.Tensor, states: States, choice: Choice) -> States:
        """See the class."""
        (hidden,) = states
        settled = _normalised if choice.is_mixture else _as_it_is
        values = [settled(highway(hidden, x + self.hidden_state(hidden), choice.first))]
        for node, terms in enumerate(choice.nodes, 1):
            total: torch.Tensor | None = None
            for source, activations in terms:
                name = str(node) if str(node) in self.maps else f"{source}-{node}"
                term = highway(values[source], self.maps[name](values[source]), activations)
                total = term if total is None else total + term
            values.append(torch.zeros_like(hidden) if total is None else settled(total))
        return (torch.stack([values[node] for node in choice.ends]).mean(0),)


def _as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x


def _normalised(x: torch.Tensor) -> torch.Tensor:
    """Batch normalisation with the statistics of this batch; of a single stream there are none."""
    return x if len(x) == 1 else functional.batch_norm(x, None, None, training=True)
