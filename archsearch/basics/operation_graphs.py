"""The structure of architectures as graphs of operations, for all of a batch at once."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PATH_COLUMNS = 512
"""Columns that the path encoding may have, unless told otherwise."""


class OperationGraphs(NamedTuple):
    """Graphs whose nodes are operations: n of them, each spread over the same places.

    Place 0 is the input, the last place the output; an edge leads from a place to a later one.

    Attributes:
        kinds: How many kinds of operations the space has.
        labels: Kind of the operation at each place, shape (n, places); -1 where there is none, and at input and output.
        adjacency: Whether there is an edge, shape (n, places, places): from the second to the third axis.
        longest: Most operations that a path from input to output can have in this space.
    """

    kinds: int
    labels: npt.NDArray[np.int64]
    adjacency: npt.NDArray[np.bool_]
    longest: int

    def pruned(self) -> OperationGraphs:
        """Without operations that lie on no path from input to output, which change nothing."""
        there = self.labels >= 0
        there[:, 0] = there[:, -1] = True
        edges = self.adjacency & (there[:, :, None] & there[:, None, :])
        # Whether one place leads to another in 1, then 2, 4, ... steps, of which each may stay where it is.
        leads = edges + np.eye(edges.shape[1], dtype=np.float32)
        for _ in range(self.longest.bit_length()):
            leads = leads @ leads
            np.minimum(leads, 1, out=leads)
        kept = leads[:, 0] * leads[:, :, -1] > 0
        adjacency = edges & (kept[:, :, None] & kept[:, None, :])
        return OperationGraphs(self.kinds, np.where(kept, self.labels, -1), adjacency, self.longest)

    def one_hot(self) -> npt.NDArray[np.float32]:
        """Which operation is at each place, shape (n, places, kinds); zeros where there is none."""
        hot: npt.NDArray[np.float32] = (self.labels[:, :, None] == np.arange(self.kinds)).astype(np.float32)
        return hot

    def paths(self, columns: int = PATH_COLUMNS) -> npt.NDArray[np.float32]:
        """How many paths from input to output carry each sequence of operations, shortest sequences first.

        Args:
            columns: At most so many; only whole lengths are counted (see ``path_columns``), longer paths left out.

        Returns:
            Shape (n, number of sequences): the empty one, then all of length 1, and so on.
        """
        edges, hot = self.adjacency.astype(np.float32), self.one_hot()
        longest = len(path_columns(self.kinds, self.longest, columns)) - 1
        into_output, backwards = edges[:, :, -1], edges.transpose(0, 2, 1)
        found, last = [into_output[:, :1]], hot * into_output[:, :, None]
        # How often each sequence so far enters each place: shape (n, places, sequences).
        entering = backwards[:, :, :1]
        for length in range(1, longest + 1):
            found.append((entering.transpose(0, 2, 1) @ last).reshape(len(hot), self.kinds**length))
            if length < longest:
                leaving = (entering[:, :, :, None] * hot[:, :, None, :]).reshape(*hot.shape[:2], self.kinds**length)
                entering = backwards @ leaving
        return np.concatenate(found, axis=1)

    def facts(self, columns: int = PATH_COLUMNS) -> npt.NDArray[np.float32]:
        """What can be read off a graph for each set of kinds of operations; see ``sets_of_kinds``.

        Of one set: how many of its operations there are; the length of the shortest path from input to output through
        them alone (``longest`` + 1 if there is none); the most of them on any one path; and how many are fed by the
        input, and how many feed the output. Nothing depends on how the operations are numbered.

        Args:
            columns: At most so many, or, where one set needs more, those of the single kinds.

        Returns:
            Shape (n, 5 times the number of sets).
        """
        found = []
        for kinds in sets_of_kinds(self.kinds, columns // FACTS):
            inside = np.isin(self.labels, kinds)
            shortest, most = self._along_paths(inside)
            fed, feeding = self.adjacency[:, 0] & inside, self.adjacency[:, :, -1] & inside
            found += [inside.sum(1), shortest, most, fed.sum(1), feeding.sum(1)]
        return np.stack(found, 1).astype(np.float32)

    def _along_paths(self, inside: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of the operations marked: the shortest path through them alone, and the most of them on any one path."""
        n, places = self.labels.shape
        far, last = self.longest + 1, places - 1  # no path is as long as ``far``
        shortest, most = np.full((n, places), far), np.full((n, places), -1)
        shortest[:, 0] = most[:, 0] = 0
        for place in range(1, places):
            before = self.adjacency[:, :place, place]
            nearest = np.where(before, shortest[:, :place], far).min(1)
            richest = np.where(before, most[:, :place], -1).max(1)
            allowed = inside[:, place] | (place == last)
            shortest[:, place] = np.where(allowed, np.minimum(nearest + (place < last), far), far)
            most[:, place] = np.where(richest >= 0, richest + inside[:, place], -1)
        return shortest[:, last], np.maximum(most[:, last], 0)


FACTS = 5
"""Figures of ``OperationGraphs.facts`` for each set of kinds."""


def sets_of_kinds(kinds: int, most: int) -> list[tuple[int, ...]]:
    """Single kinds, then pairs, and so on, as far as whole sizes fit in ``most``; single ones always."""
    found: list[tuple[int, ...]] = []
    for size in range(1, kinds + 1):
        if found and len(found) + math.comb(kinds, size) > most:
            break
        found += itertools.combinations(range(kinds), size)
    return found


def path_columns(kinds: int, longest: int, columns: int = PATH_COLUMNS) -> list[int]:
    """Number of sequences of each length, from 0 up to ``longest``, as far as they fit in ``columns``."""
    counts = [1]
    while len(counts) <= longest and sum(counts) + counts[-1] * kinds <= columns:
        counts.append(counts[-1] * kinds)
    return counts


def chain(labels: npt.NDArray[np.int64], kinds: int) -> OperationGraphs:
    """The graphs in which each operation follows the one before it.

    Args:
        labels: Kind of each operation, shape (n, operations); -1, at the end only, where there is none.
        kinds: How many kinds there are.
    """
    n, length = labels.shape
    places = np.full((n, length + 2), -1)
    places[:, 1:-1] = labels
    adjacency = np.zeros((n, length + 2, length + 2), bool)
    steps = np.arange(length)
    adjacency[:, steps, steps + 1] = labels >= 0
    adjacency[np.arange(n), (labels >= 0).sum(1), -1] = True
    return OperationGraphs(kinds, places, adjacency, length)
