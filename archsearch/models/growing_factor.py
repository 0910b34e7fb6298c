"""The Cholesky factor of a covariance to which rows are appended, in blocks, so that what is known is not done again.

Reference: Golub & Van Loan, "Matrix Computations", 2013, section 4.2.9, block Cholesky. Row block i of the factor
follows from the rows above it, by forward substitution, and appending it takes time that grows with the square of the
rows. Blocks begin at multiples of ``BLOCK``, and the last one, if it is not full, is computed anew when rows are
appended: so a factor is the same to the last bit whether its rows came at once or one after another, as long as they
are the same, and a resumed search goes on exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

BLOCK = 32


class GrowingFactor:
    """Lower triangular L with L L' = covariance; empty at first."""

    def __init__(self) -> None:
        self._below: list[Array] = []  # of each block the rows, up to its diagonal block
        self._inverses: list[Array] = []  # of the diagonal blocks of L
        self._single: list[tuple[Single, Single]] = []  # the same two, rounded
        self.rows = 0

    def keep(self, rows: int) -> None:
        """Forgets all rows but the first ones, and more than that if it is in the middle of a block."""
        blocks = len(self._below) if rows >= self.rows else rows // BLOCK
        for part in (self._below, self._inverses, self._single):
            del part[blocks:]
        self.rows = min(self.rows, rows if rows >= self.rows else blocks * BLOCK)

    def extend(self, rows: int, covariance: Callable[[int, int], Array]) -> None:
        """Has the factor grow to so many rows.

        Args:
            rows: At least as many as there are.
            covariance: Of rows ``begin`` to ``end`` with all rows up to ``end``, shape (end - begin, end).

        Raises:
            numpy.linalg.LinAlgError: If the covariance is not positive definite.
        """
        if rows > self.rows:
            self.keep(self.rows // BLOCK * BLOCK)  # a block that is not full is computed anew
        while self.rows < rows:
            begin, end = self.rows, min(self.rows + BLOCK, rows)
            given = covariance(begin, end)
            below = np.ascontiguousarray(self.forward(given[:, :begin].T).T)
            inverse = np.linalg.inv(np.linalg.cholesky(given[:, begin:] - below @ below.T))
            self._below.append(below)
            self._inverses.append(inverse)
            self._single.append((below.astype(np.float32), inverse.astype(np.float32)))
            self.rows = end

    def forward(self, right: Array) -> Array:
        """Solves L x = ``right``, of shape (rows,) or (rows, columns)."""
        solved = np.empty_like(right, order="C")
        for below, inverse in zip(self._below, self._inverses, strict=True):
            begin, end = below.shape[1], below.shape[1] + len(below)
            solved[begin:end] = inverse @ (right[begin:end] - below @ solved[:begin])
        return solved

    def forward_single(self, right: Single) -> Single:
        """``forward`` in single precision."""
        solved = np.empty_like(right, order="C")
        for below, inverse in self._single:
            begin, end = below.shape[1], below.shape[1] + len(below)
            solved[begin:end] = inverse @ (right[begin:end] - below @ solved[:begin])
        return solved

    def backward(self, right: Array) -> Array:
        """Solves L' x = ``right``, of shape (rows,)."""
        left, solved = right.copy(), np.empty_like(right)
        for below, inverse in zip(reversed(self._below), reversed(self._inverses), strict=True):
            begin, end = below.shape[1], below.shape[1] + len(below)
            solved[begin:end] = inverse.T @ left[begin:end]
            left[:begin] -= below.T @ solved[begin:end]
        return solved
