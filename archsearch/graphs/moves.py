"""Moves: the edits that a space allows, each a function from a graph to all graphs that it leads to.

Which of them a space has, and what they are called, its own file says. A move's inverse is a kind of move, too: one of
the moves of that kind leads back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from archsearch.graphs.graph import Attributes, Graph, Node, Value

Edit = Callable[[Graph], Iterable[Graph]]


class Kind(NamedTuple):
    """A kind of move.

    Attributes:
        edit: All graphs that it leads to.
        inverse: Name of the kind that leads back; None: none does.
        preserves: Whether a child can be given the function of its parent. Of such a kind only those moves are listed
            of which that is true.
        inherits: Whether a child is to begin with its parent's weights at all.
        mass: How often it is drawn, > 0, next to the other kinds that are possible.
    """

    edit: Edit
    inverse: str | None = None
    preserves: bool = False
    inherits: bool = True
    mass: float = 1.0


# -- edits -------------------------------------------------------------------------------------


def unchanged(graph: Graph) -> Iterator[Graph]:
    """The graph as it is."""
    yield graph


def inserted(make: Callable[[Graph, int], Iterable[Node]]) -> Edit:
    """A node behind another, or behind the input: on one edge, or read by all that read that one before.

    Args:
        make: Gives the nodes that may come behind one of that number; what they read is filled in.
    """

    def edit(graph: Graph) -> Iterator[Graph]:
        for before in range(len(graph) + 1):
            readers = graph.readers(before)
            for node in make(graph, before):
                for chosen in (readers, *([each] for each in readers if len(readers) > 1)):
                    yield graph.inserted(before + 1, node.reading([before]), chosen, before)

    return edit


def inserted_on_edges(make: Callable[[Graph, int], Iterable[Node]]) -> Edit:
    """A node on one edge between two others; see ``inserted``."""

    def edit(graph: Graph) -> Iterator[Graph]:
        for before in range(len(graph) + 1):
            for node in make(graph, before):
                for reader in graph.readers(before):
                    yield graph.inserted(before + 1, node.reading([before]), [reader], before)

    return edit


def removed(which: Callable[[Graph, int], bool]) -> Edit:
    """Without a node that ``inserted`` can put back; ``which``: says which may go."""

    def edit(graph: Graph) -> Iterator[Graph]:
        for number in graph.numbers():
            inputs, readers = graph.node(number).inputs, graph.readers(number)
            if len(inputs) > 1 or not which(graph, number):
                continue
            alone = graph.readers(inputs[0]) == [number]
            if alone or (len(readers) == 1 and inputs[0] not in graph.node(readers[0]).inputs):
                yield graph.removed(number)

    return edit


def connected(merges: Sequence[str]) -> Edit:
    """An edge more, from a node that is read already, or the input, to a later one that does not read it yet.

    Args:
        merges: Rules by which the target may merge. One that merges already keeps its rule.
    """

    def edit(graph: Graph) -> Iterator[Graph]:
        for target in graph.numbers():
            node = graph.node(target)
            for merge in merges if len(node.inputs) == 1 else {node.merge}.intersection(merges):
                for source in range(target):
                    if source not in node.inputs and graph.readers(source):
                        yield graph.connected(source, target, merge)

    return edit


def disconnected(graph: Graph) -> Iterator[Graph]:
    """Without an edge that is no primary one, and whose source others read."""
    for target in graph.numbers():
        for source in graph.node(target).inputs[1:]:
            if len(graph.readers(source)) > 1:
                yield graph.disconnected(source, target)


def stepped(
    name: str,
    options: Mapping[str, Mapping[str, Sequence[Value]]],
    steps: Sequence[int] | None,
    which: Callable[[Node], bool] | None = None,
) -> Edit:
    """Another value of an attribute of one node.

    Args:
        name: The attribute.
        options: Of each operation the values of its attributes.
        steps: How far the new value may be from the old one in the list of them; None: any.
        which: Says of which nodes; None: of all.
    """

    def edit(graph: Graph) -> Iterator[Graph]:
        for number in graph.numbers():
            node = graph.node(number)
            if node.has(name) and (which is None or which(node)):
                for value in _others(options[node.operation][name], node[name], steps):
                    yield graph.replaced(number, node.with_value(name, value))

    return edit


def setting_stepped(name: str, options: Sequence[Value], steps: Sequence[int] | None) -> Edit:
    """Another value of a setting of the whole; see ``stepped``."""

    def edit(graph: Graph) -> Iterator[Graph]:
        for value in _others(options, dict(graph.settings)[name], steps):
            yield graph.set(name, value)

    return edit


def exchanged(make: Callable[[Node], Iterable[tuple[str, Attributes]]]) -> Edit:
    """Another operation in the place of one; ``make``: gives names and attributes."""

    def edit(graph: Graph) -> Iterator[Graph]:
        for number in graph.numbers():
            node = graph.node(number)
            for operation, attributes in make(node):
                yield graph.replaced(number, dataclasses.replace(node, operation=operation, attributes=attributes))

    return edit


def _others(options: Sequence[Value], value: Value, steps: Sequence[int] | None) -> Iterator[Value]:
    at = options.index(value)
    for i, option in enumerate(options):
        if i != at and (steps is None or i - at in steps):
            yield option
