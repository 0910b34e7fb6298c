"""The tree of the common beginnings of architectures of a chain space, and what walking it takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from archsearch.errors import UsageError
from archsearch.trial import Architecture

Piece = tuple[int, int] | str
"""(layer, option), or ``stem`` or ``head``."""

STEM, HEAD, IMAGES = "stem", "head", "images"


@dataclasses.dataclass
class Node:
    """A common beginning of architectures.

    Attributes:
        start: Decisions that were computed before: those of the node above; -1 if the stem was not.
        prefix: All decisions up to here.
        ends: Positions of the architectures that are this prefix.
        children: Longer beginnings.
    """

    start: int
    prefix: Architecture
    ends: list[int] = dataclasses.field(default_factory=list)
    children: list[Node] = dataclasses.field(default_factory=list)

    def pieces(self) -> list[Piece]:
        """What is computed on the way from the node above to here."""
        return [STEM if i < 0 else (i, self.prefix[i]) for i in range(self.start, len(self.prefix))]


def _tree(architectures: Sequence[Architecture], step: int) -> list[Node]:
    """The tree with a node at every ``step``-th decision, as a list of its one root."""
    root = Node(-1, ())
    nodes: dict[Architecture, Node] = {(): root}
    for k, architecture in enumerate(architectures):
        node = root
        for end in (*range(step, len(architecture), step), len(architecture)):
            prefix = architecture[:end]
            if prefix not in nodes:
                nodes[prefix] = Node(len(node.prefix), prefix)
                node.children.append(nodes[prefix])
            node = nodes[prefix]
        node.ends.append(k)
    return [root]


def _apart(architectures: Sequence[Architecture]) -> list[Node]:
    """A tree for each architecture, which has nothing in common with the others."""
    nodes = {architecture: Node(-1, architecture) for architecture in architectures}
    for k, architecture in enumerate(architectures):
        nodes[architecture].ends.append(k)
    return list(nodes.values())


def by_last(architectures: Sequence[Architecture], length: int) -> dict[int, list[Architecture]]:
    """The distinct beginnings of that length, by their last option."""
    found: dict[int, list[Architecture]] = {}
    for prefix in dict.fromkeys(architecture[:length] for architecture in architectures):
        found.setdefault(prefix[-1], []).append(prefix)
    return found


# -- memory ------------------------------------------------------------------------------------


class Size(NamedTuple):
    """What a piece takes for one image.

    Attributes:
        output: Bytes of its output; 0 if that is its input itself, as of an identity.
        peak: Most bytes that are live at a time while it is computed; its input is not counted, its output is.
        multiply_adds: Of convolutions and linear layers.
    """

    output: float
    peak: float
    multiply_adds: int


Sizes = Mapping[Piece, Size]


def plan(
    architectures: Sequence[Architecture], sizes: Sizes, limit: int | None, least: int, most: int
) -> tuple[list[Node], int]:
    """The tree that shares most for at least ``least`` images at a time, and how many it takes, up to ``most``."""
    if limit is None:
        return _tree(architectures, 1), most
    needed = math.inf
    for tree in _trees(architectures):
        needed = _peak(tree, sizes)
        if needed * least <= limit:
            return tree, min(most, int(limit / needed))
    raise UsageError(
        f"score_chains: memory_limit: expected at least {math.ceil(needed * least)} bytes, which one architecture "
        f"needs for {least} images at a time, got {limit}; allow more, or a smaller batch"
    )


def _trees(architectures: Sequence[Architecture]) -> Iterator[list[Node]]:
    """Trees that share less and less, and hold less and less."""
    step, length = 1, max(map(len, architectures))
    while step < 2 * length:
        yield _tree(architectures, step)
        step *= 2
    yield _apart(architectures)


def _peak(tree: Sequence[Node], sizes: Sizes) -> float:
    """Most bytes for one image that a walk holds at a time."""
    images, peak = sizes[IMAGES].output, 0.0
    # Each with what is held for other branches, and its input if it is not among that.
    stack = [(node, images, 0.0) for node in tree]
    while stack:
        node, held, own = stack.pop()
        for piece in node.pieces():
            peak = max(peak, held + own + sizes[piece].peak)
            own = sizes[piece].output or own
        if node.ends:
            peak = max(peak, held + own + sizes[HEAD].peak)
        if len(node.children) > 1:
            held, own = held + own, 0.0
        stack += [(child, held, own) for child in node.children]
    return peak


def level_peak(architectures: Sequence[Architecture], sizes: Sizes) -> float:
    """Most bytes for one image that are held when all beginnings of one length are computed from those before.

    What is inside a layer, for one beginning, is part of it.
    """
    before, peak = sizes[STEM].output or sizes[IMAGES].output, sizes[STEM].peak
    for i in range(len(architectures[0])):
        groups = by_last(architectures, i + 1)
        pieces = [sizes[i, option] for option in groups]
        after = max(piece.output for piece in pieces) * sum(map(len, groups.values())) or before
        peak = max(peak, before + after + max(piece.peak for piece in pieces))
        before = after
    return max(peak, before + sizes[HEAD].peak)
