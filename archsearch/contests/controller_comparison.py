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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from archsearch.basics.checks import whole_number
from archsearch.basics.seeding import root_seed
from archsearch.components import load, names
from archsearch.contests.controller_report import ControllerComparison
from archsearch.contests.courses import SEARCHES, Plan, check_figures, compare, do_tasks
from archsearch.contests.standings import BASELINE
from archsearch.controller import Controller
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import Executor
from archsearch.running.scoring import Prepared
from archsearch.running.search import make_executor
from archsearch.running.settings import EndOptions, ExecutorName, Settings, documented, settled
from archsearch.space import Space

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
    check_figures(evaluators, best or {}, checkpoints, settings.trials)
    seeds, seed = whole_number("compare_controllers", "seeds", seeds, 2), root_seed(seed)
    folder = None if out is None else Path(out) / SEARCHES
    plan = Plan(space, controllers, settings, seeds, seed, make_executor(executor, workers), folder, progress)
    return compare(do_tasks(plan, evaluators, truth, best or {}), baseline, truth, checkpoints, seed)


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
