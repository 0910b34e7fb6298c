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
import functools
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.agreement import Agreement
from archsearch.components import describe, one_line
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executor import Executor
from archsearch.history import COST_COLUMNS, RunFolder
from archsearch.loop import Result, format_cost
from archsearch.page import aligned, heading, paragraph, table, terms
from archsearch.report import best_rows, number_text, without_none
from archsearch.scoring import Listed, search_or_resume
from archsearch.settings import ExecutorName, Settings
from archsearch.space import Space, at_least_one
from archsearch.trial import NO_COST, Architecture, Cost, Trial
from archsearch.trust import refuse_links, stored_component
from archsearch.words import plain_lines

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "verification"
SET_UP = b"archsearch.set_up"
"""Entry of a file's metadata: what preparing the evaluator has cost, as JSON."""

OUTDATED = "the search has found others since that are better by its scores; verify again"

COLUMNS = ("verification", "rank", "trial", "architecture", "name", "search_budget", "search_score", "score")
FURTHER_COLUMNS = ("status", "failure", "error", "evaluator", "seed", "date", *COST_COLUMNS.values())
"""Columns of a file that are no metrics."""


@dataclasses.dataclass(frozen=True)
class Verified:
    """One architecture that was scored again.

    Attributes:
        rank: In the search, from 1.
        trial: Id of its trial in the run.
        architecture: One option per decision.
        name: In the space's own notation.
        search_score: In the search.
        search_budget: How long it was trained for that; None: there are no budgets.
        score: Of the better evaluator; None: it failed.
        metrics: What that reports.
        cost: What that cost.
        failure: Empty, or its kind, as in ``Trial``.
        error: Error text of a failure.
    """

    rank: int
    trial: int
    architecture: Architecture
    name: str
    search_score: float
    search_budget: int | None
    score: float | None
    metrics: Mapping[str, float]
    cost: Cost
    failure: str
    error: str

    @property
    def gap(self) -> float | None:
        """Verified score minus that of the search, which says something only where both are on one scale."""
        return None if self.score is None else self.score - self.search_score


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a verification has found; printed, it is a table with a sentence.

    Attributes:
        number: In the run, from 1.
        evaluator: Who scored, with its settings, as text.
        seed: Root seed of these evaluations.
        date: When it was done (UTC).
        set_up: Cost of the evaluator's one-off work.
        architectures: In the order of the search, the best first.
        outdated: Whether the best of the run are others now.
    """

    number: int
    evaluator: str
    seed: int
    date: str
    set_up: Cost
    architectures: Sequence[Verified]
    outdated: bool = False

    @functools.cached_property
    def ranked(self) -> list[Verified]:
        """In the new order, the best first; of equals the better one of the search; those that failed at the end."""
        completed = [each for each in self.architectures if each.score is not None]
        failed = [each for each in self.architectures if each.score is None]
        return sorted(completed, key=lambda each: -(each.score or 0.0)) + failed

    @property
    def cost(self) -> Cost:
        """Cost of all evaluations."""
        return sum((each.cost for each in self.architectures), NO_COST)

    @property
    def kendall_tau(self) -> float | None:
        """How far the two orders agree, -1 to 1; None where one of the two has no two different scores."""
        return self._agreement.tau

    @property
    def sentence(self) -> str:
        """What came of it."""
        by, first = f"by {self.evaluator.partition('(')[0]}", self.architectures[0]
        if len(self.architectures) == 1:
            score, before = number_text(first.score), number_text(first.search_score)
            return f"the search's best scores {score} {by}, {before} in the search"
        return self._agreement.sentence(by, first.failure, [number_text(each.score) for each in self.architectures])

    @property
    def _agreement(self) -> Agreement:
        # By the search's rule: scores of the longest trainings first.
        before = [(each.search_budget or 0, each.search_score) for each in self.architectures]
        return Agreement(before, [each.score for each in self.architectures])

    def cells(self) -> list[list[str]]:
        """The table as text: names of the columns, then a row per architecture, in the new order."""
        metrics = list(dict.fromkeys(name for each in self.architectures for name in each.metrics))
        rows = [["rank", "in search", "trial", "search score", "score", "gap", *metrics, "architecture"]]
        for rank, each in enumerate(self.ranked, start=1):
            row = [str(rank), str(each.rank), str(each.trial), number_text(each.search_score)]
            row += [each.failure or number_text(each.score), "-" if each.gap is None else f"{each.gap:+.4g}"]
            rows.append([*row, *(number_text(each.metrics.get(name)) for name in metrics), each.name])
        return rows

    def facts(self) -> dict[str, str]:
        """What it came to, by name."""
        facts = {"result": self.sentence}
        if self.kendall_tau is not None:
            facts["tau"] = f"{self.kendall_tau:.3g} (Kendall's, between the order of the search and this one)"
        for each in self.architectures:
            if each.failure:
                reason = each.error.strip().splitlines() or [""]
                facts[f"trial {each.trial}"] = f"failed: {each.failure}: {reason[-1]}"
        if self.outdated:
            facts["note"] = OUTDATED
        facts["cost"] = f"{format_cost(self.cost)}; set-up {format_cost(self.set_up)}; seed {self.seed}"
        return facts

    def __str__(self) -> str:
        head = f"verification {self.number} ({self.date[:10]}): the best of the search, scored by {self.evaluator}"
        facts = self.facts()
        width = max(9, *map(len, facts))
        lines = [f"{name:<{width}} {text}" for name, text in facts.items()]
        return plain_lines("\n".join([head, "", aligned(self.cells(), left=-1), "", *lines]))

    def html(self) -> str:
        """The section of a page."""
        head, *rows = self.cells()
        facts = {"evaluator": self.evaluator, **self.facts(), "date": self.date}
        sentence = facts.pop("result")
        return (
            heading("Verification")
            + paragraph(f"{sentence[0].upper()}{sentence[1:]}.")
            + table(head, rows, last_is_code=True)
            + terms(facts)
        )


def verify(
    directory: str | Path,
    evaluator: Evaluator,
    *,
    top: int = 5,
    seed: int | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    progress: bool = False,
    space: Space | None = None,
    trust: bool = False,
) -> Verification:
    """Scores the best architectures of a run again, and adds that to its history.

    One that was stopped goes on if it is asked for again with the same evaluator and seed, as long as the best
    architectures of the run are the same; one that is done is not done again, unless its results are damaged. Where a
    folder of another one cannot be read, it is passed over, with a warning, and left as it is.

    Args:
        directory: The run folder; the search may still be running.
        evaluator: Who scores; it must not learn from trials.
        top: How many architectures, >= 1; fewer if the run has fewer.
        seed: Root seed of these evaluations, >= 0; None: any that an earlier such verification has, else drawn.
        executor: See ``search``.
        workers: See ``search``.
        progress: Whether to show a progress bar on standard error.
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
    _refuse_what_learns(evaluator)
    folder, space, rows = _best_of(directory, space, top, trust)
    architectures = [list(row["architecture"]) for row in rows]
    number, seed = _place(folder, space, architectures, evaluator, seed)
    if read_verification(folder, number) is None:
        result = search_or_resume(
            space,
            Listed(architectures),
            evaluator,
            out=verification_folder(folder, number),
            seed=seed,
            settings=_all_of(len(rows)),
            executor=executor,
            workers=workers,
            progress=progress,
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
    rows = best_rows(folder.table(space), top)
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


def _all_of(count: int) -> Settings:
    """Of a search that scores so many architectures, whether they fail or not."""
    return Settings(trials=count, max_failures=count)


def verification_folder(folder: RunFolder, number: int) -> Path:
    """Where the search of a verification is, which has its own run folder."""
    return folder.path / FOLDER / str(number)


def newest_verification(folder: RunFolder, history: pa.Table) -> Verification | None:
    """The verification of a run that was finished last; from the run's trials it is told whether it is outdated.

    Those that are damaged are passed over, with a warning.
    """
    found = []
    for number in _numbers(folder, r"verified-(\d+)\.parquet"):
        each = read_verification(folder, number)
        if each is None:
            warnings.warn(
                f"{folder.path}: verification {number} is damaged (verified-{number:06d}.parquet) and passed over; the "
                "same 'archsearch verify' again restores it",
                stacklevel=2,
            )
        else:
            found.append(each)
    newest = max(found, key=lambda each: (each.date, each.number), default=None)
    if newest is None:
        return None
    best = [row["id"] for row in best_rows(history, len(newest.architectures))]
    return dataclasses.replace(newest, outdated=best != [each.trial for each in newest.architectures])


def read_verification(folder: RunFolder, number: int) -> Verification | None:
    """A verification from the run's history; None if there is none of that number, or it is damaged."""
    import pyarrow as pa

    try:
        stored = folder.verification(number)
        return None if stored is None else _from_table(number, stored)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError):
        return None


