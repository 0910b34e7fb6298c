"""What a search by gradient noted of each epoch, and what a table that knows the truth says of it afterwards.

The truth is looked up when somebody looks, from the cells that were noted: the search cannot have used it, pays nothing
for it, and it can be had of a run that ended long ago, or that was searched before there was a table.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.components import load, names
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluate_safely
from archsearch.files.checksums import Damaged
from archsearch.files.parquet import read_parquet
from archsearch.keeping.columns import has_status
from archsearch.ranking.figures import kendall_tau
from archsearch.space import Space
from archsearch.trial import Architecture, Query

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS = "search.parquet"
"""In the evaluator's folder: a row for each epoch."""

CHOICES, TASK, DERIVED = b"archsearch.choices", b"archsearch.task", b"archsearch.derived"
"""What is noted beside the rows: names and candidates of the choices, the task, and what the search ended with."""

TRUTH = "true_accuracy"
FIGURE = "test_accuracy"
"""The metric of a table that is the truth; where it has none, its score is."""

FEWEST = 10
"""Scores whose truth must be known before it is said how they agree with it."""


@dataclasses.dataclass(frozen=True)
class Searched:
    """A search by gradient, epoch by epoch.

    Attributes:
        rows: A row for each epoch, as the evaluator noted it.
        choices: Name and candidates of each choice.
        task: Name of the task.
        derived: What the search ended with; None: it was not noted.
    """

    rows: pa.Table
    choices: Sequence[tuple[str, Sequence[str]]]
    task: str
    derived: Architecture | None

    def column(self, name: str) -> list[float]:
        """A figure of each epoch; NaN where there is none."""
        if name not in self.rows.column_names:
            return [math.nan] * len(self.rows)
        return [math.nan if value is None else float(value) for value in self.rows[name].to_pylist()]

    def shares(self) -> list[list[list[float]]]:
        """For each choice and each of its candidates its share in every epoch."""
        if "shares" not in self.rows.column_names:
            return []
        over_epochs = list(zip(*self.rows["shares"].to_pylist(), strict=True))
        found, begin = [], 0
        for _, candidates in self.choices:
            found.append([list(each) for each in over_epochs[begin : begin + len(candidates)]])
            begin += len(candidates)
        if begin != len(over_epochs):
            raise Damaged(f"it has {len(over_epochs)} shares of {begin} candidates")
        return found

    @property
    def architectures(self) -> list[Architecture]:
        """What would have been derived after each epoch."""
        return [tuple(each) for each in self.rows["derived"].to_pylist()]

    def with_truth(self, truth: Truth | None) -> pa.Table:
        """The rows with a further column, the truth of what would have been derived; null where it is not known."""
        import pyarrow as pa

        found = [math.nan] * len(self.rows) if truth is None else truth.of(self.architectures)
        column = pa.array([None if math.isnan(each) else each for each in found], pa.float64())
        return self.rows.append_column(TRUTH, column)


def read_searched(folder: Path) -> Searched | None:
    """What a search by gradient noted, by the folder of its evaluator; None: it is none.

    Raises:
        Damaged: If the file is.
    """
    path = folder / RECORDS
    if not path.exists():
        return None
    rows = read_parquet(path)
    notes = rows.schema.metadata or {}
    try:
        choices = [(str(name), list(map(str, candidates))) for name, candidates in json.loads(notes[CHOICES])]
        derived = tuple(map(int, json.loads(notes[DERIVED])))
    except (LookupError, TypeError, ValueError):  # of an earlier version, which noted no more than the rows
        return Searched(rows, [], "", None)
    return Searched(rows, choices, notes.get(TASK, b"").decode(), derived)


# -- the truth -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a table says of the architectures of a search.

    Attributes:
        source: The table.
        figure: What of it is the truth.
        known: The truth of those that it has.
        best: The best of all that it has.
    """

    source: str
    figure: str
    known: dict[Architecture, float]
    best: float

    def of(self, architectures: Iterable[Architecture]) -> list[float]:
        """The truth of each; NaN where the table has it not."""
        return [self.known.get(each, math.nan) for each in architectures]


def table_of_task(space: Space, task: str) -> Evaluator | None:
    """The embedded table of what the architectures of a space reach on a task; None: there is none."""
    found: Evaluator | None = load("Tabular", "evaluators").of_task(space, task)
    return found


def truth_of(space: Space, table: Evaluator) -> Truth:
    """The truth of all architectures of a table.

    Args:
        space: Whose.
        table: An evaluator that lists what it can score, which is looked up and not trained.

    Raises:
        UsageError: If it lists none.
        MissingAbility: If it does not describe that space.
    """
    table.check(space)
    table.start(space)
    listed = None if table.keeps_files else table.architectures
    if not listed:
        raise UsageError(
            f"truth: expected a table, such as Tabular, got {type(table).__name__}, which would have to train what it "
            "is asked for; use 'archsearch verify' for that"
        )
    found = {each: evaluate_safely(table, Query(0, each, 0)).evaluation for each in listed}
    scored = {each: evaluation for each, evaluation in found.items() if evaluation is not None}
    has_figure = all(FIGURE in evaluation.metrics for evaluation in scored.values())
    known = {each: float(e.metrics[FIGURE] if has_figure else e.score) for each, e in scored.items()}
    return Truth(names([table])[0], FIGURE if has_figure else "score", known, max(known.values()))


def inherited_agreement(trials: pa.Table, truth: Truth) -> tuple[float, int] | None:
    """Kendall's tau of the scores of a run's trials with the truth, and of how many; None where too few are known."""
    scored = trials.filter(has_status(trials, "completed"))
    pairs = zip(scored["architecture"].to_pylist(), scored["score"].to_pylist(), strict=True)
    scores = {tuple(architecture): score for architecture, score in pairs}
    both = [(truth.known[each], score) for each, score in scores.items() if each in truth.known]
    if len(both) < FEWEST or min(map(len, map(set, zip(*both, strict=True)))) < 2:
        return None
    return kendall_tau(*zip(*both, strict=True)), len(both)
