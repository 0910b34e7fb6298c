"""A graph of operations with attributes, and the edits that moves are made of; no graph is changed in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

Value = int | float | str
Attributes = tuple[tuple[str, Value], ...]
"""Names and values, in the order of the operation's declaration."""

ADD, CONCAT = "add", "concat"
"""What becomes of several inputs: they are added, each times a learned number, or concatenated along the channels."""


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """An operation and what it reads.

    Attributes:
        operation: Its name.
        attributes: Such as channels and kernel.
        inputs: Numbers of the nodes that it reads; the first is the primary one, whose shape the others are brought to,
            the others rise.
        merge: ``add`` or ``concat``; of a node with one input ``add``.
        origin: After an edit, number of the node that this one was before it; None: it is new. Of a part of one, such
            as half of its filters, ``part`` says where that begins. Neither is part of the architecture.
        part: The first channel of the origin's output that is this one's.
    """

    operation: str
    attributes: Attributes = ()
    inputs: tuple[int, ...] = (0,)
    merge: str = ADD
    origin: int | None = dataclasses.field(default=None, compare=False)
    part: int = dataclasses.field(default=0, compare=False)

    def __getitem__(self, name: str) -> Value:
        """The value of an attribute."""
        return dict(self.attributes)[name]

    def number(self, name: str, otherwise: int = 1) -> int:
        """The value of an attribute that is a whole number; ``otherwise`` if the operation has none of that name."""
        return int(dict(self.attributes).get(name, otherwise))

    def has(self, name: str) -> bool:
        """Whether the operation has an attribute of that name."""
        return any(name == own for own, _ in self.attributes)

    def with_value(self, name: str, value: Value) -> Node:
        """The node with another value of an attribute."""
        changed = tuple((own, value if own == name else old) for own, old in self.attributes)
        return dataclasses.replace(self, attributes=changed)

    def reading(self, inputs: Iterable[int], merge: str | None = None) -> Node:
        """The node with other inputs: the first stays first, of equal ones one is kept, the others are sorted."""
        first, *others = dict.fromkeys(inputs)
        merge = (self.merge if merge is None else merge) if others else ADD
        return dataclasses.replace(self, inputs=(first, *sorted(others)), merge=merge)


@dataclasses.dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in an order in which each reads earlier ones only; number 0 is the input, ``nodes[0]`` has the number 1.

    Nodes that no other reads are the output, together; so every graph is connected.

    Attributes:
        nodes: The operations.
        settings: Attributes of the whole, such as a learning rate.
    """

    nodes: tuple[Node, ...] = ()
    settings: Attributes = ()

    def __len__(self) -> int:
        return len(self.nodes)

    def node(self, number: int) -> Node:
        """The node of a number, counted from 1."""
        return self.nodes[number - 1]

    def numbers(self) -> range:
        """The numbers of all nodes."""
        return range(1, len(self.nodes) + 1)

    def readers(self, number: int) -> list[int]:
        """Numbers of the nodes that read one; none: it is part of the output."""
        return [i for i in self.numbers() if number in self.node(i).inputs]

    def loose(self) -> list[int]:
        """Numbers of the nodes that no other reads; of a graph without nodes the input."""
        read = {source for node in self.nodes for source in node.inputs}
        return [i for i in self.numbers() if i not in read] or [0]

    # -- edits ---------------------------------------------------------------------------------

    def begun(self) -> Graph:
        """The same, each node its own origin: what an edit begins with."""
        return dataclasses.replace(
            self, nodes=tuple(dataclasses.replace(node, origin=i, part=0) for i, node in enumerate(self.nodes, 1))
        )

    def replaced(self, number: int, node: Node) -> Graph:
        """Another node in the place of one."""
        return dataclasses.replace(self, nodes=(*self.nodes[: number - 1], node, *self.nodes[number:]))

    def inserted(self, number: int, node: Node, readers: Iterable[int] = (), instead_of: int | None = None) -> Graph:
        """One node more.

        Args:
            number: That it gets; those from there on move up by one. All that it reads have smaller ones.
            node: The node.
            readers: Numbers, as they are now, of nodes that read it in place of ``instead_of``.
            instead_of: See ``readers``; None: it is read in addition to what they read.
        """
        chosen = set(readers)

        def moved(source: int) -> int:
            return source + (source >= number)

        def rewired(i: int, old: Node) -> Node:
            if i not in chosen:
                return old.reading(map(moved, old.inputs))
            if instead_of is None:
                return old.reading((*map(moved, old.inputs), number))
            return old.reading(number if source == instead_of else moved(source) for source in old.inputs)

        nodes = [rewired(i, old) for i, old in enumerate(self.nodes, 1)]
        return dataclasses.replace(self, nodes=(*nodes[: number - 1], node, *nodes[number - 1 :]))

    def removed(self, number: int) -> Graph:
        """Without a node; those that read it read its primary input instead."""
        instead = self.node(number).inputs[0]

        def rewired(node: Node) -> Node:
            sources = [instead if source == number else source for source in node.inputs]
            return node.reading(source - (source > number) for source in sources)

        nodes = [rewired(node) for i, node in enumerate(self.nodes, 1) if i != number]
        return dataclasses.replace(self, nodes=tuple(nodes))

    def connected(self, source: int, target: int, merge: str | None = None) -> Graph:
        """With an edge more, to a later node."""
        node = self.node(target)
        return self.replaced(target, node.reading((*node.inputs, source), merge))

    def disconnected(self, source: int, target: int) -> Graph:
        """Without an edge that is not the primary one."""
        node = self.node(target)
        return self.replaced(target, node.reading(each for each in node.inputs if each != source))

    def set(self, name: str, value: Value) -> Graph:
        """With another setting of the whole."""
        changed = tuple((own, value if own == name else old) for own, old in self.settings)
        return dataclasses.replace(self, settings=changed)


def chain(*nodes: Node, settings: Attributes = ()) -> Graph:
    """Nodes one after another."""
    return Graph(tuple(dataclasses.replace(node, inputs=(i,)) for i, node in enumerate(nodes)), settings)


def attributes_of(declared: Mapping[str, Sequence[Value]], **values: Value) -> Attributes:
    """An operation's attributes in their order; those that are not given have the first value that there is."""
    return tuple((name, values.get(name, options[0])) for name, options in declared.items())
