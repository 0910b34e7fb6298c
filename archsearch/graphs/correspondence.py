"""What of a network lives on in another one, by their graphs alone; the weights are moved in ``transfer.py``.

Every node of a child is one of three things. It *copies* a node of the parent, its origin, filters and all; or it is
new and *passes on* what it reads, as an identity; or it is *free*: nobody relies on it, and those that read it ignore
it at first. Each channel of an output is followed from the input on: it carries the number of the parent's channel that
it equals, or is free. So widths, merges, copies and parts of nodes need no rule of their own, and whether a child can
have its parent's function is a question that graphs answer.

References: Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016; Wei et al., "Network morphism", ICML 2016. Net2Wider
replicates channels and divides what reads them; here new channels keep their initial weights and are read with weights
of 0, which keeps the function as well, and lets them part from the others with the first update.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from archsearch.graphs.graph import ADD, Graph, Node
from archsearch.graphs.shapes import IMAGES, channels_of, clips, merged_channels, signs_of

FREE = -1
"""In place of a channel's number: it equals none of the parent's."""

OUTPUT = "output"


class Carried(NamedTuple):
    """What a node's output equals.

    Attributes:
        source: Number of a node of the parent; None: of none.
        channels: Of each channel the number of that node's channel, or ``FREE``.
    """

    source: int | None
    channels: tuple[int, ...]


class Scale(NamedTuple):
    """How an input enters a sum.

    Attributes:
        position: Of the parent's input whose number it takes; None: 1.
        sharers: How many inputs share that one's part; 0: this one is ignored at first.
    """

    position: int | None
    sharers: int


class Part(NamedTuple):
    """How a node of the child, or its output, begins.

    Attributes:
        role: See above.
        origin: Number of the node that is copied.
        scales: Of each input, where they are added.
        inputs: Of each channel that the inputs together have, the number of that channel at the origin (of a node that
            passes on: at what it carries), or ``FREE``.
        outputs: Of each channel of the output the same.
    """

    role: Literal["copies", "passes", "free"]
    origin: int | None
    scales: tuple[Scale, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Correspondence(NamedTuple):
    """What of a parent lives on in a child.

    Attributes:
        nodes: Of each node of the child, in order.
        output: Of what the classifier reads.
        exact: Whether the child can have the parent's function.
    """

    nodes: tuple[Part, ...]
    output: Part
    exact: bool


def correspond(parent: Graph, child: Graph, images: int = IMAGES) -> Correspondence:
    """What of a parent lives on in a child whose nodes know their origins.

    Args:
        parent: A graph.
        child: Another one.
        images: Channels of the input.
    """
    return _Follower(parent, child, images).follow()


class _Merged(NamedTuple):
    """What a node reads, seen from the node that it copies: as in ``Part``, and whether nothing is lost."""

    scales: tuple[Scale, ...]
    channels: tuple[int, ...]
    exact: bool


class _Follower:
    """Follows the parent's channels through the child."""

    def __init__(self, parent: Graph, child: Graph, images: int) -> None:
        self.parent, self.child = parent, child
        self.old_channels, self.new_channels = channels_of(parent, images), channels_of(child, images)
        self.old_signs, self.new_signs = signs_of(parent), signs_of(child)
        self.carried = [Carried(0, tuple(range(images)))]
        self.exact = True

    def follow(self) -> Correspondence:
        parts = []
        for node in self.child.nodes:
            part, carried = self._copied(node) if node.origin else self._new(node)
            parts.append(part)
            self.carried.append(carried)
        loose, new = self.parent.loose(), self.child.loose()
        merged = self._concatenated(loose, new)
        output = Part("copies", None, merged.scales, merged.channels, ())
        return Correspondence(tuple(parts), output, self.exact and merged.exact)

    # -- copies --------------------------------------------------------------------------------

    def _copied(self, node: Node) -> tuple[Part, Carried]:
        assert node.origin is not None
        old, channels = self.parent.node(node.origin), self.new_channels[len(self.carried)]
        merged = self._merged(old, node)
        if old.has("channels"):
            own = self.old_channels[node.origin]
            outputs = tuple(c if c < own else FREE for c in range(node.part, node.part + channels))
        else:
            outputs = merged.channels
        if not (merged.exact and old.operation == node.operation and _only_grown(old, node)):
            self.exact = False
        part = Part("copies", node.origin, merged.scales, merged.channels, outputs)
        return part, Carried(node.origin, outputs)

    def _merged(self, old: Node, new: Node) -> _Merged:
        if len(new.inputs) > 1 and new.merge != ADD:
            same = len(old.inputs) == 1 or old.merge == new.merge
            same = same and self.carried[new.inputs[0]].source == old.inputs[0]  # whose height and width all get
            merged = self._concatenated(old.inputs, new.inputs)
            return merged._replace(exact=merged.exact and same)
        merged = self._added(old, new)
        if len(old.inputs) == 1:
            return merged
        alike = len(new.inputs) > 1 and old.merge == ADD and clips(old, self.old_signs) == clips(new, self.new_signs)
        return merged._replace(exact=merged.exact and alike)

    def _concatenated(self, old: Sequence[int], new: Sequence[int]) -> _Merged:
        """Several outputs side by side."""
        begins, total = dict[int, int](), 0
        for source in old:
            begins[source] = total
            total += self.old_channels[source]
        channels: list[int] = []
        seen = {FREE}
        for number in new:
            carried = self.carried[number]
            begin = None if carried.source is None else begins.get(carried.source)
            for channel in carried.channels:
                found = FREE if begin is None or channel == FREE else begin + channel
                channels.append(FREE if found in seen else found)
                seen.add(found)
        return _Merged((), tuple(channels), seen >= set(range(total)))

    def _added(self, old: Node, new: Node) -> _Merged:
        """A sum, or a single input; as many channels as the primary one has."""
        carried = [self.carried[number] for number in new.inputs]
        positions = [old.inputs.index(each.source) if each.source in old.inputs else None for each in carried]
        if len(old.inputs) > 1 and old.merge != ADD:
            positions = [None] * len(positions)  # a channel of a concatenation is no channel of a sum
        sharers = Counter(positions)
        scales = tuple(Scale(at, 0 if at is None else sharers[at]) for at in positions)
        own = [self.old_channels[source] for source in old.inputs]
        total = merged_channels(old, self.old_channels)
        channels, seen = [], {FREE}
        for c, channel in enumerate(carried[0].channels if positions[0] is not None else ()):
            agree = channel not in seen and all(
                at is None
                or (each.channels[c] if c < len(each.channels) else None) == (channel if channel < own[at] else None)
                for each, at in zip(carried, positions, strict=True)
            )  # None: zeros, which the narrower ones of a sum get
            channels.append(channel if agree else FREE)
            seen.add(channels[-1])
        channels += [FREE] * (self.new_channels[new.inputs[0]] - len(channels))
        whole = set(positions) >= set(range(len(old.inputs))) and positions[0] == 0 and seen >= set(range(total))
        return _Merged(scales if len(new.inputs) > 1 else (), tuple(channels), whole)

    # -- new nodes -----------------------------------------------------------------------------

    def _new(self, node: Node) -> tuple[Part, Carried]:
        carried = [self.carried[number] for number in node.inputs]
        main = carried[0]
        if main.source is None or not self._can_pass(node):
            return self._free(node)
        scales: tuple[Scale, ...] = ()
        if len(node.inputs) > 1 and node.merge != ADD:
            channels = [c if each.source == main.source else FREE for each in carried for c in each.channels]
        else:
            alike = [each == main for each in carried]
            scales = tuple(Scale(None, sum(alike) if same else 0) for same in alike) if len(alike) > 1 else ()
            channels = list(main.channels)
        width = self.new_channels[len(self.carried)]
        outputs = (*channels, *[FREE] * width)[:width]
        return Part("passes", None, scales, tuple(channels), outputs), Carried(main.source, outputs)

    def _can_pass(self, node: Node) -> bool:
        """Whether a node can be an identity: a convolution that keeps size, and a ReLU only of what is not negative."""
        if node.operation == "identity":
            return True
        if not node.has("channels") or node.number("stride") != 1:
            return False
        linear = node.has("activation") and node["activation"] == "none"
        return linear or all(self.new_signs[source] for source in node.inputs)

    def _free(self, node: Node) -> tuple[Part, Carried]:
        number = len(self.carried)
        inputs = (FREE,) * merged_channels(node, self.new_channels)
        part = Part("free", None, (), inputs, (FREE,) * self.new_channels[number])
        return part, Carried(None, part.outputs)


