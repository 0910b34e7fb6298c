"""What a comparison of evaluators found: plain records, and what they advise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from archsearch.errors import UsageError
from archsearch.ranking import Agreement
from archsearch.running.scoring import without_noise
from archsearch.trial import Cost

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


Kind = Literal["evaluator", "reference", "ceiling", "trivial"]

RANDOM, CEILING = "random", "noise ceiling"
POOL = "random search among the {:,} architectures that all can score"
ROUNDING = 1e-6
"""Share by which sums of seconds may differ and still be taken as equal."""

LEVEL = 0.95


# -- what comes out ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Compared:
    """One evaluator, measured.

    Attributes:
        name: In tables and pictures.
        evaluator: Its class, and the settings that are not the default.
        kind: reference: the reference itself, under another seed; ceiling: other evaluators that stand for that;
            trivial: what knows nothing of quality.
        set_up: Cost of its one-off work, mean over seeds.
        each: Cost of an architecture, mean over the sample and the seeds, failed ones included.
        failed: Architectures of the sample that it could not score (under some seed).
        agreement: With the reference; None if it scored fewer than 2 architectures.
        picks: What the reference says of its pick for each budget, shape (seeds, budgets). NaN where the budget was not
            enough for an evaluation that succeeds; where the reference cannot score a pick, the one before counts.
            None: there was no search.
        evaluations: Evaluations that a search completed for each budget, mean over seeds.
        note: What it says of its set-up, or why its searches ended early.
        derived: What the reference says of the architecture that it ends with itself, once per seed; NaN where the
            reference cannot score it. None: it has no distribution over the space (``archsearch.abilities``).
    """

    name: str
    evaluator: str
    kind: Kind
    set_up: Cost
    each: Cost
    failed: int
    agreement: Agreement | None
    picks: Floats | None = None
    evaluations: Floats | None = None
    note: str = ""
    derived: Floats | None = None

    def total(self, n: float) -> float:
        """Billed seconds for ``n`` architectures, set-up included."""
        return set_up_seconds(self.set_up) + n * self.each.billed_seconds


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """The answer to: which evaluator should I use with this budget?

    Attributes:
        budget: Billed seconds.
        name: What to use; None: the budget is not enough for any.
        truth: What the reference says of its picks, mean over seeds.
        spread: Standard deviation over seeds.
        level: Others that the seeds could not tell from it.
    """

    budget: float
    name: str | None
    truth: float = math.nan
    spread: float = math.nan
    level: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found of evaluators side by side: figures, of which pages and pictures are made.

    Attributes:
        rows: The evaluators as they were given, then the reference, the ceiling and the trivial ones.
        reference: The reference, likewise.
        truth: What of the reference's evaluations is the truth: score, or the name of a metric.
        reference_set_up: Of the reference's one-off work.
        reference_cost: Of one architecture, mean.
        ceiling_known: Whether there is a noise ceiling: not where the reference gives the same under another seed.
        space: The space, likewise.
        controller: Of the searches, likewise.
        samples: Architectures that all evaluators scored.
        seeds: How often everything was done, from different seeds.
        trials: Most evaluations of a search.
        budgets: Billed seconds at which picks were compared.
        best: The best truth there is, or that was seen.
        average: Mean truth of the sample: what a random pick is worth.
        random_search: What random search with the reference finds for each budget, on average: the expected truth of
            the best of as many architectures as the budget pays for (at most ``trials``), by the reference's scores of
            the sample under another seed. NaN where that is none, or more than the sample has.
        seed: The root seed.
        seconds: How long this call took; less than all, if it went on with what was there.
    """

    rows: tuple[Compared, ...]
    reference: str
    truth: str
    reference_set_up: Cost
    reference_cost: Cost
    ceiling_known: bool
    space: str
    controller: str
    samples: int
    seeds: int
    trials: int
    budgets: tuple[float, ...]
    best: float
    average: float
    random_search: tuple[float, ...]
    seed: int
    seconds: float

    def __getitem__(self, name: str) -> Compared:
        for row in self.rows:
            if row.name == name:
                return row
        raise UsageError(f"no evaluator is called {name!r}; expected one of {', '.join(row.name for row in self.rows)}")

    def break_even(self, name: str, other: str | None = None) -> float:
        """From how many architectures on one evaluator is cheaper than another, by billed seconds.

        Args:
            name: The one.
            other: The other; None: the reference.

        Returns:
            At least 1; infinity if it never is.
        """
        first = self[name]
        set_up, each = (
            (self.reference_set_up, self.reference_cost) if other is None else (self[other].set_up, self[other].each)
        )
        own = (set_up_seconds(first.set_up), first.each.billed_seconds)
        return break_even(*own, set_up_seconds(set_up), each.billed_seconds)

    def recommendations(self) -> list[Recommendation]:
        """One for each budget; see ``recommend``."""
        searched = {row.name: row.picks for row in self.rows if row.picks is not None}
        return recommend(searched, self.budgets) if searched else []


def set_up_seconds(set_up: Cost) -> float:
    """Billed seconds of a set-up; 0 if they are negligible."""
    return without_noise(set_up).billed_seconds


def break_even(set_up: float, each: float, other_set_up: float, other_each: float) -> float:
    """The least number of architectures, at least 1, from which on the first of two is cheaper; infinity if never."""
    if math.isclose(each, other_each, rel_tol=ROUNDING):
        return 1.0 if set_up < other_set_up and not math.isclose(set_up, other_set_up, rel_tol=ROUNDING) else math.inf
    if each > other_each:
        return math.inf
    return max(1.0, math.floor((set_up - other_set_up) / (other_each - each)) + 1.0)


def recommend(picks: Mapping[str, Floats], budgets: Sequence[float]) -> list[Recommendation]:
    """For each budget the evaluator with the best picks, and those that the seeds could not tell from it.

    Seeds are pairs: what is equally lucky under one seed cancels. Others are level with the best if the 95 % interval
    of the mean difference (Student's t) holds 0. What was chosen for the budget before stays the choice while it is
    within one standard error of the best, so that chance alone changes no advice. An evaluator counts only where each
    of its searches could afford an evaluation.

    Args:
        picks: True quality of the pick of each search by evaluator, shape (seeds, budgets); NaN: could not afford one.
        budgets: Rising.
    """
    from scipy.stats import t

    found: list[Recommendation] = []
    for column, budget in enumerate(budgets):
        values = {name: each[:, column] for name, each in picks.items() if np.isfinite(each[:, column]).all()}
        if not values:
            found.append(Recommendation(budget, None))
            continue
        best = max(values, key=lambda name: float(values[name].mean()))
        before = found[-1].name if found else None
        if before in values and _within(values[best] - values[before], errors=1.0):
            best = before
        chosen = values[best]
        errors = float(t.ppf((1 + LEVEL) / 2, len(chosen) - 1)) if len(chosen) > 1 else 0.0
        level = tuple(name for name in values if name != best and _within(chosen - values[name], errors))
        spread = float(chosen.std(ddof=1)) if len(chosen) > 1 else math.nan
        found.append(Recommendation(budget, best, float(chosen.mean()), spread, level))
    return found


def _within(differences: Floats, errors: float) -> bool:
    """Whether the mean of paired differences is within so many standard errors of 0; of one seed, only equal ones."""
    mean = abs(float(differences.mean()))
    if len(differences) == 1:
        return mean == 0
    return mean <= errors * float(differences.std(ddof=1)) / math.sqrt(len(differences))


RANDOM_SEARCH = "random search, reference"
"""What stands beside the searches: how well one does without any controller or cheaper evaluator."""
