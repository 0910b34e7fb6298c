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

import contextlib
import fcntl
import json
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

from archsearch.errors import RunFolderError, StorageError, UsageError
from archsearch.seeding import evaluation_seed
from archsearch.space import Space
from archsearch.texts import name_of, shown
from archsearch.trial import COST_FIELDS, MEASURED, NO_COST, Architecture, Budget, Cost, Evaluation, Trial
from archsearch.trust import holds_environment

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.pareto import Direction, Front

PART_ROWS = 20_000
FAULTS_FILE = "faults.jsonl"
LOCK_TRIES, LOCK_SECONDS = 5, 0.05
RUNNING = b"running"
"""In the file ``lock`` from the begin of a session until it has ended in order."""

COST_COLUMNS = {
    "wall_seconds": "wall_seconds",
    "device_seconds": "device_seconds",
    "recorded_seconds": "recorded_seconds",
    "examples": "training_examples",
    "updates": "parameter_updates",
    "flops": "floating_point_operations",
    "failed_seconds": "failed_seconds",
}
"""Field of ``Cost`` to column of the history."""

BUDGET_COLUMNS = {"stop": "budget", "start": "budget_start", "origin": "origin"}
"""Field of ``Budget`` to column of the history."""

EVALUATED = tuple(field for field in COST_FIELDS if field not in MEASURED)
"""Fields of ``Cost`` that evaluators fill in."""

LOST = "lost_seconds"
"""Column that has, of the wall seconds of a trial, those of the tries before the last one."""

RESERVED_COLUMNS = frozenset(
    ("id", "architecture", "name", "parent", "status", "score", "started_seconds", "worker", "attempts", "failure")
).union(("error", "curve", LOST), BUDGET_COLUMNS.values(), (COST_COLUMNS[field] for field in COST_FIELDS[:-1]))
"""Names that a metric cannot have."""

# In C where PyYAML was built with it: ten times as fast.
_DUMPER, _LOADER = getattr(yaml, "CSafeDumper", yaml.SafeDumper), getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_encode = json.JSONEncoder(separators=(",", ":")).encode


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

    def note(self, event: list[Any]) -> None:
        """Journals what a replay needs and is no trial, by its first entry.

        ``a``: the controller was asked (only searches with several pending trials note that). ``s``: what preparing the
        evaluator has cost, earlier sessions included. ``v``: the evaluator has advanced, when, and what that cost.
        ``f``: a try failed, or was lost, and the trial is tried again; what its tries have cost so far.
        """
        if self.folder:
            self.folder.append(_encode(event) + "\n")

    def record(self, trials: Sequence[Trial]) -> None:
        """Adds finished trials; they are on disk when this returns."""
        if self.folder:
            self.folder.append("".join([_encode(trial_to_event(trial)) + "\n" for trial in trials]))
        self.restore(trials)

    def restore(self, trials: Sequence[Trial]) -> None:
        """Adds trials that are on disk already."""
        self.recent.extend(trials)
        self._count += len(trials)

    def recover(self) -> tuple[dict[str, Any] | None, Iterator[list[Any]]]:
        """Takes up the folder's run: the newest sound state (None: from the start) and the events since then."""
        assert self.folder is not None
        state, events, self._count = self.folder.recover()
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


