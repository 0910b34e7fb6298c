"""How a search is brought to where the journal of a run ends."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from archsearch.basics.texts import well_formed
from archsearch.errors import RunFolderError
from archsearch.executors.executor import Fault, Job
from archsearch.executors.local import LocalExecutor
from archsearch.files.damage import readable
from archsearch.keeping.events import event_to_trial, remembered_trials, trial_to_event
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.history import KnownAnswers
from archsearch.keeping.journal import Gap
from archsearch.limits import Limit, Limits
from archsearch.limits.exhaustion import Exhaustion
from archsearch.racing.certainty import Certainty
from archsearch.racing.track import Track
from archsearch.running.advances import Advances
from archsearch.running.course import Course
from archsearch.steering.told import keep, kept
from archsearch.trial import COST_FIELDS, Architecture, Budget, Cost, Trial

MAX_FAULT_TEXT = 300
"""Characters of a fault's error that are noted; the whole error of a failed trial is in the history."""
_log = logging.getLogger("archsearch")


class Resumable(Course):
    """A course that can be brought to where the journal of a run ends, by the steps that the run took.

    Attributes:
        told: How many results of older runs the controller heard before it began.
    """

    told = 0

    def recover(self) -> None:
        """Brings this search to where its folder's run was; releases the folder if that cannot be."""
        assert self.history.folder is not None
        try:
            self._recover(self.history.folder)
        except BaseException:
            self.history.folder.close(in_order=not self.history.folder.died)
            raise

    def _recover(self, folder: RunFolder) -> None:
        """Loads the last state and replays the events after it."""
        state, events = self.history.recover()
        self.steering.keep_in(folder.path, folder.notices)
        if state is not None:
            with readable(f"{folder.path}: the state of this search"):
                self._load(state)
            if self._known is not None:
                parts = folder.part_trials(self.history.seed)
                told: Iterable[Trial] = (
                    trial for trial in parts if trial.id not in self._waiting and self._is_fresh(trial)
                )
                if self.settings.lag:  # told in id order, not as they finished
                    told = sorted(told, key=lambda trial: trial.id)
                for trial in told:
                    self._known.add(trial)
        elif self.told:
            self.tell_of_others(kept(folder.path, self.told))
        self._replay(events, folder)
        self._check_race()
        self._take_up_settings()
        self._clock = max(self._clock, self._remembered.clock)
        self._failures_in_a_row = 0
        if self.history.recent or len(self._remembered):
            self.history.compact(self._state)
        self.faults = folder.faults()
        if folder.died:
            text = "the session before did not end in order: killed, or its disk was full"
            if isinstance(self.executor, LocalExecutor) and self.executor.in_process:
                text += (
                    f", or the evaluator ended it, perhaps in trial {self._next_id}: isolate=True (--isolate) "
                    "evaluates in a process of its own"
                )
            self._fault(Fault("driver_died", text))

    def _take_up_settings(self) -> None:
        """See ``Steered``."""

    def _check_race(self) -> None:
        certainty, race = self.settings.certainty, self._racing
        error = certainty.error if isinstance(certainty, Certainty) else None
        if race is not None and error != race.error:
            raise RunFolderError(
                f"certainty: the race of this run was begun at an error rate of {race.error:g}, got {error}; let it "
                "end as it was begun"
            )

    def tell_of_others(self, trials: Iterable[Trial]) -> None:
        """Has the controller hear results of older runs; a run folder keeps them first."""
        trials = list(trials)
        if trials and self.history.folder is not None and not self.told:
            keep(self.history.folder.path, trials, self.space)
        self.told = self._ids.told = len(trials)
        self.controller.hear(trials)

    def _replay(self, events: Iterator[Trial | list[Any] | Gap], folder: RunFolder) -> None:
        """Repeats what happened, up to the first damage; what is sound behind it is remembered."""
        seen: set[int] = set()
        for event in events:
            if isinstance(event, Gap):
                self._heed_gap(event, folder)
                if not event.torn:
                    break
            elif isinstance(event, Trial):
                if event.id in seen:
                    continue
                seen.add(event.id)
                self._replay_trial(event)
            else:
                self._replay_event(event)
        else:
            return
        self._remember(events, folder)
        self._remembered.forget(seen)

    def _replay_event(self, event: list[Any]) -> None:
        if event[0] == "a":
            _, n, now, expected = event
            jobs = self._ask(n, now) or []
            if [[job.id, list(job.architecture)] for job in jobs] != expected:
                raise self._diverged()
        elif event[0] == "s":
            self._prepare_cost = Cost(*event[1:])
        elif event[0] == "d":
            with readable("what the controller read of the evaluator's distribution"):
                self.controller.load_state_dict(event[1])
            self._has_read = True
        elif event[0] == "v":
            if self._advances is None:
                raise RunFolderError(
                    f"{type(self.evaluator).__name__} advanced in this run, and now its interval is 0: it was "
                    "changed. Resume with the version that began the run"
                )
            _, now, *cost = event
            self._clock = max(self._clock, now)
            self._advanced(self._advances, Cost(*cost))
        elif event[0] == "r":
            self._clock = max(self._clock, event[1])
            with readable("what the journal says of a race"):
                self._track, self._unraced = Track.restored(event[2], self.history.seed), False
        elif event[0] == "e":
            if self._track is not None:
                self._track.open = False
        elif event[0] == "f":
            _, id_, now, attempt, lost, spared = event
            self._replay_asking(id_, now)
            job = self._pending[id_]._replace(attempt=attempt, asked_at=now, lost_seconds=lost, spared=spared)
            self._bill_tries(job)
            self._clock = max(self._clock, now)

    def _replay_trial(self, trial: Trial) -> None:
        self._replay_asking(trial.id, trial.started)
        if self._pending[trial.id].architecture != trial.architecture:
            raise self._diverged()
        self.history.restore([trial])
        self._settle(trial)
        self._clock = max(self._clock, trial.started + trial.seconds)

    def _replay_asking(self, id_: int, now: float) -> None:
        """Has a trial pending: a search with one trial at a time does not journal its asking."""
        while id_ not in self._pending:
            if id_ < self._next_id or self._ask(1, now) is None:
                raise self._diverged()

    def _diverged(self) -> RunFolderError:
        return RunFolderError(
            f"{type(self.controller).__name__} no longer makes the proposals that the journal of this run holds: "
            "it was changed, or is not reproducible from its seed and state. Resume with the version that began the run"
        )

    def _heed_gap(self, gap: Gap, folder: RunFolder) -> None:
        if gap.state and self.executor.concurrent and not self.settings.lag:
            raise RunFolderError(
                f"{folder.path}: the state of this search is damaged, and without a lag its trials do not say how it "
                "came about, so it cannot go on; 'archsearch report' shows all of them, start a new search"
            )
        if gap.torn:
            folder.notices.tell(gap.path, "ends in the middle of a line, which is evaluated again")
        elif gap.state:
            if folder.notices.lines:
                return  # that the state is damaged was told
            folder.notices.tell(gap.path, "is all that is left of how the search came about, which it is asked again")
        else:
            what = f"is damaged ({gap.why}): at least {gap.lines:,} of its lines lost"
            folder.notices.tell(gap.path, f"{what}, what they held is evaluated again, all others are kept")

    def _remember(self, events: Iterator[Trial | list[Any] | Gap], folder: RunFolder) -> None:
        for event in events:
            if isinstance(event, Gap):
                self._heed_gap(event, folder)
            elif isinstance(event, Trial):
                self._remembered.add([event])
            elif event[0] == "s":
                self._prepare_cost = Cost(*event[1:])
            elif event[0] == "v":
                self._remembered.advances.append(Cost(*event[2:]))

    def _advanced(self, advances: Advances, cost: Cost) -> None:
        """Everything that follows from an advance that is on disk."""
        advances.cost += cost
        advances.last = self.completed + self.failed
        advances.sample = []
        if self.evaluator.comparable:
            return
        advances.scored_from = self._next_id
        if self._known is not None:
            self._known = KnownAnswers(self.space)

    # -- what was ordered from outside ---------------------------------------------------------------

    def _put_next(self) -> Architecture | None:
        """Obeys the orders that are due before the next proposal, up to an architecture that is put."""
        while (order := self.steering.due(self._next_id, live=self._running)) is not None:
            if order.verb == "put":
                return tuple(order.value)
            self._change_limits(order.value)
        return None

    def _limits_with(self, changes: Mapping[str, Limit | None]) -> tuple[dict[str, Limit], Limits | None]:
        """The limits with some changed, or lifted where the new value is None; ``UsageError`` if one cannot be."""
        merged = {name: limit for name, limit in {**self._limits, **changes}.items() if limit is not None}
        return merged, Limits(self.space, self.evaluator, merged, self.settings.latency_table) if merged else None

    def _change_limits(self, changes: Mapping[str, Limit | None]) -> None:
        """Changes limits from here on."""
        self._limits, new = self._limits_with(changes)
        self._rejections.limit(new)
        self._exhaustion = Exhaustion(self.space, self.controller.budgets, new, self._rejections.why)

    # -- what goes wrong -----------------------------------------------------------------------------

    def _fault(self, fault: Fault) -> None:
        """Counts what went wrong and notes it: in the run folder, in the log, and on the terminal."""
        self.faults[fault.kind] += 1
        now = self._now()
        # Of a traceback the line that says what it was.
        error = well_formed(fault.error.strip().rpartition("\n")[2][:MAX_FAULT_TEXT])
        who = "" if fault.trial is None else f"trial {fault.trial}"
        who += "" if fault.worker < 0 else f"{', ' if who else ''}worker {fault.worker}"
        text = f"{fault.kind}{' (' + who + ')' if who else ''} after {now:.1f} s: {error}"
        _log.warning(text)
        self._show.fault(text)
        if self.history.folder:
            facts = {"kind": fault.kind, "trial": fault.trial, "worker": fault.worker, "seconds": round(now, 3)}
            self.history.folder.add_fault(facts | {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "error": error})

    # -- state ---------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """What ``recover`` needs, as JSON data."""
        return {
            "controller": self.controller.state_dict(),
            "has_read": self._has_read,
            "next_id": self._next_id,
            "moved_ids": self._ids.moves,
            "others": [self._ids.told, self._ids.put, self.steering.obeyed],
            "race": None if self._track is None else self._track.state(),
            "unraced": self._unraced,
            "pending": [list(job) for job in self._pending.values()],
            "waiting": [trial_to_event(trial) for trial in self._waiting.values()],
            "told_up_to": self._told_up_to,
            "clock": self._clock,
            "completed": self.completed,
            "failed": self.failed,
            "reused": self.reused,
            "answered_in_a_row": self._answered_in_a_row,
            **self._rejections.state(),
            **({} if self._thinning is None else {"thinning": self._thinning.state()}),
            "answered_by": list(self._answered_by.items()),
            "failures_in_a_row": self._failures_in_a_row,
            "first_failure": self._first_failure,
            "best": None if self.best is None else trial_to_event(self.best),
            "costs": self._costs,
            "billed": self.billed_seconds,
            "setup_cost": dataclasses.astuple(self._prepare_cost),
            "advances": None if self._advances is None else self._advances.state(),
            "remembered": [trial_to_event(trial) for trial in self._remembered.trials()],
            "remembered_advances": [dataclasses.astuple(cost) for cost in self._remembered.advances],
        }

    def _load(self, state: dict[str, Any]) -> None:
        seed = self.history.seed
        self.controller.load_state_dict(state["controller"])
        self._has_read = state.get("has_read", False)
        self._next_id = state["next_id"]
        jobs = [Job(*job) for job in state["pending"]]
        jobs = [
            job._replace(architecture=tuple(job.architecture), budget=job.budget and Budget(*job.budget))
            for job in jobs
        ]
        self._pending = {job.id: job for job in jobs}
        self._ids.moves = [(first, move) for first, move in state.get("moved_ids", ())]
        self._ids.told, self._ids.put, obeyed = state.get("others", (0, [], 0))
        for changes in self.steering.begin_after(obeyed):
            self._change_limits(changes)
        self._unraced = state.get("unraced", True)
        self._waiting = {event[1]: event_to_trial(event, seed) for event in state["waiting"]}
        self._told_up_to = state["told_up_to"]
        if race := state.get("race"):
            due = [job.repeat_of for job in self._pending.values()]
            due += [trial.repeat_of for trial in self._waiting.values()]
            self._track = Track.restored(race, seed, due)
        self._clock = state["clock"]
        self.completed, self.failed, self.reused = state["completed"], state["failed"], state["reused"]
        self._rejections.load(state)
        if self._thinning is not None:
            self._thinning.load(state["thinning"])
        self._answered_in_a_row = state.get("answered_in_a_row", 0)
        self._answered_by = dict(state.get("answered_by", ()))
        self._failures_in_a_row = state["failures_in_a_row"]
        self._first_failure = state["first_failure"]
        self.best = None if state["best"] is None else event_to_trial(state["best"], seed)
        costs = [*state["costs"], *[0.0] * len(COST_FIELDS)]  # an older run has not counted all of them
        self._costs, self.billed_seconds = costs[: len(COST_FIELDS)], state["billed"]
        self._prepare_cost = Cost(*state["setup_cost"])
        self._remembered.add(remembered_trials(state, seed))
        self._remembered.advances = [Cost(*cost) for cost in state.get("remembered_advances", ())]
        if self._advances is not None:
            if state.get("advances"):
                self._advances.load(state["advances"], seed)
            else:  # a run of an older version counts from here on
                self._advances.last = self.completed + self.failed
