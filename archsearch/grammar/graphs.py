"""Cells as graphs: for drawings, and for encodings of many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from archsearch.basics.operation_graphs import OperationGraphs
from archsearch.grammar.rules import COMBINER, IN_TURN, PAIRED, PAIRS, Rules
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx


def drawing(rules: Rules, architecture: Architecture) -> networkx.MultiDiGraph:
    """The cells side by side; edges into the nodes carry operations, those into ``output`` concatenate."""
    import networkx

    graph = networkx.MultiDiGraph()
    for kind, (name, cell) in enumerate(zip(rules.cells, rules.split(architecture), strict=True)):
        names = [f"{name} {state}" for state in (*rules.states, *rules.targets_of(cell))]
        for joint, node in zip([None, None, *rules.joints(cell)], names, strict=True):
            joined = "" if joint is None or not joint.combiner else f" {rules.combiners[joint.combiner]}"
            graph.add_node(node, label=node + joined)
        graph.add_node(f"{name} output", label=f"{name} output")
        for target, edges in enumerate(rules.edges(kind, cell), 2):
            for edge in edges:
                graph.add_edge(names[edge.source], names[target], label=edge.operation)
        for state in rules.outputs(kind, cell):
            graph.add_edge(names[state], f"{name} output")
    return graph


def operation_graphs(
    rules: Rules, decisions: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64] | None = None
) -> OperationGraphs:
    """The two inputs and the operations of each cell, whose kinds are the cell's own; all cells side by side.

    An operation is fed by the operations that end in its source, or by that input of the cell. Those that end in a
    state which is concatenated lead to the output. Where there are several combiners, an operation is of another kind
    under each.

    Args:
        rules: Of the space.
        decisions: Shape (n, decisions).
        sizes: Nodes of the cells of each, shape (n,), of which the others are taken away; None: all. A space whose
            cells concatenate the unused states has no others.
    """
    cells, nodes = len(rules.cells), rules.nodes
    parts = decisions.reshape(len(decisions), cells, nodes, len(rules.decisions))
    n, per_cell, kinds = len(parts), 2 + 2 * nodes, 2 + len(rules.operations) * len(rules.combiners)
    labels = np.full((n, cells * per_cell + 2), -1)
    adjacency = np.zeros((n, *[labels.shape[1]] * 2), bool)
    ends = np.array([0, 1, *np.repeat(rules.targets, 2)])  # the state in which each input or operation ends
    all_sources, all_options = _edges(rules, parts)
    for cell in range(cells):
        first = 1 + cell * per_cell
        here, there = slice(first, first + per_cell), slice(first + 2, first + per_cell)
        sources = all_sources[:, cell].reshape(n, 2 * nodes)
        labels[:, first : first + 2] = cell * kinds + np.arange(2)
        labels[:, there] = cell * kinds + 2 + all_options[:, cell].reshape(n, 2 * nodes)
        adjacency[:, 0, first : first + 2] = True
        adjacency[:, here, there] = ends[:, None] == sources[:, None, :]
        adjacency[:, here, -1] = _concatenated(rules, cell, parts[:, cell].reshape(n, rules.per_cell), sources)[:, ends]
        if sizes is not None:
            there_is = ends - 2 < sizes[:, None]
            labels[:, here][~there_is] = -1
            adjacency[:, :, here] &= there_is[:, None, :]
            adjacency[:, here] &= there_is[:, :, None]
    return OperationGraphs(cells * kinds, labels, adjacency, longest=1 + nodes)


def _edges(rules: Rules, parts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sources and operations of the two edges of each node, shape (n, cells, nodes, 2)."""
    if rules.order == PAIRED:
        sources, options = np.array(PAIRS)[parts[..., 0]], parts[..., 1:3]
    elif rules.order == IN_TURN:
        sources, options = parts[..., 0:4:2], parts[..., 1:4:2]
    else:
        sources, options = parts[..., 0:2], parts[..., 2:4]
    if rules.at:
        names = np.zeros(
            (len(rules.cells), 2 + rules.nodes, 2 + rules.nodes, max(map(len, rules.at.values()))), np.int64
        )
        for (kind, source, target), some in rules.at.items():
            for option, name in enumerate(some):
                names[kind, source, target, option] = rules.operations.index(name)
        kinds, targets = np.ogrid[: len(rules.cells), 2 : 2 + rules.nodes]
        options = names[kinds[None, ..., None], sources, targets[None, ..., None], options]
    if rules.decisions[-1] == COMBINER:
        options = options + len(rules.operations) * parts[..., -1:]
    return sources, options


def _concatenated(
    rules: Rules, cell: int, decisions: npt.NDArray[np.int64], sources: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether each state goes into the output, shape (n, states)."""
    states = np.arange(2 + rules.nodes)
    if rules.output == "all":
        return np.broadcast_to(states >= 2, (len(sources), len(states)))
    found: npt.NDArray[np.bool_] = ~(sources[:, :, None] == states).any(1)
    for (kind, published), outputs in rules.published.items():
        if kind == cell:
            found[(decisions == published).all(1)] = np.isin(states, outputs)
    return found
