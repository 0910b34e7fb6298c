"""What a search has scored, by architecture; and the repeats of its newest race, which are kept apart from that."""

from __future__ import annotations

from collections.abc import Iterable

from archsearch.racing.noise import Noise
from archsearch.racing.race import PROBES, WAYS, Race
from archsearch.trial import Architecture, Evaluation, Trial

FIRST_BOUND = 4
"""Architectures scored twice by the search itself from which there is a bound of its noise."""

EQUAL_SCORES = 10
"""Equal scores in the place of which others were possible, after which nobody believes in noise."""


class Arm:
    """One architecture with the scores that it has got.

    Attributes:
        trial: The one with the highest of them, the first of equals.
        first: The first one.
        n: How many.
        mean: Their mean.
        place: Which architecture of the search this is, from 1.
    """

    __slots__ = ("first", "mean", "n", "place", "trial")

    def __init__(self, trial: Trial, score: float, place: int) -> None:
        self.trial, self.first, self.mean, self.n, self.place = trial, score, score, 1, place

    def add(self, trial: Trial, score: float) -> None:
        """Takes a further score."""
        self.n += 1
        self.mean += (score - self.mean) / self.n
        if trial.repeat_of is None and score > (self.trial.score or 0.0):
            self.trial = trial


class Field:
    """What a search has scored; of controllers with budgets only what was trained longest.

    Args:
        trials: In the order in which they finished.
        error: Error rate of what is going to be said of them.
        noise: What the evaluator says is the standard deviation of a score; None: nothing.

    Attributes:
        arms: All architectures that completed, in the order in which they did so first. Such as compute the same by
            another description are others: not every evaluator scores them alike.
        repeats: Trials of the newest race, failed ones included, unless there were proposals after it.
        noise: Of the arms.
        repeated: Repeats, of all races, failed ones included.
    """

    def __init__(self, trials: Iterable[Trial], error: float, noise: float | None) -> None:
        self.arms: dict[Architecture, Arm] = {}
        self.repeats: list[Trial] = []
        self.repeated = 0
        self._error, self._known = error, noise
        self.noise = Noise(FIRST_BOUND, error / WAYS, noise)
        self._stop, self._others = -1, 0
        for trial in trials:
            if trial.repeat_of is not None:
                self.repeated += 1
                self.repeats.append(trial)
                continue
            if self.repeats and trial.id > self.repeats[0].id:
                for repeat in self.repeats:
                    self._add(repeat)
                self.repeats = []
            self._add(trial)

    def _add(self, trial: Trial) -> None:
        stop = trial.rank[0]
        if trial.score is None or stop < self._stop:
            return
        if stop > self._stop:
            self.arms, self._stop, self._others = {}, stop, 0
            self.noise = Noise(FIRST_BOUND, self._error / WAYS, self._known)
        arm = self.arms.get(trial.architecture)
        if arm is None:
            self.arms[trial.architecture] = Arm(trial, trial.score, len(self.arms) + 1)
            return
        self.noise.add(trial.score, arm.mean, arm.n)
        self._others += not same(trial.evaluation, arm.trial.evaluation)
        arm.add(trial, trial.score)

    @property
    def noiseless(self) -> bool:
        """Whether all that was scored again came out exactly as before, or the evaluator says that it will."""
        seen = self.noise.count
        equal = seen >= PROBES and not self._others
        return self._known == 0.0 or equal or (seen >= EQUAL_SCORES and self.noise.spread == 0.0)

    def contenders(self, count: int) -> list[Trial]:
        """The trials of the architectures with the best scores, on average, the best first."""
        best = sorted(self.arms.values(), key=lambda arm: (-arm.mean, arm.place))[:count]
        return [arm.trial for arm in best]

    def race(self) -> tuple[list[Trial], Race] | None:
        """The newest race, run through again: those between whom it was, and how it stands; None: there was none."""
        keys = [repeat.architecture for repeat in self.repeats]
        places = {key: place for place, key in enumerate(dict.fromkeys(key for key in keys if key in self.arms))}
        if len(places) < 2:
            return None
        runners = [self.arms[key].trial for key in places]
        race = Race(len(places), self._error, self._known)
        for key, repeat in zip(keys, self.repeats, strict=True):
            if key in places:
                race.expect(places[key])
                race.tell(places[key], repeat.score, same(repeat.evaluation, runners[places[key]].evaluation))
        return runners, race


def same(one: Evaluation | None, other: Evaluation | None) -> bool:
    """Whether an evaluator said exactly the same, whatever it cost."""
    if one is None or other is None:
        return False
    # As text, since NaN differs from itself.
    return repr((one.score, one.curve, dict(one.metrics))) == repr((other.score, other.curve, dict(other.metrics)))
