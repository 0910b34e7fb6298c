"""Graphs as decisions: which one comes next, and back and forth between options and graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from archsearch.errors import InvalidArchitecture
from archsearch.graphs.graph import ADD, Attributes, Graph, Node, Value
from archsearch.trial import Architecture


class Place(NamedTuple):
    """Where in the tree a prefix ends.

    Attributes:
        label: What is decided next.
        arity: How many options there are; 0: nothing is left to decide.
    """

    label: str
    arity: int


class Tree:
    """The decisions of a space of graphs; arguments as those of ``GraphSpace``.

    Decisions with one option are not asked for, but for the one on what the first node is.
    """

    def __init__(
        self,
        operations: Mapping[str, Mapping[str, Sequence[Value]]],
        nodes: int,
        inputs: int,
        merges: tuple[str, ...],
        settings: Mapping[str, Sequence[Value]],
    ) -> None:
        self.operations = operations
        self.names = list(operations)
        self.nodes = nodes
        self.inputs = inputs
        self.merges = merges
        self.settings = settings
        attributes = [sum(len(values) > 1 for values in each.values()) for each in operations.values()]
        of_one = 1 + max(attributes) + inputs + (len(merges) > 1)
        self.longest = sum(len(values) > 1 for values in settings.values()) + nodes * of_one
        values = [len(each) for operation in (*operations.values(), settings) for each in operation.values()]
        self.widest = max(1 + len(operations), nodes, 2, *values)

    # -- options to graphs ---------------------------------------------------------------------

    def place(self, prefix: Architecture) -> Place:
        """What is decided after ``prefix``."""
        found = Reading(prefix)
        self.walk(found)
        return found.next

    def holds(self, architecture: tuple[object, ...]) -> bool:
        """Whether these are the decisions of a whole graph."""
        reading = Reading(architecture)
        self.walk(reading)
        return reading.complete

    def graph(self, architecture: Architecture) -> Graph:
        """The graph that a whole architecture is."""
        return self.walk(Reading(architecture))

    def walk(self, reading: Reading) -> Graph:
        """Follows the options as far as they go; then ``reading.next`` says what is decided next."""
        settings, nodes = [], list[Node]()
        for name, values in self.settings.items():
            if (option := reading.take(name, len(values))) is None:
                return Graph()
            settings.append((name, values[option]))
        while len(nodes) < self.nodes:
            option = reading.option(f"node {len(nodes) + 1}", 1 + len(self.names))
            if not option:  # the end, or none yet
                break
            node = self._node(reading, len(nodes) + 1, self.names[option - 1])
            if node is None:
                break
            nodes.append(node)
        return Graph(tuple(nodes), tuple(settings))

    def _node(self, reading: Reading, number: int, operation: str) -> Node | None:
        attributes = []
        for name, values in self.operations[operation].items():
            if (option := reading.take(f"node {number} {name}", len(values))) is None:
                return None
            attributes.append((name, values[option]))
        if (primary := reading.take(f"node {number} input", number)) is None:
            return None
        inputs = [primary]
        while further := self.further(number, inputs):
            option = reading.option(f"node {number} input {len(inputs) + 1}", 1 + len(further))
            if option is None:
                return None
            if option == 0:
                break
            inputs.append(further[option - 1])
        merge = ADD
        if len(inputs) > 1:
            if (option := reading.take(f"node {number} merge", len(self.merges))) is None:
                return None
            merge = self.merges[option]
        return Node(operation, tuple(attributes), tuple(inputs), merge)

    def further(self, number: int, inputs: Sequence[int]) -> list[int]:
        """What a node can read next to what it reads already: numbers that rise."""
        if len(inputs) >= self.inputs:
            return []
        least = inputs[-1] + 1 if len(inputs) > 1 else 0
        return [source for source in range(least, number) if source != inputs[0]]

    # -- graphs to options ---------------------------------------------------------------------

    def normal(self, graph: Graph) -> Graph | None:
        """The same graph with the numbers that the decisions give; None if the space has no such graphs."""
        return graph

    def fits(self, graph: Graph) -> bool:
        """Whether a graph whose operations and attributes are the space's own is not too large."""
        return len(graph) <= self.nodes and all(
            len(node.inputs) <= self.inputs and (len(node.inputs) == 1 or node.merge in self.merges)
            for node in graph.nodes
        )

    def options(self, graph: Graph, who: str) -> Architecture:
        """The decisions that make a graph.

        Raises:
            InvalidArchitecture: If there are none.
        """
        if len(graph) > self.nodes:
            raise InvalidArchitecture(f"{who}: expected at most {self.nodes} nodes, got {len(graph)}")
        found = list(chosen(f"{who}: settings", self.settings, graph.settings))
        for number, node in enumerate(graph.nodes, 1):
            where = f"{who}: node {number}"
            if node.operation not in self.operations:
                raise InvalidArchitecture(f"{where}: expected one of {', '.join(self.names)}, got {node.operation!r}")
            found.append(1 + self.names.index(node.operation))
            found += chosen(f"{where}: {node.operation}", self.operations[node.operation], node.attributes)
            found += self._inputs(where, number, node)
        if len(graph) < self.nodes:
            found.append(0)
        return tuple(found)

    def _inputs(self, where: str, number: int, node: Node) -> Iterator[int]:
        first, *others = node.inputs
        if len({*node.inputs}) < len(node.inputs) or not all(0 <= each < number for each in node.inputs):
            raise InvalidArchitecture(
                f"{where}: expected different inputs from 0 to {number - 1}, got {', '.join(map(str, node.inputs))}"
            )
        if others != sorted(others) or len(node.inputs) > self.inputs:
            raise InvalidArchitecture(
                f"{where}: expected at most {self.inputs} inputs, rising after the first, got "
                f"{', '.join(map(str, node.inputs))}"
            )
        if number > 1:
            yield first
        taken = [first]
        for source in others:
            yield 1 + self.further(number, taken).index(source)
            taken.append(source)
        if self.further(number, taken):
            yield 0
        if others:
            if node.merge not in self.merges:
                raise InvalidArchitecture(
                    f"{where}: expected a merge rule of {', '.join(self.merges)}, got {node.merge}"
                )
            if len(self.merges) > 1:
                yield self.merges.index(node.merge)