def _from_table(number: int, stored: pa.Table) -> Verification:
    """The reverse of ``_table``."""
    rows = stored.to_pylist()
    known = {*COLUMNS, *FURTHER_COLUMNS}
    metrics = [name for name in stored.column_names if name not in known]
    set_up = json.loads((stored.schema.metadata or {}).get(SET_UP, b"[]"))
    return Verification(
        number=number,
        evaluator=rows[0]["evaluator"],
        seed=rows[0]["seed"],
        date=rows[0]["date"],
        set_up=Cost(*set_up),
        architectures=[_verified(row, metrics) for row in rows],
    )


def _verified(row: Mapping[str, Any], metrics: Sequence[str]) -> Verified:
    return Verified(
        rank=row["rank"],
        trial=row["trial"],
        architecture=tuple(row["architecture"]),
        name=row["name"],
        search_score=row["search_score"],
        search_budget=row.get("search_budget"),
        score=row["score"],
        metrics={name: row[name] for name in metrics if row[name] is not None},
        cost=Cost(**{field: row.get(column) or 0.0 for field, column in COST_COLUMNS.items()}),
        failure=row["failure"],
        error=row["error"],
    )


def _place(
    folder: RunFolder, space: Space, architectures: list[list[int]], evaluator: Evaluator, seed: int | None
) -> tuple[int, int | None]:
    """Number and seed of the verification that this is: one that was begun or done before, else a new one."""
    wanted = {"controller": describe(Listed(architectures)), "evaluator": describe(evaluator)}
    if seed is not None:
        wanted["seed"] = seed  # type: ignore[assignment]
    for number in reversed(_numbers(folder, r"(\d+)")):
        below = RunFolder(verification_folder(folder, number))
        try:
            config = below.config()
            if all(config[name] == value for name, value in wanted.items()) and (
                read_verification(folder, number) is not None or _can_go_on(below, config, space, len(architectures))
            ):
                return number, config["seed"]
        except Exception as error:  # a damaged folder can raise anything, and must not be in the way of a new one
            warnings.warn(f"{below.path}: this verification cannot be read and is passed over: {error!r}", stacklevel=3)
    # Numbers of what cannot be read are taken, too: nothing is overwritten.
    return max(_numbers(folder, r"(?:verified-)?(\d+)(?:\.parquet)?"), default=0) + 1, seed


