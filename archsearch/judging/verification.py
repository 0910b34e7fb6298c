"""Verification: the best architectures of a run, scored again by a better evaluator.

A search takes the highest of many scores, so the winner's is too high, all the more where scores are cheap and noisy.
Whether its order holds is seen only where the few best are scored again, by an evaluator that is trusted.

    verification = verify("runs/cheap", Training(task="digits"), top=5)

It is a search of its own, in ``DIRECTORY/verification/n``, so that it goes on where it was stopped. What it found is
added to the run's history as ``verification/verified-n.parquet``; the run's own files stay as they are, and it may go
on.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.checks import at_least_one, instance_of
from archsearch.components import describe, one_line
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import Executor
from archsearch.keeping.columns import COST_COLUMNS
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.trust import refuse_links, stored_component
from archsearch.racing.certainty import Certainty, certainty_of
from archsearch.running.result import Result
from archsearch.running.scoring import Listed, search_or_resume
from archsearch.running.settings import ExecutorName, Settings
from archsearch.showing.rows import best_rows, standing_of_run, without_none
from archsearch.showing.verified import (
    COLUMNS,
    FURTHER_COLUMNS,
    SET_UP,
    Verification,
    numbers,
    read_verification,
    verification_folder,
)
from archsearch.space import Space
from archsearch.stores.mirrors import written
from archsearch.trial import Trial

if TYPE_CHECKING:
    import pyarrow as pa


def verify(
    directory: str | Path,
    evaluator: Evaluator,
    *,
    top: int = 5,
    seed: int | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    progress: bool = False,
    certainty: Certainty | Mapping[str, float] | float | None = None,
    space: Space | None = None,
    trust: bool = False,
) -> Verification:
    """Scores the best architectures of a run again, and adds that to its history.

    One that was stopped goes on if it is asked for again with the same evaluator and seed, as long as the best
    architectures of the run are the same; one that is done is not done again, unless its results are damaged. Where a
    folder of another one cannot be read, it is passed over, with a warning, and left as it is.

    Args:
        directory: The run folder; the search may still be running. Or a store that no search is writing to.
        evaluator: Who scores; it must not learn from trials.
        top: How many architectures, >= 1; fewer if the run has fewer.
        seed: Root seed of these evaluations, >= 0; None: any that an earlier such verification has, else drawn.
        executor: See ``search``.
        workers: See ``search``.
        progress: Whether to show a progress bar on standard error.
        certainty: How sure to be of the order's first: see ``Settings``. The share is one of all evaluations that the
            verification then makes: of 5 architectures, a share of 0.8 is 20 repeats.
        space: The run's, where it is a class of your own; must equal it.
        trust: See ``archsearch.resume``.

    Raises:
        NotTrusted: If the run's space is not installed, and neither given nor trusted.
        RunFolderError: If there is no run, or no trial has completed.
        UsageError: If the evaluator learns during a search or cannot score that space, or ``top`` is below 1.
        TooManyFailures: If none of them could be scored; asked again, it begins anew.
        KeyboardInterrupt: If it was interrupted.
    """
    at_least_one("verify", "top", top)
    instance_of("verify", "evaluator", evaluator, Evaluator, function="Function(score_of_text)")
    _refuse_what_learns(evaluator)
    with written(directory) as here:
        folder, space, rows = _best_of(here, space, top, trust)
        architectures = [list(row["architecture"]) for row in rows]
        settings = _all_of(len(rows), certainty_of(certainty))
        number, seed = _place(folder, space, architectures, evaluator, seed, settings)
        if read_verification(folder, number) is None:
            how: dict[str, Any] = {"executor": executor, "workers": workers, "progress": progress}
            out = verification_folder(folder, number)
            result = search_or_resume(
                space, Listed(architectures), evaluator, out=out, seed=seed, settings=settings, **how
            )
            if not result.completed:
                raise TooManyFailures(f"none of the {len(rows)} architectures could be scored; start again")
            folder.write_verification(number, _table(number, rows, result, evaluator))
        found = read_verification(folder, number)
        assert found is not None
        return found


def _refuse_what_learns(evaluator: Evaluator) -> None:
    if evaluator.interval > 0:
        raise UsageError(
            f"verify: {type(evaluator).__name__} learns during a search, so that its scores change on the way; give an "
            "evaluator that does not, such as Training"
        )


def _best_of(
    directory: str | Path, space: Space | None, top: int, trust: bool
) -> tuple[RunFolder, Space, list[dict[str, Any]]]:
    """The folder of a run, its space, and the rows of its best trials."""
    folder = RunFolder(directory)
    space = space_of_run(folder, space, trust=trust)
    rows = best_rows(folder.table(space), top, standing_of_run(folder, folder.config()))
    if not rows:
        raise RunFolderError(f"{directory}: no trial has completed yet, so there is nothing to verify")
    return folder, space, rows


def space_of_run(folder: RunFolder, space: Space | None, *, trust: bool) -> Space:
    """The space of a run whose folder is going to be written to: ``space`` if it equals it, else the one stored.

    Raises:
        NotTrusted: If links lead out of the folder, or the space is not installed, and neither given nor trusted.
    """
    refuse_links(folder.path, trust=trust)
    where = str(folder.path / "config.yaml")
    found: Space = stored_component(space, folder.config()["space"], "spaces", where=where, trust=trust)
    return found


def _all_of(count: int, certainty: Certainty | None) -> Settings:
    """Of a search that scores so many architectures, whether they fail or not, and then the best of them again."""
    trials = count if certainty is None else math.ceil(count / (1.0 - certainty.share) - 1e-9)
    return Settings(trials=trials, max_failures=trials, certainty=certainty)


def _place(
    folder: RunFolder,
    space: Space,
    architectures: list[list[int]],
    evaluator: Evaluator,
    seed: int | None,
    settings: Settings,
) -> tuple[int, int | None]:
    """Number and seed of the verification that this is: one that was begun or done before, else a new one."""
    wanted = {"controller": describe(Listed(architectures)), "evaluator": describe(evaluator)}
    if seed is not None:
        wanted["seed"] = seed  # type: ignore[assignment]
    for number in reversed(numbers(folder, r"(\d+)")):
        below = RunFolder(verification_folder(folder, number))
        try:
            config = below.config()
            same = all(config[name] == value for name, value in wanted.items())
            same = same and certainty_of(config["settings"].get("certainty")) == settings.certainty
            if same and (
                read_verification(folder, number) is not None
                or _can_go_on(below, config, space, len(architectures), settings)
            ):
                return number, config["seed"]
        except Exception as error:  # a damaged folder can raise anything, and must not be in the way of a new one
            warnings.warn(f"{below.path}: this verification cannot be read and is passed over: {error!r}", stacklevel=3)
    # Numbers of what cannot be read are taken, too: nothing is overwritten.
    return max(numbers(folder, r"(?:verified-)?(\d+)(?:\.parquet)?"), default=0) + 1, seed


def _can_go_on(below: RunFolder, config: Mapping[str, Any], space: Space, expected: int, settings: Settings) -> bool:
    """Whether ``verify`` began that search, so that it can go on, and not every evaluation failed."""
    same = config["space"] == describe(space) and isinstance(config["seed"], int)
    return same and Settings(**config["settings"]) == settings and not _in_vain(below, space, expected)


def _in_vain(below: RunFolder, space: Space, expected: int) -> bool:
    """Whether every evaluation failed, so that it is better begun anew."""
    status = below.table(space)["status"].to_pylist()
    return len(status) >= expected and "completed" not in status


def _table(number: int, rows: Sequence[Mapping[str, Any]], result: Result, evaluator: Evaluator) -> pa.Table:
    """What is added to the history: a row per architecture, in the order of the search."""
    import pyarrow as pa

    by_id: dict[int, Trial] = {trial.id: trial for trial in result.history}
    trials = [by_id[place] for place in range(len(rows))]  # ``Listed`` proposes in order
    costs = [trial.cost for trial in trials]
    for trial in by_id.values():
        if trial.repeat_of is not None:
            costs[trial.repeat_of] += trial.cost
    columns: dict[str, Any] = {
        "verification": pa.array([number] * len(rows), pa.int64()),
        "rank": pa.array(range(1, len(rows) + 1), pa.int64()),
        "trial": pa.array([row["id"] for row in rows], pa.int64()),
        "architecture": pa.array([row["architecture"] for row in rows], pa.list_(pa.int32())),
        "name": pa.array([row["name"] for row in rows], pa.string()),
        "search_score": pa.array([row["score"] for row in rows], pa.float64()),
    }
    if any(row.get("budget") is not None for row in rows):
        columns["search_budget"] = pa.array([row["budget"] for row in rows], pa.int64())
    columns["score"] = pa.array([trial.score for trial in trials], pa.float64())
    taken = {*COLUMNS, *FURTHER_COLUMNS}
    for name in dict.fromkeys(name for trial in trials for name in trial.metrics):
        column = f"verified_{name}" if name in taken else name
        columns[column] = pa.array([trial.metrics.get(name) for trial in trials], pa.float64())
    for field, column in COST_COLUMNS.items():
        columns[column] = pa.array([getattr(cost, field) for cost in costs], pa.float64())
    for name in ("status", "failure", "error"):
        columns[name] = pa.array([getattr(trial, name) for trial in trials], pa.string())
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    columns["evaluator"] = pa.array([one_line(without_none(describe(evaluator)))] * len(rows), pa.string())
    columns["seed"] = pa.array([result.seed] * len(rows), pa.int64())
    columns["date"] = pa.array([date] * len(rows), pa.string())
    set_up = json.dumps(dataclasses.astuple(result.setup_cost))
    return pa.table(columns).replace_schema_metadata({SET_UP: set_up})
