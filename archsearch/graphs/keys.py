"""Which graphs are the same: a Weisfeiler-Leman hash, and where hashes agree the exact answer.

References: Shervashidze et al., "Weisfeiler-Lehman graph kernels", JMLR 2011; networkx has the hash, and VF2 (Cordella
et al. 2004) for the exact answer.
"""

from __future__ import annotations

import functools
from typing import Any

from archsearch.graphs.graph import Graph

ROUNDS = 4
"""Steps along edges that a node's neighbourhood is looked at in."""


class Key:
    """A graph up to the numbers of its nodes: equal for graphs between which there is an isomorphism.

    Operations, attributes, merge rules, which input is the primary one, and the settings of the whole all count. Keys
    are equal in all processes; ``text`` is their hash, equal for equal graphs and seldom for others.
    """

    __slots__ = ("graph", "text")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.text = _hashed(graph)

    def __hash__(self) -> int:
        return int(self.text[:15], 16)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key) or self.text != other.text:
            return False
        return self.graph == other.graph or isomorphic(self.graph, other.graph)

    def __repr__(self) -> str:
        return f"Key({self.text})"


def coloured(graph: Graph) -> Any:
    """A networkx graph: nodes with all that counts as ``label``, edges with whether they are the primary one."""
    import networkx

    found = networkx.DiGraph()
    found.add_node(0, label=f"input {graph.settings}")
    for i, node in enumerate(graph.nodes, 1):
        merge = node.merge if len(node.inputs) > 1 else ""
        found.add_node(i, label=f"{node.operation} {node.attributes} {merge}")
        for source in node.inputs:
            found.add_edge(source, i, label="primary" if source == node.inputs[0] else "")
    return found


@functools.lru_cache(10_000)
def _hashed(graph: Graph) -> str:
    import networkx

    # An edge is a node here, so that its direction counts: what networkx makes of directed ones depends on its version.
    drawn, halves = coloured(graph), networkx.Graph()
    halves.add_nodes_from(drawn.nodes.data())
    for source, target, label in drawn.edges.data("label"):
        between = (source, target)
        halves.add_node(between, label=f"edge {label}")
        halves.add_edge(source, between, label="out")
        halves.add_edge(between, target, label="in")
    found: str = networkx.weisfeiler_lehman_graph_hash(halves, "label", "label", iterations=2 * ROUNDS)
    return found


def isomorphic(first: Graph, second: Graph) -> bool:
    """Whether two graphs differ in the numbers of their nodes only."""
    import networkx

    if len(first) != len(second):
        return False

    def same(one: dict[str, str], other: dict[str, str]) -> bool:
        return one["label"] == other["label"]

    return bool(networkx.is_isomorphic(coloured(first), coloured(second), same, same))