GROWS = ("channels", "kernel", "height", "width")
"""Attributes that can grow without a change of the function; smaller ones lose something."""


def _only_grown(old: Node, new: Node) -> bool:
    """Whether nothing that a node computes is lost by other values of its attributes; channels are followed apart."""
    for name, value in old.attributes:
        now = new[name]
        if now != value and name != "channels" and not (name in GROWS and float(now) > float(value)):
            return False
    return True


# -- without a move ----------------------------------------------------------------------------


def aligned(parent: Graph, child: Graph) -> Graph:
    """The child with origins: of operations of one name as many as possible, in order (a longest common subsequence).

    Among equal ones those that agree in more attributes.
    """
    old, new = parent.nodes, child.nodes
    # Best pairs of the first i and the first j nodes: how much they agree, and the origin of each of the j.
    best: list[list[tuple[float, tuple[int | None, ...]]]] = [[(0.0, ())] for _ in range(len(old) + 1)]
    for i in range(len(old) + 1):
        for j in range(1, len(new) + 1):
            worth, origins = best[i][j - 1]
            ways = [(worth, (*origins, None))]
            if i:
                ways.append(best[i - 1][j])
                if old[i - 1].operation == new[j - 1].operation:
                    worth, origins = best[i - 1][j - 1]
                    ways.append((worth + _agreement(old[i - 1], new[j - 1]), (*origins, i)))
            best[i].append(max(ways, key=lambda way: way[0]))
    nodes = [
        dataclasses.replace(node, origin=origin, part=0) for node, origin in zip(new, best[-1][-1][1], strict=True)
    ]
    return dataclasses.replace(child, nodes=tuple(nodes))


def _agreement(old: Node, new: Node) -> float:
    """Above 0: how much two nodes of one operation have in common."""
    same = sum(value == now for value, now in zip(old.attributes, new.attributes, strict=True))
    return 1 + (same + (old.inputs == new.inputs)) / (2 + len(old.attributes))
