"""The searches of a comparison of controllers, as curves on one grid."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.checks import at_least_one, is_finite
from archsearch.basics.seeding import stream
from archsearch.basics.words import say
from archsearch.contests.controller_report import ControllerComparison
from archsearch.contests.standings import Curve, Standing
from archsearch.controller import Controller
from archsearch.errors import RunFolderError, UsageError
from archsearch.executors.executor import Executor
from archsearch.keeping.folder import RunFolder
from archsearch.ranking import rank_test
from archsearch.ranking.intervals import LEVEL
from archsearch.running.scoring import Prepared, folder_name, highest_listed, search_or_resume, truth_of
from archsearch.running.settings import Settings
from archsearch.space import Space
from archsearch.trial import Cost, Trial

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

REPEATS = 1000
"""Draws of the bootstrap over seeds."""
COST_POINTS = 200
"""Points of the axis of cost."""
CHUNK = 1000
"""Points of a curve whose intervals are computed together, so that long searches need little memory."""
SEARCHES = "searches"


def check_figures(
    tasks: Collection[str], best: Mapping[str, float], checkpoints: Sequence[int], trials: int | None
) -> None:
    """Raises ``UsageError`` if figures of the comparison are out of range."""
    for name, value in best.items():
        if name not in tasks or not is_finite(value):
            known = ", ".join(tasks)
            raise UsageError(f"best: expected finite numbers by names of tasks ({known}), got {name}: {value!r}")
    for checkpoint in checkpoints:
        at_least_one("compare_controllers", "checkpoints", checkpoint)
        if trials is not None and checkpoint > trials:
            raise UsageError(f"checkpoints: expected at most trials={trials}, got {checkpoint}")


def _check_task(name: str, shared: Prepared, controllers: Iterable[Controller]) -> None:
    """Raises ``UsageError`` if an evaluator cannot be the same for all searches."""
    evaluator = shared.evaluator
    if evaluator.interval:
        raise UsageError(
            f"tasks: {name}: {type(evaluator).__name__} learns on after every {evaluator.interval} trials of a search, "
            "so no two searches would have the same scores; expected an evaluator that stays as it is"
        )
    for controller in controllers:
        evaluator.check_budgets(controller.budgets)


# -- searching ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all searches share; names as in ``compare_controllers``, but ``out`` is the folder of the searches."""

    space: Space
    controllers: Mapping[str, Controller]
    settings: Settings
    seeds: int
    seed: int
    executor: Executor
    out: Path | None
    progress: bool

    def folder(self, task: str, controller: str, number: int) -> Path | None:
        """Where a search is kept."""
        return None if self.out is None else self.out / folder_name(task) / f"{folder_name(controller)}-{number}"

    def root(self, task: str, number: int) -> int:
        """Root seed of the searches under a seed: the same for all controllers, another one for another task."""
        return int(stream(self.seed, f"search {number} of {task}").integers(2**32))

    def check(self, tasks: Iterable[str]) -> None:
        """Raises ``RunFolderError`` if a search that is there was begun under other conditions."""
        for task, controller, number in itertools.product(tasks, self.controllers, range(self.seeds)):
            folder = self.folder(task, controller, number)
            if folder is None or not (folder / "config.yaml").exists():
                continue
            config = RunFolder(folder).config()
            expected = dataclasses.asdict(self.settings) | {
                "seed": self.root(task, number),
                "executor": self.executor.name,
                "workers": getattr(self.executor, "workers", 1),
            }
            there = config["settings"] | {name: config[name] for name in ("seed", "executor", "workers")}
            differing = [name for name, value in expected.items() if there.get(name, value) != value]
            if differing:
                was = ", ".join(f"{name}={there[name]}" for name in differing)
                now = ", ".join(f"{name}={expected[name]}" for name in differing)
                raise RunFolderError(
                    f"{folder}: this search was begun with {was}, got {now}; all searches of a comparison must have "
                    "the same: give what there was, or another folder"
                )


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Path:
    """What a search found, after each evaluation.

    Attributes:
        truths: Truth of the incumbent.
        seconds: Billed up to and including that evaluation.
        total: Billed in all, with what failed after the last evaluation.
        highest: Highest truth of any trial.
    """

    truths: Array
    seconds: Array
    total: float
    highest: float


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Task:
    """All searches of a task, by controller."""

    paths: Mapping[str, Sequence[_Path]]
    best: float
    set_up: Cost

    @property
    def every(self) -> list[_Path]:
        """All searches of all controllers."""
        return list(itertools.chain.from_iterable(self.paths.values()))

    def truths(self, length: int) -> Array:
        """The truths after each evaluation, the last ones carried on: shape (controllers, seeds, length)."""
        every = [np.pad(path.truths, (0, length - len(path.truths)), mode="edge") for path in self.every]
        return np.stack(every).reshape(len(self.paths), -1, length)