class RunFolder:
    """The files of one run. Only one process can have it open for writing.

    Args:
        path: The folder.

    Attributes:
        died: Whether the session before this one did not end in order: it was killed, or could not write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._trials = self.path / "trials"
        self._journal: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._number = 0
        self._previous_state = 0
        self.died = False

    # -- creating and opening --------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any]) -> RunFolder:
        """Makes a new run folder and writes its ``config.yaml``.

        Raises:
            RunFolderError: If there is a run already, or the folder cannot be written.
        """
        folder = cls(path)
        if (folder.path / "config.yaml").exists():
            raise RunFolderError(f"{path}: there is a run here already; 'archsearch resume {path}' goes on with it")
        text = yaml_text(config)  # first, so that what cannot be written leaves no folder behind
        try:
            folder._trials.mkdir(parents=True, exist_ok=True)
            folder._acquire()
            write_whole(folder.path / "config.yaml", text.encode(), private=holds_environment(config))
            folder._open_journal(1)
        except OSError as error:
            folder.close()
            raise RunFolderError(
                f"{path}: cannot write a run here ({error.strerror}); name a folder that you may write to"
            ) from None
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens a run to go on with it.

        Raises:
            RunFolderError: If another process has it open, or it cannot be written.
        """
        folder = cls(path)
        try:
            folder._acquire()
        except OSError as error:
            raise RunFolderError(f"{path}: cannot write to this run ({error.strerror})") from None
        return folder

    def config(self) -> dict[str, Any]:
        """The run's configuration.

        Raises:
            RunFolderError: If the folder holds no readable run.
        """
        try:
            config = read_yaml((self.path / "config.yaml").read_text())
        except FileNotFoundError:
            raise RunFolderError(
                f"{self.path}: no run here (there is no config.yaml); expected a folder made by 'archsearch run --out'"
            ) from None
        except (OSError, yaml.YAMLError) as error:
            raise RunFolderError(f"{self.path}/config.yaml cannot be read: {error}") from None
        if not isinstance(config, dict) or "space" not in config:
            raise RunFolderError(f"{self.path}/config.yaml is no configuration of a run: it has no entry 'space'")
        return config

    def _acquire(self) -> None:
        lock = open(self.path / "lock", "a+b", buffering=0)  # noqa: SIM115
        for tries_left in reversed(range(LOCK_TRIES)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if tries_left:  # it may be someone who asks ``in_use``, for a moment
                    time.sleep(LOCK_SECONDS)
                    continue
                lock.close()
                raise RunFolderError(
                    f"{self.path}: another process is running this search; wait for it or stop it"
                ) from None
        self._lock = lock
        lock.seek(0)
        self.died = lock.read() == RUNNING
        if not self.died:  # else nothing is to be done, at which it could be killed or the disk be full
            lock.truncate(0)
            lock.write(RUNNING)

    def in_use(self) -> bool:
        """Whether a process is running this search, on this machine or on one that shares the folder's locks."""
        try:
            with open(self.path / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    # -- writing ---------------------------------------------------------------------------------

    def append(self, lines: str) -> None:
        """Adds whole lines to the journal; the operating system has them when this returns.

        Raises:
            StorageError: If they cannot be written.
        """
        assert self._journal is not None
        try:
            _write_all(self._journal, lines.encode())
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot write to the run folder ({error.strerror}); what was done before is saved: "
                f"make room, then 'archsearch resume {self.path}'"
            ) from None

    def write_part(self, table: pa.Table | None, state: dict[str, Any]) -> None:
        """Writes the trials since the last part, and the state; begins the next journal.

        Raises:
            StorageError: If they cannot be written; the journal still has everything.
        """
        number = self._number
        try:
            if table is not None:
                _write_parquet(self._name("part", number), table)
            write_whole(self._name("state", number), _encode(state).encode())
            self._open_journal(number + 1)
            self._discard(self._previous_state)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot write to the run folder ({error.strerror})") from None
        self._previous_state = number

    def close(self, in_order: bool = True) -> None:
        """Releases the folder; after a part was written, the empty journal and the backups go.

        Args:
            in_order: Whether everything was saved.
        """
        if self._journal is not None:
            empty = self._journal.tell() == 0
            self._journal.close()
            self._journal = None
            if empty and self._name("state", self._previous_state).exists():
                self._discard(self._previous_state)
                self._name("journal", self._number).unlink()
        if self._lock is not None:
            if in_order:
                self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def _discard(self, state: int) -> None:
        """Deletes what a state and its parts make superfluous: older states, and the journals up to it."""
        for old in self._numbers("state"):
            if old < state:
                self._name("state", old).unlink()
        for old in self._numbers("journal"):
            if old <= state:
                self._name("journal", old).unlink()

    def _open_journal(self, number: int) -> None:
        # Unbuffered: one system call per append, so that a killed process loses nothing.
        journal = open(self._name("journal", number), "ab", buffering=0)  # noqa: SIM115
        if self._journal is not None:
            self._journal.close()
        self._journal, self._number = journal, number

    def add_fault(self, fault: Mapping[str, Any]) -> None:
        """Adds a line to ``faults.jsonl``.

        Raises:
            StorageError: If it cannot be written.
        """
        try:
            with open(self.path / FAULTS_FILE, "a+b", buffering=0) as file:
                # The disk was full in the middle of the last line: this one must not be a part of it.
                begin = b"\n" if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n" else b""
                _write_all(file, begin + json.dumps(fault).encode() + b"\n")
        except OSError as error:
            raise StorageError(f"{self.path}: cannot write to the run folder ({error.strerror})") from None

    # -- going on ----------------------------------------------------------------------------------

    def recover(self) -> tuple[dict[str, Any] | None, Iterator[list[Any]], int]:
        """Finds where to go on from, and begins a new journal.

        Returns:
            The newest sound state (None: from the start), the events since then, and the number of trials in
            the parts that belong to that state.
        """
        number, state = self._newest_sound_state()
        rows = 0
        for part in self._numbers("part"):
            path = self._name("part", part)
            sound = _rows(path)
            if part > number:
                path.unlink()  # its trials are replayed from the journal
            elif sound is None:
                aside = path.with_suffix(".damaged")
                path.rename(aside)
                warnings.warn(f"{path} is damaged and was moved to {aside.name}: its trials are lost", stacklevel=2)
            else:
                rows += sound
        journals = [n for n in self._numbers("journal") if n > number]
        self._previous_state = number
        self._open_journal(max([number, *journals]) + 1)
        return state, self._events(journals), rows

    def _newest_sound_state(self) -> tuple[int, dict[str, Any] | None]:
        """The newest state that is readable itself and whose last part is, if that can be rebuilt."""
        journals = self._numbers("journal")
        for number in reversed(self._numbers("state")):
            state = _read_json(self._name("state", number))
            if state is None:
                warnings.warn(f"{self._name('state', number)} is damaged; going back to the one before", stacklevel=3)
                continue
            part = self._name("part", number)
            if part.exists() and _rows(part) is None and number in journals:
                warnings.warn(f"{part} is damaged; its trials are taken from the journal again", stacklevel=3)
                continue
            return number, state
        return 0, None

    def _events(self, journals: Sequence[int]) -> Iterator[list[Any]]:
        for number in journals:
            yield from _read_events(self._name("journal", number))

    # -- reading -----------------------------------------------------------------------------------

    def table(self, space: Space | None) -> pa.Table:
        """All trials on disk as an Arrow table, newest ones included; may be read while the run goes on.

        Args:
            space: Writes the names of the newest trials; None: their options stand for these.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = self._sound_parts()
        tables = [pq.read_table(self._name("part", part)) for part in parts]
        tables.append(trials_to_table(list(self._journaled(parts, 0)), space))
        return pa.concat_tables(tables, promote_options="default")

    def trials(self, seed: int) -> Iterator[Trial]:
        """All trials on disk, one part in memory at a time."""
        parts = self._sound_parts()
        yield from self._in_parts(parts, seed)
        yield from self._journaled(parts, seed)

    def part_trials(self, seed: int) -> Iterator[Trial]:
        """The trials in parts, without those that are only in the journal."""
        return self._in_parts(self._sound_parts(), seed)

    def setup_cost(self) -> Cost:
        """Cost of the evaluator's one-off work so far: its preparation, and what it learnt on the way."""
        number, state = self._newest_sound_state()
        prepared = Cost(*state["setup_cost"]) if state else NO_COST
        learnt = Cost(*state["advances"]["cost"]) if state and state.get("advances") else NO_COST
        for event in self._events([n for n in self._numbers("journal") if n > number]):
            if event[0] == "s":
                prepared = Cost(*event[1:])
            elif event[0] == "v":
                learnt += Cost(*event[2:])
        return prepared + learnt

    def pending_cost(self) -> Cost:
        """Cost of the tries that failed of trials which are not finished, and so in no table yet."""
        number, state = self._newest_sound_state()
        lost: dict[int, float] = {job[0]: _lost_seconds(job) for job in (state["pending"] if state else ())}
        for event in self._events([n for n in self._numbers("journal") if n > number]):
            if event[0] == "f":
                lost[event[1]] = event[4]
            elif event[0] == "t":
                lost.pop(event[1], None)
        seconds = sum(lost.values())
        return Cost(wall_seconds=seconds, failed_seconds=seconds)

    def advanced(self) -> bool:
        """Whether the evaluator has learnt on during the search."""
        number, state = self._newest_sound_state()
        later = self._events([n for n in self._numbers("journal") if n > number])
        return any(((state or {}).get("advances") or {}).get("cost") or ()) or any(event[0] == "v" for event in later)

    def faults(self) -> Counter[str]:
        """How often what went wrong, over all sessions of the run."""
        path, counts = self.path / FAULTS_FILE, Counter[str]()
        for line in path.read_bytes().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError, TypeError, KeyError):  # half-written, on a full disk
                counts[json.loads(line)["kind"]] += 1
        return counts

    # -- verifications: beside the search, which may be running ----------------------------------------

    def verifications(self) -> pa.Table | None:
        """All that was scored again, one row per architecture and verification; None if nothing was."""
        import pyarrow as pa

        tables = [table for number in self.verification_numbers() if (table := self.verification(number)) is not None]
        return pa.concat_tables(tables, promote_options="default") if tables else None

    def verification_numbers(self) -> list[int]:
        """Numbers of the verifications that are done."""
        return [number for number in self._numbers("verified") if _rows(self._name("verified", number)) is not None]

    def verification(self, number: int) -> pa.Table | None:
        """What a verification has found; None if it is not done."""
        import pyarrow.parquet as pq

        return pq.read_table(self._name("verified", number)) if number in self.verification_numbers() else None

    def write_verification(self, number: int, table: pa.Table) -> None:
        """Adds what a verification has found.

        Raises:
            StorageError: If it cannot be written.
        """
        try:
            self._name("verified", number).parent.mkdir(exist_ok=True)
            write_parquet(self._name("verified", number), table)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot write to the run folder ({error.strerror})") from None

    # -- reading, by file --------------------------------------------------------------------------

    def _in_parts(self, parts: Sequence[int], seed: int) -> Iterator[Trial]:
        import pyarrow.parquet as pq

        for part in parts:
            yield from table_to_trials(pq.read_table(self._name("part", part)), seed)

    def _sound_parts(self) -> list[int]:
        return [part for part in self._numbers("part") if _rows(self._name("part", part)) is not None]

    def _journaled(self, parts: Sequence[int], seed: int) -> Iterator[Trial]:
        # The journal that a damaged newest part was made from is still there.
        newest = max(parts, default=0)
        for event in self._events([n for n in self._numbers("journal") if n > newest]):
            if event[0] == "t":
                yield event_to_trial(event, seed)

    def _name(self, what: str, number: int) -> Path:
        suffix = {"journal": "jsonl", "part": "parquet", "state": "json", "verified": "parquet"}[what]
        return self._folder(what) / f"{what}-{number:06d}.{suffix}"

    def _folder(self, what: str) -> Path:
        # Whoever reads all of trials/*.parquet wants the search alone.
        return self.path / "verification" if what == "verified" else self._trials

    def _numbers(self, what: str) -> list[int]:
        if not self._folder(what).exists():
            return []
        pattern = re.compile(rf"{what}-(\d+)\.(jsonl|parquet|json)$")
        return sorted(int(m[1]) for name in os.listdir(self._folder(what)) if (m := pattern.match(name)))


