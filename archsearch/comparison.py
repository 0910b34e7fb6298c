"""Evaluators compared: what each one costs, how well it ranks, and when it pays off.

    print(compare(NASBench201(), {"short": Tabular(epochs=12), "synflow": Tabular(zero_cost="synflow")}, Tabular()))

Three questions, answered with the same architectures, seeds and controller for all:

1. What does it cost? Set-up and each architecture apart, and from how many architectures on it is cheaper than another.
2. How well does it rank? Its scores of a random sample against the reference: Kendall's tau and others, with intervals.
3. What does a search with it find? For the same billed cost, its pick is scored by the reference.

What ranks without knowing anything (random numbers, the size of the network) and the noise ceiling (the reference under
another seed) always stand beside. Source: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink
the Optimization Gap", 2020, for the questions; the figures are those of ``archsearch.ranking``.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.metadata
import inspect
import itertools
import math
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
import yaml

from archsearch import checks
from archsearch.comparison_report import save as save_findings
from archsearch.comparison_report import sentence
from archsearch.comparison_report import text as findings_text
from archsearch.components import describe, load, names
from archsearch.controller import Controller
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executor import Executor, evaluates_batches
from archsearch.history import write_whole
from archsearch.loop import make_executor
from archsearch.ranking import Agreement, agreement, best_of
from archsearch.run_config import read_yaml, yaml_text
from archsearch.scoring import Listed, Prepared, folder_name, highest_listed, search_or_resume, truth_of
from archsearch.seeding import root_seed, stream
from archsearch.settings import ExecutorName, documented, settled
from archsearch.space import Space, at_least_one, whole_number
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Trial
from archsearch.words import plain_lines, say

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Kind = Literal["evaluator", "reference", "ceiling", "trivial"]

RANDOM, CEILING = "random", "noise ceiling"
POOL = "random search among the {:,} architectures that all can score"
SIZES = ("flops", "params")
"""What ``Evaluator.measure`` may know, of which the first is the size of an architecture."""

BUDGETS = (2, 5, 10, 20, 50, 100, 200, 500)
"""Budgets of the searches, unless they are given: so many times what the reference bills for an architecture."""

BATCH = 50
"""Architectures of a sample that are scored together, by evaluators to which that is cheaper."""

MIN_SAMPLES = 10
ROUNDING = 1e-6
"""Share by which sums of seconds may differ and still be taken as equal."""

NEGLIGIBLE_SECONDS = 0.01
"""A set-up that bills less is none: what is measured of doing nothing is noise."""

SILENT_SECONDS = 1.0
"""Time between two lines that say how far a comparison is, at least."""

LEVEL = 0.95
CONFIG = "comparison.yaml"

DEFAULT = Path(__file__).parent / CONFIG
"""What ``archsearch compare`` alone does."""


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
    return set_up.billed_seconds if set_up.billed_seconds >= NEGLIGIBLE_SECONDS else 0.0


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


@dataclasses.dataclass(frozen=True)
class Comparison(Findings):
    """Evaluators side by side; print it for the tables. Its figures are those of ``Findings``."""

    def recommend(self, budget: float) -> str:
        """Says in a sentence which evaluator to use.

        Args:
            budget: Billed seconds; what was found for the largest budget up to it counts.
        """
        fitting = [each for each in self.recommendations() if each.budget <= budget]
        if not fitting:
            least = min(self.budgets, default=math.inf)
            return f"Nothing was measured for so little: the least budget of this comparison is {least:.3g} s."
        return sentence(self, [fitting[-1]], budget)

    def save(self, out: str | Path, command: str = "") -> Path:
        """Writes every figure as Parquet, pictures, and one HTML page.

        Args:
            out: The folder.
            command: What remakes it, for the page.

        Returns:
            The page.
        """
        return save_findings(self, Path(out), command)

    def __str__(self) -> str:
        return plain_lines(findings_text(self))


# -- comparing -----------------------------------------------------------------------------------


class ComparisonOptions(TypedDict, total=False):
    """The fields of ``ComparisonSettings`` as keywords."""

    truth: str
    samples: int
    seeds: int
    trials: int
    budgets: Sequence[float] | None
    timeout: float | None
    best: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """How evaluators are compared.

    Args:
        truth: What of the reference's evaluations is the truth, higher is better: score, or the name of a metric.
        samples: Random architectures that every evaluator scores, >= 10; fewer if there are not as many.
        seeds: How often each evaluator is prepared, scores the sample and is searched with, from different seeds, >= 1.
        trials: Most evaluations in one search; 0: no searches.
        budgets: Billed seconds, set-up included, at which the picks of the searches are compared. None: 2, 5, 10, 20,
            50, 100, 200 and 500 times what the reference bills for an architecture.
        timeout: Seconds after which one evaluation is given up.
        best: The best truth there is, where it is known; else what was seen, or, of a table, what is in it.

    Raises:
        UsageError: If a value is out of range.
    """

    truth: str = "score"
    samples: int = 200
    seeds: int = 3
    trials: int = 200
    budgets: Sequence[float] | None = None
    timeout: float | None = None
    best: float | None = None

    def __post_init__(self) -> None:
        whole_number("compare", "samples", self.samples, MIN_SAMPLES)
        at_least_one("compare", "seeds", self.seeds)
        whole_number("compare", "trials", self.trials)
        if self.budgets is not None:
            budgets = sorted(map(float, self.budgets))
            if not (budgets and all(0 < each < math.inf for each in budgets)):
                raise UsageError(f"compare: budgets: expected numbers of seconds above 0, got {budgets}")
            object.__setattr__(self, "budgets", budgets)
        if self.timeout is not None:
            checks.number("compare", "timeout", self.timeout, above=0)
        if self.best is not None:
            checks.number("compare", "best", self.best)


@documented(ComparisonSettings, ComparisonOptions)
def compare(
    space: Space,
    evaluators: Mapping[str, Evaluator] | Sequence[Evaluator],
    reference: Evaluator,
    *,
    again: Sequence[Evaluator] | None = None,
    controller: Controller | None = None,
    settings: ComparisonSettings | None = None,
    seed: int | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    out: str | Path | None = None,
    progress: bool = False,
    **options: Unpack[ComparisonOptions],
) -> Comparison:
    """Compares evaluators with each other and with a reference.

    The reference scores the sample once. Under another seed it is compared, too, as the noise ceiling, which is what
    another evaluator can hope for; and so are random numbers and the size of the network. Where not all architectures
    of the space can be scored by all, such as those of a partial table, searches draw at random from those that can.

    Args:
        space: What is searched.
        evaluators: What is compared, by name, or a list, which is named by classes and settings. An evaluator that has
            an argument ``seed`` is made anew for each seed, from its own plus 1 on, since the reference has its own.
        reference: What tells the truth.
        again: Evaluators, 2 or more, that stand for the reference under different seeds, such as the single runs of a
            table. For the noise ceiling the scores of the first are compared with those of the others; if the truth is
            a mean of several runs, what agrees with that may be better than this. None: the reference itself.
        controller: Of the searches; None: ``RegularizedEvolution(population_size=20, tournament_size=5)``.
        settings: How they are compared; None: as the keywords say that follow last.
        seed: Root seed, >= 0; None draws one, or takes that of the comparison in ``out``.
        executor: See ``search``.
        workers: See ``search``.
        out: Folder to keep everything in. A comparison that was stopped goes on from its folder when it is begun again
            with the same settings: nothing completed is evaluated again. Evaluators may be added or left out.
        progress: Whether to show on standard error how far it is.
        **options: The fields of ``ComparisonSettings``, in place of ``settings``.

    Raises:
        UsageError: If something cannot be as asked; nothing was evaluated then.
    """
    settings = settled(compare, ComparisonSettings, settings, options)
    by_name = _named(evaluators)
    if controller is None:
        controller = load("RegularizedEvolution", "controllers")(population_size=20, tournament_size=5)
    known = None if out is None else _known_config(Path(out))
    if seed is None and known is not None:
        seed = known.get("seed")
    laboratory = _Laboratory(space, by_name, reference, list(again or ()), controller, settings, root_seed(seed))
    laboratory.executor, laboratory.progress = make_executor(executor, workers), progress
    with contextlib.ExitStack() as stack:
        if out is None:
            temporary = tempfile.TemporaryDirectory(prefix="archsearch-", ignore_cleanup_errors=True)
            laboratory.folder = Path(stack.enter_context(temporary))
        else:
            laboratory.open(Path(out), known)
        stack.enter_context(laboratory.executor.held())
        return Comparison(**vars(laboratory.compare()))


def _named(evaluators: Mapping[str, Evaluator] | Sequence[Evaluator]) -> dict[str, Evaluator]:
    if not isinstance(evaluators, Mapping):
        evaluators = dict(zip(names(evaluators), evaluators, strict=True))
    if not evaluators:
        raise UsageError("compare: evaluators: expected at least one, got none")
    for name, evaluator in evaluators.items():
        if not (isinstance(name, str) and name and isinstance(evaluator, Evaluator)):
            raise UsageError(f"compare: evaluators: expected evaluators by name (text), got {name!r}: {evaluator!r}")
    if taken := [name for name in evaluators if name in (RANDOM, CEILING)]:
        raise UsageError(f"compare: evaluators: {taken[0]!r} is always compared; give yours another name")
    return dict(evaluators)


def _known_config(folder: Path) -> dict[str, Any] | None:
    """The configuration of the comparison in a folder; None if there is none."""
    path = folder / CONFIG
    try:
        config = read_yaml(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from None
    if not (isinstance(config, dict) and isinstance(config.get("evaluators"), dict)):
        raise RunFolderError(f"{path} is no configuration of a comparison: it has no evaluators; name another folder")
    return config


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


class _Bench:
    """Where a comparison works: its folder, the sample, and the truth about it.

    Every piece of work is a search with a run folder of its own, done once.
    """

    folder: Path
    executor: Executor
    progress: bool = False
    _truth: dict[Architecture, float]

    def __init__(
        self,
        space: Space,
        evaluators: dict[str, Evaluator],
        reference: Evaluator,
        again: list[Evaluator],
        controller: Controller,
        settings: ComparisonSettings,
        seed: int,
    ) -> None:
        self.space = space
        self.given = evaluators
        self.reference = reference
        self.again = again
        self.controller = controller
        self.settings = settings
        self.seed = seed
        self._silent_until = 0.0
        if len(again) == 1:
            raise UsageError("compare: again: expected 2 or more evaluators, to be compared with each other, got 1")
        for each in (reference, *again, *evaluators.values()):
            if each.interval:
                raise UsageError(
                    f"compare: {type(each).__name__} learns on during a search, so its scores are not one ranking; "
                    "expected evaluators whose scores stay, such as OneShot(sampler='uniform')"
                )
            each.check(space)
        self._described = self._config()  # what cannot be described shows now

    def open(self, folder: Path, known: dict[str, Any] | None) -> None:
        """Makes the folder of a comparison, or takes up the one that is known to be there."""
        self.folder, config = folder, self._described
        if known is not None:
            differing = {k for k in {*config, *known} if config.get(k) != known.get(k)} - {"evaluators"}
            ours, theirs = config["evaluators"], known["evaluators"]
            differing |= {f"evaluators: {k}" for k in ours.keys() & theirs.keys() if ours[k] != theirs[k]}
            if differing:
                raise RunFolderError(
                    f"{folder}: another comparison is here already, it differs in {', '.join(sorted(differing))}; name "
                    "another folder"
                )
        versions = {name: importlib.metadata.version(name) for name in ("archsearch", "numpy", "torch")}
        made_with = ", ".join(f"{name} {version}" for name, version in versions.items())
        comment = f"# archsearch compare --config {CONFIG} --out FOLDER\n# made with {made_with}\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / CONFIG, (comment + yaml_text(config)).encode())
        except OSError as error:
            raise RunFolderError(
                f"{folder}: cannot write a comparison here ({error.strerror}); name a folder that you may write to"
            ) from None

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "space": describe(self.space),
            "reference": describe(self.reference),
            "again": [describe(each) for each in self.again] or None,
            "evaluators": {name: describe(each) for name, each in self.given.items()},
            "controller": describe(self.controller),
            **dataclasses.asdict(self.settings),
            "seed": self.seed,
        }
        return {name: value for name, value in config.items() if value is not None}

    def _score_sample(self, judge: Prepared) -> list[Architecture]:
        """Draws the sample and has the reference score it; gives the architectures whose truth is known."""
        drawn = self._draw(judge)
        self._say(f"reference: {len(drawn):,} architectures")
        trials = self._score("reference/sample", judge, drawn, "reference")
        self._learn(trials)
        if len(self._truth) < MIN_SAMPLES:
            raise UsageError(self._too_few(trials))
        self._reference_cost = _mean([trial.cost for trial in trials])
        scores = {trial.architecture: trial.score for trial in trials}
        known = [each for each in drawn if each in self._truth]
        self._scores = np.array([scores[each] for each in known], np.float64)
        return known

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Notes the truth of what the reference scored; a truth that is not finite is none."""
        for trial in trials:
            if trial.evaluation is not None:
                truth = truth_of(trial.evaluation, self.settings.truth)
                if math.isfinite(truth):
                    self._truth[trial.architecture] = truth

    def _truths(self, architectures: Sequence[Architecture]) -> Floats:
        return np.array([self._truth[each] for each in architectures])

    def _too_few(self, trials: Sequence[Trial]) -> str:
        name, scored = self.settings.truth, [trial for trial in trials if trial.evaluation is not None]
        if scored and all(name != "score" and name not in trial.metrics for trial in scored):
            return (
                f"compare: truth: the reference reports no {name!r}; expected score or one of "
                f"{', '.join(scored[0].metrics) or 'no metrics'}"
            )
        error = next((trial.error.strip().splitlines()[-1] for trial in trials if trial.error), "none failed")
        return (
            f"compare: the reference knows the truth of {len(self._truth)} of {len(trials)} architectures, expected "
            f"{MIN_SAMPLES} or more. The first error: {error}"
        )

    def _draw(self, judge: Prepared) -> list[Architecture]:
        """The sample: of what all evaluators can score, as far as they say so."""
        rng, known = stream(self.seed, "sample"), None
        for evaluator in (judge, *self.given.values(), *self.again):
            evaluator.start(self.space)
            if (listed := evaluator.architectures) is not None:
                listed_here = set(listed)
                known = listed if known is None else [each for each in known if each in listed_here]
        self._pool = known if known is not None and len(known) < (self.space.size() or math.inf) else None
        if known is None:
            return judge.draw(self.settings.samples, rng)
        if len(known) < MIN_SAMPLES:
            raise UsageError(
                f"compare: {len(known)} architectures can be scored by all of these evaluators, expected "
                f"{MIN_SAMPLES} or more; leave one out"
            )
        return [known[i] for i in rng.permutation(len(known))[: self.settings.samples]]

    def _sizes(self, judge: Prepared, architectures: Sequence[Architecture]) -> tuple[Floats | None, str | None]:
        """The size of each architecture, where the reference knows it, and what that is."""
        for name in SIZES:
            sizes = np.array([judge.measure(each).get(name, math.nan) for each in architectures])
            if np.isfinite(sizes).all():
                return sizes, name
        return None, None

    def _prepared(self, evaluator: Evaluator, folder: str) -> Prepared:
        prepared = Prepared(evaluator)
        prepared.folder = (self.folder / "runs" / folder / "evaluator").absolute()
        return prepared

    def _score(self, folder: str, evaluator: Prepared, architectures: Sequence[Architecture], seed: str) -> list[Trial]:
        """The trials of given architectures, in their order."""
        result = search_or_resume(
            self.space,
            Listed([list(each) for each in architectures]),
            evaluator,
            out=self.folder / "runs" / folder,
            seed=self._root(seed),
            executor=self.executor,
            trials=len(architectures),
            max_failures=len(architectures) + 1,
            timeout=self.settings.timeout,
            # Not where every one may be a training: of those that are together all are lost if one is interrupted.
            batch=BATCH if evaluates_batches(evaluator.evaluator) else 1,
        )
        return sorted(result.history, key=lambda trial: trial.id)

    def _root(self, what: str) -> int:
        return int(stream(self.seed, f"compare {what}").integers(2**31))

    def _say(self, text: str) -> None:
        if self.progress and (now := time.monotonic()) >= self._silent_until:
            self._silent_until = now + SILENT_SECONDS
            say(f"comparing  {text}", file=sys.stderr)


