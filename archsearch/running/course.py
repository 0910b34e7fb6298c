"""What a search knows at any moment, and what each event changes."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence

from archsearch.basics.texts import name_of
from archsearch.controller import Controller
from archsearch.errors import ConstraintError, InvalidArchitecture
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import Executor, Job
from archsearch.executors.gate import admit_origin
from archsearch.failing.thinning import Thinning
from archsearch.keeping.columns import training_seed
from archsearch.keeping.history import History, KnownAnswers, memory_key
from archsearch.keeping.remembered import Remembered
from archsearch.limits import Limit, Limits
from archsearch.limits.exhaustion import WORTH_COUNTING, Exhaustion
from archsearch.limits.rejections import Rejections
from archsearch.racing.certainty import Certainty, noise_of
from archsearch.racing.ids import Ids
from archsearch.racing.race import NO_NOISE
from archsearch.racing.track import Track
from archsearch.running.advances import Advances
from archsearch.running.progress import Display
from archsearch.running.settings import DEFAULT_RETRIES, Listener, Settings
from archsearch.space import Space
from archsearch.steering.orders import Steering
from archsearch.trial import COST_FIELDS, HAND, MEASURED, NO_COST, Architecture, Proposal, Trial

_log = logging.getLogger("archsearch")
"""Has a line for every fault, at level WARNING."""
_log.addHandler(logging.NullHandler())  # else Python would print them where no logging is set up
MAX_REUSED_IN_A_ROW = 2_000
MAX_REJECTED_IN_A_ROW = 2_000
"""Proposals in a row that led to no evaluation after which a search ends, or waits for pending results."""
_WALL, _FAILED = (COST_FIELDS.index(field) for field in MEASURED)
MAX_ANSWERED = 5_000
"""Proposals answered from memory that are remembered as such: what is derived from an older one has no known parent."""


class Course:
    """What a search knows at any moment, and what each event changes: a run and a replay take the same steps.

    Args:
        space: What is searched.
        controller: Who proposes; started here.
        evaluator: Who scores; started already.
        executor: Where evaluations run.
        settings: When to stop, what to do about failures.
        history: Where trials go.
        listeners: Called with every finished trial.
        progress: Whether to show a progress bar.
        limits: What may be evaluated; None: everything.
    """

    def __init__(
        self,
        space: Space,
        controller: Controller,
        evaluator: Evaluator,
        executor: Executor,
        settings: Settings,
        history: History,
        listeners: Sequence[Listener] = (),
        progress: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.space, self.controller, self.evaluator = space, controller, evaluator
        self.executor, self.settings = executor, settings
        self.history, self.listeners = history, listeners
        self._show = Display(settings, progress)
        self._rejections = Rejections(limits, evaluator)
        self._exhaustion = Exhaustion(space, controller.budgets, limits, self._rejections.why)
        self._retries = {**DEFAULT_RETRIES, **(settings.retries or {})}
        self._known = KnownAnswers(space) if settings.duplicates == "reuse" else None
        self._thinning = None if settings.thin is None else Thinning(space, history.seed, settings.thin)
        self._answered_by: dict[int, int] = {}  # of proposals answered from memory: the trial that was evaluated

        self.steering = Steering()
        controller.refusal, controller.say = self._rejections.refusal, self.say
        controller.outside = self.steering.answers.give
        controller.start(space, history.seed)
        self._next_id = 0
        self._ids = Ids()
        self._dropped: set[int] = set()  # trials that were cancelled, whose results may still come
        self._limits: dict[str, Limit] = dict(settings.limits or {})
        self._track: Track | None = None  # the newest race of the best against each other
        self._unraced = False  # whether a proposal has completed since
        self._pending: dict[int, Job] = {}
        self._waiting: dict[int, Trial] = {}  # finished but, because of the lag, not yet told
        self._told_up_to = -1  # with a lag: all ids up to this one have been told
        self._clock, self._running = 0.0, False
        self.completed = self.failed = self.reused = 0
        self._answered_in_a_row = 0  # proposals that led to no evaluation
        self._refused_in_a_row = 0  # evaluations that were refused
        self._failures_in_a_row = 0
        self._first_failure = ""
        self.faults: Counter[str] = Counter()
        self.best: Trial | None = None
        self._costs = [0.0] * len(COST_FIELDS)
        self.billed_seconds = 0.0
        self._prepare_cost = NO_COST
        self._has_read = False  # the controller, the evaluator's distribution
        self._advances = Advances(evaluator.interval) if evaluator.interval > 0 else None
        self._remembered = Remembered()
        self._stopped: str | None = None

    @property
    def rejected(self) -> int:
        """Proposals that were not evaluated since they are beyond the limits, or cannot be scored."""
        return self._rejections.count

    @property
    def thinned(self) -> int:
        """Proposals that were not evaluated since they were likely to fail."""
        return 0 if self._thinning is None else self._thinning.refused

    def say(self, note: str) -> None:
        """Tells the user something, in the log and on the terminal."""
        _log.warning(note)
        self._show.log(note)

    # -- asking --------------------------------------------------------------------------------------

    def _ask(self, n: int, now: float) -> list[Job] | None:
        """Asks the controller for ``n`` proposals; those with a known answer are told at once.

        Returns:
            The jobs to be done, or None if the lag forbids to ask now.
        """
        if self.settings.lag and not self._tell_up_to(self._next_id - self.settings.lag):
            return None
        if race := self._racing:
            return self._ask_repeats(race, n, now)
        if self.steering.orders and (put := self._put_next()) is not None:
            return self._jobs([Proposal(self._next_id, put)], now, HAND)
        return self._jobs(self.controller.ask(n), now)

    def _jobs(self, proposals: Sequence[Proposal], now: float, by: str = "") -> list[Job]:
        """The jobs that proposals make; those with a known answer are told at once."""
        jobs = []
        for proposed in proposals:
            proposal = proposed if by else self._ids.trial(proposed, self._next_id)
            who = by or self.controller.proposed_by.pop(proposed.id, "")
            self._next_id = proposal.id + 1
            if proposal.architecture not in self.space:
                hint = "" if all(type(each) is int for each in proposal.architecture) else ": its options must be int"
                raise InvalidArchitecture(
                    f"{type(self.controller).__name__} proposed {proposal.architecture!r}, which is not in "
                    f"{type(self.space).__name__}{hint}"
                )
            id_, architecture, parent, budget = proposal
            if budget is not None or (parent is not None and type(parent) is not int):
                parent, budget = admit_origin(parent, budget, f"{type(self.controller).__name__}, proposal {id_}")
            if self._needs_no_evaluation(Proposal(id_, architecture, parent, budget), who):
                continue
            if self._answered_in_a_row:
                self._answered_in_a_row = self._rejections.in_a_row = 0
            # What a trial goes on from is with the one that was evaluated.
            parent = None if parent is None else self._answered_by.get(parent, parent)
            if budget is not None and budget.origin is not None:
                budget = budget._replace(origin=self._answered_by.get(budget.origin, budget.origin))
            seed = training_seed(self.history.seed, id_, budget)
            job = Job(id_, architecture, parent, seed, now, budget=budget, proposed_by=who)
            self._pending[job.id] = job
            jobs.append(job)
        return jobs

    def _needs_no_evaluation(self, proposal: Proposal, who: str) -> bool:
        """Whether a proposal is beyond the limits, known or likely to fail; the controller has heard of it then."""
        id_, architecture, _, budget = proposal
        if why := self._rejections.why(architecture):
            self._reject(_unevaluated(proposal, who, "limit", why))
            return True
        if self._known is not None:
            key = memory_key(self.space, architecture, budget)
            if error := self._known.failures.get(key):
                self._reject(_unevaluated(proposal, who, "refused", error))
                return True
            if known := self._known.evaluations.get(key):
                self._reuse(_unevaluated(proposal, who)._replace(evaluation=known[1]), known[0])
                return True
        goes_on = budget is not None and budget.origin is not None  # what was trained a while has not failed
        if (
            self._thinning is not None
            and who != HAND
            and not goes_on
            and (why := self._thinning.why(id_, architecture))
        ):
            self._hand_over(_unevaluated(proposal, who, "limit", why))
            return True
        return False

    def _ask_repeats(self, track: Track, n: int, now: float) -> list[Job]:
        """Repeats of contenders, of which the controller does not hear: what it learnt was to be proposed is scored."""
        jobs = track.ask(n, self._next_id, now, self.history.seed)
        if not jobs and not self._pending and self._waiting:  # the lag keeps back what the race waits for
            self._tell_up_to(self._next_id - 1)
            jobs = track.ask(n, self._next_id, now, self.history.seed)
        self._next_id += len(jobs)
        self._pending.update((job.id, job) for job in jobs)
        return jobs

    def _put_next(self) -> Architecture | None:
        """See ``Resumable``."""

    def _reuse(self, trial: Trial, evaluated: int) -> None:
        if trial.proposed_by == HAND:
            self.say(f"{name_of(self.space, trial.architecture)}: put, but answered from memory, by trial {evaluated}")
        self._answered_by[trial.id] = evaluated
        if len(self._answered_by) > MAX_ANSWERED:
            del self._answered_by[next(iter(self._answered_by))]
        self.reused += 1
        self._answered_in_a_row += 1
        self._rejections.in_a_row = 0
        self._hand_over(trial)

    def _reject(self, trial: Trial) -> None:
        if trial.proposed_by == HAND:
            self.say(f"{name_of(self.space, trial.architecture)}: put, but not evaluated: {trial.error}")
        self._rejections.add(trial.architecture, trial.error)
        self._answered_in_a_row += 1
        self._hand_over(trial)

    def _asked_in_vain(self) -> bool:
        """Whether so many proposals in a row led to no evaluation that only a result may change that."""
        if self._answered_in_a_row >= MAX_REUSED_IN_A_ROW or self._rejections.in_vain(MAX_REJECTED_IN_A_ROW):
            return True
        if self._known is None or self._answered_in_a_row < WORTH_COUNTING:
            return False
        pending = (memory_key(self.space, job.architecture, job.budget) for job in self._pending.values())
        return self._exhaustion.complete(self._known.keys(), pending)

    def _give_up(self) -> None:
        """Ends the search, unless there are results to come."""
        if self._pending:
            return
        if not self._rejections.in_vain(MAX_REJECTED_IN_A_ROW):
            self._stopped = "exhausted"
            return
        told = self._rejections.told(type(self.controller).__name__)
        if not self.completed:
            raise ConstraintError(told)
        self.say(told)  # what was found is a result all the same
        self._stopped = "exhausted"

    # -- finished trials -----------------------------------------------------------------------------

    def _settle(self, trial: Trial) -> None:
        """Everything that follows from a finished trial that is on disk."""
        untold = trial.lost_seconds - self._pending.pop(trial.id).lost_seconds
        if untold > 0.0:  # an executor's own tries, or a line that the journal has lost
            self._bill_failed(untold)
        if self._answered_in_a_row and self._asked_in_vain():  # what is proposed may change now
            self._answered_in_a_row = self._rejections.in_a_row = 0
        self._count(trial)
        self._hand_over(trial)
        for listener in self.listeners:
            listener(trial)

    def _count(self, trial: Trial) -> None:
        evaluation = trial.evaluation
        if evaluation is None:
            self.failed += 1
            self._refused_in_a_row += trial.failure == "refused"
            if trial.failure == "refused" and self._refused_in_a_row < MAX_REJECTED_IN_A_ROW:
                self._bill_failed(trial.seconds)
                return
            if not self._failures_in_a_row:
                name = name_of(self.space, trial.architecture)
                self._first_failure = f"trial {trial.id}, {name}: {trial.failure}: {trial.error}"
            counts = trial.failure != "cancelled"
            self._failures_in_a_row += self._refused_in_a_row if trial.failure == "refused" else counts
            self._bill_failed(trial.seconds)
            return
        self._costs[_WALL] += trial.seconds
        self.completed += 1
        self._unraced |= trial.repeat_of is None
        if self._advances is not None:
            self._advances.sample.append(trial)
        self._failures_in_a_row = self._refused_in_a_row = 0
        cost = evaluation.cost
        self.billed_seconds += cost.billed_seconds or trial.seconds
        if cost is not NO_COST:
            costs = self._costs  # as in ``COST_FIELDS``
            costs[1] += cost.device_seconds
            costs[2] += cost.examples
            costs[3] += cost.updates
            costs[4] += cost.flops
            costs[5] += cost.recorded_seconds
        if trial.repeat_of is not None:
            return
        if self.best is None or trial.rank > self.best.rank or not self._is_fresh(self.best):
            self.best = trial

    def _bill_tries(self, job: Job) -> None:
        """Bills what the tries of a job have cost since they were billed last."""
        self._bill_failed(job.lost_seconds - self._pending[job.id].lost_seconds)
        self._pending[job.id] = job

    def _bill_failed(self, seconds: float) -> None:
        self._costs[_WALL] += seconds
        self._costs[_FAILED] += seconds
        self.billed_seconds += seconds

    # -- telling -------------------------------------------------------------------------------------

    def _hand_over(self, trial: Trial) -> None:
        """Tells the controller now, or, with a lag, when the trial's turn comes."""
        if self.settings.lag:
            self._waiting[trial.id] = trial
        else:
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        if trial.repeat_of is not None:
            if self._track is not None:
                self._track.tell(trial)
            return
        if trial.proposed_by == HAND:
            self.controller.hear((trial,))
            self._ids.put.append(trial.id)
        else:
            self.controller.tell((self._ids.proposal(trial),))
        if self._thinning is not None:
            self._thinning.learn(trial)
        if self._known is not None and self._is_fresh(trial):
            self._known.add(trial)

    def _is_fresh(self, trial: Trial) -> bool:
        """Whether the evaluator has not advanced since."""
        return self._advances is None or trial.id >= self._advances.scored_from

    def _tell_up_to(self, last: int) -> bool:
        while self._told_up_to < last:
            trial = self._waiting.pop(self._told_up_to + 1, None)
            if trial is None:
                return False
            self._tell(trial)
            self._told_up_to += 1
        return True

    # -- when it ends, what goes wrong ---------------------------------------------------------------

    def _why_stop(self) -> str | None:
        settings, race, best = self.settings, self._racing, self.best
        if race is not None and race.ended:
            return race.reason
        if settings.trials is not None and self.completed >= self._limit("trials"):
            return "trials"
        aimed = settings.target is not None and race is None
        if aimed and best is not None and (best.score or 0.0) >= (settings.target or 0.0):
            return "target"
        return self._spent()

    def _spent(self, more: float = 0.0) -> str | None:
        """Which budget is used up, if so many seconds more are billed."""
        settings = self.settings
        if settings.max_cost is not None and self.billed_seconds + more >= self._limit("max_cost"):
            return "max_cost"
        if settings.max_seconds is not None and self._now() >= self._limit("max_seconds"):
            return "max_seconds"
        return None

    def _limit(self, name: str) -> float:
        """How much of a budget may be spent by now: while there are proposals, all but the share of the race."""
        whole: float | None = getattr(self.settings, name)
        if whole is None:
            return math.inf
        certainty = self.settings.certainty
        if not isinstance(certainty, Certainty) or self._noiseless:
            return whole
        share = certainty.kept(int(whole)) if name == "trials" else certainty.share * whole
        if race := self._racing:
            return min(whole, race.spent[name] + share)
        return whole - share

    @property
    def _racing(self) -> Track | None:
        """The race that goes on."""
        return self._track if self._track is not None and self._track.open else None

    @property
    def _noiseless(self) -> bool:
        """Whether an evaluation under another seed is known to give the same."""
        return noise_of(self.evaluator) == 0.0 or (self._track is not None and self._track.ended == NO_NOISE)

    def _now(self) -> float:
        return self.executor.now() if self._running else self._clock


def _unevaluated(proposal: Proposal, who: str, failure: str = "", error: str = "") -> Trial:
    """What a controller hears of a proposal that needs no evaluation."""
    id_, architecture, parent, budget = proposal
    return Trial(id_, architecture, parent, attempts=0, failure=failure, error=error, budget=budget, proposed_by=who)