# -- events: one line of the journal ---------------------------------------------------------------


def trial_to_event(trial: Trial) -> list[Any]:
    """The journal line of a finished trial, as JSON data."""
    evaluation = trial.evaluation
    parent = trial.parent if trial.budget is None else [trial.parent, *trial.budget]
    event: list[Any] = ["t", trial.id, trial.architecture, parent]
    attempts = [trial.attempts, round(trial.lost_seconds, 7)] if trial.lost_seconds else trial.attempts
    event += (round(trial.started, 6), round(trial.seconds, 7), trial.worker, attempts)
    if evaluation is None:
        return [*event, trial.failure, trial.error]
    cost = evaluation.cost
    event += (evaluation.score, list(evaluation.metrics), list(evaluation.metrics.values()))
    event.append((cost.device_seconds, cost.examples, cost.updates, cost.flops, cost.recorded_seconds))
    if evaluation.curve:
        event.append(evaluation.curve)
    return event


def event_to_trial(event: list[Any], seed: int) -> Trial:
    """The trial that a journal line holds."""
    _, id_, architecture, parent, started, seconds, worker, attempts, *outcome = event
    evaluation, failure, error, budget, lost = None, "", "", None, 0.0
    if isinstance(attempts, list):
        attempts, lost = attempts
    if isinstance(parent, list):
        parent, budget = parent[0], Budget(*parent[1:])
    if len(outcome) == 2:
        failure, error = outcome
    else:
        score, names, values, cost, *curve = outcome
        spent = Cost(0.0, *cost) if any(cost) else NO_COST
        evaluation = Evaluation(score, dict(zip(names, values, strict=True)), spent, *map(tuple, curve))
    run = (training_seed(seed, id_, budget), started, seconds, worker, attempts)
    return Trial(id_, tuple(architecture), parent, evaluation, *run, failure, error, budget, lost)