def do_tasks(plan: Plan, evaluators: Mapping[str, Prepared], truth: str, best: Mapping[str, float]) -> dict[str, _Task]:
    """Does, or goes on with, all searches."""
    plan.check(evaluators)
    for name, evaluator in evaluators.items():
        evaluator.start(plan.space)
        _check_task(name, evaluator, plan.controllers.values())
    with plan.executor.held():
        return {
            name: _do_task(plan, name, evaluator, truth, best.get(name, -math.inf))
            for name, evaluator in evaluators.items()
        }


def _do_task(plan: Plan, task: str, shared: Prepared, truth: str, best: float) -> _Task:
    """Does, or goes on with, all searches of a task."""
    paths = {}
    keeps_files = shared.evaluator.keeps_files
    below = None if plan.out is None else plan.out / folder_name(task) / "evaluator"
    with _folder(below, keeps_files) as folder:
        shared.folder = folder
        try:
            for name in plan.controllers:
                paths[name] = [_search(plan, task, name, number, shared, truth) for number in range(plan.seeds)]
                if plan.progress:
                    final = np.mean([path.truths[-1] for path in paths[name]])
                    note = f"{task}: {name}: {plan.seeds} searches, mean {truth} of the incumbents {final:.6g}"
                    say(note, file=sys.stderr)
            listed = highest_listed(shared, truth)
        finally:
            shared.release()
    highest = max(path.highest for path in itertools.chain.from_iterable(paths.values()))
    return _Task(paths, max(highest, listed, best), shared.set_up)


def _search(plan: Plan, task: str, controller: str, number: int, shared: Prepared, truth: str) -> _Path:
    """Does, or goes on with, a search."""
    out = plan.folder(task, controller, number)
    with _folder(None if out is None else out / "evaluator", shared.evaluator.keeps_files) as shared.apart:
        result = search_or_resume(
            plan.space,
            plan.controllers[controller],
            shared,
            out=out,
            seed=plan.root(task, number),
            executor=plan.executor,
            settings=plan.settings,
        )
        return _path(result.history, truth, f"{task}: {controller}, seed {number}")


