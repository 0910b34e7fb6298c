"""The structure of architectures as graphs of operations, for all of a batch at once."""

from __future__ import annotations

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