def training_seed(seed: int, id_: int, budget: Budget | None) -> int:
    """The seed of a trial's evaluation under a root seed: of the trial that began the training, where one goes on."""
    return evaluation_seed(seed, id_ if budget is None or budget.origin is None else budget.origin)


def _read_events(path: Path) -> Iterator[list[Any]]:
    """The whole lines of a journal; a half-written last line is passed over."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:
                return


# -- tables ----------------------------------------------------------------------------------------


def trials_to_table(trials: Sequence[Trial], space: Space | None) -> pa.Table:
    """Trials as an Arrow table: one row a trial, one column a metric.

    Args:
        trials: Which.
        space: Writes their names; None: their options, such as ``3-0-1``, stand for these.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "id": pa.array([t.id for t in trials], pa.int64()),
        "architecture": pa.array([t.architecture for t in trials], pa.list_(pa.int32())),
        "name": pa.array(_names([t.architecture for t in trials], space), pa.string()),
        "parent": pa.array([t.parent for t in trials], pa.int64()),
        "status": pa.array([t.status for t in trials], pa.string()),
        "score": pa.array([t.score for t in trials], pa.float64()),
    }
    columns |= _metric_columns(trials) | _training_columns(trials)
    costs = [NO_COST if t.evaluation is None else t.evaluation.cost for t in trials]
    columns[COST_COLUMNS["wall_seconds"]] = pa.array([t.seconds + t.lost_seconds for t in trials], pa.float64())
    for field in EVALUATED:
        columns[COST_COLUMNS[field]] = pa.array([getattr(cost, field) for cost in costs], pa.float64())
    columns[LOST] = pa.array([t.lost_seconds for t in trials], pa.float64())
    columns["started_seconds"] = pa.array([t.started for t in trials], pa.float64())
    columns["worker"] = pa.array([t.worker for t in trials], pa.int32())
    columns["attempts"] = pa.array([t.attempts for t in trials], pa.int32())
    columns["failure"] = pa.array([t.failure for t in trials], pa.string())
    columns["error"] = pa.array([t.error for t in trials], pa.string())
    return pa.table(columns)


