"""Cells as text: ``normal: sep_conv_3x3(0) max_pool_3x3(1) | ... ; reduce: ...``.

An edge is ``operation(input)``. A combiner other than the first follows the edges of its node; the states that a cell
concatenates follow ``>`` where they are not those of the space's rule.
"""

from __future__ import annotations

import dataclasses
import re
from typing import NoReturn

from archsearch.errors import InvalidArchitecture
from archsearch.grammar.rules import Rules
from archsearch.space import Space
from archsearch.trial import Architecture

_EDGE = re.compile(r"(\w+)\(([0-9])\)")


def write(rules: Rules, architecture: Architecture) -> str:
    """The nodes of all cells."""
    cells = []
    for kind, (name, cell) in enumerate(zip(rules.cells, rules.split(architecture), strict=True)):
        nodes = []
        for joint, edges in zip(rules.joints(cell), rules.edges(kind, cell), strict=True):
            words = [f"{edge.operation}({edge.source})" for edge in edges]
            nodes.append(" ".join(words + [rules.combiners[joint.combiner]] * (joint.combiner > 0)))
        exception = rules.published.get((kind, cell))
        end = f" > {' '.join(map(str, exception))}" if exception else ""
        cells.append(f"{name}: {' | '.join(nodes)}{end}")
    return " ; ".join(cells)


class Reader:
    """Reads what ``write`` wrote, the edges of a node that is a pair in any order.

    Args:
        rules: Of the space.
        space: Its name, for messages.
    """

    def __init__(self, rules: Rules, space: str) -> None:
        self.rules, self.space = rules, space

    def read(self, text: str) -> Architecture:
        """The decisions that a text or a published name stands for.

        Raises:
            InvalidArchitecture: If it is neither, or says that other states are concatenated than are.
        """
        if setting := self.rules.elsewhere.get(text.strip()):
            raise InvalidArchitecture(f"{text.strip()} is an architecture of {self.space} with {setting}; set that")
        text = self.rules.names.get(text.strip(), text)
        architecture, outputs = self.read_all(text)
        for kind, (cell, said) in enumerate(zip(self.rules.split(architecture), outputs, strict=True)):
            there = self.rules.outputs(kind, cell)
            if said is not None and said != there:
                self._refuse(
                    text, f"the states {said} are said to be concatenated, where this space concatenates {there}"
                )
        return architecture

    def read_all(self, text: str) -> tuple[Architecture, list[tuple[int, ...] | None]]:
        """The decisions, and the states that each cell is said to concatenate."""
        rules, cells, size = self.rules, text.split(";"), 0
        if len(cells) != len(rules.cells):
            self._refuse(text, f"{len(cells)} parts between semicolons instead of {len(rules.cells)}")
        architecture: Architecture = ()
        outputs: list[tuple[int, ...] | None] = []
        for kind, (name, cell) in enumerate(zip(rules.cells, cells, strict=True)):
            head, _, body = cell.partition(":")
            body, _, end = body.partition(">")
            nodes = body.split("|")
            if rules.fewest is not None and not kind:
                architecture = (len(nodes) - rules.fewest,)
            same = len(nodes) in rules.sizes and (not kind or len(nodes) == size)
            size = len(nodes)
            if head.strip() != name or not same:
                some = rules.nodes if rules.fewest is None else f"{rules.fewest} to {rules.nodes}"
                self._refuse(text, f"{cell.strip()!r} is not {name!r} with a colon and {some} nodes between bars")
            for node, words in enumerate(nodes, 2):
                architecture += self._node(text, kind, node, words)
            states = end.split()
            if not all(state.isascii() and state.isdigit() for state in states):
                self._refuse(text, f"{end.strip()!r} is not the numbers of states")
            outputs.append(tuple(map(int, states)) or None)
        return architecture, outputs

    def _node(self, text: str, kind: int, node: int, words: str) -> Architecture:
        rules, read, combiner = self.rules, [], 0
        edges = words.split()
        if edges and edges[-1] in rules.combiners[len(rules.combiners) == 1 :]:
            combiner = rules.combiners.index(edges.pop())
        for edge in edges:
            match = _EDGE.fullmatch(edge)
            source = int(match[2]) if match else node
            known = rules.operations_of(kind, source, node)
            if match is None or source >= node or match[1] not in known:
                self._refuse(
                    text, f"node {node}: {edge!r} is none of these operations with an input from 0 to {node - 1}"
                )
            read.append((source, known.index(match[1])))
        if len(read) != 2 or (rules.paired and read[0][0] == read[1][0]):
            different = "different inputs" if rules.paired else "earlier states"
            self._refuse(text, f"node {node}: {words.strip()!r} is not two operations on {different}")
        return rules.write(read[0], read[1], combiner)

    def _refuse(self, text: str, why: str) -> NoReturn:
        names = f"one of {', '.join(self.rules.names)} or " if self.rules.names else ""
        first = (0,) * (len(self.rules.arities(self.rules.sizes[0])) + (self.rules.fewest is not None))
        example = next(iter(self.rules.names.values()), "") or write(self.rules, first)
        raise InvalidArchitecture(
            f"{text!r} is no architecture of {self.space}: {why}; expected {names}a text such as {example!r}, with "
            f"the operations {', '.join(self.rules.operations)}"
        )


def with_published(rules: Rules) -> Rules:
    """The rules of a space, with its published cells whose texts say that they concatenate other states."""
    published: dict[tuple[int, Architecture], tuple[int, ...]] = {}
    for name, text in rules.names.items():
        architecture, outputs = Reader(rules, name).read_all(text)
        for kind, (cell, states) in enumerate(zip(rules.split(architecture), outputs, strict=True)):
            if states is not None:
                published[kind, cell] = states
    return dataclasses.replace(rules, published=published)


def read_tokens(space: Space, text: str) -> Architecture:
    """The decisions of a space, written as numbers with spaces between them; bars and line breaks count as spaces.

    Raises:
        InvalidArchitecture: If ``text`` is no architecture.
    """
    tokens = text.replace("|", " ").split()
    if not tokens or not all(token.isascii() and token.isdigit() for token in tokens):
        raise InvalidArchitecture(
            f"{text!r} is no architecture of {type(space).__name__}: expected numbers with spaces between them, such "
            f"as {space.format((0,) * space.max_length)!r}"
        )
    return space.validate(tuple(map(int, tokens)))
