"""Comparison of controllers: the same evaluators and budgets under each, over several seeds, beside random search.

    comparison = compare_controllers(NASBench201(), [RegularizedEvolution(), LocalSearch()], [Tabular("cifar10")])
    print(comparison)

What is compared is the regret of the incumbent, the architecture with the best score so far: how much better the best
known one truly is. One search says little, since luck makes most of the difference; so every controller has the same
seeds, its curves have intervals over them, and a rank test over all seeds and tasks says what they can tell of these
tasks.

A controller pays for each different architecture once: one that was evaluated in the same search, in any encoding, is
answered from memory (``duplicates="reuse"``). Results of a table do not change by asking again, and whoever trains
would look into the log first; without this, controllers that propose the same again, as evolution does, would lose most
of their budget to it, which is an artefact of how they are run. A search that has nothing new to propose ends early,
and its last value is carried on.

An evaluation is a completed trial; failed ones are no evaluation, but are billed. Under a controller with budgets each
part of a training counts as one: compare those over cost, and give a ``truth`` that does not depend on how long was
trained.

The best known truth is the highest of: what ``best`` says, all that was seen in the searches of the task and, for an
evaluator that lists its ``architectures`` and keeps no files (a table), everything in there, unless looking that up
takes more than 10 seconds. So a regret is never negative, and 0 says that nothing better is known.

Sources: Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019 (random search
beside everything); Lindauer & Hutter, "Best practices for scientific research on neural architecture search", JMLR 21,
2020 (equal conditions, several seeds, performance over time); Demšar, "Statistical comparisons of classifiers over
multiple data sets", JMLR 7, 2006 (Friedman's test and mean ranks).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from archsearch.components import load, names
from archsearch.controller import Controller
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executor import Executor
from archsearch.history import RunFolder, write_parquet, write_whole
from archsearch.loop import format_seconds, make_executor
from archsearch.page import aligned
from archsearch.ranking import LEVEL, Interval, RankTest, rank_test
from archsearch.scoring import Prepared, folder_name, highest_listed, search_or_resume, truth_of
from archsearch.seeding import root_seed, stream
from archsearch.settings import EndOptions, ExecutorName, Settings, documented, settled
from archsearch.space import Space, at_least_one, is_finite, whole_number
from archsearch.trial import Cost, Trial
from archsearch.words import plain_lines, say

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    from matplotlib.axes import Axes as Panel

    Array = npt.NDArray[np.float64]

BASELINE = "RandomSearch"
SIGNIFICANT = 0.05
"""A controller is called better than another one if p is at most this, after Holm's correction."""
REPEATS = 1000
"""Draws of the bootstrap over seeds."""
COST_POINTS = 200
"""Points of the axis of cost."""
CHUNK = 1000
"""Points of a curve whose intervals are computed together, so that long searches need little memory."""
SEARCHES = "searches"

Axis = Literal["evaluations", "cost"]