@contextmanager
def _folder(path: Path | None, keeps_files: bool) -> Iterator[Path | None]:
    """Where an evaluator keeps files: at this path, or for a while; None if it keeps none and there is no path."""
    if path is None and keeps_files:
        with tempfile.TemporaryDirectory(prefix="archsearch-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    if path is not None and keeps_files:
        path.mkdir(parents=True, exist_ok=True)
    yield None if path is None else path.absolute()


def _path(trials: Iterable[Trial], truth: str, where: str) -> _Path:
    """What the trials of a search, in the order in which they finished, make of the incumbent."""
    truths: list[float] = []
    seconds: list[float] = []
    incumbent: Trial | None = None
    current, spent, highest = math.nan, 0.0, -math.inf
    for trial in trials:
        spent += trial.cost.billed_seconds
        if trial.evaluation is None:
            continue
        value = truth_of(trial.evaluation, truth)
        if value > highest:
            highest = value
        if incumbent is None or trial.rank > incumbent.rank:
            if not math.isfinite(value):
                known = ", ".join(("score", *trial.metrics))
                raise UsageError(f"truth: {where}: trial {trial.id} has no finite {truth!r}; it has {known}")
            incumbent, current = trial, value
        truths.append(current)
        seconds.append(spent)
    if not truths:
        raise UsageError(f"{where}: no trial completed within the budget, so there is nothing to compare; give more")
    return _Path(np.array(truths), np.array(seconds), spent, highest)


# -- figures -----------------------------------------------------------------------------------


def compare(
    found: Mapping[str, _Task], baseline: str, truth: str, checkpoints: Sequence[int], seed: int
) -> ControllerComparison:
    """All figures of the searches that were done."""
    end = max(len(path.truths) for here in found.values() for path in here.every)
    truths = {task: here.truths(end) for task, here in found.items()}
    controllers = tuple(next(iter(found.values())).paths)
    curves = {task: list(_curves(task, here, truths[task], seed)) for task, here in found.items()}
    tests = {}
    for at in sorted({at for at in checkpoints if at < end} | {end}):
        tests[at] = rank_test(np.concatenate([_comparable(each[:, :, at - 1]).T for each in truths.values()]))
    final = np.concatenate([each[:, :, -1].T for each in truths.values()])
    pairs = itertools.combinations(range(len(controllers)), 2)
    return ControllerComparison(
        tasks=tuple(found),
        controllers=controllers,
        baseline=baseline,
        truth=truth,
        seeds=len(next(iter(truths.values()))[0]),
        evaluations=end,
        best={task: here.best for task, here in found.items()},
        set_up={task: here.set_up for task, here in found.items()},
        standings=tuple(
            standing
            for task, here in found.items()
            for standing in _standings(task, here, curves[task], truths[task][:, :, -1], baseline)
        ),
        regrets=tuple(itertools.chain.from_iterable(curves.values())),
        tests=tests,
        wins={(i, j): int(np.sign(final[:, i] - final[:, j]).sum()) for i, j in pairs},
    )


def _comparable(values: Array) -> Array:
    """The truths of a task in units of their spread, so that differences on several tasks can be ranked together."""
    spread = float(values.std())
    return values / spread if spread > 0 else values


def _curves(task: str, here: _Task, truths: Array, seed: int) -> Iterator[Curve]:
    """The curves of a task, over evaluations and, if anything was billed, over cost."""
    grid = _cost_grid(here)
    for name, over_evaluations in zip(here.paths, here.best - truths, strict=True):
        at = np.arange(1.0, len(over_evaluations[0]) + 1)
        yield Curve(task, name, "evaluations", at, *_intervals(over_evaluations, seed))
        if len(grid):
            over_cost = here.best - np.stack([_at_cost(path, grid) for path in here.paths[name]])
            yield Curve(task, name, "cost", grid, *_intervals(over_cost, seed))


def _cost_grid(here: _Task) -> Array:
    """Billed seconds, log-spaced, from the first evaluation of any search of a task to the end of the longest."""
    last = max(path.total for path in here.every)
    if last <= 0:
        return np.empty(0)
    first = min(path.seconds[path.seconds > 0].min(initial=last) for path in here.every)
    return np.unique(np.geomspace(first, last, COST_POINTS))


def _at_cost(path: _Path, grid: Array) -> Array:
    """The truth of the incumbent when so many seconds were billed; NaN before the first evaluation."""
    done = np.searchsorted(path.seconds, grid, side="right")
    return np.where(done > 0, path.truths[np.maximum(done, 1) - 1], np.nan)


def _intervals(values: Array, seed: int) -> tuple[Array, Array, Array]:
    """Mean over seeds of each column, with the ends of its percentile bootstrap interval over seeds.

    What ``ranking.bootstrap`` does for one figure, for a whole curve at once: all points see the same draws.

    Args:
        values: Shape (seeds, points), >= 0; a column with NaN gives NaN.
        seed: Seed of the draws.
    """
    count = len(values)
    drawn = stream(seed, "bootstrap over seeds").integers(count, size=(REPEATS, count))
    shares = np.stack([np.bincount(row, minlength=count) for row in drawn]) / count
    mean = values.mean(axis=0)
    low, high = np.empty_like(mean), np.empty_like(mean)
    for start in range(0, len(mean), CHUNK):
        part = slice(start, start + CHUNK)
        # From the mean: then a column without spread gets an interval without width, to the last digit.
        means = mean[part] + shares @ (values[:, part] - mean[part])
        low[part], high[part] = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return mean, np.maximum(low, 0.0), high


def _standings(task: str, here: _Task, curves: Sequence[Curve], final: Array, baseline: str) -> Iterator[Standing]:
    """How each controller did on a task, from its curves and the truths at the end, shape (controllers, seeds)."""
    from scipy.stats import rankdata  # here, since it takes a second to import

    lines = [curve for curve in curves if curve.axis == "evaluations"]
    ranks = rankdata(-final, axis=0).mean(axis=1)
    target = float(np.median([here.best - path.truths[-1] for path in here.paths[baseline]]))
    reached = {name: _reached(paths, here.best, target) for name, paths in here.paths.items()}
    reference = reached[baseline][0]
    for (name, paths), line, rank in zip(here.paths.items(), lines, ranks, strict=True):
        evaluations, seconds = reached[name]
        yield Standing(
            task=task,
            controller=name,
            regret=line.at_evaluation(len(line.at)),
            mean_rank=float(rank),
            billed_seconds=float(np.mean([path.total for path in paths])),
            target=target,
            evaluations=evaluations,
            seconds=seconds,
            speed_up=reference / evaluations if reference and evaluations else None,
        )


def _reached(paths: Sequence[_Path], best: float, target: float) -> tuple[int | None, float | None]:
    """By when half of the searches had a regret of at most the target: evaluations, billed seconds; or None."""
    first = [np.flatnonzero(best - path.truths <= target)[:1] for path in paths]
    half = math.ceil(len(paths) / 2) - 1
    found = [(int(at[0]) + 1, float(path.seconds[at[0]])) for at, path in zip(first, paths, strict=True) if len(at)]
    if len(found) <= half:
        return None, None
    return sorted(n for n, _ in found)[half], sorted(seconds for _, seconds in found)[half]
