"""A race that a search runs: which jobs are next, and what the folder of the run keeps of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archsearch.executors.executor import Job
from archsearch.keeping.columns import training_seed
from archsearch.keeping.events import event_to_trial, trial_to_event
from archsearch.racing.field import same
from archsearch.racing.race import Race
from archsearch.trial import Budget, Trial


class Track:
    """The repeats of the best trials of a search, which takes them as trials of its own.

    Args:
        contenders: The best trials, one of each architecture, the best first.
        error: Error rate of what the search says of its winner.
        noise: What the evaluator says is the standard deviation of a score; None: nothing.
        reason: Why the search ended before it.
        spent: Of each kind of budget what was spent when it began.

    Attributes:
        open: Whether it goes on.
    """

    def __init__(
        self,
        contenders: Sequence[Trial],
        error: float,
        noise: float | None,
        reason: str,
        spent: Mapping[str, float],
    ) -> None:
        self.contenders = contenders
        self.error = error
        self.reason = reason
        self.spent = spent
        self.open = True
        self._noise = noise
        self._race = Race(len(contenders), error, noise)
        self._places = {trial.id: place for place, trial in enumerate(contenders)}
        self._told: list[tuple[int, float | None, bool]] = []

    @property
    def ended(self) -> str:
        """How it ended by itself; empty: it did not."""
        return self._race.ended

    def ask(self, n: int, next_id: int, now: float, seed: int) -> list[Job]:
        """Up to ``n`` repeats to be done now; fewer where it needs results to know which.

        Args:
            n: How many.
            next_id: Id of the next trial.
            now: Seconds on the run's clock.
            seed: The run's root seed.
        """
        jobs: list[Job] = []
        while len(jobs) < n and (place := self._race.ask()) is not None:
            first = self.contenders[place]
            # From the beginning, whatever it went on from: a repeat is to vary as a whole evaluation does.
            budget = None if first.budget is None else Budget(first.budget.stop)
            id_ = next_id + len(jobs)
            job = Job(id_, first.architecture, first.parent, training_seed(seed, id_, budget), now, budget=budget)
            jobs.append(job._replace(repeat_of=first.id))
        return jobs

    def tell(self, trial: Trial) -> None:
        """Takes a finished repeat."""
        place = self._places.get(trial.repeat_of if trial.repeat_of is not None else -1)
        if place is None:
            return  # of an earlier race, which was over before it came
        told = (place, trial.score, same(trial.evaluation, self.contenders[place].evaluation))
        self._told.append(told)
        self._race.tell(*told)

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes, as JSON data."""
        return {
            "contenders": [trial_to_event(trial) for trial in self.contenders],
            "error": self.error,
            "noise": self._noise,
            "reason": self.reason,
            "spent": dict(self.spent),
            "open": self.open,
            "told": self._told,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], seed: int, due: Iterable[int | None] = ()) -> Track:
        """A race as it was.

        Args:
            state: From ``state``.
            seed: The run's root seed.
            due: What those repeat that were asked for and are not in the state: not finished, or kept back by a lag.
        """
        contenders = [event_to_trial(event, seed) for event in state["contenders"]]
        track = cls(contenders, state["error"], state["noise"], state["reason"], state["spent"])
        for place, score, equal in state["told"]:
            track._told.append((place, score, equal))
            track._race.expect(place)
            track._race.tell(place, score, equal)
        for id_ in due:
            if id_ in track._places:
                track._race.expect(track._places[id_])
        track.open = state["open"]
        return track
