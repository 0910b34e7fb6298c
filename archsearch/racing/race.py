"""A race: the best of a search are scored again, until one of them can be told from all others.

Repeated is the leader or the one that is hardest to tell from it, whichever was repeated less often: the rule EB-TCI of
Jourdan, Degenne, Baudry, de Heide & Kaufmann, "Top two algorithms revisited", NeurIPS 2022. What is said of the result
does not rest on that rule (see ``evidence``): a race may be stopped at any time. Scores that the search chose the
contenders by are no part of it: the highest of many is too high.
"""

from __future__ import annotations

import math

from archsearch.racing.evidence import evidence
from archsearch.racing.noise import Noise

WAYS = 4
"""Ways to be wrong, each of which has as large a share of the error: a bound of the noise that is too low, a score
of the search too far from the truth, a mean of repeats too far from it, and one contender told from another."""

PROBES = 3
"""Repeats of which each must be exactly as its architecture's first evaluation for all to be so."""

EACH = 2
"""Repeats that each contender has before any is told from another."""

TRIES = 2
"""Repeats that may fail before a contender is repeated no more."""

NO_NOISE, ALONE, FAILED = "no noise", "decided", "failed"
"""How a race ended: repeats change nothing, one is left, or the others cannot be repeated."""


class Race:
    """Which of several contenders is to be scored next, and which can be told from the best.

    Args:
        size: Contenders, >= 2; they are numbers from 0, the best of the search first.
        error: Error rate of all that a search says of its winner; the race has its shares of it.
        noise: What the evaluator says is the standard deviation of a score; None: nothing.

    Attributes:
        counts: Scores of each.
        means: Their mean; 0 where there is none.
        out: Whether each was told from the best.
        noise: What is known of it.
        repeats: Finished repeats, failed ones included.
        ended: How it ended; empty: it has not.
    """

    def __init__(self, size: int, error: float, noise: float | None = None) -> None:
        self.counts = [0] * size
        self.means = [0.0] * size
        self.out = [False] * size
        self.noise = Noise(EACH * size, error / WAYS, noise)  # and again at twice that, about where the race ends
        self.repeats = 0
        self.ended = NO_NOISE if noise == 0.0 else ""
        self._failures = [0] * size
        self._asked = [0] * size
        self._same = 0
        self._threshold = math.log((size - 1) * WAYS / error)
        self._probes = min(PROBES, size) if noise is None else 0
        self._slow = size  # contenders that have not had their first repeats

    # -- who is next ---------------------------------------------------------------------------------

    def ask(self) -> int | None:
        """The contender to be scored now; None: none before more results have come, or ever."""
        if self.ended:
            return None
        if self.repeats < self._probes:
            chosen = sum(self._asked)
            if chosen >= self._probes:
                return None
        else:
            if not (alive := self.alive):
                return None
            chosen = min(alive, key=self._asked.__getitem__)
            if self._asked[chosen] >= EACH:
                chosen = self._closest(alive)
        self._asked[chosen] += 1
        return chosen

    @property
    def alive(self) -> list[int]:
        """Those that may be repeated further: not told from the best, and they can be scored."""
        return [i for i, out in enumerate(self.out) if not out and self._failures[i] < TRIES]

    @property
    def leader(self) -> int:
        """The one with the highest mean, the first of equals; of those that can be scored again, if there are any."""
        scored = [i for i, count in enumerate(self.counts) if count and not self.out[i]]
        return max(scored, key=lambda i: (self.counts[i] >= EACH, self.means[i], -i), default=0)

    def _closest(self, alive: list[int]) -> int:
        leader = self.leader
        others = [i for i in alive if i != leader and self.counts[i]]
        if not others:
            return alive[0]
        spread = self.noise.spread or 1.0
        n, mean = self.counts[leader], self.means[leader]

        def cost(i: int) -> tuple[float, int]:
            gap = max(0.0, mean - self.means[i]) / spread
            return gap * gap / (2.0 * (1.0 / n + 1.0 / self.counts[i])) + math.log(self._asked[i]), i

        rival = min(others, key=cost)
        return leader if leader in alive and self._asked[leader] <= self._asked[rival] else rival

    def expect(self, contender: int) -> None:
        """Takes it that a contender was asked for: in a replay, or where only what came of a race is read."""
        self._asked[contender] += 1

    # -- what came of it -----------------------------------------------------------------------------

    def tell(self, contender: int, score: float | None, same: bool = False) -> None:
        """Takes the result of a repeat.

        Args:
            contender: Of whom.
            score: None: it failed.
            same: Whether all that the evaluator said is exactly what it said in the search.
        """
        self.repeats += 1
        if score is None:
            self._failures[contender] += 1
        else:
            self._same += same
            n, mean = self.counts[contender], self.means[contender]
            if n:  # the first two come whatever they are
                self.noise.add(score, mean, n, chosen=n >= EACH)
            self.counts[contender], self.means[contender] = n + 1, mean + (score - mean) / (n + 1)
        if self.counts[contender] + self._failures[contender] == EACH:
            self._slow -= 1
        self._judge()

    def _judge(self) -> None:
        if self.ended:
            return
        if self.repeats == self._same == self._probes > 0:
            self.ended = NO_NOISE
        elif self._slow <= 0:
            self._tell_apart()
            left = self.alive
            if self.noise.known is None and self.noise.count and not self.noise.spread:
                self.ended = NO_NOISE
            elif self.out.count(False) == 1:
                self.ended = ALONE
            elif len(left) < 2 and (not left or left == [self.leader]):
                self.ended = FAILED

    def _tell_apart(self) -> None:
        if not 0.0 < self.noise.bound < math.inf:
            return
        leader = self.leader
        n, mean = self.counts[leader], self.means[leader]
        for i, count in enumerate(self.counts):
            if i != leader and not self.out[i] and count >= EACH and n >= EACH:
                gap = (mean - self.means[i]) / self.noise.bound
                self.out[i] = evidence(gap, n, count) >= self._threshold
