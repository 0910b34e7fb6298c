"""How far scores of one architecture differ under different seeds: measured, with a bound from above."""

from __future__ import annotations

import math

from archsearch.racing.evidence import least_chi_square


class Noise:
    """The standard deviation of a score under other seeds, from repeats, and the most that it can be.

    The bound is right at all times together but with probability ``error``, whoever chose by the scores what to repeat:
    a square is the distance of a score from the mean of those before, which such a choice makes larger on average,
    never smaller, than one around the true score; so their sum is compared with the least that a sum of squares of
    normal numbers falls to, at its first ``count``, twice that, and so on, at shares of the error that add up to it.

    Args:
        first: Squares from which there is a bound, >= 1.
        error: As above.
        known: The standard deviation, where the evaluator says it; None: it is to be measured.

    Attributes:
        count: Squares so far.
        bound: The most that the standard deviation can be; infinite where that is not known.
    """

    def __init__(self, first: int, error: float, known: float | None = None) -> None:
        self.known = known
        self.count = 0
        self.bound = math.inf if known is None else known
        self._error = error
        self._due, self._looks = first, 0
        self._squares = self._even_squares = 0.0

    def add(self, score: float, mean: float, n: int, chosen: bool = True) -> None:
        """Takes a score whose architecture had others before.

        Args:
            score: The new one.
            mean: Of those before.
            n: How many those are.
            chosen: Whether what those were may have had a say in that there is a new one.
        """
        square = (score - mean) ** 2
        even = square * n / (n + 1)
        self.count += 1
        self._squares += square if chosen else even
        self._even_squares += even
        if self.known is not None or self.count < self._due:
            return
        share = self._error / ((self._looks + 1) * (self._looks + 2))
        self._due, self._looks = 2 * self._due, self._looks + 1
        if self._squares > 0.0:  # else scores are too coarse to tell
            self.bound = min(self.bound, math.sqrt(self._squares / least_chi_square(self.count, share)))

    @property
    def spread(self) -> float | None:
        """The standard deviation as known, or as measured; None: nothing is known of it."""
        if self.known is not None:
            return self.known
        return math.sqrt(self._even_squares / self.count) if self.count else None