def chosen(where: str, declared: Mapping[str, Sequence[Value]], attributes: Attributes) -> Iterator[int]:
    """The options that attributes are."""
    if [name for name, _ in attributes] != list(declared):
        raise InvalidArchitecture(
            f"{where}: expected {', '.join(declared) or 'no attributes'}, got {', '.join(n for n, _ in attributes)}"
        )
    for name, value in attributes:
        values = declared[name]
        if value not in values:
            raise InvalidArchitecture(f"{where}: {name}: expected one of {', '.join(map(str, values))}, got {value}")
        if len(values) > 1:
            yield values.index(value)


class Reading:
    """Takes the options of a prefix one after another; ``next`` says what comes where they end."""

    def __init__(self, prefix: Sequence[object]) -> None:
        self._prefix = prefix
        self._at = 0
        self._wrong = False
        self.next = Place("", 0)

    @property
    def complete(self) -> bool:
        """Whether all options were taken, each was one, and nothing is left to decide."""
        return not self._wrong and self.next.arity == 0 and self._at == len(self._prefix)

    def option(self, label: str, arity: int) -> int | None:
        """The next option; None where they have ended, or are wrong."""
        if self._at == len(self._prefix):
            self.next = Place(label, arity)
            return None
        option = self._prefix[self._at]
        if type(option) is not int or not 0 <= option < arity:
            self._wrong = True
            return None
        self._at += 1
        return option

    def take(self, label: str, arity: int) -> int | None:
        """The same; where there is but one option it is not asked for."""
        return 0 if arity == 1 else self.option(label, arity)