class _Laboratory(_Bench):
    """One comparison in progress: what each evaluator costs, how it agrees with the truth, and what it finds."""

    def compare(self) -> Findings:
        """Does all the work that is not done yet."""
        begun = time.monotonic()
        judge = self._prepared(_anew(self.reference), "reference")
        self._truth = {}
        architectures = self._score_sample(judge)
        sizes, size = self._sizes(judge, architectures)
        contenders = self._contenders(judge, size)
        rows, courses = [], []
        for name, (evaluator, kind) in contenders.items():
            row, searched = self._measure(name, evaluator, kind, architectures, sizes)
            rows.append(row)
            courses.append(searched)
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
            reference_set_up=judge.set_up,
            reference_cost=self._reference_cost,
            ceiling_known=bool(self.again) or not np.array_equal(self._once_more, self._scores),
            space=names([self.space])[0],
            controller=names([self.controller])[0] if self._pool is None else POOL.format(len(self._pool)),
            samples=len(architectures),
            seeds=self.settings.seeds,
            trials=self.settings.trials,
            budgets=tuple(budgets) if self.settings.trials else (),
            best=self._best(judge),
            average=float(self._truths(architectures).mean()),
            random_search=self._random_search(judge, architectures, budgets) if self.settings.trials else (),
            seed=self.seed,
            seconds=time.monotonic() - begun,
        )

    def _contenders(self, judge: Prepared, size: str | None) -> dict[str, tuple[Evaluator, Kind]]:
        """Everything that is compared, but for the ceiling of other evaluators."""
        found: dict[str, tuple[Evaluator, Kind]] = {}
        own, others = self._described["reference"], self._described["evaluators"]
        for name, evaluator in self.given.items():
            found[name] = (evaluator, "reference" if not self.again and others[name] == own else "evaluator")
        if not self.again and not any(kind == "reference" for _, kind in found.values()):
            found[names([self.reference])[0]] = (_anew(self.reference), "reference")
        if size is not None and size not in found:
            found[size] = (_Size(judge, size), "trivial")
        found[RANDOM] = (_Random(), "trivial")
        return found

    def _measure(
        self, name: str, evaluator: Evaluator, kind: Kind, architectures: Sequence[Architecture], sizes: Floats | None
    ) -> tuple[Compared, list[_Course | None]]:
        """Costs, agreement and searches of one evaluator, under all seeds."""
        set_ups, costs, scores, courses, note = [], [], [], [], ""
        prepared: Prepared | None = None
        for number in range(self.settings.seeds):
            self._say(f"{name}, seed {number + 1} of {self.settings.seeds}")
            folder = f"{folder_name(name)}-{number}"
            has_seed = isinstance(getattr(evaluator, "seed", None), int)
            if prepared is None or has_seed:
                prepared = self._prepared(_anew(evaluator, number + 1) if has_seed else evaluator, folder)
            trials = self._score(f"{folder}/sample", prepared, architectures, f"sample {number}")
            scores.append(_scores(trials, architectures))
            costs += [trial.cost for trial in trials]
            set_ups.append(prepared.set_up)
            note = note or prepared.note
            try:
                courses.append(self._search(f"{folder}/search", prepared, number) if self.settings.trials else None)
            except TooManyFailures as error:
                courses.append(None)
                note = f"no search with it succeeds: {str(error).strip().splitlines()[-1]}"
        if prepared is not None:
            prepared.release()
        if kind == "reference":
            self._once_more = np.array(scores[0], np.float64)
        row = Compared(
            name=name,
            evaluator=name if kind == "trivial" else names([evaluator])[0],
            kind=kind,
            set_up=_mean(set_ups),
            each=_mean(costs),
            failed=int((~np.isfinite(np.array(scores))).any(axis=0).sum()),
            agreement=self._agreement(architectures, np.array(scores), sizes),
            note=note,
        )
        return row, courses

    def _ceiling(self, architectures: Sequence[Architecture], sizes: Floats | None) -> Compared:
        """How the evaluators that stand for the reference agree: the first with the others."""
        scores, costs = [], []
        for number, evaluator in enumerate(self.again):
            self._say(f"{CEILING}, {number + 1} of {len(self.again)}")
            prepared = self._prepared(evaluator, f"ceiling/{number}")
            trials = self._score(f"ceiling/{number}/sample", prepared, architectures, f"again {number}")
            scores.append(_scores(trials, architectures))
            costs += [trial.cost for trial in trials]
        table = np.array(scores)
        self._once_more = table[0]
        return Compared(
            name=CEILING,
            evaluator=" against ".join(names(self.again)),
            kind="ceiling",
            set_up=NO_COST,
            each=_mean(costs),
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
        unit = self._reference_cost.billed_seconds
        return list(self.settings.budgets or (times * unit for times in BUDGETS))

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
        self, judge: Prepared, architectures: Sequence[Architecture], budgets: Sequence[float]
    ) -> tuple[float, ...]:
        """See ``Comparison``."""
        sound = np.isfinite(self._once_more)
        truth = self._truths(architectures)[sound]
        found = []
        for budget in budgets:
            left = budget * (1 + ROUNDING) - set_up_seconds(judge.set_up)
            paid = left / max(self._reference_cost.billed_seconds, 1e-12)
            n = int(min(max(0.0, paid), self.settings.trials))
            found.append(best_of(truth, self._once_more[sound], n) if 0 < n <= len(truth) > 1 else math.nan)
        return tuple(found)

    def _best(self, judge: Prepared) -> float:
        """The best truth there is, as far as that is known."""
        if self.settings.best is not None:
            return self.settings.best
        return max(highest_listed(judge, self.settings.truth), *self._truth.values())


