"""The history of a run: every finished trial, in memory or in a folder, and what a resume needs.

A run folder holds ``config.yaml`` and ``trials/``. There, numbered n = 1, 2, ...:

    journal-n.jsonl   one JSON line per event since part n - 1, written before the controller hears of it
    part-n.parquet    the trials of journal n (and of any before it that has no part of its own)
    state-n.json      the state of search and controller when part n was written

Every ``PART_ROWS`` trials the journal becomes a part. Parts and states appear whole (written aside, flushed,
renamed). Until the next part, the journal that a part was made from and the state before it are kept, so that any
one damaged file can be rebuilt.

``verification/verified-n.parquet`` has trials that another evaluator scored again (``archsearch verify``): history,
but no part of the search. ``faults.jsonl`` has a line for everything that went wrong, tries that succeeded later
included.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.errors import StorageError
from archsearch.keeping.columns import table_to_trials, trials_to_table
from archsearch.keeping.events import encode, trial_line
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.journal import Gap
from archsearch.space import Space
from archsearch.trial import Architecture, Budget, Evaluation, Trial

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.pareto import Direction, Front


PART_ROWS = 20_000

REPEATING = ("exception", "invalid_score", "timeout", "out_of_memory")
"""Failures that an architecture is to blame for where they come twice."""


class History:
    """The trials of a run, in the order in which they finished.

    Args:
        space: The run's space; writes the ``name`` column.
        seed: The run's root seed; gives trials back their evaluation seeds when they are read.
        folder: Where to keep the run, or None for memory only.
    """

    def __init__(self, space: Space, seed: int, folder: RunFolder | None = None) -> None:
        self.space = space
        self.seed = seed
        self.folder = folder
        self.recent: list[Trial] = []
        self._tables: list[pa.Table] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        where = f" in {self.folder.path}" if self.folder else ""
        return f"History({self._count:,} trials of {self.space!r}{where})"

    def note(self, event: list[Any]) -> None:
        """Journals what a replay needs and is no trial, by its first entry.

        ``a``: the controller was asked (only searches with several pending trials note that). ``s``: what preparing the
        evaluator has cost, earlier sessions included. ``d``: the state of the controller, once it has read the
        evaluator's distribution. ``v``: the evaluator has advanced, when, and what that cost.
        ``f``: a try failed, or was lost, and the trial is tried again; what its tries have cost so far.
        ``r``: a race of the best against each other began, when, and between which; ``e``: it ended, and when.
        """
        if self.folder:
            self.folder.append([encode(event)])

    def record(self, trials: Sequence[Trial]) -> None:
        """Adds finished trials; they are on disk when this returns."""
        if self.folder:
            self.folder.append([trial_line(trial) for trial in trials])
        self.restore(trials)

    def restore(self, trials: Sequence[Trial]) -> None:
        """Adds trials that are on disk already."""
        self.recent.extend(trials)
        self._count += len(trials)

    def recover(self) -> tuple[dict[str, Any] | None, Iterator[Trial | list[Any] | Gap]]:
        """Takes up the folder's run: the newest sound state (None: from the start) and what happened since then."""
        assert self.folder is not None
        state, events, self._count = self.folder.recover(self.seed)
        return state, events

    @property
    def full(self) -> bool:
        """Whether the recent trials are due to become a part."""
        return len(self.recent) >= PART_ROWS

    def compact(self, state: Callable[[], dict[str, Any]]) -> None:
        """Turns the recent trials into a part; ``state`` gives what a resume needs."""
        table = trials_to_table(self.recent, self.space) if self.recent else None
        if self.folder:
            self.folder.write_part(table, state())
        elif table is not None:
            self._tables.append(table)
        self.recent = []

    def close(self, state: Callable[[], dict[str, Any]]) -> None:
        """Ends the run in good order: one last part, no journal left behind."""
        if self.folder:
            try:
                self.compact(state)
            except StorageError:
                self.folder.close(in_order=False)
                raise
            self.folder.close()

    def table(self) -> pa.Table:
        """All trials as an Arrow table; see ``docs/concepts.md`` for the columns."""
        import pyarrow as pa

        if self.folder:
            return self.folder.table(self.space)
        tables = [*self._tables, trials_to_table(self.recent, self.space)]
        return pa.concat_tables(tables, promote_options="default")

    def front(self, objectives: Mapping[str, Direction]) -> Front | None:
        """The best compromises between several objectives, and their hypervolume; see ``archsearch.pareto.front_of``.

        Args:
            objectives: Names of the score or metrics, each ``max`` or ``min``, such as ``{"score": "max", "params":
                "min"}``.
        """
        from archsearch.pareto import front_of

        return front_of(self.table(), objectives)

    def __iter__(self) -> Iterator[Trial]:
        """All trials, in the order in which they finished, one part in memory at a time."""
        if self.folder:
            yield from self.folder.trials(self.seed)
        else:
            for table in self._tables:
                yield from table_to_trials(table, self.seed)
            yield from self.recent


def memory_key(space: Space, architecture: Architecture, budget: Budget | None) -> tuple[Hashable, int]:
    """Equal for trials that one evaluation can answer: equal canonical forms, trained equally long."""
    return space.canonical(architecture), budget.stop if budget else 0


class KnownAnswers:
    """What a search that asks for nothing twice knows, by ``memory_key``.

    A failure is taken to repeat where it is certain to (``refused``), or where it came twice, under two seeds, of one
    of the kinds that an architecture is to blame for.

    Args:
        space: What is searched.

    Attributes:
        evaluations: Trial id and evaluation, the first of several.
        failures: Why what would fail again did.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.evaluations: dict[Hashable, tuple[int, Evaluation]] = {}
        self.failures: dict[Hashable, str] = {}
        self._once: dict[Hashable, str] = {}  # kinds of failures that came once

    def add(self, trial: Trial) -> None:
        """Takes a trial."""
        key = memory_key(self._space, trial.architecture, trial.budget)
        if trial.evaluation is not None:
            self.evaluations.setdefault(key, (trial.id, trial.evaluation))
        elif trial.failure == "refused":
            self.failures[key] = trial.error
        elif trial.failure in REPEATING and key not in self.failures:
            if self._once.get(key) == trial.failure:
                self.failures[key] = f"it failed so twice: {trial.failure}: {trial.error}"
            self._once[key] = trial.failure

    def keys(self) -> list[Hashable]:
        """Of all that needs no evaluation."""
        return [*self.evaluations, *self.failures]
