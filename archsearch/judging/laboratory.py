"""One comparison in progress: what each evaluator costs, how it agrees with the truth, and what it finds."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.abilities import Distribution
from archsearch.basics.seeding import stream
from archsearch.components import names
from archsearch.controller import Controller
from archsearch.errors import TooManyFailures
from archsearch.evaluator import Evaluator
from archsearch.judging.bench import MIN_SAMPLES, Bench, Random, Size, mean, scores_of
from archsearch.judging.compared import CEILING, POOL, RANDOM, ROUNDING, Compared, Findings, Kind, set_up_seconds
from archsearch.ranking import Agreement, agreement, best_of
from archsearch.running.scoring import Listed, Prepared, anew, folder_name, highest_listed, search_or_resume
from archsearch.trial import NO_COST, Architecture, Cost

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


BUDGETS = (2, 5, 10, 20, 50, 100, 200, 500)
"""Budgets of the searches, unless they are given: so many times what the reference bills for an architecture."""


@dataclasses.dataclass
class _Course:
    """One search.

    Attributes:
        billed: What had been billed after each trial, set-up included.
        completed: Completed trials by then.
        incumbents: The best architecture by then.
    """

    billed: list[float]
    completed: list[int]
    incumbents: list[Architecture]

    def at(self, budget: float) -> int:
        """Trials that the budget paid for."""
        return int(np.searchsorted(self.billed, budget * (1 + ROUNDING), side="right"))


LONGEST_NAME = 30
"""Letters of a reference's own description that may stand for its name."""