# -- results -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """The regret of a controller on a task over the course of its searches: mean over seeds, interval of 95 %.

    Attributes:
        task: Name of the task.
        controller: Name of the controller.
        axis: What ``at`` counts: ``evaluations``, or billed seconds (``cost``).
        at: Where, rising.
        mean: Mean regret of the incumbents; NaN where a seed has none yet.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    task: str
    controller: str
    axis: Axis
    at: Array
    mean: Array
    low: Array
    high: Array

    def at_evaluation(self, number: int) -> Interval:
        """The regret after so many evaluations, of a curve over evaluations."""
        return Interval(*(float(each[number - 1]) for each in (self.mean, self.low, self.high)))


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How a controller did on a task.

    Attributes:
        task: Name of the task.
        controller: Name of the controller.
        regret: Of the incumbent at the end, mean over seeds.
        mean_rank: Of the incumbents at the end, among the controllers under the same seed; 1 is best.
        billed_seconds: What a search was billed, mean over seeds.
        target: Median regret of random search at the end.
        evaluations: By when half of the seeds had come down to the target; None: they never did.
        seconds: The same in billed seconds.
        speed_up: How many times as many evaluations random search needs for that; None: the target was not reached.
    """

    task: str
    controller: str
    regret: Interval
    mean_rank: float
    billed_seconds: float
    target: float
    evaluations: int | None
    seconds: float | None
    speed_up: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Regrets:
    """The regrets of controllers over the course of their searches: what pictures are made of.

    Attributes:
        tasks: Names of the tasks.
        controllers: Names of the controllers.
        baseline: Which of them is random search.
        truth: What the regret is in: ``score``, or the name of a metric.
        seeds: Searches of each controller on each task.
        evaluations: Evaluations of the longest search; all curves go up to it.
        regrets: A curve for each task, controller and axis. None over cost where nothing was billed.
    """

    tasks: tuple[str, ...]
    controllers: tuple[str, ...]
    baseline: str
    truth: str
    seeds: int
    evaluations: int
    regrets: tuple[Curve, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ControllerComparison(Regrets):
    """What a comparison of controllers found; print it for tables and sentences.

    Attributes, beside those of ``Regrets``:
        best: Best known truth of each task.
        set_up: What the one-off work of each task's evaluator has cost, which no search was billed for.
        standings: For each task each controller.
        tests: The rank test over all seeds and tasks, at each checkpoint of evaluations; the last one is the end.
        wins: For each pair of controllers, by position: in how many blocks the first was better at the end, less those
            in which the second was.
    """

    best: Mapping[str, float]
    set_up: Mapping[str, Cost]
    standings: tuple[Standing, ...]
    tests: Mapping[int, RankTest]
    wins: Mapping[tuple[int, int], int]

    @property
    def sentences(self) -> list[str]:
        """What the test at the end can tell, and no more."""
        test = self.tests[self.evaluations]
        scope = f"{self.seeds} seeds x {len(self.tasks)} task{'s' if len(self.tasks) > 1 else ''}"
        order = sorted(range(len(self.controllers)), key=lambda i: test.mean_ranks[i])
        found = [self._verdict(test, *pair, scope) for pair in itertools.combinations(order, 2)]
        if len(order) > 2:
            alike = "cannot tell the controllers apart" if test.p > SIGNIFICANT else "says that not all are alike"
            found.insert(0, f"Friedman's test after {self.evaluations:,} evaluations {alike} ({_p(test.p)}, {scope}).")
        return found

    def _verdict(self, test: RankTest, first: int, second: int, scope: str) -> str:
        """On two controllers, by position, the one with the lower mean rank first."""
        p = _pairwise(test, first, second)
        ranks = test.mean_ranks[first], test.mean_ranks[second]
        # Mean ranks are among all controllers: those of the two alone may point the other way.
        wins = self.wins[first, second] if first < second else -self.wins[second, first]
        figures = f"mean rank {ranks[0]:.2f} against {ranks[1]:.2f}, {_p(p)} after Holm"
        if p <= SIGNIFICANT and ranks[0] < ranks[1] and wins > 0:
            return f"{self.controllers[first]} is better than {self.controllers[second]} ({figures}, {scope})."
        pair = f"{self.controllers[first]} and {self.controllers[second]}"
        return f"No difference that {scope} could tell between {pair} ({figures})."

    # -- as text ---------------------------------------------------------------------------------

    def table(self) -> str:
        """For each task the controllers as aligned lines; if there are several tasks, the mean ranks over all."""
        blocks = []
        for task in self.tasks:
            blocks.append(f"{self._heading(task)}\n{aligned([self._head, *self._rows(task)])}")
        if len(self.tasks) > 1:
            blocks.append(f"all {len(self.tasks)} tasks\n{aligned(self._mean_ranks())}")
        return "\n\n".join(blocks)

    def __str__(self) -> str:
        return plain_lines("\n".join([self.table(), "", *self.sentences]))

    def _heading(self, task: str) -> str:
        target = next(standing.target for standing in self.standings if standing.task == task)
        return (
            f"{task}: up to {self.evaluations:,} evaluations, {self.seeds} seeds, best known {self.truth} "
            f"{self.best[task]:.6g}; target: regret {target:.3g}, the median of {self.baseline} at the end"
        )

    @property
    def _head(self) -> tuple[str, ...]:
        earlier = [f"regret at {at:,}" for at in list(self.tests)[:-1]]
        return (
            "controller",
            *earlier,
            "regret [95 %]",
            "billed",
            "to target",
            "billed to target",
            "speed-up",
            "mean rank",
        )

    def _rows(self, task: str) -> Iterator[tuple[str, ...]]:
        curves = {
            curve.controller: curve for curve in self.regrets if (curve.task, curve.axis) == (task, "evaluations")
        }
        for standing in self.standings:
            if standing.task == task:
                yield (
                    standing.controller,
                    *(_ends(curves[standing.controller].at_evaluation(at)) for at in list(self.tests)[:-1]),
                    _ends(standing.regret),
                    format_seconds(standing.billed_seconds),
                    "not reached" if standing.evaluations is None else f"{standing.evaluations:,}",
                    "-" if standing.seconds is None else format_seconds(standing.seconds),
                    "-" if standing.speed_up is None else f"{standing.speed_up:.1f} x",
                    f"{standing.mean_rank:.2f}",
                )

    def _mean_ranks(self) -> list[tuple[str, ...]]:
        """Over all tasks, with a head: a row for each controller, a column for each checkpoint."""
        columns = [[f"{rank:.2f}" for rank in test.mean_ranks] for test in self.tests.values()]
        head = ("controller", *(f"mean rank at {at:,}" for at in self.tests))
        return [head, *zip(self.controllers, *columns, strict=True)]

    # -- as tables -------------------------------------------------------------------------------

    def figures(self) -> pa.Table:
        """All figures, one per row.

        Columns: task (empty: all of them), controller (for a p-value ``A against B``; empty: all), figure, at (number
        of evaluations or, for what says ``to target``, the regret that is the target), value, low, high (null where
        there is no interval), unit.
        """
        import pyarrow as pa

        numbers = dict.fromkeys(("at", "value", "low", "high"), pa.float64())
        fields = {**dict.fromkeys(("task", "controller", "figure"), pa.string()), **numbers, "unit": pa.string()}
        rows = [dict(zip(fields, row, strict=True)) for row in self._figures()]
        return pa.Table.from_pylist(rows, pa.schema(list(fields.items())))

    def _figures(self) -> Iterator[tuple[Any, ...]]:
        end = self.evaluations
        for task in self.tasks:
            yield task, "", "best known", None, self.best[task], None, None, self.truth
            yield task, "", "set-up", None, self.set_up[task].billed_seconds, None, None, "seconds"
        for curve in self.regrets:
            if curve.axis == "evaluations":
                for at in self.tests:
                    regret = curve.at_evaluation(at)
                    yield curve.task, curve.controller, "regret", at, regret.value, regret.low, regret.high, self.truth
        for each in self.standings:
            where = each.task, each.controller
            yield *where, "billed", end, each.billed_seconds, None, None, "seconds"
            yield *where, "mean rank", end, each.mean_rank, None, None, "rank"
            yield *where, "evaluations to target", each.target, each.evaluations, None, None, "evaluations"
            yield *where, "billed to target", each.target, each.seconds, None, None, "seconds"
            yield *where, "speed-up to target", each.target, each.speed_up, None, None, "times"
        for at, test in self.tests.items():
            if len(self.controllers) > 2:  # of two there is the one p-value below
                yield "", "", "Friedman p", at, test.p, None, None, "probability"
            for name, rank in zip(self.controllers, test.mean_ranks, strict=True):
                yield "", name, "mean rank", at, rank, None, None, "rank"
            for first, second in itertools.combinations(range(len(self.controllers)), 2):
                pair = f"{self.controllers[first]} against {self.controllers[second]}"
                yield "", pair, "Holm p", at, _pairwise(test, first, second), None, None, "probability"

    def curves(self) -> pa.Table:
        """All curves, one point per row.

        Columns: task, controller, axis, at, mean, low, high (null where a seed has no result yet).
        """
        import pyarrow as pa

        lengths = [len(curve.at) for curve in self.regrets]
        words = {
            name: pa.array(np.repeat([getattr(curve, name) for curve in self.regrets], lengths), pa.string())
            for name in ("task", "controller", "axis")
        }
        numbers = {
            name: pa.array(np.concatenate([getattr(curve, name) for curve in self.regrets]), from_pandas=True)
            for name in ("at", "mean", "low", "high")
        }
        return pa.table({**words, **numbers})

    # -- as files --------------------------------------------------------------------------------

    def save(self, out: str | Path, command: str = "") -> Path:
        """Writes ``figures.parquet``, ``curves.parquet``, a picture for each axis, and all in one HTML page.

        Args:
            out: Folder; may be that of the searches.
            command: What makes this comparison again, for the page; empty leaves it out.

        Returns:
            The page.

        Raises:
            RunFolderError: If the folder cannot be written.
        """
        from archsearch import page

        target = Path(out)
        axes = [axis for axis in _AXIS_TITLES if any(curve.axis == axis for curve in self.regrets)]
        try:
            target.mkdir(parents=True, exist_ok=True)
            write_parquet(target / "figures.parquet", self.figures())
            write_parquet(target / "curves.parquet", self.curves())
            for axis in axes:
                _draw(target / f"regret_{axis}.png", self, axis)
            parts = [page.paragraph(sentence) for sentence in self.sentences]
            for task in self.tasks:
                parts += [
                    page.heading(task),
                    page.paragraph(self._heading(task)),
                    page.table(self._head, self._rows(task)),
                ]
            if len(self.tasks) > 1:
                head, *rows = self._mean_ranks()
                parts += [page.heading("All tasks"), page.table(head, rows)]
            for axis in axes:
                title = _AXIS_TITLES[axis]
                parts += [page.heading(title), page.picture(target / f"regret_{axis}.png", title)]
            if command:
                parts += [page.heading("Again"), page.command(command)]
            write_whole(target / "index.html", page.page("Comparison of controllers", *parts).encode())
        except OSError as error:
            raise RunFolderError(f"{target}: cannot write the comparison ({error.strerror})") from None
        return target / "index.html"


_AXIS_TITLES: dict[Axis, str] = {"evaluations": "Regret over evaluations", "cost": "Regret over billed cost"}


def _pairwise(test: RankTest, first: int, second: int) -> float:
    return test.pairwise[min(first, second), max(first, second)]


def _ends(interval: Interval) -> str:
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


# -- the comparison ----------------------------------------------------------------------------


@documented(Settings, EndOptions, trials=150)
def compare_controllers(
    space: Space,
    controllers: Mapping[str, Controller] | Sequence[Controller],
    tasks: Mapping[str, Evaluator] | Sequence[Evaluator],
    *,
    truth: str = "score",
    best: Mapping[str, float] | None = None,
    settings: Settings | None = None,
    checkpoints: Sequence[int] = (),
    seeds: int = 20,
    seed: int = 0,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    out: str | Path | None = None,
    progress: bool = False,
    **options: Unpack[EndOptions],
) -> ControllerComparison:
    """Searches each task with each controller under each seed, and says which differences that can tell.

    Random search is added if no controller is one. What is paid for and counted, and what the best known truth is, the
    text of this module says.

    Args:
        space: What is searched.
        controllers: By name, or as a list: they are named by their class and settings then. The same one does several
            searches, one after the other: its ``start`` must begin from scratch.
        tasks: Each evaluator is a task, by name or as a list. What one needs to be prepared is done once, and no search
            is billed for it.
        truth: Name of the metric that says how good an architecture truly is, such as ``test_accuracy``; higher is
            better. The incumbent is always the one with the best score.
        best: Truth of the best architecture of a task, by the task's name, where it is known.
        settings: Of each search, whose repeats are answered from memory in any case; None: as the keywords say that
            follow last.
        checkpoints: Numbers of evaluations after which the regret is also reported and tested. Those that no search
            came to are left out.
        seeds: Searches of each controller on each task, >= 2.
        seed: Root of all randomness, >= 0. The searches under one seed of one task have the same root seed, whatever
            the controller.
        executor: See ``search``.
        workers: See ``search``.
        out: Folder whose ``searches/TASK/CONTROLLER-SEED`` keep the searches: called again, a comparison goes on where
            it was, also with more seeds, controllers or tasks. None: in memory.
        progress: Whether to print a line on standard error when a controller has done its searches on a task.
        **options: Some fields of ``Settings``, in place of ``settings``.

    Raises:
        UsageError: If something cannot be as asked.
        RunFolderError: If ``out`` has searches under other conditions.
        TooManyFailures: After ``max_failures`` failed trials in a row.
    """
    settings = dataclasses.replace(settled(compare_controllers, Settings, settings, options), duplicates="reuse")
    controllers, baseline = _with_baseline(_by_name("controllers", controllers, Controller))
    evaluators = {name: Prepared(evaluator) for name, evaluator in _by_name("tasks", tasks, Evaluator).items()}
    _check_figures(evaluators, best or {}, checkpoints, settings.trials)
    seeds, seed = whole_number("compare_controllers", "seeds", seeds, 2), root_seed(seed)
    folder = None if out is None else Path(out) / SEARCHES
    plan = _Plan(space, controllers, settings, seeds, seed, make_executor(executor, workers), folder, progress)
    return _compare(_do_tasks(plan, evaluators, truth, best or {}), baseline, truth, checkpoints, seed)


def _by_name(what: str, given: Any, kind: type[Any]) -> dict[str, Any]:
    """Components by name, checked."""
    if not isinstance(given, Mapping | Sequence) or isinstance(given, str):
        raise UsageError(f"{what}: expected a list, or a mapping of names, got {given!r}")
    components = list(given.values() if isinstance(given, Mapping) else given)
    for component in components:
        if not isinstance(component, kind):
            raise UsageError(f"{what}: expected objects of the class {kind.__name__}, got {component!r}")
    found = dict(zip(given if isinstance(given, Mapping) else names(components), components, strict=True))
    if not found or not all(isinstance(name, str) and name for name in found):
        raise UsageError(f"{what}: expected at least one, each with a name, got {list(found)}")
    return found


def _with_baseline(controllers: dict[str, Controller]) -> tuple[dict[str, Controller], str]:
    """The controllers with random search among them, and its name."""
    cls: type[Controller] = load(BASELINE, "controllers")
    name = next((name for name, controller in controllers.items() if type(controller) is cls), None)
    if name is None:
        name = BASELINE if BASELINE not in controllers else f"{BASELINE} #2"
        controllers = {name: cls(), **controllers}
    if len(controllers) < 2:
        raise UsageError(f"controllers: expected at least one beside {BASELINE}, got {', '.join(controllers)} only")
    return controllers, name


def _check_figures(
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
class _Plan:
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


def _do_tasks(
    plan: _Plan, evaluators: Mapping[str, Prepared], truth: str, best: Mapping[str, float]
) -> dict[str, _Task]:
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


def _do_task(plan: _Plan, task: str, shared: Prepared, truth: str, best: float) -> _Task:
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


def _search(plan: _Plan, task: str, controller: str, number: int, shared: Prepared, truth: str) -> _Path:
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


def _compare(
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


# -- files -------------------------------------------------------------------------------------


def _draw(path: Path, found: Regrets, axis: Axis) -> None:
    """A picture of all curves over one axis, a panel for each task."""
    from matplotlib.figure import Figure

    from archsearch.drawing import save_figure

    columns = min(len(found.tasks), 3)
    rows = math.ceil(len(found.tasks) / columns)
    width = max(4.4 * columns, 6.4)
    figure = Figure(figsize=(width, 3.4 * rows + 0.9), facecolor="white", layout="constrained")
    for number, task in enumerate(found.tasks):
        panel = figure.add_subplot(rows, columns, number + 1)
        panel.set_title(task, parse_math=False)
        _draw_task(panel, found, task, axis)
        if number % columns == 0:
            panel.set_ylabel(f"regret ({found.truth})", parse_math=False)
    letters = max(map(len, found.controllers)) + 8
    places = max(1, min(4, int(11 * width / letters)))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=places, frameon=False)
    figure.suptitle(f"{_AXIS_TITLES[axis]}: mean of {found.seeds} seeds, 95 % intervals")
    save_figure(figure, path)


def _draw_task(panel: Panel, found: Regrets, task: str, axis: Axis) -> None:
    from archsearch.drawing import INK, PALETTE, legend_label, time_unit

    curves = [curve for curve in found.regrets if curve.task == task and curve.axis == axis]
    unit, length = time_unit(float(curves[0].at[-1])) if axis == "cost" else ("", 1.0)
    lowest = min(float(np.nanmin(curve.mean)) for curve in curves)
    looks = itertools.cycle(itertools.product(("solid", "dashdot", "dotted"), PALETTE))
    for curve in curves:
        is_baseline = curve.controller == found.baseline
        # Curves of one seed begin alike: random search is drawn above, and lets the others through.
        style, colour = ("dashed", INK) if is_baseline else next(looks)
        wide, above = (1.2, 3) if is_baseline else (1.8, 2)
        look: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": wide, "zorder": above}
        panel.step(curve.at / length, curve.mean, where="post", label=legend_label(curve.controller), **look)
        low = np.maximum(curve.low, 0.3 * lowest)  # a log axis does not go down to 0
        panel.fill_between(curve.at / length, low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
    if lowest > 0:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
    else:  # the first evaluations would leave no room for the others
        top = 1.05 * max(_late(found, curve.controller, task) for curve in curves) or 1.0
        panel.set_ylim(-0.03 * top, top)
    if axis == "cost":
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
    panel.set_xlabel(f"billed cost ({unit})" if axis == "cost" else "evaluations")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)


def _late(found: Regrets, controller: str, task: str) -> float:
    """How high the interval of a controller goes after a twentieth of the evaluations."""
    wanted = (task, controller, "evaluations")
    curve = next(curve for curve in found.regrets if (curve.task, curve.controller, curve.axis) == wanted)
    return float(curve.high[len(curve.high) // 20])