def _names(architectures: Sequence[Architecture], space: Space | None) -> list[str]:
    if space is None:
        return ["-".join(map(str, architecture)) for architecture in architectures]
    known = {architecture: name_of(space, architecture) for architecture in set(architectures)}
    return [known[architecture] for architecture in architectures]


def _metric_columns(trials: Sequence[Trial]) -> dict[str, Any]:
    import pyarrow as pa

    metrics = [t.metrics for t in trials]
    names = dict.fromkeys(name for keys in dict.fromkeys(tuple(m) for m in metrics) for name in keys)
    return {name: pa.array([m.get(name) for m in metrics], pa.float64()) for name in names}


def _training_columns(trials: Sequence[Trial]) -> dict[str, Any]:
    """What only evaluators that train have: the curve; and budgets, if the controller gives them."""
    import pyarrow as pa

    columns = {}
    if any(t.evaluation is not None and t.evaluation.curve for t in trials):
        curves = [t.evaluation.curve or None if t.evaluation else None for t in trials]
        columns["curve"] = pa.array(curves, pa.list_(pa.float64()))
    if any(t.budget is not None for t in trials):
        for field, column in BUDGET_COLUMNS.items():
            columns[column] = pa.array([t.budget and getattr(t.budget, field) for t in trials], pa.int64())
    return columns