class Laboratory(Bench):
    """One comparison in progress: what each evaluator costs, how it agrees with the truth, and what it finds."""

    def compare(self) -> Findings:
        """Does all the work that is not done yet."""
        begun = time.monotonic()
        judge = self._prepared(anew(self.reference), "reference")
        self._truth = {}
        architectures = self._score_sample(judge)
        sizes, size = self._sizes(architectures)
        contenders = self._contenders(size)
        rows, courses, derived = [], [], []
        for name, (evaluator, kind) in contenders.items():
            row, searched, ended_with = self._measure(name, evaluator, kind, architectures, sizes)
            rows.append(row)
            courses.append(searched)
            derived.append(ended_with)
        reference_set_up = self._pool_reference(judge, rows)
        self._score_derived(judge, derived)
        rows = [self._with_derived(row, each) for row, each in zip(rows, derived, strict=True)]
        if self.again:
            rows.append(self._ceiling(architectures, sizes))
        budgets = self._budgets()
        self._score_picks(judge, courses, budgets)
        if self.settings.trials:
            rows = [self._with_picks(row, each, budgets) for row, each in zip(rows, courses, strict=False)] + rows[
                len(courses) :
            ]
        return Findings(
            rows=tuple(rows),
            reference=names([self.reference])[0],
            truth=self.settings.truth,
            reference_set_up=reference_set_up,
            reference_priced=judge.priced,
            reference_cost=self._reference_cost,
            ceiling_known=bool(self.again) or not (self._once_more == self._scores).all(),
            space=names([self.space])[0],
            controller=names([self.controller])[0] if self._pool is None else POOL.format(len(self._pool)),
            samples=len(architectures),
            seeds=self.settings.seeds,
            trials=self.settings.trials,
            budgets=tuple(budgets) if self.settings.trials else (),
            best=self._best(judge),
            average=float(self._truths(architectures).mean()),
            random_search=self._random_search(reference_set_up, architectures, budgets) if self.settings.trials else (),
            seed=self.seed,
            seconds=time.monotonic() - begun,
        )

    def _pool_reference(self, judge: Prepared, rows: list[Compared]) -> Cost:
        """Gives the reference one cost, of all that it was asked: its own row is the same evaluator under other seeds.

        Returns:
            The cost of its set-up.
        """
        number = next((i for i, row in enumerate(rows) if row.kind == "reference"), None)
        if number is None:
            return judge.set_up
        row, times = rows[number], self.settings.seeds
        share = 1 / (1 + times)
        each = (self._reference_cost + row.each * times) * share
        set_up = (judge.set_up + row.set_up * times) * share
        self._reference_cost = each
        rows[number] = dataclasses.replace(row, each=each, set_up=set_up)
        return set_up

    def _contenders(self, size: Size | None) -> dict[str, tuple[Evaluator, Kind]]:
        """Everything that is compared, but for the ceiling of other evaluators."""
        found: dict[str, tuple[Evaluator, Kind]] = {}
        own, others = self._described["reference"], self._described["evaluators"]
        for name, evaluator in self.given.items():
            found[name] = (evaluator, "reference" if not self.again and others[name] == own else "evaluator")
        if not self.again and not any(kind == "reference" for _, kind in found.values()):
            (name,) = names([self.reference])
            if len(name) > LONGEST_NAME and "reference" not in found:
                name = "reference"  # it has no name of the user's: its settings would be wider than a page
            found[name] = (anew(self.reference), "reference")
        if size is not None and size.figure not in found:
            found[size.figure] = (size, "trivial")
        found |= {name: (each, "trivial") for name, each in self._other_sizes(found).items()}
        found[RANDOM] = (Random(), "trivial")
        return found

    def _measure(
        self, name: str, evaluator: Evaluator, kind: Kind, architectures: Sequence[Architecture], sizes: Floats | None
    ) -> tuple[Compared, list[_Course | None], list[Architecture]]:
        """Costs, agreement, searches of one evaluator, and what it ended with itself, under all seeds."""
        set_ups, costs, scores, courses, derived, note = [], [], [], [], list[Architecture](), ""
        prepared: Prepared | None = None
        for number in range(self.settings.seeds):
            self._say(f"{name}, seed {number + 1} of {self.settings.seeds}")
            folder = f"{folder_name(name)}-{number}"
            has_seed = isinstance(getattr(evaluator, "seed", None), int)
            if prepared is None or has_seed:
                prepared = self._prepared(anew(evaluator, number + 1) if has_seed else evaluator, folder)
            trials = self._score(f"{folder}/sample", prepared, architectures, f"sample {number}")
            scores.append(scores_of(trials, architectures))
            costs += [trial.cost for trial in trials]
            set_ups.append(prepared.set_up)
            note = note or prepared.note
            derived += self._derived(prepared)
            try:
                courses.append(self._search(f"{folder}/search", prepared, number) if self.settings.trials else None)
            except TooManyFailures as error:
                courses.append(None)
                note = f"no search with it succeeds: {str(error).strip().splitlines()[-1]}"
        if prepared is not None:
            prepared.release()
        if kind == "reference":
            self._once_more = np.array(scores, np.float64)
        row = Compared(
            name=name,
            evaluator=name if kind == "trivial" else names([evaluator])[0],
            kind=kind,
            set_up=mean(set_ups),
            each=mean(costs),
            failed=int((~np.isfinite(np.array(scores))).any(axis=0).sum()),
            agreement=self._agreement(architectures, np.array(scores), sizes),
            note=note,
            priced=evaluator.priced,
        )
        return row, courses, derived

    def _derived(self, prepared: Prepared) -> list[Architecture]:
        """What an evaluator ends with itself, if it has a distribution."""
        if not isinstance(prepared.known_by, Distribution):
            return []
        prepared.start(self.space)  # where its sample was scored in an earlier session, it is not ready yet
        prepared.prepare()
        return [prepared.known_by.derived()]

    def _score_derived(self, judge: Prepared, derived: Sequence[Sequence[Architecture]]) -> None:
        """Has the reference score what was derived."""
        every = dict.fromkeys(itertools.chain.from_iterable(derived))
        if missing := [each for each in every if each not in self._truth]:
            self._say(f"reference: {len(missing):,} derived architectures")
            key = zlib.crc32(repr(missing).encode())
            self._learn(self._score(f"reference/derived-{key:08x}", judge, missing, "derived"))

    def _with_derived(self, row: Compared, derived: Sequence[Architecture]) -> Compared:
        if not derived:
            return row
        return dataclasses.replace(row, derived=np.array([self._truth.get(each, math.nan) for each in derived]))

    def _ceiling(self, architectures: Sequence[Architecture], sizes: Floats | None) -> Compared:
        """How the evaluators that stand for the reference agree: the first with the others."""
        scores, costs = [], []
        for number, evaluator in enumerate(self.again):
            self._say(f"{CEILING}, {number + 1} of {len(self.again)}")
            prepared = self._prepared(evaluator, f"ceiling/{number}")
            trials = self._score(f"ceiling/{number}/sample", prepared, architectures, f"again {number}")
            scores.append(scores_of(trials, architectures))
            costs += [trial.cost for trial in trials]
        table = np.array(scores)
        self._once_more = table
        return Compared(
            name=CEILING,
            evaluator=" against ".join(names(self.again)),
            kind="ceiling",
            set_up=NO_COST,
            each=mean(costs),
            failed=int((~np.isfinite(table)).any(axis=0).sum()),
            agreement=self._agreement(architectures, table[1:], sizes, table[0]),
        )

    def _agreement(
        self,
        architectures: Sequence[Architecture],
        scores: Floats,
        sizes: Floats | None,
        truth: Floats | None = None,
    ) -> Agreement | None:
        if truth is None:
            truth = self._truths(architectures)
        sound = np.isfinite(scores).all(axis=0) & np.isfinite(truth)
        if sound.sum() < 2:
            return None
        if (scores == scores[0]).all():  # what does not depend on the seed
            scores = scores[:1]
        return agreement(truth[sound], scores[:, sound], None if sizes is None else sizes[sound], seed=self.seed)

    def _budgets(self) -> list[float]:
        return list(self.settings.budgets or (times * self._unit for times in BUDGETS))

    def _search(self, folder: str, evaluator: Prepared, number: int) -> _Course | None:
        """A search up to the largest budget; None if the set-up alone costs more."""
        evaluator.apart = (self.folder / "runs" / folder).absolute() / "evaluator"
        begin = set_up_seconds(evaluator.set_up)
        left = max(self._budgets()) - begin
        if left <= 0:
            return None
        if self._pool is None:
            controller: Controller = copy.deepcopy(self.controller)
        else:
            order = stream(self.seed, f"pool {number}").permutation(len(self._pool))[: self.settings.trials]
            controller = Listed([list(self._pool[i]) for i in order])
        result = search_or_resume(
            self.space,
            controller,
            evaluator,
            out=self.folder / "runs" / folder,
            seed=self._root(f"search {number}"),  # the same for all evaluators
            executor=self.executor,
            trials=self.settings.trials,
            max_cost=left,
            max_failures=max(MIN_SAMPLES, self.settings.trials),
            duplicates="reuse",
            timeout=self.settings.timeout,
        )
        course, spent, completed, best = _Course([], [], []), begin, 0, None
        for trial in result.history:
            spent += trial.cost.billed_seconds
            completed += trial.evaluation is not None
            if trial.evaluation is not None and (best is None or trial.rank > best.rank):
                best = trial
            if best is not None:
                course.billed.append(spent)
                course.completed.append(completed)
                course.incumbents.append(best.architecture)
        return course

    def _score_picks(self, judge: Prepared, courses: Sequence[Sequence[_Course | None]], budgets: list[float]) -> None:
        """Has the reference score the pick of every search for every budget; where it cannot, the pick before."""
        found = [course for searched in courses for course in searched if course is not None]
        hopeless: set[Architecture] = set()
        while True:
            missing: dict[Architecture, None] = {}
            for course, budget in itertools.product(found, budgets):
                possible = (each for each in reversed(course.incumbents[: course.at(budget)]) if each not in hopeless)
                pick = next(possible, None)
                if pick is not None and pick not in self._truth:
                    missing[pick] = None
            if not missing:
                return
            self._say(f"reference: {len(missing):,} picks")
            # Billed seconds that are measured are never the same twice, so neither are the picks.
            key = zlib.crc32(repr(list(missing)).encode())
            self._learn(self._score(f"reference/picks-{key:08x}", judge, list(missing), "picks"))
            hopeless |= {each for each in missing if each not in self._truth}

    def _with_picks(self, row: Compared, courses: Sequence[_Course | None], budgets: Sequence[float]) -> Compared:
        picks = np.full((len(courses), len(budgets)), math.nan)
        counts = np.zeros_like(picks)
        for number, course in enumerate(courses):
            for column, budget in enumerate(budgets):
                if course is not None and (paid := course.at(budget)):
                    picks[number, column] = self._newest_truth(course.incumbents[:paid])
                    counts[number, column] = course.completed[paid - 1]
        return dataclasses.replace(row, picks=picks, evaluations=counts.mean(axis=0))

    def _newest_truth(self, incumbents: Sequence[Architecture]) -> float:
        """Of the last incumbent whose truth is known: whoever cannot train the best takes the one before."""
        return next((self._truth[each] for each in reversed(incumbents) if each in self._truth), math.nan)

    def _random_search(
        self, set_up: Cost, architectures: Sequence[Architecture], budgets: Sequence[float]
    ) -> tuple[tuple[float, float], ...]:
        """See ``Findings``.

        One scoring of the sample picks, another one judges: all pairs of these count. A single pair tells of its noise:
        the best scored of nearly all the sample is one architecture, for better or worse.
        """
        truth = self._truths(architectures)
        pairs = [(scores, truth) for scores in self._once_more]
        if self.settings.truth == "score" and not self.again:
            pairs += [(truth, scores) for scores in self._once_more]
        sound = np.isfinite(self._once_more).all(axis=0) & np.isfinite(truth)
        found = []
        for budget in budgets:
            left = budget * (1 + ROUNDING) - set_up_seconds(set_up)
            paid = left / max(self._reference_cost.billed_seconds, 1e-12)
            n = int(min(max(0.0, paid), self.settings.trials))
            known = 0 < n <= sound.sum() > 1
            found.append(_best_of([(a[sound], b[sound]) for a, b in pairs], n) if known else (math.nan, math.nan))
        return tuple(found)

    def _best(self, judge: Prepared) -> float:
        """The best truth there is, as far as that is known."""
        if self.settings.best is not None:
            return self.settings.best
        return max(highest_listed(judge, self.settings.truth), *self._truth.values())


def _best_of(pairs: Sequence[tuple[Floats, Floats]], n: int) -> tuple[float, float]:
    """Mean and standard deviation of what the best scored of ``n`` is worth, over draws and pairs (scores, truth)."""
    mean = float(np.mean([best_of(truth, scores, n) for scores, truth in pairs]))
    square = float(np.mean([best_of((truth - mean) ** 2, scores, n) for scores, truth in pairs]))
    return mean, math.sqrt(square)
