"""Where a comparison works: its folder, the sample, and the truth about it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import sys
import time
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from archsearch.abilities import Trainable
from archsearch.basics import checks
from archsearch.basics.checks import at_least_one, whole_number
from archsearch.basics.seeding import stream
from archsearch.basics.words import say
from archsearch.components import describe
from archsearch.controller import Controller
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluates_batches
from archsearch.executors.executor import Executor
from archsearch.files.writing import write_whole
from archsearch.files.yaml_files import yaml_text
from archsearch.judging.compared import RANDOM
from archsearch.running.scoring import Listed, Prepared, anew, search_or_resume, truth_of
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Trial

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SIZES = ("flops", "params")
"""What ``Evaluator.measure`` may know, of which the first is the size of an architecture."""

BATCH = 50
"""Architectures of a sample that are scored together, by evaluators to which that is cheaper."""

LAYERS = "layers"

MIN_SAMPLES = 10

SILENT_SECONDS = 1.0
"""Time between two lines that say how far a comparison is, at least."""
CONFIG = "comparison.yaml"


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


class Bench:
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
        self._reference_cost = mean([trial.cost for trial in trials])
        self._unit = self._reference_cost.billed_seconds
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

    def _sizes(self, architectures: Sequence[Architecture]) -> tuple[Floats | None, Size | None]:
        """The size of each architecture, where the reference knows it, and what tells it; None where it does not."""
        for name in SIZES:
            size = self._size(name)
            sizes = np.array([size.of(each)[0] for each in architectures])
            if np.isfinite(sizes).all():
                return sizes, size
        return None, None

    def _size(self, name: str) -> Size:
        """What tells a figure, by an evaluator that has counted none: of one that has, what is known is free."""
        counting = anew(self.reference)
        counting.start(self.space)
        return Size(counting, name)

    def _other_sizes(self, named: Container[str]) -> dict[str, Evaluator]:
        """What else ranks by size alone: each figure that the reference knows of the sample, and trainable layers."""
        found: dict[str, Evaluator] = {}
        for name in (each for each in SIZES if each not in named):
            size = self._size(name)
            if all(math.isfinite(size.of(each)[0]) for each in self._truth):
                found[name] = size
        if isinstance(self.space, Trainable) and LAYERS not in named:
            found[LAYERS] = Depth()
        return found

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


class Size(Evaluator):
    """Ranks by size alone, the largest first.

    What counting an architecture took is billed whenever it is asked for: an evaluator that remembers counts would be
    free in one place and not in another.

    Args:
        evaluator: What knows the size; started, and nothing measured yet.
        figure: What size is.
    """

    def __init__(self, evaluator: Evaluator, figure: str) -> None:
        self.evaluator = evaluator
        self.figure = figure
        self._known: dict[Architecture, tuple[float, float]] = {}

    def of(self, architecture: Architecture) -> tuple[float, float]:
        """The size, NaN if it is not known, and the processor seconds that counting it took."""
        if architecture not in self._known:
            begun = time.process_time()
            size = float(self.evaluator.measure(architecture).get(self.figure, math.nan))
            self._known[architecture] = size, time.process_time() - begun
        return self._known[architecture]

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """The figure as the score."""
        size, seconds = self.of(architecture)
        return Evaluation(size, cost=Cost(device_seconds=seconds))


class Depth(Evaluator):
    """Ranks by the number of layers with weights, the most first."""

    def start(self, space: Space) -> None:
        """Gets ready to count layers."""
        from archsearch.networks.layers import Layers  # here, since comparisons of other evaluators need no networks

        super().start(space)
        self._layers = Layers(space)

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """The number as the score."""
        begun = time.process_time()
        layers = float(self._layers(architecture))
        return Evaluation(layers, cost=Cost(device_seconds=time.process_time() - begun))


class Random(Evaluator):
    """Ranks at random."""

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """A number that the architecture has nothing to do with."""
        begun = time.process_time()
        score = float(stream(seed, RANDOM).random())
        return Evaluation(score, cost=Cost(device_seconds=time.process_time() - begun))


def scores_of(trials: Sequence[Trial], architectures: Sequence[Architecture]) -> list[float]:
    """The score of each architecture; NaN where it failed."""
    found = {trial.architecture: trial.score for trial in trials if trial.score is not None}
    return [found.get(each, math.nan) for each in architectures]


def mean(costs: Sequence[Cost]) -> Cost:
    """The mean of costs, field by field."""
    return sum(costs, NO_COST) * (1 / len(costs)) if costs else NO_COST
