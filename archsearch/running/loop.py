"""The one search loop: asks the controller, hands jobs to an executor, keeps the history, tells the controller.

    result = search(NASBench201(), RegularizedEvolution(), Tabular(), trials=1000, seed=0)

Order of events for a trial: proposed, (journal: asked), evaluated, journal: finished, told. So whatever the
controller knows is on disk, and a search goes on from its folder by replaying the journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from archsearch.abilities import distribution_of
from archsearch.basics.words import plain_lines
from archsearch.errors import ConstraintError, ExecutorError, StorageError, TooManyFailures
from archsearch.executors.evaluating import advance, prepare
from archsearch.executors.executor import Fault, Job
from archsearch.executors.gate import admit_trial, note_of
from archsearch.keeping.stored_run import NOTE
from archsearch.racing.certainty import Certainty, contenders, noise_of
from archsearch.racing.field import Field
from archsearch.racing.race import NO_NOISE
from archsearch.racing.standing import standing_of
from archsearch.racing.track import Track
from archsearch.running.advances import Advances
from archsearch.running.result import Result
from archsearch.running.steered import Steered
from archsearch.steering.interrupts import Interrupts
from archsearch.trial import NO_COST, Cost, Trial

NOTED_SECONDS = 1.0
"""Set-up that took no longer, and cost nothing else, is in the state of a run, but not worth a line in its journal."""


class Search(Steered):
    """One search in progress. ``search`` and ``resume`` are the ways in; arguments as ``Course`` takes them."""

    def run(self) -> Result:
        """Searches until something stops it; the history is in good order whatever happens."""
        with Interrupts() as self._interrupts:
            try:
                with self._show, self._evaluator_folder(), self._reachable():
                    self._stopped = self._why_stop()
                    if self._stopped is None or self._may_race():
                        self._show.begin(self)
                        self._prepare()
                        self._execute()
            except StorageError:
                if self.history.folder:
                    self.history.folder.close(in_order=False)
                raise
            except (KeyboardInterrupt, ExecutorError, TooManyFailures, ConstraintError):
                self.history.close(self._state)
                raise
            except BaseException:
                # Someone's own code failed in the middle of something, such as a controller that was being told: only
                # the journal is to be trusted.
                if self.history.folder:
                    self.history.folder.close()
                raise
            self.history.close(self._state)
        return self._result()

    def _prepare(self) -> None:
        self.evaluator.executor, self.executor.timeout = self.executor, self.settings.timeout
        try:
            with self._show.watching(self.evaluator):
                cost = self._prepare_cost = prepare(self.evaluator, self._prepare_cost)
        finally:
            self.evaluator.executor = None  # else it would go to the workers
        # Evaluations by a search of its own may have been together in another way.
        self.executor.set_batch(self.settings.batch, one_by_one=self.settings.lag is not None)
        if cost.wall_seconds >= NOTED_SECONDS or dataclasses.replace(cost, wall_seconds=0.0) != NO_COST:
            self.history.note(["s", *dataclasses.astuple(cost)])
        if not self._has_read:
            self._hand_distribution()

    def _hand_distribution(self) -> None:
        """Hands the controller what the evaluator has learnt; what it makes of that is on disk before it is asked."""
        if not self.controller.reads_distribution:
            return
        self.controller.read(distribution_of(self.evaluator, type(self.controller).__name__))
        self._has_read = True
        self.history.note(["d", self.controller.state_dict()])

    def _execute(self) -> None:
        self.executor.on_fault = self._fault
        self.executor.on_loss = self._lose
        self.executor.start(self.evaluator, self._clock, self.settings.timeout, self._show.log)
        self._running = True
        try:
            self._interrupts.hold_back()
            self._loop()
        finally:
            self._clock = self.executor.now()
            self._running = False
            self.executor.on_fault = self.executor.on_loss = None  # whoever uses it next is no part of this search
            self.executor.stop()

    def _loop(self) -> None:
        self._submit(list(self._pending.values()))  # of a resumed run
        try:
            while self._stopped is None or self._goes_on():
                if self._advances is not None and not self._pending and self._to_advance(self._advances) < 1:
                    self._advance(self._advances)
                if self.steering.wanted:
                    self._heed_others()
                self._fill()
                # With nothing pending, this waits for a worker to start.
                until = self._until() if self.executor.wakes else self._limit("max_seconds")
                self._finish(self._interrupts.call(functools.partial(self.executor.wait, until)))
                self._show.update(self)
                self._stopped = self._stopped or self._why_stop()
        except KeyboardInterrupt:
            self._stopped = "interrupted"

    @contextlib.contextmanager
    def _evaluator_folder(self) -> Iterator[None]:
        """Gives an evaluator that keeps files a folder: in the run folder, or for as long as the search runs."""
        if not self.evaluator.keeps_files:
            yield
            return
        with contextlib.ExitStack() as stack:
            if self.history.folder is not None:
                folder = (self.history.folder.path / "evaluator").absolute()
                folder.mkdir(exist_ok=True)
            else:  # workers that are being stopped may still write to it
                temporary = tempfile.TemporaryDirectory(prefix="archsearch-", ignore_cleanup_errors=True)
                folder = Path(stack.enter_context(temporary))
            self.evaluator.folder = folder
            stack.callback(setattr, self.evaluator, "folder", None)
            stack.callback(self._keep_note, folder)
            yield

    def _keep_note(self, folder: Path) -> None:
        """For ``archsearch report``."""
        if note := note_of(self.evaluator):
            (folder / NOTE).write_text(note, encoding="utf-8")

    # -- asking --------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Asks for as many trials as the executor has room for."""
        while self._stopped is None and not (self.steering.wanted and self.steering.holds):
            remaining = None
            if self.settings.trials is not None:
                remaining = int(self._limit("trials")) - self.completed - len(self._pending)
            if self._advances is not None:
                ahead = self._to_advance(self._advances) - len(self._pending)
                remaining = ahead if remaining is None else min(remaining, ahead)
            room = self.executor.room(remaining)
            if remaining is not None and room > remaining:
                room = remaining
            if room < 1:
                return
            race = self._racing
            if race is None and self._answered_in_a_row and self._asked_in_vain():
                self._give_up()
                return
            if race is None and self.controller.finished and not self.steering.orders:
                if not self._pending:
                    self._stopped = "exhausted"
                return
            n, now = 1 if self.settings.lag else room, self.executor.now()
            jobs = self._ask(n, now)
            if jobs is None:
                return
            if race is not None and not jobs:  # it waits for results, or nobody is left who could be repeated
                self._stopped = None if self._pending else race.reason
                return
            if self.executor.concurrent:  # here, not in _ask: a replay must not journal its events a second time
                self.history.note(["a", n, now, [[job.id, job.architecture] for job in jobs]])
            self._submit(jobs)
            if not jobs:  # many in a row may take long
                self._interrupts.heed()
                self._stopped = self._why_stop()

    def _submit(self, jobs: Sequence[Job]) -> None:
        """Has jobs done; those whose outcome a damaged journal still had are done."""
        if not len(self._remembered):
            for job in jobs:
                self.executor.submit(job)
            return
        known = []
        for job in jobs:
            if (trial := self._remembered.take(job.id, job.architecture, job.parent, job.budget)) is None:
                self.executor.submit(job)
            else:
                known.append(trial)
        if known:
            self._record(known)
            self._stopped = self._stopped or self._why_stop()
        if self.history.folder and not len(self._remembered):
            self._remembered.tell(self.history.folder.notices, self.history.folder.path)

    # -- racing --------------------------------------------------------------------------------------

    def _goes_on(self) -> bool:
        """Whether what stopped the proposals begins a race or, where that found no noise, the race proposals again."""
        if race := self._racing:
            race.open = False
            self.history.note(["e", self.executor.now()])
            if race.ended == NO_NOISE:
                self._stopped = self._why_stop()
        elif self._may_race() and self._begin_race(str(self._stopped)):
            self._stopped = self._why_stop()
            return self._stopped is None or self._goes_on()
        return self._stopped is None

    def _may_race(self) -> bool:
        """Whether a share of the budget is kept for a race, and there is something new to race about."""
        certainty = self.settings.certainty
        wanted = isinstance(certainty, Certainty) and certainty.share > 0.0 and self._unraced
        return wanted and self._racing is None and not self._noiseless

    def _begin_race(self, reason: str) -> bool:
        """Begins a race between the best so far; whether there are enough of them, and enough of the budget."""
        certainty, now = self.settings.certainty, self.executor.now()
        assert isinstance(certainty, Certainty)
        spent = {"trials": self.completed, "max_cost": self.billed_seconds, "max_seconds": now}
        noise = noise_of(self.evaluator)
        field = Field(self.history, certainty.error, noise)
        best = field.contenders(contenders(self._repeats_left(certainty, spent)))
        if len(best) < 2:
            return False
        track = Track(best, certainty.error, 0.0 if field.noiseless else noise, reason, spent)
        self.history.note(["r", now, track.state()])
        self._track, self._unraced = track, False
        if not track.ended:
            self._show.log(
                f"the best {len(best):,} architectures are scored again, since scores may be noise (certainty)"
            )
        return True

    def _repeats_left(self, certainty: Certainty, spent: Mapping[str, float]) -> int:
        """About how many evaluations the share of the race is good for, at what those so far have cost."""
        left = []
        for name, used in spent.items():
            whole: float | None = getattr(self.settings, name)
            if whole is not None:
                share = min(certainty.share * whole + 1e-9, whole - used)
                left.append(share if name == "trials" else share * self.completed / max(used, 1e-9))
        return max(0, int(min(left, default=0)))

    # -- advancing -----------------------------------------------------------------------------------

    def _to_advance(self, advances: Advances) -> int:
        """Trials that are still to finish before the evaluator advances."""
        return advances.last + advances.interval - self.completed - self.failed

    def _advance(self, advances: Advances) -> None:
        """Lets the evaluator learn from what the controller proposed; nothing is pending."""
        sample = sorted(advances.sample, key=lambda trial: trial.id)
        if self._remembered.advances:
            cost = self._remembered.advances.pop(0)
        else:
            with self._show.watching(self.evaluator):
                cost = self._interrupts.call(functools.partial(advance, self.evaluator, sample))
        self.history.note(["v", self.executor.now(), *dataclasses.astuple(cost)])
        self._advanced(advances, cost)
        self._hand_distribution()
        self.executor.update(self.evaluator)
        self._stopped = self._why_stop()  # it takes time

    # -- finishing -----------------------------------------------------------------------------------

    def _finish(self, trials: Sequence[Trial]) -> None:
        """Records trials, then tells the controller; failed ones may be tried again instead."""
        if not self.executor.judges:
            trials = [admit_trial(trial) for trial in trials]
        ended: list[Trial] = []
        if self.steering.cancelled or self._dropped:
            trials, ended = self._without_cancelled(list(trials))
        done = self._retry_failed(trials) if any(trial.failure for trial in trials) else trials
        if done or ended:
            self._record([*done, *ended])

    def _record(self, done: Sequence[Trial]) -> None:
        """Everything that follows from trials that are finished for good."""
        self.history.record(done)
        for trial in done:
            self._settle(trial)
        if self.history.full:
            self._clock = self.executor.now()
            self.history.compact(self._state)
        if self._failures_in_a_row >= self.settings.max_failures:
            raise TooManyFailures(
                f"{self._failures_in_a_row} trials failed one after another (max_failures="
                f"{self.settings.max_failures}). The first of them:\n{plain_lines(self._first_failure)}"
            )

    def _retry_failed(self, trials: Sequence[Trial]) -> list[Trial]:
        """Notes the failures among trials that came together; returns those trials that are not tried again."""
        done = []
        billed = sum(trial.cost.billed_seconds for trial in trials if not trial.failure)  # as it soon will be
        for trial in trials:
            if trial.failure:
                self._fault(Fault(trial.failure, trial.error, trial.worker, trial.id))
                if self._retry(trial, billed):
                    continue
                billed += trial.seconds
            done.append(trial)
        return done

    def _retry(self, trial: Trial, billed: float) -> bool:
        """Has a failed trial tried again, if its kind allows that and, beside what is yet to be billed, the budget."""
        job = self._pending[trial.id]
        if trial.attempts - job.spared > self._retries.get(trial.failure, 0):
            return False
        lost = trial.lost_seconds + trial.seconds
        if self._spent(billed + lost - job.lost_seconds) is not None:
            return False
        now = self.executor.now()
        job = job._replace(attempt=trial.attempts + 1, avoid=trial.worker, asked_at=now, lost_seconds=lost)
        self._lose([job])
        self.executor.submit(job)
        return True

    def _lose(self, jobs: Sequence[Job]) -> None:
        """Bills tries that failed, or were lost with a worker; a resume finds in the journal that they were made."""
        for job in jobs:
            self.history.note(["f", job.id, job.asked_at, job.attempt, round(job.lost_seconds, 7), job.spared])
            self._bill_tries(job)

    # -- the end -------------------------------------------------------------------------------------

    def _result(self) -> Result:
        certainty, standing = self.settings.certainty, None
        if isinstance(certainty, Certainty):
            planned = self.settings.trials
            noise = noise_of(self.evaluator)
            standing = standing_of(self.history, certainty, noise=noise, planned=planned)
        return Result(
            best=self.best if standing is None else standing.trial,
            completed=self.completed,
            failed=self.failed,
            reused=self.reused,
            rejected=self.rejected,
            cost=Cost(*self._costs),
            setup_cost=self._prepare_cost if self._advances is None else self._prepare_cost + self._advances.cost,
            seconds=self._clock,
            stopped=self._stopped or "",
            seed=self.history.seed,
            history=self.history,
            space=self.space,
            faults=dict(self.faults),
            note=note_of(self.evaluator),
            certainty=standing,
            thinned=self.thinned,
        )
