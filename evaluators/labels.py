"""Labels of a ``Predictor``: scores of architectures, by a search of its own or from the folder of another run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from archsearch.components import build, describe, one_line
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import Executor
from archsearch.executors.local import LocalExecutor
from archsearch.keeping.folder import RunFolder
from archsearch.running.scoring import Listed, search_or_resume
from archsearch.space import Space
from archsearch.trial import Architecture, Cost, Trial

Labels = dict[Architecture, float]
"""Scores by architecture."""


def searched(
    learner: Evaluator,
    source: Evaluator,
    wanted: Sequence[Architecture],
    count: int,
    folder: Path | None,
    seed: int,
    *,
    more: bool,
) -> tuple[Labels, Cost]:
    """Labels by a search of their own, so that none is lost and all workers take part; and their cost.

    Args:
        learner: Who learns from them; it is being prepared, and its workers and listener are used.
        source: Who gives them.
        wanted: Architectures to label, in this order.
        count: How many labels there must be.
        folder: Where the run is kept; None: nowhere.
        seed: Of their evaluation.
        more: Whether random others may take the place of those that fail.

    Raises:
        UsageError: If there are fewer.
    """
    space, executor = learner.space, cast(Executor, learner.executor or LocalExecutor())
    told = itertools.count(1)

    def progress(_: Trial) -> None:
        if learner.on_progress is not None:
            learner.on_progress("labels", min(next(told), count), count)

    result = search_or_resume(
        space,
        Listed([list(each) for each in wanted], more),
        source,
        out=folder,
        trials=count,
        seed=seed,
        executor=executor,
        batch=executor.batch,
        timeout=executor.timeout,
        on_trial=progress,
    )
    if result.completed < count:
        failed = [trial for trial in result.history if trial.evaluation is None]
        names = [f"{space.format(trial.architecture)} ({trial.failure})" for trial in failed[:3]]
        raise UsageError(
            f"Predictor: {len(failed)} of {count} architectures could not be labelled: {', '.join(names)}; leave "
            "them out, or ask for fewer labels"
        )
    return _scores(result.history), dataclasses.replace(result.cost + result.setup_cost, wall_seconds=0.0)


def labels_of(folder: str, least: int) -> tuple[Labels, Cost]:
    """The labels of another run, those trained longest if it had budgets, and what that run has cost.

    Raises:
        UsageError: If there are fewer than ``least``.
    """
    run = RunFolder(folder)
    trials = list(run.trials(0))
    longest = max((trial.rank[0] for trial in trials if trial.evaluation is not None), default=0)
    labels = _scores(trial for trial in trials if trial.rank[0] == longest)
    if len(labels) < least:
        raise UsageError(
            f"Predictor: labelled: expected {least} or more different architectures that were scored in "
            f"{folder}, got {len(labels)}"
        )
    cost = sum((trial.cost for trial in trials), run.setup_cost())
    return labels, dataclasses.replace(cost, wall_seconds=0.0)


def check_run(folder: str, space: Space) -> None:
    """Raises ``UsageError`` if a run searched another space, or its scores cannot be compared with each other."""
    run = RunFolder(folder)
    config, where = run.config(), f"{folder}/config.yaml"
    own = config["space"] == describe(space)  # which may be of a class that is not installed
    if not own and build(config["space"], "spaces", where=where) != space:
        raise UsageError(
            f"Predictor: labelled: {folder} searched {one_line(config['space'])}, expected {one_line(describe(space))}"
        )
    name = config["evaluator"]["class_path"].rpartition(".")[2]
    try:
        evaluator: Evaluator = build(config["evaluator"], "evaluators", where=where)
        changed = evaluator.interval > 0 and not evaluator.comparable
    except ArchsearchError:  # one that cannot be rebuilt, such as a function, or is not installed
        changed = run.advanced()
    if changed:
        raise UsageError(
            f"Predictor: labelled: the scores of {name} in {folder} changed as it learned on, so they "
            "cannot be compared; expected a run of an evaluator that does not"
        )


def _scores(trials: Iterable[Trial]) -> Labels:
    """Scores of the completed trials by architecture; of several of one the longest training's, or the best."""
    ranked = sorted(trials, key=lambda trial: trial.id)
    best: dict[Architecture, Trial] = {}
    for trial in ranked:
        known = best.get(trial.architecture)
        if trial.evaluation is not None and (known is None or trial.rank > known.rank):
            best[trial.architecture] = trial
    return {architecture: trial.score for architecture, trial in best.items() if trial.score is not None}
