"""Trees of series and branches: as graphs, as decisions, and as texts; those of ``PathLevel``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from archsearch.errors import InvalidArchitecture
from archsearch.graphs.graph import ADD, CONCAT, Graph, Node, Value
from archsearch.graphs.texts import SIGNS
from archsearch.graphs.tree import Reading, Tree, chosen
from archsearch.trial import Architecture

MERGE = "identity"
"""The operation of nodes that merge branches; no layer has it."""


@dataclasses.dataclass(frozen=True)
class Branches:
    """Several series side by side, with at least one layer each.

    Attributes:
        merge: ``add`` or ``concat``.
        series: At least two.
        node: The node that merges them.
    """

    merge: str
    series: tuple[Series, ...]
    node: Node = dataclasses.field(default=Node(MERGE), compare=False)


Series = tuple["Node | Branches", ...]
"""Layers and branches, one after another."""


class Nested(Tree):
    """The decisions of trees: of each place in a series what comes there, or its end; then attributes, or branches.

    Args:
        operations: As of ``GraphSpace``; all but ``MERGE`` are layers.
        nodes: Most layers and merges.
        branches: Most branches side by side.
        depth: How deep branches can be nested.
    """

    def __init__(
        self, operations: Mapping[str, Mapping[str, Sequence[Value]]], nodes: int, branches: int, depth: int
    ) -> None:
        super().__init__(operations, nodes, branches, (ADD, CONCAT), {})
        self.layers = [name for name in operations if name != MERGE]
        self.depth = depth
        self.longest = nodes * (2 + max(len(each) for each in operations.values()))
        self.widest = max(self.widest, len(self.layers) + 3)

    # -- decisions to graphs -------------------------------------------------------------------

    def walk(self, reading: Reading) -> Graph:
        """See ``Tree``; a graph without nodes while decisions are missing."""
        series = self._series(reading, "", self.nodes, 0)
        return Graph() if series is None else built(series)

    def _series(self, reading: Reading, where: str, room: int, depth: int) -> Series | None:
        """A series of at most ``room`` nodes, at least one; None while decisions are missing."""
        found: list[Node | Branches] = []
        while room > 0:
            label = f"{where}{len(found) + 1}"
            end, deeper = int(bool(found)), 2 if depth < self.depth and room >= 3 else 0
            option = reading.take(label, end + len(self.layers) + deeper)
            if option is None:
                return None
            if end and option == 0:
                break
            option -= end
            if option < len(self.layers):
                element: Node | Branches | None = self._layer(reading, label, self.layers[option])
            else:
                merge = self.merges[option - len(self.layers)]
                element = self._branches(reading, label, merge, room, depth)
            if element is None:
                return None
            found.append(element)
            room -= size_of(element)
        return tuple(found)

    def _layer(self, reading: Reading, label: str, operation: str) -> Node | None:
        attributes = []
        for name, values in self.operations[operation].items():
            if (option := reading.take(f"{label} {name}", len(values))) is None:
                return None
            attributes.append((name, values[option]))
        return Node(operation, tuple(attributes))

    def _branches(self, reading: Reading, label: str, merge: str, room: int, depth: int) -> Branches | None:
        most = min(self.inputs, room - 1)
        option = reading.take(f"{label} branches", most - 1)
        if option is None:
            return None
        series, left = list[Series](), room - 1
        for branch in range(option + 2):
            owed = option + 1 - branch  # a layer of each branch that follows
            one = self._series(reading, f"{label}{chr(97 + branch)}", left - owed, depth + 1)
            if one is None:
                return None
            series.append(one)
            left -= sum(map(size_of, one))
        return Branches(merge, tuple(series))

    # -- graphs to decisions -------------------------------------------------------------------

    def options(self, graph: Graph, who: str) -> Architecture:
        """See ``Tree``."""
        series = self.series(graph)
        if series is None:
            raise InvalidArchitecture(f"{who}: expected a series of layers and branches, got another graph")
        if sum(map(size_of, series)) > self.nodes:
            raise InvalidArchitecture(f"{who}: expected at most {self.nodes} layers and merges, got {len(graph)}")
        return tuple(self._chosen(series, who, self.nodes, 0))

    def _chosen(self, series: Series, who: str, room: int, depth: int) -> Iterator[int]:
        if not series:
            raise InvalidArchitecture(f"{who}: expected at least one layer in a series, got none")
        for place, element in enumerate(series):
            end = int(place > 0)
            if isinstance(element, Node):
                if element.operation not in self.layers:
                    raise InvalidArchitecture(
                        f"{who}: expected layers of {', '.join(self.layers)}, got {element.operation}"
                    )
                yield end + self.layers.index(element.operation)
                where = f"{who}: {element.operation}"
                yield from chosen(where, self.operations[element.operation], element.attributes)
            else:
                if depth == self.depth or not 2 <= len(element.series) <= self.inputs:
                    raise InvalidArchitecture(
                        f"{who}: expected 2 to {self.inputs} branches, nested at most {self.depth} deep, got "
                        f"{len(element.series)} at depth {depth + 1}"
                    )
                yield end + len(self.layers) + self.merges.index(element.merge)
                if min(self.inputs, room - 1) > 2:
                    yield len(element.series) - 2
                left = room - 1
                for branch, one in enumerate(element.series):
                    owed = len(element.series) - 1 - branch
                    yield from self._chosen(one, who, left - owed, depth + 1)
                    left -= sum(map(size_of, one))
            room -= size_of(element)
        if room > 0:
            yield 0

    def normal(self, graph: Graph) -> Graph | None:
        """The same graph with the numbers that the decisions give; None if it is no tree."""
        series = self.series(graph)
        return None if series is None else built(series)

    def fits(self, graph: Graph) -> bool:
        """See ``Tree``."""
        series = self.series(graph)
        return series is not None and len(graph) <= self.nodes and self._narrow(series, 0)

    def _narrow(self, series: Series, depth: int) -> bool:
        """Whether no branches are too many, or nested too deep."""
        return all(
            isinstance(each, Node)
            or (
                depth < self.depth
                and len(each.series) <= self.inputs
                and all(self._narrow(one, depth + 1) for one in each.series)
            )
            for each in series
        )

    def series(self, graph: Graph) -> Series | None:
        """The tree that a graph is; None if it is none."""
        try:
            return _followed(graph)
        except ValueError:  # of a graph with several loose ends, too
            return None


def size_of(element: Node | Branches) -> int:
    """Nodes of an element."""
    return 1 if isinstance(element, Node) else 1 + sum(size_of(each) for one in element.series for each in one)


def built(series: Series) -> Graph:
    """The graph of a tree."""
    nodes: list[Node] = []

    def add(some: Series, source: int) -> int:
        for element in some:
            if isinstance(element, Node):
                nodes.append(dataclasses.replace(element, inputs=(source,), merge=ADD))
            else:
                ends = tuple(add(one, source) for one in element.series)
                nodes.append(dataclasses.replace(element.node, inputs=ends, merge=element.merge))
            source = len(nodes)
        return source

    add(series, 0)
    return Graph(tuple(nodes))


def _followed(graph: Graph) -> Series:
    """The tree of a graph, from its output backwards; ``ValueError``: it is none."""
    seen: list[int] = []
    # What lies on all ways from the input to each node; the last of them is where its branches begin.
    on_all: list[set[int]] = [{0}]
    for i in graph.numbers():
        on_all.append(set.intersection(*(on_all[source] for source in graph.node(i).inputs)) | {i})

    def series(at: int, begin: int) -> Series:
        found: list[Node | Branches] = []
        while at != begin:
            seen.append(at)
            node = graph.node(at)
            if (len(node.inputs) > 1) != (node.operation == MERGE):
                raise ValueError("a layer that merges, or a merge of one")
            if node.operation == MERGE:
                source = max(on_all[at] - {at})
                found.append(Branches(node.merge, tuple(series(each, source) for each in node.inputs), node))
                at = source
            else:
                found.append(node)
                at = node.inputs[0]
        if not found:
            raise ValueError("a branch without layers")
        return tuple(reversed(found))

    (end,) = graph.loose()
    whole = series(end, 0)
    if sorted(seen) != list(graph.numbers()):
        raise ValueError("nodes that are part of two branches, or of none")
    return whole


# -- texts -------------------------------------------------------------------------------------


def written_series(series: Series | None) -> str:
    """The text of a tree."""
    return " ; ".join(map(_written, series or ()))


def _written(element: Node | Branches) -> str:
    if isinstance(element, Node):
        return " ".join([element.operation, *(str(value) for _, value in element.attributes)])
    return f"( {f' {SIGNS[element.merge]} '.join(map(written_series, element.series))} )"


def read_series(text: str, tree: Nested, who: str) -> Graph:
    """The graph of the tree that a text is.

    Raises:
        InvalidArchitecture: If it is of another form.
    """
    words = text.split(" ")
    try:
        series, rest = _read_series(words, tree)
        if rest:
            raise ValueError(f"nothing more, got {' '.join(rest)!r}")
    except ValueError as error:
        raise InvalidArchitecture(f"{text!r} is no architecture of {who}: expected {error}") from None
    return built(series)


def _read_series(words: list[str], tree: Nested) -> tuple[Series, list[str]]:
    found: list[Node | Branches] = []
    while True:
        element, words = _read_branches(words[1:], tree) if words[:1] == ["("] else _read_layer(words, tree)
        found.append(element)
        if words[:1] != [";"]:
            return tuple(found), words
        words = words[1:]


def _read_branches(words: list[str], tree: Nested) -> tuple[Branches, list[str]]:
    one, words = _read_series(words, tree)
    series, sign = [one], words[:1]
    rules = {sign: rule for rule, sign in SIGNS.items()}
    while words[:1] == sign and words and words[0] in rules:
        one, words = _read_series(words[1:], tree)
        series.append(one)
    if len(series) < 2 or words[:1] != [")"]:
        raise ValueError(f"branches between ( and ), all with + or all with & between them, got {' '.join(words)!r}")
    return Branches(rules[sign[0]], tuple(series)), words[1:]


def _read_layer(words: list[str], tree: Nested) -> tuple[Node, list[str]]:
    if not words or words[0] not in tree.layers:
        raise ValueError(f"a layer of {', '.join(tree.layers)}, got {' '.join(words[:1])!r}")
    operation, attributes = words[0], list[tuple[str, Value]]()
    for (name, values), word in zip(
        tree.operations[operation].items(), [*words[1:], *[""] * len(tree.operations[operation])], strict=False
    ):
        known = {str(value): value for value in values}
        if word not in known:
            raise ValueError(f"{name} one of {', '.join(known)}, got {word!r}")
        attributes.append((name, known[word]))
    return Node(operation, tuple(attributes)), words[1 + len(attributes) :]
