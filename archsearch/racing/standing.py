"""Who leads, and who cannot be told from the best: said at a stated error rate, in the same words everywhere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from archsearch.basics.words import format_figure
from archsearch.racing.certainty import Certainty
from archsearch.racing.evidence import radius, single_radius
from archsearch.racing.field import Arm, Field
from archsearch.racing.race import EACH, NO_NOISE, WAYS, Race
from archsearch.trial import Trial


class Raced(NamedTuple):
    """An architecture that was scored again.

    Attributes:
        trial: Its trial in the search.
        repeats: Completed repeats.
        mean: Their mean; NaN if there are none.
        alike: Whether it cannot be told from the best.
    """

    trial: Trial
    repeats: int
    mean: float
    alike: bool


@dataclasses.dataclass(frozen=True)
class Standing:
    """Who leads, and who cannot be told from the best, at an error rate.

    In a share ``error`` of searches, at most, the best of all that were scored is neither the leader nor among the
    indistinguishable, if scores of one architecture are normal around its true score with one spread for all. That
    holds whenever the search is stopped.

    Attributes:
        error: The error rate.
        trial: The leader's, of the search; its repeats are trials of their own.
        others: Other architectures that were scored.
        raced: Those that were scored again, the leader first, then by their means, those told from the best at the end.
        unraced: Trials of others that cannot be told from the best, by their scores in the search alone.
        noise: The standard deviation of a score under other seeds, in its own unit; None: not known.
        known: Whether it can be told who is indistinguishable: there is a bound of the noise.
        repeats: Trials that scored architectures again, of all races, failed ones included.
        ended: How the race ended, as far as its trials say: ``no noise``, ``decided``, ``failed``; empty: it did not,
            or there was none.
    """

    error: float
    trial: Trial
    others: int
    raced: tuple[Raced, ...]
    unraced: tuple[int, ...]
    noise: float | None
    known: bool
    repeats: int
    ended: str

    @property
    def indistinguishable(self) -> int:
        """Others that cannot be told from the best."""
        return sum(each.alike for each in self.raced[1:]) + len(self.unraced)

    @property
    def sentence(self) -> str:
        """It in words, for a line that says who the leader is."""
        percent = f"{100 * self.error:.3g} %"
        if not self.others:
            return "leads, and there is no other"
        if self.noise == 0.0:
            equal = self.indistinguishable
            ties = (
                f"leads, and {equal:,} other{'s have' if equal != 1 else ' has'} the same score" if equal else "leads"
            )
            return f"{ties}; scores do not depend on the seed"
        if not self.known:
            return (
                f"leads, but too little was scored twice to say from how many others it is distinguishable at {percent}"
            )
        lead = self.raced[0] if self.raced else None
        mean = f" with a mean of {format_figure(lead.mean)} in {lead.repeats:,} repeats" if lead is not None else ""
        if not self.indistinguishable:
            which = "the other one" if self.others == 1 else f"all {self.others:,} others"
            return f"leads{mean}, and is distinguishable from {which} at {percent}"
        many = self.indistinguishable
        text = f"leads{mean}, and is not distinguishable from {many:,} other{'s' if many != 1 else ''} at {percent}"
        if self.raced and self.unraced:
            text += f", {len(self.unraced):,} of which {'was' if len(self.unraced) == 1 else 'were'} not scored again"
        return text

    @property
    def noise_text(self) -> str:
        """What is known of the noise, in words."""
        if self.noise is None:
            return "not known: nothing was scored twice"
        return "none" if self.noise == 0.0 else f"standard deviation {self.noise:.3g} under other seeds"

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "error": self.error,
            "trial": self.trial.id,
            "others": self.others,
            "indistinguishable": self.indistinguishable if self.known else None,
            "raced": [
                {
                    "trial": each.trial.id,
                    "score": each.trial.score,
                    "repeats": each.repeats,
                    "mean": each.mean,
                    "distinguishable": not each.alike,
                }
                for each in self.raced
            ],
            "unraced": len(self.unraced),
            "noise": self.noise,
            "repeats": self.repeats,
            "ended": self.ended,
            "sentence": self.sentence,
        }


def standing_of(
    trials: Iterable[Trial],
    certainty: Certainty,
    *,
    noise: float | None = None,
    planned: int | None = None,
) -> Standing | None:
    """What can be said of the winner of a search; None: nothing completed.

    Args:
        trials: In the order in which they finished.
        certainty: The error rate.
        noise: What the evaluator says is the standard deviation of a score; None: nothing.
        planned: The most trials that there will be; None: not known.
    """
    field = Field(trials, certainty.error, noise)
    if not field.arms:
        return None
    raced = field.race()
    if field.noiseless or (raced is not None and raced[1].ended == NO_NOISE):
        return _noiseless(field, certainty.error)
    return _noisy(field, raced, certainty.error, planned)


def _noiseless(field: Field, error: float) -> Standing:
    """One score says all: the highest is the best, and equal scores are equal."""
    best = max(field.arms.values(), key=lambda arm: (arm.trial.score or 0.0, -arm.place))
    ties = tuple(arm.trial.id for arm in field.arms.values() if arm.trial.score == best.trial.score and arm is not best)
    ended = NO_NOISE if field.repeated else ""
    return Standing(error, best.trial, len(field.arms) - 1, (), ties, 0.0, True, field.repeated, ended)


def _noisy(field: Field, raced: tuple[list[Trial], Race] | None, error: float, planned: int | None) -> Standing:
    runners, race = raced or ([], None)
    measured = field.noise if race is None or race.noise.spread is None else race.noise
    bound, most = measured.bound, planned and max(planned, len(field.arms))
    spans = {arm.trial.id: _span(arm, error / WAYS, most, bound) for arm in field.arms.values()}
    # What the best can be no worse than: a mean of repeats, or of scores of the search, by its lower bound.
    least = max(low for low, _ in spans.values())
    if race is not None:
        means = [(count, mean) for count, mean in zip(race.counts, race.means, strict=True) if count]
        least = max([least, *(mean - bound * radius(n, error / WAYS / len(runners)) for n, mean in means)])
    again = [] if race is None else _again(runners, race, {id_: high >= least for id_, (_, high) in spans.items()})
    leader = again[0].trial if again else max(field.arms.values(), key=_score).trial
    known = {leader.id, *(each.trial.id for each in again)}
    unraced = tuple(id_ for id_, (_, high) in spans.items() if id_ not in known and high >= least)
    ended = "" if race is None else race.ended
    others, bounded = len(field.arms) - 1, bound < math.inf
    return Standing(error, leader, others, tuple(again), unraced, measured.spread, bounded, field.repeated, ended)


def _score(arm: Arm) -> tuple[float, int]:
    return arm.trial.score or 0.0, -arm.place


def _again(runners: list[Trial], race: Race, possible: dict[int, bool]) -> list[Raced]:
    """Those that were scored again, the leader first.

    Args:
        runners: Between whom the race is.
        race: As it stands.
        possible: By trial, whether it may be the best as far as its scores in the search say.
    """
    lead, again = race.leader, list[tuple[bool, Raced]]()
    if not race.counts[lead]:
        return []
    for place, (trial, n, mean) in enumerate(zip(runners, race.counts, race.means, strict=True)):
        alike = not race.out[place] if n >= EACH else possible[trial.id]
        again.append((place != lead, Raced(trial, n, mean if n else math.nan, alike or place == lead)))
    again.sort(key=lambda each: (each[0], not each[1].alike, not each[1].repeats, -each[1].mean))
    return [each for _, each in again]


def _span(arm: Arm, error: float, planned: int | None, bound: float) -> tuple[float, float]:
    """Between what an architecture's true score lies by its scores in the search, valid for all of them together."""
    share = error / planned if planned else error / (arm.place * (arm.place + 1))
    single = bound * single_radius(share if arm.n == 1 else share / 2)
    if arm.n == 1 or bound == math.inf:
        return arm.first - single, arm.first + single
    width = bound * radius(arm.n, share / 2)
    return max(arm.first - single, arm.mean - width), min(arm.first + single, arm.mean + width)
