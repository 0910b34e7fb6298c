"""Graphs as texts, and back; and as drawings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archsearch.errors import InvalidArchitecture
from archsearch.graphs.graph import ADD, CONCAT, Attributes, Graph, Node, Value
from archsearch.graphs.tree import Tree

if TYPE_CHECKING:
    import networkx

SIGNS = {ADD: "+", CONCAT: "&"}
EMPTY = "input"
"""What a graph without nodes is."""

_READS = re.compile(r"(0|[1-9][0-9]*)(?: ([+&]) (0|[1-9][0-9]*))*")


def written(graph: Graph) -> str:
    """The text of a graph; ``GraphSpace.format`` explains it."""
    settings = " ".join(f"{name}={value}" for name, value in graph.settings)
    nodes = " ; ".join(map(_written_node, graph.nodes)) or EMPTY
    return f"{settings} | {nodes}" if settings else nodes


def _written_node(node: Node) -> str:
    words = " ".join([node.operation, *(str(value) for _, value in node.attributes)])
    return f"{words} <- {f' {SIGNS[node.merge]} '.join(map(str, node.inputs))}"


def read_graph(text: str, tree: Tree, who: str) -> Graph:
    """The graph that a text stands for; whether the space has it, ``Tree.options`` says.

    Raises:
        InvalidArchitecture: If ``text`` is of another form.
    """
    settings, _, rest = text.rpartition(" | ") if tree.settings else ("", "", text)
    pairs = [word.partition("=") for word in settings.split()]
    if [name for name, _, _ in pairs] != list(tree.settings):
        raise _strange(text, who, f"first the settings {', '.join(tree.settings)}, such as name=value, then |")
    whole = tuple((name, _value(text, who, name, value, tree.settings)) for name, _, value in pairs)
    nodes = [] if rest == EMPTY else [_read_node(text, each, tree, who) for each in rest.split(" ; ")]
    return Graph(tuple(nodes), whole)


def _read_node(text: str, words: str, tree: Tree, who: str) -> Node:
    what, _, reads = words.partition(" <- ")
    operation, *values = what.split(" ")
    declared = tree.operations.get(operation)
    if declared is None or len(values) != len(declared) or not _READS.fullmatch(reads):
        example = "operation, its attributes, and what it reads, such as conv 16 3 <- 1 + 0"
        raise _strange(text, who, f"{example}, of {', '.join(tree.names)}, got {words!r}")
    attributes: Attributes = tuple(
        (name, _value(text, who, name, value, declared)) for name, value in zip(declared, values, strict=True)
    )
    signs = {sign for sign in SIGNS.values() if sign in reads.split(" ")}
    if len(signs) > 1:
        raise _strange(text, who, f"+ or & between all inputs of a node, got {reads!r}")
    merge = next((rule for rule, sign in SIGNS.items() if sign in signs), ADD)
    return Node(operation, attributes, tuple(int(each) for each in re.split(r" [+&] ", reads)), merge)


def _value(text: str, who: str, name: str, value: str, declared: Mapping[str, Sequence[Value]]) -> Value:
    for option in declared[name]:
        if str(option) == value:
            return option
    raise _strange(text, who, f"{name} one of {', '.join(map(str, declared[name]))}, got {value!r}")


def _strange(text: str, who: str, expected: str) -> InvalidArchitecture:
    return InvalidArchitecture(f"{text!r} is no architecture of {who}: expected {expected}")


# -- drawings ----------------------------------------------------------------------------------


def drawing(graph: Graph) -> networkx.MultiDiGraph:
    """From ``input`` to ``output``; a node that merges has a node ``add`` or ``concat`` before it."""
    import networkx

    found = networkx.MultiDiGraph()
    settings = ", ".join(f"{name} {value}" for name, value in graph.settings)
    found.add_node(0, label=f"input, {settings}" if settings else "input")
    for number, node in enumerate(graph.nodes, 1):
        found.add_node(number, label=" ".join([node.operation, *(str(value) for _, value in node.attributes)]))
        into: int | str = number
        if len(node.inputs) > 1:
            into = f"{number} merge"
            found.add_node(into, label=node.merge)
            found.add_edge(into, number)
        for source in node.inputs:
            primary = len(node.inputs) > 1 and node.merge == ADD and source == node.inputs[0]
            found.add_edge(source, into, **({"label": "primary"} if primary else {}))
    found.add_node("output", label="output")
    for source in graph.loose():
        found.add_edge(source, "output")
    return found