def _numbers(folder: RunFolder, pattern: str) -> list[int]:
    """Numbers of what there is of verifications under names of that pattern, sound or not."""
    names = (path.name for path in (folder.path / FOLDER).glob("*"))
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(pattern, name)))


def _can_go_on(below: RunFolder, config: Mapping[str, Any], space: Space, expected: int) -> bool:
    """Whether ``verify`` began that search, so that it can go on, and not every evaluation failed."""
    same = config["space"] == describe(space) and isinstance(config["seed"], int)
    return same and Settings(**config["settings"]) == _all_of(expected) and not _in_vain(below, space, expected)


def _in_vain(below: RunFolder, space: Space, expected: int) -> bool:
    """Whether every evaluation failed, so that it is better begun anew."""
    status = below.table(space)["status"].to_pylist()
    return len(status) >= expected and "completed" not in status


def _table(number: int, rows: Sequence[Mapping[str, Any]], result: Result, evaluator: Evaluator) -> pa.Table:
    """What is added to the history: a row per architecture, in the order of the search."""
    import pyarrow as pa

    by_id: dict[int, Trial] = {trial.id: trial for trial in result.history}
    trials = [by_id[place] for place in range(len(rows))]  # ``Listed`` proposes in order
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
        columns[column] = pa.array([getattr(trial.cost, field) for trial in trials], pa.float64())
    for name in ("status", "failure", "error"):
        columns[name] = pa.array([getattr(trial, name) for trial in trials], pa.string())
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    columns["evaluator"] = pa.array([one_line(without_none(describe(evaluator)))] * len(rows), pa.string())
    columns["seed"] = pa.array([result.seed] * len(rows), pa.int64())
    columns["date"] = pa.array([date] * len(rows), pa.string())
    set_up = json.dumps(dataclasses.astuple(result.setup_cost))
    return pa.table(columns).replace_schema_metadata({SET_UP: set_up})
