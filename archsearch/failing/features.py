"""Architectures as columns of numbers that predict failures: decisions by name, their counts, their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from archsearch.basics.decisions import ABSENT, columns_of, kinds_of_names, options_of
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.space import Space


class Features:
    """Encodes architectures of a space.

    Of a decision in no order there is a column for each option; how often decisions of one kind take an option (kinds
    are names without their numbers) is a column, too, since what grows too large or too deep does so by many decisions
    together. Of a decision in order there is where its option lies, and the square of that. In a conditional space
    decisions are known by name (``Space.label``), wherever they stand, and to be absent is an option.

    Args:
        space: Theirs.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        names, options, self._scales = columns_of(space)
        self._free = [column for column, scale in enumerate(self._scales) if scale is None]
        self._widths = options[self._free]
        kinds = np.array(kinds_of_names([names[column] for column in self._free]), np.int64)
        self._kinds, self._sizes = kinds, np.bincount(kinds, minlength=1)

    def __call__(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Their columns, shape (n, columns), from 0 to 1 or, of counts, to the root of the decisions of a kind."""
        table = options_of(self._space, architectures)
        return np.concatenate([self._ordered(table), *self._unordered(table[:, self._free])], axis=1)

    def _ordered(self, table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        columns = [np.zeros((len(table), 0))]
        for column, scale in enumerate(self._scales):
            if scale is not None:
                there = table[:, column] != ABSENT
                place = np.where(there, np.asarray(scale, float)[table[:, column]], 0.0)
                columns.append(np.stack([there, place, place * place], axis=1))
        return np.concatenate(columns, axis=1)

    def _unordered(self, options: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float64]]:
        """One column for each option of each decision, and for each option of each kind."""
        starts = np.cumsum(self._widths) - self._widths
        hot = np.zeros((len(options), int(self._widths.sum())))
        most = int(self._widths.max(initial=0))
        counts = np.zeros((len(options), len(self._sizes) * most))
        rows, columns = np.nonzero(options != ABSENT)
        taken = options[rows, columns]
        hot[rows, starts[columns] + taken] = 1.0
        np.add.at(counts, (rows, self._kinds[columns] * most + taken), 1.0)
        several = np.repeat(self._sizes, most)
        return [hot, (counts / np.sqrt(np.maximum(several, 1)))[:, several > 1]]
