"""Graphs of architectures: chains, and any as plain text, for which no library of pictures is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archsearch.basics.words import plain

if TYPE_CHECKING:
    import networkx


def chain_of(labels: Sequence[str]) -> networkx.MultiDiGraph:
    """The graph of nodes with these labels, one after another."""
    import networkx

    graph = networkx.MultiDiGraph()
    for i, label in enumerate(labels):
        graph.add_node(i, label=label)
        if i:
            graph.add_edge(i - 1, i)
    return graph


def text_graph(graph: networkx.MultiDiGraph) -> str:
    """A graph as plain text: a line per node, with the operations and nodes that it gets its input from.

    Args:
        graph: Without cycles. Nodes carry ``label``, which follows a number where labels repeat; edges may carry
            ``label``.
    """
    import networkx

    order = list(networkx.lexicographical_topological_sort(graph, key=list(graph).index))
    names = {node: plain(str(graph.nodes[node].get("label", node))) for node in order}
    if len(set(names.values())) < len(names):
        names = {node: f"{i}:{names[node]}" for i, node in enumerate(order)}
    width = max(map(len, names.values()), default=0)
    lines = []
    for node in order:
        edges = sorted(graph.in_edges(node, data="label"), key=lambda edge: order.index(edge[0]))
        inputs = [f"{plain(str(label))}({names[source]})" if label else names[source] for source, _, label in edges]
        lines.append(f"{names[node]:<{width}}  <- {', '.join(inputs)}" if inputs else names[node])
    return "\n".join(lines)
