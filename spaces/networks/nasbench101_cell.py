"""A cell of NAS-Bench-101 as a graph: what an architecture stands for, its text and its published hash.

Reference: Ying et al., "NAS-Bench-101: towards reproducible neural architecture search", ICML 2019. This is what
the space ``NASBench101`` and its networks have in common, and needs no PyTorch.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from archsearch.errors import InvalidArchitecture

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")


class Cell(NamedTuple):
    """A cell, its vertices numbered so that edges lead to higher numbers; the first is the input, the last the output.

    Attributes:
        predecessors: One bit mask for each vertex: bit i is set if there is an edge from vertex i.
        operations: One position in ``OPERATIONS`` for each inner vertex.
    """

    predecessors: tuple[int, ...]
    operations: tuple[int, ...]

    @property
    def output(self) -> int:
        """Number of the output vertex; the input is 0."""
        return len(self.predecessors) - 1

    def has_edge(self, source: int, target: int) -> bool:
        """Whether an edge leads from ``source`` to ``target``."""
        return bool(self.predecessors[target] >> source & 1)


def on_paths(predecessors: Sequence[int]) -> list[int]:
    """The vertices that lie on a path from the first to the last one."""
    last = len(predecessors) - 1
    from_input, to_output = 1, 1 << last
    for vertex in range(1, last + 1):
        from_input |= bool(predecessors[vertex] & from_input) << vertex
    for vertex in range(last, 0, -1):
        to_output |= predecessors[vertex] if to_output >> vertex & 1 else 0
    return [vertex for vertex in range(last + 1) if (from_input & to_output) >> vertex & 1]


@functools.lru_cache(maxsize=2**16)
def fingerprint(cell: Cell) -> str:
    """The paper's graph hash, rounds of Weisfeiler and Lehman: what a vertex is, then what is around it."""
    vertices = range(len(cell.predecessors))
    before = [[source for source in vertices if mask >> source & 1] for mask in cell.predecessors]
    after = [[target for target in vertices if source in before[target]] for source in vertices]
    labels = (-1, *cell.operations, -2)
    hashes = [_md5(str((len(after[v]), len(before[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5("|".join(["".join(sorted(hashes[w] for w in around[v])) for around in (before, after)] + [hashes[v]]))
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def read(text: str) -> Cell:
    """The cell of a text as ``NASBench101.format`` writes it, whatever its size.

    Raises:
        InvalidArchitecture: If it is none, or names other operations.
    """
    matrix, _, names = text.strip().partition(" ")
    operations = names.strip().split(",")
    vertices = len(operations)
    if not matrix or set(matrix) - {"0", "1"} or len(matrix) != vertices**2:
        raise InvalidArchitecture(f"expected {vertices}x{vertices} digits 0 or 1 for {vertices} operations")
    if vertices < 2 or (operations[0], operations[-1]) != ("input", "output"):
        raise InvalidArchitecture("the operations must begin with input and end with output")
    unknown = sorted(set(operations[1:-1]) - set(OPERATIONS))
    if unknown:
        raise InvalidArchitecture(f"unknown operations {', '.join(unknown)}; there are {', '.join(OPERATIONS)}")
    edges = [divmod(i, vertices) for i, bit in enumerate(matrix) if bit == "1"]
    backwards = [f"{source}->{target}" for source, target in edges if source >= target]
    if backwards:
        raise InvalidArchitecture(f"edges must lead to vertices of higher numbers, unlike {', '.join(backwards)}")
    predecessors = tuple(sum(1 << source for source, end in edges if end == target) for target in range(vertices))
    return Cell(predecessors, tuple(OPERATIONS.index(name) for name in operations[1:-1]))
