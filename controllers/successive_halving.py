"""Asynchronous successive halving (ASHA) and Hyperband: train many a little, and go on with the best of them.

References: Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht & Talwalkar, "A system for massively parallel
hyperparameter tuning", MLSys 2020, Algorithm 2 (ASHA); Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, "Hyperband: a
novel bandit-based approach to hyperparameter optimization", JMLR 18, 2018, Algorithm 1. Trainings stop at given
lengths, the *rungs*. When a proposal is wanted, the best result that is in the top 1/reduction of its rung and was not
promoted yet goes on to the next rung, longest rungs first; if there is none, a new architecture begins at the first
rung. Nothing waits for a rung to fill up.

Where we differ:

- New architectures come from any controller (the papers: random search). It hears of each of its proposals exactly
  once, with the score at the shortest length of all: only scores after equal training can be compared, and every
  architecture has that one. The drawback: it learns what is good early, never what longer trainings showed. A
  controller that knows what to make of lengths (``HearsLengths``) hears the results of all of them.
- Ties go to the older trial, so that not all of many equal scores are promoted.
- Hyperband's brackets run side by side and share the new architectures in proportion to their configurations, so
  that a search may stop at any time.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.controller import Answer, Controller, Order, without_budgets
from archsearch.controllers.hears_lengths import HearsLengths
from archsearch.controllers.random_search import RandomSearch
from archsearch.controllers.trial_ids import TrialIds, comparable
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Budget, Trial

PARENTS = 1000
"""Newest proposals of the inner controller whose trials can be named as parents; older parents are left out."""


class SuccessiveHalving(Controller):
    """Asynchronous successive halving (ASHA): all architectures train a little, the best longer (Li et al. 2020).

    Every result is remembered, since any may be promoted later: some 50 bytes of state each, and 300 in memory.

    Args:
        controller: Who proposes new architectures; it must not ask for budgets itself. One that hears lengths
            (``HearsLengths``) is told the results of all of them. None: ``RandomSearch()``.
        min_budget: Shortest training, in the evaluator's unit (epochs for ``Training``), >= 1.
        max_budget: Longest training, >= min_budget. The rungs are min_budget * reduction^k, as long as that is below
            max_budget, and max_budget itself.
        reduction: One training in so many is promoted to the next rung, >= 2.

    Attributes:
        learns: As the inner controller has it: whether results change which *new* architectures are proposed. Which
            trainings go on depends on results in any case.

    Raises:
        UsageError: If a setting is out of range, or the inner controller has budgets.
    """

    order: ClassVar[Order] = "inner"
    state_per_trial: ClassVar[int] = 150

    def __init__(
        self, controller: Controller | None = None, min_budget: int = 1, max_budget: int = 9, reduction: int = 3
    ) -> None:
        name = type(self).__name__
        self.controller = controller
        self.min_budget = at_least_one(name, "min_budget", min_budget)
        self.max_budget = at_least_one(name, "max_budget", max_budget)
        self.reduction = at_least_one(name, "reduction", reduction)
        if self.max_budget < self.min_budget or self.reduction < 2:
            raise UsageError(
                f"{name}: expected max_budget >= min_budget and reduction >= 2, "
                f"got {max_budget}, {min_budget} and {reduction}"
            )
        self._inner = without_budgets(name, self._default() if controller is None else controller)
        self.learns = self._inner.learns
        self._shares, self._lengths = zip(*self._brackets(), strict=True)
        self.budgets = tuple(sorted({length for lengths in self._lengths for length in lengths}))

    @staticmethod
    def _default() -> Controller:
        """Who proposes new architectures unless told otherwise."""
        return RandomSearch()

    def _brackets(self) -> list[tuple[int, list[int]]]:
        """Of each bracket, the share of the new architectures and the lengths of its rungs; here there is one."""
        lengths = [self.min_budget]
        while lengths[-1] < self.max_budget:
            lengths.append(min(lengths[-1] * self.reduction, self.max_budget))
        return [(1, lengths)]

    def _start(self) -> None:
        if isinstance(self._inner, HearsLengths):
            self._inner.lengths, self._inner.due = self.budgets, self._due
        self.begin(self._inner)
        self._asked = 0
        self._running: dict[int, _Running] = {}
        self._trial_ids = TrialIds(proposals=PARENTS)
        self._begun = [0 for _ in self._shares]
        # The last rung needs none: nothing is promoted from it.
        self._rungs = [[_Rung() for _ in lengths[1:]] for lengths in self._lengths]
        places = [(bracket, rung) for bracket, rungs in enumerate(self._rungs) for rung in range(len(rungs))]
        self._longest_first = sorted(places, key=lambda place: -self._lengths[place[0]][place[1]])

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Answer:
        id_ = self._asked  # the base class counts only when all of its ask() is done
        self._asked += 1
        for bracket, rung in self._longest_first:
            best = self._rungs[bracket][rung].promote(self.reduction)
            if best is not None:
                self._running[id_] = _Running(bracket, rung + 1, best.origin)
                start, stop = self._lengths[bracket][rung : rung + 2]
                return best.architecture, best.id, Budget(stop, start, best.origin)
        return self._begin(id_)

    def _begin(self, id_: int) -> Answer:
        """A new architecture, for the bracket that is furthest behind its share."""
        begun, shares = sum(self._begun) + 1, sum(self._shares)
        bracket = min(range(len(self._begun)), key=lambda i: self._begun[i] * shares - self._shares[i] * begun)
        self._begun[bracket] += 1
        (proposal,) = self._inner.ask()
        self._trial_ids.add(proposal.id, id_)
        self._running[id_] = _Running(bracket, 0, id_, proposal.id, proposal.parent)
        return proposal.architecture, self._trial_ids.of(proposal.parent), Budget(self._lengths[bracket][0])

    def _due(self) -> list[tuple[Architecture, int]]:
        """What is being trained, and how long, for an inner controller that hears of all lengths."""
        under_way = ((self._pending[id_], each) for id_, each in self._running.items() if id_ in self._pending)
        return [(architecture, self._lengths[each.bracket][each.rung]) for architecture, each in under_way]

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        bracket, rung, origin, inner_id, inner_parent = self._running.pop(trial.id)
        if isinstance(self._inner, HearsLengths):
            heard = trial._replace(budget=Budget(self._lengths[bracket][rung]))  # whoever tells may leave it out
            if inner_id is None:
                self._inner.tell_longer(heard)
        else:
            heard = self._comparable(trial, bracket)
        if inner_id is not None:
            self._inner.tell([heard._replace(id=inner_id, parent=inner_parent)])
        if trial.evaluation is not None and rung < len(self._rungs[bracket]):
            self._rungs[bracket][rung].add(_Candidate(-trial.evaluation.score, trial.id, origin, trial.architecture))

    def _hear(self, trial: Trial) -> None:
        self._inner.hear([trial if isinstance(self._inner, HearsLengths) else comparable(trial, self.budgets[0])])

    def _comparable(self, trial: Trial, bracket: int) -> Trial:
        """A first result with the score at the shortest length of all, as the inner controller hears it.

        Where a bracket begins with longer trainings, the curve has that score. If there is no curve, no score can be
        compared, and the inner controller hears of a failure.
        """
        shortest = self.budgets[0]
        if trial.evaluation is None or self._lengths[bracket][0] == shortest:
            return trial
        curve = trial.evaluation.curve
        if len(curve) < shortest:
            error = f"the evaluation has no curve, so no score at {shortest} to compare with others"
            return trial._replace(evaluation=None, failure="invalid_score", error=error)
        return trial._replace(evaluation=trial.evaluation._replace(score=curve[shortest - 1]))

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "inner": self._inner.state_dict(),
            "asked": self._asked,
            "running": [[id_, *running] for id_, running in self._running.items()],
            "firsts": self._trial_ids.state(),
            "begun": list(self._begun),
            "rungs": [[rung.state() for rung in rungs] for rungs in self._rungs],
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._inner.load_state_dict(state["inner"])
        self._asked = state["asked"]
        self._running = {id_: _Running(*running) for id_, *running in state["running"]}
        self._trial_ids = TrialIds(state.get("firsts", ()), proposals=PARENTS)
        known = state.get("trial_ids", [])  # as 0.1.0 kept them, one by one
        for inner_id, id_ in enumerate(known, state["inner"]["next_id"] - len(known)):
            self._trial_ids.add(inner_id, id_)
        self._begun = list(state["begun"])
        self._rungs = [[_Rung.of_state(rung) for rung in rungs] for rungs in state["rungs"]]


class Hyperband(SuccessiveHalving):
    """Hyperband: successive halving from several shortest lengths at once, in case short trainings mislead (Li 2018).

    Bracket s begins with trainings of max_budget / reduction^s, rounded down, for s from the greatest that keeps this
    at min_budget or more, down to 0, where all are trained in full at once. ``brackets`` has the shares.

    In brackets that begin with longer trainings, the inner controller hears the score at the shortest length, from the
    evaluation's curve. If evaluations have no curve, it hears that these failed, and learns from the first bracket
    only; to ``RandomSearch`` that makes no difference. The other settings are those of ``SuccessiveHalving``.

    Args:
        min_budget: Shortest training, >= 1.
        max_budget: Longest training, >= min_budget.

    Raises:
        UsageError: If a setting is out of range, or the inner controller has budgets.
    """

    def _brackets(self) -> list[tuple[int, list[int]]]:
        plan = brackets(self.min_budget, self.max_budget, self.reduction)
        return [(bracket[0][0], [length for _, length in bracket]) for bracket in plan]


def brackets(min_budget: int, max_budget: int, reduction: int) -> list[list[tuple[int, int]]]:
    """Hyperband's brackets: Li et al. 2018, Algorithm 1, with lengths rounded down.

    Args:
        min_budget: No length is below this, >= 1.
        max_budget: Length of the last rung of all brackets (R in the paper), >= min_budget.
        reduction: One training in so many is promoted (eta in the paper), >= 2.

    Returns:
        For each bracket, the one with the most rungs first: configurations and length of each rung.
    """
    most = 0  # s_max in the paper
    while min_budget * reduction ** (most + 1) <= max_budget:
        most += 1
    plan = []
    for s in range(most, -1, -1):
        configurations = -(-(most + 1) * reduction**s // (s + 1))  # rounded up
        plan.append([(configurations // reduction**i, max_budget // reduction ** (s - i)) for i in range(s + 1)])
    return plan


class _Running(NamedTuple):
    """Where a trial whose result is due belongs; of a new architecture, also what the inner controller calls it."""

    bracket: int
    rung: int
    origin: int
    inner_id: int | None = None
    inner_parent: int | None = None


class _Candidate(NamedTuple):
    """A result that may be promoted. In sorted order the best comes first, and among equals the oldest."""

    negative_score: float
    id: int
    origin: int
    architecture: Architecture


class _Rung:
    """The results of one length in one bracket; a place among them is exact, however many there are.

    No result that was not promoted is better than the best of those. So its place among all is the number of promoted
    results that are better, and only these, and those that wait, need an order. Taking a result and promoting one take
    a time that grows with the logarithm of the results, but for 8 bytes of each promoted one that are moved. Nothing
    can be forgotten: after enough bad results, any result is in the top third.
    """

    def __init__(self, results: int = 0, waiting: Iterable[Any] = (), promoted: Iterable[Any] = ()) -> None:
        self._results = results
        # A heap, the best first: results that may still be promoted. Plain tuples of plain values, which the garbage
        # collector need not visit, however many there are.
        self._waiting = [(score, id_, origin, tuple(options)) for score, id_, origin, options in waiting]
        self._promoted: list[tuple[float, int]] = [
            (score, id_) for score, id_ in promoted
        ]  # sorted; as candidates begin

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> _Rung:
        """What ``state`` gave, or what that of 0.1.0 did: a sample of the results, and the best that waited."""
        if "sample" not in state:
            return cls(**state)
        waiting = sorted((_Candidate(*candidate) for candidate in state["candidates"]), key=lambda each: each[:2])
        ids = {candidate.id for candidate in waiting}
        promoted = [each for each in state["sample"] if each[1] not in ids for _ in range(state["every"])]
        return cls(state["results"], waiting, promoted)

    def state(self) -> dict[str, Any]:
        """The arguments that make an equal one, as JSON data."""
        return {"results": self._results, "waiting": list(self._waiting), "promoted": list(self._promoted)}

    def add(self, result: _Candidate) -> None:
        """Takes a result."""
        heapq.heappush(self._waiting, result[:])
        self._results += 1

    def promote(self, reduction: int) -> _Candidate | None:
        """Takes out the best result that was not promoted yet, if it is in the top 1/reduction of all, else None."""
        if not self._waiting:
            return None
        best = self._waiting[0][:2]
        place = bisect.bisect_left(self._promoted, best)
        if place >= self._results // reduction:
            return None
        self._promoted.insert(place, best)
        return _Candidate(*heapq.heappop(self._waiting))