def table_to_trials(table: pa.Table, seed: int) -> Iterator[Trial]:
    """The trials that a table made by ``trials_to_table`` holds."""
    metrics = [name for name in table.column_names if name not in RESERVED_COLUMNS]
    for batch in table.to_batches(max_chunksize=PART_ROWS):
        for row in batch.to_pylist():
            evaluation = None
            if row["status"] == "completed":
                cost = Cost(0.0, *(row[COST_COLUMNS[field]] for field in EVALUATED))
                figures = {m: row[m] for m in metrics if row[m] is not None}
                evaluation = Evaluation(row["score"], figures, cost, tuple(row.get("curve") or ()))
            budget = None
            if row.get("budget") is not None:
                budget = Budget(*(row[column] for column in BUDGET_COLUMNS.values()))
            lost = row.get(LOST) or 0.0  # 0.1.0 did not keep it
            yield Trial(
                row["id"],
                tuple(row["architecture"]),
                row["parent"],
                evaluation,
                training_seed(seed, row["id"], budget),
                row["started_seconds"],
                row["wall_seconds"] - lost,
                row["worker"],
                row["attempts"],
                row["failure"],
                row["error"],
                budget,
                lost,
            )


# -- files -----------------------------------------------------------------------------------------


def yaml_text(data: Any) -> str:
    """Plain data as YAML, in its own order.

    Raises:
        UsageError: If a text in it cannot be written, such as the name of a file that is not UTF-8.
    """
    try:
        return yaml.dump(data, Dumper=_DUMPER, sort_keys=False)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"settings: expected texts that UTF-8 can hold, got {shown(error.object)}; rename what that stands for"
        ) from None


def read_yaml(text: str) -> Any:
    """The plain data in YAML.

    Raises:
        yaml.YAMLError: If it is none.
    """
    return yaml.load(text, Loader=_LOADER)


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Writes to an unbuffered file: a disk that is nearly full takes a part, and says only then why."""
    while data:
        data = data[file.write(data) :]


def write_whole(path: Path, data: bytes, private: bool = False) -> None:
    """Writes a file so that it is there whole or not at all, even if the process is killed.

    Args:
        path: Where.
        data: What.
        private: Whether only its owner may read it.
    """
    aside = path.with_name(path.name + ".tmp")
    if private:
        aside.unlink(missing_ok=True)  # one that is there keeps its mode
    with open(aside, "wb", opener=_private if private else None) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_parquet(path: Path, table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = ("id", "wall_seconds", "started_seconds")
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        write_statistics=False,
        use_dictionary=[name for name in table.column_names if name not in plain],
        column_encoding={
            "id": "DELTA_BINARY_PACKED",
            "wall_seconds": "BYTE_STREAM_SPLIT",
            "started_seconds": "BYTE_STREAM_SPLIT",
        },
    )
    write_whole(path, sink.getvalue().to_pybytes())


def write_parquet(path: Path, table: pa.Table) -> None:
    """Writes a table so that it is there whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes())


def _lost_seconds(job: Sequence[Any]) -> float:
    """Of a pending job in a state: what its earlier tries have cost, which 0.1.0 did not keep."""
    return float(job[8]) if len(job) > 8 else 0.0


def _rows(path: Path) -> int | None:
    """Rows of a Parquet file, or None if it is damaged; reads its footer only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.suppress(pa.ArrowException, OSError):
        rows: int = pq.read_metadata(path).num_rows
        return rows
    return None


def _read_json(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        state = json.loads(path.read_bytes())
        return state if isinstance(state, dict) else None
    return None


def memory_key(space: Space, architecture: Architecture, budget: Budget | None) -> tuple[Hashable, int]:
    """Equal for trials that one evaluation can answer: equal canonical forms, trained equally long."""
    return space.canonical(architecture), budget.stop if budget else 0


def known_evaluations(trials: Iterable[Trial], space: Space) -> dict[Hashable, tuple[int, Evaluation]]:
    """Trial id and evaluation (the first of several) by ``memory_key``, for searches that evaluate nothing twice."""
    known: dict[Hashable, tuple[int, Evaluation]] = {}
    for trial in trials:
        if trial.evaluation is not None:
            known.setdefault(memory_key(space, trial.architecture, trial.budget), (trial.id, trial.evaluation))
    return known