class _Size(Evaluator):
    """Ranks by size alone, the largest first.

    Args:
        evaluator: What knows the size; started.
        figure: What size is.
    """

    def __init__(self, evaluator: Evaluator, figure: str) -> None:
        self.evaluator = evaluator
        self.figure = figure

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """The figure as the score."""
        return Evaluation(float(self.evaluator.measure(architecture)[self.figure]))


class _Random(Evaluator):
    """Ranks at random."""

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """A number that the architecture has nothing to do with."""
        return Evaluation(float(stream(seed, RANDOM).random()))


def _anew(evaluator: Evaluator, number: int = 0) -> Evaluator:
    """The same evaluator, not started; its own seed, if it has one, raised by a number."""
    arguments = {
        name: _unstarted(getattr(evaluator, name))
        for name, parameter in inspect.signature(type(evaluator).__init__).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    if number and isinstance(arguments.get("seed"), int):
        arguments["seed"] += number
    return type(evaluator)(**arguments)


def _unstarted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unstarted(each) for each in value]
    return _anew(value) if isinstance(value, Evaluator) else value


def _scores(trials: Sequence[Trial], architectures: Sequence[Architecture]) -> list[float]:
    """The score of each architecture; NaN where it failed."""
    found = {trial.architecture: trial.score for trial in trials if trial.score is not None}
    return [found.get(each, math.nan) for each in architectures]


def _mean(costs: Sequence[Cost]) -> Cost:
    """The mean of costs, field by field."""
    return sum(costs, NO_COST) * (1 / len(costs)) if costs else NO_COST
