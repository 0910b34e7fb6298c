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
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from archsearch.checksums import Damaged, open_json, seal_json
from archsearch.damage import Notices, as_number, keep_aside, readable, text
from archsearch.errors import RunFolderError, StorageError
from archsearch.journal import Gap, Journal, Reader, last_place, write_all
from archsearch.lock import Lock, in_use, noted
from archsearch.parquet import read_parquet, to_parquet
from archsearch.run_config import check_config, is_changed, read_yaml, sealed_yaml
from archsearch.seeding import evaluation_seed
from archsearch.space import Space
from archsearch.texts import name_of
from archsearch.trial import COST_FIELDS, MEASURED, NO_COST, Architecture, Budget, Cost, Evaluation, Trial
from archsearch.trust import holds_environment

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.pareto import Direction, Front

PART_ROWS = 20_000
ROWS_AT_ONCE = 20_000
"""Rows of a table that are turned into trials together."""
FAULTS_FILE = "faults.jsonl"
NEW_JOURNAL = 64
"""Bytes that a journal without events has at most."""

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

OLD_COST = 6
"""Fields of ``Cost`` in journals of version 0.1.0."""

LOST = "lost_seconds"
"""Column that has, of the wall seconds of a trial, those of the tries before the last one."""

RESERVED_COLUMNS = frozenset(
    ("id", "architecture", "name", "parent", "status", "score", "started_seconds", "worker", "attempts", "failure")
).union(("error", "curve", LOST), BUDGET_COLUMNS.values(), (COST_COLUMNS[field] for field in COST_FIELDS[:-1]))
"""Names that a metric cannot have."""

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
            self.folder.append([_encode(event)])

    def record(self, trials: Sequence[Trial]) -> None:
        """Adds finished trials; they are on disk when this returns."""
        if self.folder:
            self.folder.append([_encode(trial_to_event(trial)) for trial in trials])
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


class Stored:
    """What lies in the folder of a run, and how much of it is sound: parts, states, journals.

    Args:
        path: The folder; where it is does not change with the current directory.

    Attributes:
        notices: What reading has found to be damaged.
        lost: How many trials of parts are lost, as far as ``table`` or ``trials`` was called.
        died: Whether the session before this one did not end in order: it was killed, or could not write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.notices = Notices()
        self.lost = 0
        self._trials = self.path / "trials"
        self._journals = self.path / "journal"
        self._journal: Journal | None = None
        self._lock: Lock | None = None
        self._noted: tuple[int, int] | None = None
        self._parts: dict[int, int] = {}  # that belong to the newest state: their rows
        self._previous_state = 0
        self.died = False

    def config(self) -> dict[str, Any]:
        """The run's configuration.

        Raises:
            RunFolderError: If the folder holds no readable run.
        """
        path = self.path / "config.yaml"
        try:
            text = path.read_text(encoding="utf-8")
            config = read_yaml(text)
        except (FileNotFoundError, NotADirectoryError):
            raise RunFolderError(
                f"{self.path}: no run here (there is no config.yaml); expected a folder made by 'archsearch run --out'"
            ) from None
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise RunFolderError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        check_config(path, config)
        if is_changed(text):
            self.notices.tell(path, "is not as it was written: it was changed by hand, or is damaged")
        return cast(dict[str, Any], config)

    def in_use(self) -> bool:
        """Whether a process is running this search, on this machine or on one that shares the folder's locks."""
        return in_use(self.path / "lock")

    # -- what is sound -------------------------------------------------------------------------------

    def _newest_sound_state(self) -> tuple[int, dict[str, Any] | None]:
        """The newest state that is readable itself and whose last part is, if that can be rebuilt."""
        journals, states = self._numbers("journal"), self._numbers("state")
        for number in reversed(states):
            path = self._find("state", number)
            try:
                state = open_json(path.read_bytes(), self._is_sealed(path))
                check_state(state)
            except (OSError, Damaged) as error:
                older = number != states[0] or number in journals
                cost = "going back to the one before" if older else "what it said can only be made up from the trials"
                self.notices.tell(path, f"is damaged ({error}); {cost}")
                continue
            part = self._name("part", number)
            due = part.exists() or number in dict(state.get("parts", ()))
            if due and number in journals and self._is_damaged(part):
                self.notices.tell(part, "is damaged or missing; its trials are taken from the journal again")
                continue
            return number, state
        return 0, None

    @staticmethod
    def _is_damaged(part: Path) -> bool:
        try:
            check_part(read_parquet(part))
        except Damaged:
            return True
        return False

    def _parts_of(self, number: int, state: dict[str, Any] | None) -> list[int]:
        """The parts that belong to a state; tells of those that are missing."""
        there = [part for part in self._numbers("part") if part <= number]
        if state is None or "parts" not in state:
            return there
        for part, rows in state["parts"]:
            if part not in there:
                self.notices.tell(self._name("part", part), f"is missing: its {rows:,} trials are lost")
        return [part for part, _ in state["parts"] if part in there]

    def _part(self, number: int) -> pa.Table | None:
        """The trials of a part; None, and a notice, if it is damaged."""
        path = self._name("part", number)
        try:
            table = read_parquet(path)
            check_part(table)
        except Damaged as error:
            if not path.exists():  # taken away by the search, which is running
                return None
            self.notices.tell(path, f"is damaged ({error}): its trials are lost, the rest is not")
            return None
        return table

    def _lines(self, journal: int) -> int:
        path = self._find("journal", journal)
        return last_place(path, self._is_sealed(path))

    def _sources(self, number: int) -> list[tuple[int, bool]]:
        """Where what happened after a state is: journals, or parts (True) whose journal is gone."""
        journals = [n for n in self._numbers("journal") if n > number]
        parts = [n for n in self._numbers("part") if n > number and n not in journals]
        return sorted([(n, False) for n in journals] + [(n, True) for n in parts])

    # -- events after a state ------------------------------------------------------------------------

    def _events(
        self, sources: Sequence[tuple[int, bool]], number: int, seed: int, keep: bool = False
    ) -> Iterator[Trial | list[Any] | Gap]:
        """What happened since a state: trials, other events, and gaps where some are missing.

        Args:
            sources: See ``_sources``.
            number: Of the state.
            seed: The run's root seed.
            keep: Whether to keep a copy of damaged journals.
        """
        before = (number, 1 << 60)
        for source, is_part in sources:
            if is_part:
                path = self._name("part", source)
                yield Gap(path, 0, "the state of the search is missing", state=True)
                table = self._part(source)
                if table is not None:
                    yield from table_to_trials(table, seed)
                elif keep and path.exists():
                    keep_aside(self.path, path)
                continue
            path, gaps = self._find("journal", source), 0
            journal = Reader(path, self._is_sealed(path), before)
            for event in journal:
                if isinstance(event, Gap):
                    if event.torn and self._was_never_whole(source, journal.lines, sources):
                        continue
                    gaps += not event.torn
                    yield event
                elif (sound := sound_event(event, seed)) is None:
                    gaps += 1
                    yield Gap(path, 1, f"there is no such event: {event!r:.80}")
                else:
                    yield sound
            before = (source, journal.lines)
            if gaps and keep:
                (self.path / "damaged").mkdir(exist_ok=True)
                shutil.copyfile(path, self.path / "damaged" / path.name)
        yield from self._missing_end(before)

    def _was_never_whole(self, journal: int, lines: int, sources: Sequence[tuple[int, bool]]) -> bool:
        """Whether the end of a line is all that was written of it: the disk was full, or it is being written."""
        later = [number for number, is_part in sources if number > journal and not is_part]
        if any(self._is_sealed(self._find("journal", number)) for number in later):
            return True  # else the first line of that one tells
        return self._noted_lines() == (journal, lines) or (self._lock is None and self.in_use())

    def _noted_lines(self) -> tuple[int, int] | None:
        """The newest journal, and its lines at least, by the session before this one; None: unknown."""
        return self._noted if self._lock else noted(self.path / "lock")

    def _missing_end(self, before: tuple[int, int]) -> Iterator[Gap]:
        """A gap if the newest journal is gone, or was cut short at the end of a line.

        Args:
            before: Number and lines of the newest journal, or number of the newest state.
        """
        if self._lock is None and (self.in_use() or not (self.path / "config.yaml").exists()):
            return  # more is being written, or nothing has begun
        lock = self._noted_lines()
        if lock is not None and lock[0] >= before[0]:
            journal, lines = lock
            missing = lines - before[1] if journal == before[0] else lines - 1
            if missing > 0:
                yield Gap(self._find("journal", journal), missing, "its end is missing")
        elif not any(self._numbers(what) for what in ("journal", "state", "part")):
            yield Gap(self._name("journal", 1), 1, "it is missing")

    # -- names of files ------------------------------------------------------------------------------

    def _is_sealed(self, path: Path) -> bool:
        """Whether a journal or state must have checksums; those of version 0.1.0 lie among the parts."""
        return path.parent == self._journals

    def _name(self, what: str, number: int) -> Path:
        suffix = {"journal": "jsonl", "part": "parquet", "state": "json", "verified": "parquet"}[what]
        return self._folders(what)[0] / f"{what}-{number:06d}.{suffix}"

    def _find(self, what: str, number: int) -> Path:
        """Where a file is: of version 0.1.0 perhaps where parts alone are now."""
        name = self._name(what, number)
        return next((path for each in self._folders(what) if (path := each / name.name).exists()), name)

    def _folders(self, what: str) -> tuple[Path, ...]:
        # Whoever reads all of trials/*.parquet wants the search alone.
        if what == "verified":
            return (self.path / "verification",)
        return (self._trials,) if what == "part" else (self._journals, self._trials)

    def _numbers(self, what: str) -> list[int]:
        pattern = re.compile(rf"{what}-(\d+)\.(jsonl|parquet|json)")
        names = [name for folder in self._folders(what) if folder.is_dir() for name in os.listdir(folder)]
        return sorted({int(m[1]) for name in names if (m := pattern.fullmatch(name))})


class StoredRun(Stored):
    """The folder of a run, read: its trials, whatever they cost, and what went wrong."""

    def table(self, space: Space | None) -> pa.Table:
        """All trials on disk as an Arrow table, newest ones included; may be read while the run goes on.

        Args:
            space: Writes the names of the newest trials; None: their options stand for these.

        Raises:
            RunFolderError: If what is there is no history of a search.
        """
        import pyarrow as pa

        with readable(self._trials):
            tables: list[pa.Table] = []
            newest: list[Trial] = []
            for found in self._found(0):
                if isinstance(found, Trial):
                    newest.append(found)
                else:
                    tables.append(found)
            known = {trial.architecture: space is None or trial.architecture in space for trial in newest}
            strange = [trial.id for trial in newest if not known[trial.architecture]]
            if strange:
                what = f"has {len(strange):,} trials whose architecture is not in the space; they are passed over"
                self.notices.tell(self._journals, what)
            tables.append(trials_to_table([trial for trial in newest if known[trial.architecture]], space))
            try:
                return pa.concat_tables(tables, promote_options="default")
            except pa.ArrowException as error:
                raise RunFolderError(f"{self._trials}: its parts do not go together: {error}") from None

    def trials(self, seed: int) -> Iterator[Trial]:
        """All trials on disk, one part in memory at a time."""
        for found in self._found(seed):
            if isinstance(found, Trial):
                yield found
            else:
                with readable(self._trials):
                    yield from table_to_trials(found, seed)

    def _found(self, seed: int) -> Iterator[pa.Table | Trial]:
        """All trials on disk: parts as tables, then the newest ones; what is missing is told."""
        number, state = self._newest_sound_state()
        rows = 0
        for part in self._parts_of(number, state):
            if (table := self._part(part)) is not None:
                rows += table.num_rows
                yield table
        if state is not None:
            self.lost = max(0, state["completed"] + state["failed"] - rows)
            if self.lost and "parts" not in state and not self.notices.lines:
                self.notices.tell(
                    self._trials, f"lacks {self.lost:,} of the trials that its state has counted: they are lost"
                )
        seen: set[int] = set()
        for event in self._events(self._sources(number), number, seed):
            if isinstance(event, Gap):
                self._tell_of_gap(event)
            elif isinstance(event, Trial) and event.id not in seen:
                seen.add(event.id)
                yield event
        for trial in remembered_trials(state, seed):
            if trial.id not in seen:
                yield trial

    def _tell_of_gap(self, gap: Gap) -> None:
        if gap.state:
            if not self._numbers("state"):  # else it was told
                self.notices.tell(self._journals, "has no state of the search any more; its trials are not lost")
            return
        if gap.torn:
            self.notices.tell(gap.path, "ends in the middle of a line, which is lost")
            return
        lines = f"{gap.lines:,} line{'s' if gap.lines != 1 else ''}"
        self.notices.tell(gap.path, f"is damaged ({gap.why}): at least {lines} lost, the rest is not")

    def part_trials(self, seed: int) -> Iterator[Trial]:
        """The trials in the parts of the newest state, without those that are only in the journal."""
        number, state = self._newest_sound_state()
        for part in self._parts_of(number, state):
            if (table := self._part(part)) is not None:
                yield from table_to_trials(table, seed)

    def setup_cost(self) -> Cost:
        """Cost of the evaluator's one-off work so far: its preparation, and what it learnt on the way."""
        number, state = self._newest_sound_state()
        prepared = Cost(*state["setup_cost"]) if state else NO_COST
        learnt = Cost(*state["advances"]["cost"]) if state and state.get("advances") else NO_COST
        for event in self._events(self._sources(number), number, 0):
            if not isinstance(event, list):
                continue
            if event[0] == "s":
                prepared = Cost(*event[1:])
            elif event[0] == "v":
                learnt += Cost(*event[2:])
        return prepared + learnt

    def pending_cost(self) -> Cost:
        """Cost of the tries that failed of trials which are not finished, and so in no table yet."""
        number, state = self._newest_sound_state()
        lost: dict[int, float] = {job[0]: _lost_seconds(job) for job in (state["pending"] if state else ())}
        for event in self._events(self._sources(number), number, 0):
            if isinstance(event, Trial):
                lost.pop(event.id, None)
            elif isinstance(event, list) and event[0] == "f":
                lost[event[1]] = event[4]
        seconds = sum(lost.values())
        return Cost(wall_seconds=seconds, failed_seconds=seconds)

    def advanced(self) -> bool:
        """Whether the evaluator has learnt on during the search."""
        number, state = self._newest_sound_state()
        later = self._events(self._sources(number), number, 0)
        return any(((state or {}).get("advances") or {}).get("cost") or ()) or any(
            isinstance(event, list) and event[0] == "v" for event in later
        )

    def faults(self) -> Counter[str]:
        """How often what went wrong, over all sessions of the run."""
        path, counts, bad = self.path / FAULTS_FILE, Counter[str](), 0
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                counts[text(open_json(line, sealed=False)["kind"])] += 1
            except (Damaged, KeyError):  # also half-written, on a full disk
                bad += 1
        if bad:
            self.notices.tell(path, f"has {bad:,} damaged line{'s' if bad != 1 else ''}, which are not counted")
        return counts

    # -- verifications: beside the search, which may be running --------------------------------------

    def verifications(self) -> pa.Table | None:
        """All that was scored again, one row per architecture and verification; None if nothing was."""
        import pyarrow as pa

        tables = [table for number in self._numbers("verified") if (table := self.verification(number)) is not None]
        return pa.concat_tables(tables, promote_options="default") if tables else None

    def verification(self, number: int) -> pa.Table | None:
        """What a verification has found; None if it is not done, or damaged."""
        try:
            return read_parquet(self._name("verified", number))
        except Damaged:
            return None


class RunFolder(StoredRun):
    """The files of one run. Only one process can have it open for writing.

    Args:
        path: The folder; where it is does not change with the current directory.

    Attributes:
        notices: What reading has found to be damaged.
        lost: How many trials of parts are lost, as far as ``table`` or ``trials`` was called.
        died: Whether the session before this one did not end in order: it was killed, or could not write.
    """

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any]) -> RunFolder:
        """Makes a new run folder and writes its ``config.yaml``.

        Raises:
            RunFolderError: If there is a run already, or the folder cannot be written.
        """
        folder = cls(path)
        folder._refuse_occupied()
        text = sealed_yaml(config)  # first, so that what cannot be written leaves no folder behind
        try:
            for each in (folder._trials, folder._journals):
                each.mkdir(parents=True, exist_ok=True)
            folder._acquire()
            folder._refuse_occupied()  # by another process, meanwhile
            folder._journal = Journal(folder._name("journal", 1), 1, (0, 0))
            write_whole(folder.path / "config.yaml", text.encode(), private=holds_environment(config))
        except OSError as error:
            folder.close()
            raise RunFolderError(
                f"{path}: cannot write a run here ({error.strerror}); name a folder that you may write to"
            ) from None
        except RunFolderError:
            folder.close()
            raise
        return folder

    def _refuse_occupied(self) -> None:
        if (self.path / "config.yaml").exists():
            raise RunFolderError(
                f"{self.path}: there is a run here already; 'archsearch resume {self.path}' goes on with it"
            )
        if any(self._numbers(what) for what in ("part", "state")) or any(
            self._find("journal", number).stat().st_size > NEW_JOURNAL for number in self._numbers("journal")
        ):
            raise RunFolderError(
                f"{self.path}: there are trials of a run here, but its config.yaml is gone; put that back and resume "
                "it, or name another folder"
            )

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

    def _acquire(self) -> None:
        self._noted = noted(self.path / "lock")
        self._lock = Lock(self.path / "lock")
        self.died = self._lock.died

    # -- writing -------------------------------------------------------------------------------------

    def append(self, events: Sequence[str]) -> None:
        """Adds events, as JSON lists, to the journal; the operating system has them when this returns.

        Raises:
            StorageError: If they cannot be written.
        """
        assert self._journal is not None
        try:
            self._journal.append(events)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot write to the run folder ({error.strerror}); what was done before is saved: "
                f"make room, then 'archsearch resume {self.path}'"
            ) from None
        if self._lock is not None:
            self._lock.note(self._journal.number, self._journal.lines)

    def write_part(self, table: pa.Table | None, state: dict[str, Any]) -> None:
        """Writes the trials since the last part, and the state; begins the next journal.

        Raises:
            StorageError: If they cannot be written; the journal still has everything.
        """
        assert self._journal is not None
        number, parts, journal = self._journal.number, dict(self._parts), None
        try:
            # First, so that whenever there is a state, there is a journal after it.
            journal = Journal(self._name("journal", number + 1), number + 1, (number, self._journal.lines))
            if table is not None:
                aside = self._journals / f"{self._name('part', number).name}.tmp"
                write_whole(self._name("part", number), part_to_parquet(table), aside)
                parts[number] = table.num_rows
            write_whole(self._name("state", number), seal_json(state | {"parts": list(parts.items())}))
            self._parts = parts
            self._journal.close()
            self._journal = journal
            self._discard(self._previous_state)
        except OSError as error:
            if journal is not None and journal is not self._journal:
                journal.close()
                journal.path.unlink(missing_ok=True)
            raise StorageError(f"{self.path}: cannot write to the run folder ({error.strerror})") from None
        self._previous_state = number

    def close(self, in_order: bool = True) -> None:
        """Releases the folder; after a part was written, the empty journal and the backups go.

        Args:
            in_order: Whether everything was saved.
        """
        journal, self._journal = self._journal, None
        lock, self._lock = self._lock, None
        left = None
        try:
            if journal is not None:
                journal.close()
                left = (journal.number, journal.lines)
                if journal.empty and self._name("state", self._previous_state).exists():
                    self._discard(self._previous_state)
                    journal.path.unlink()
                    left = None
        finally:
            if lock is not None:
                lock.release(in_order, left)

    def abandon(self) -> None:
        """Removes what ``create`` has made, as long as nothing was done; for a search that turned out to be refused."""
        journals, made = self._numbers("journal"), (self.path / "config.yaml", self.path / "lock")
        evaluator = self.path / "evaluator"
        if self._numbers("state") or self._numbers("part") or journals != [1] or (self.path / FAULTS_FILE).exists():
            return
        if self._find("journal", 1).stat().st_size > NEW_JOURNAL or (evaluator.exists() and any(evaluator.iterdir())):
            return
        with contextlib.suppress(OSError):
            for path in (*made, self._name("journal", 1)):
                path.unlink(missing_ok=True)
            for each in (evaluator, self._trials, self._journals, self.path):
                if each.exists():
                    each.rmdir()

    def _discard(self, state: int) -> None:
        """Deletes what a state and its parts make superfluous: older states, and the journals up to it."""
        for old in self._numbers("state"):
            if old < state:
                self._find("state", old).unlink()
        for old in self._numbers("journal"):
            if old <= state:
                self._find("journal", old).unlink()
        for old in self._numbers("part"):
            if old <= state and old not in self._parts:
                self._name("part", old).unlink()

    def add_fault(self, fault: Mapping[str, Any]) -> None:
        """Adds a line to ``faults.jsonl``.

        Raises:
            StorageError: If it cannot be written.
        """
        try:
            with open(self.path / FAULTS_FILE, "a+b", buffering=0) as file:
                # The disk was full in the middle of the last line: this one must not be a part of it.
                begin = b"\n" if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n" else b""
                write_all(file, begin + seal_json(dict(fault)) + b"\n")
        except OSError as error:
            raise StorageError(f"{self.path}: cannot write to the run folder ({error.strerror})") from None

    # -- going on ------------------------------------------------------------------------------------

    def recover(self, seed: int) -> tuple[dict[str, Any] | None, Iterator[Any], int]:
        """Finds where to go on from, and begins a new journal.

        Args:
            seed: The run's root seed.

        Returns:
            The newest sound state (None: from the start), the events since then (see ``_events``), and the number of
            trials in the parts that belong to that state.

        Raises:
            StorageError: If the folder cannot be written.
        """
        number, state = self._newest_sound_state()
        try:
            sources = self._take_up(number, state)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot write to the run folder ({error.strerror})") from None
        return state, self._events(sources, number, seed, keep=True), sum(self._parts.values())

    def _take_up(self, number: int, state: dict[str, Any] | None) -> list[tuple[int, bool]]:
        """Puts the files after a state in order, and begins a new journal; where what happened since is."""
        found = self._numbers("journal")
        for part in self._numbers("part"):
            if part > number and part in found:
                self._name("part", part).unlink()  # its trials are replayed from the journal
        self._parts = {}
        for part in self._parts_of(number, state):
            table = self._part(part)
            if table is None and self._name("part", part).exists():
                keep_aside(self.path, self._name("part", part))
            elif table is not None:
                self._parts[part] = table.num_rows
        sources = self._sources(number)
        last = max((n for n, is_part in sources if not is_part), default=number)
        previous = (last, self._lines(last))
        newest = max([number, *found, *self._numbers("part")])
        self._previous_state = number
        for each in (self._trials, self._journals):  # of another version, or gone
            each.mkdir(exist_ok=True)
        self._journal = Journal(self._name("journal", newest + 1), newest + 1, previous)
        return sources

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
        failure, error = map(text, outcome)
    else:
        score, names, values, cost, *curve = outcome
        spent = Cost(0.0, *map(as_number, cost)) if any(cost) else NO_COST
        metrics = dict(zip(map(text, names), map(as_number, values), strict=True))
        evaluation = Evaluation(as_number(score), metrics, spent, *(tuple(map(as_number, each)) for each in curve))
    run = (training_seed(seed, id_, budget), started, seconds, worker, attempts)
    return Trial(id_, tuple(architecture), parent, evaluation, *run, failure, error, budget, lost)


def training_seed(seed: int, id_: int, budget: Budget | None) -> int:
    """The seed of a trial's evaluation under a root seed: of the trial that began the training, where one goes on."""
    return evaluation_seed(seed, id_ if budget is None or budget.origin is None else budget.origin)


def sound_event(event: list[Any], seed: int) -> Trial | list[Any] | None:
    """What a line of the journal holds: a trial, or another event (see ``History.note``); None if it is none."""
    try:
        match event:
            case ["t", *_]:
                return event_to_trial(event, seed)
            case ["a", int(), float() | int(), list(jobs)] if all(_is_job(job) for job in jobs):
                return event
            case ["f", int(), now, int(), lost, _]:
                return [*event[:2], as_number(now), event[3], as_number(lost), event[5]]
            case ["s", *cost] if OLD_COST <= len(cost) <= len(COST_FIELDS):
                return ["s", *map(as_number, cost)]
            case ["v", now, *cost] if OLD_COST <= len(cost) <= len(COST_FIELDS):
                return ["v", as_number(now), *map(as_number, cost)]
    except (ValueError, TypeError, LookupError, AttributeError):
        pass
    return None


def _is_job(job: Any) -> bool:
    return isinstance(job, list) and len(job) == 2 and isinstance(job[0], int) and isinstance(job[1], list)


def remembered_trials(state: dict[str, Any] | None, seed: int) -> list[Trial]:
    """Trials of a damaged journal that a state has kept, until the search asks for them."""
    return [event_to_trial(event, seed) for event in (state or {}).get("remembered", ())]


def check_state(state: dict[str, Any]) -> None:
    """Raises ``Damaged`` if what is read of a state, apart from by the search itself, is not as it should be."""
    try:
        cost, advances = state["setup_cost"], state.get("advances")
        for each in (state["clock"], state["billed"], *state["costs"]):
            as_number(each)
        Cost(*map(as_number, cost)), remembered_trials(state, 0)
        if advances:
            Cost(*map(as_number, advances["cost"]))
        parts = dict(state.get("parts", ()))
        if not all(type(each) is int for each in (state["completed"], state["failed"], *parts, *parts.values())):
            raise TypeError("expected whole numbers")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Damaged(f"no state of a search: {error!r:.80}") from None


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
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
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


def check_part(table: pa.Table) -> None:
    """Raises ``Damaged`` if a table is no part of a history: columns are missing, or of another type."""
    import pyarrow as pa

    texts, whole = ("name", "status", "failure", "error"), {"id": pa.int64(), "parent": pa.int64()}
    expected = {"architecture": pa.list_(pa.int32()), **whole, **dict.fromkeys(texts, pa.string())}
    expected |= {"worker": pa.int32(), "attempts": pa.int32()}
    columns = ("score", "started_seconds", *(COST_COLUMNS[field] for field in COST_FIELDS[:-1]))
    expected |= dict.fromkeys(columns, pa.float64())
    types = {field.name: field.type for field in table.schema}
    metrics = dict.fromkeys((name for name in types if name not in RESERVED_COLUMNS), pa.float64())
    for name, kind in (expected | metrics).items():
        found = types.get(name)
        if found != kind and not (name == "architecture" and found is not None and pa.types.is_list(found)):
            raise Damaged(f"column {name}: expected {kind}, got {types.get(name, 'none')}")
    for name in ("id", "architecture", "status", "name"):
        if table[name].null_count:
            raise Damaged(f"column {name}: expected a value in each row")


# -- files -----------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes, aside: Path | None = None, private: bool = False) -> None:
    """Writes a file so that it is there whole or not at all, even if the process is killed.

    Args:
        path: The file.
        data: What it is to hold.
        aside: Where it is until it is whole; None: beside it.
        private: Whether only its owner may read it.
    """
    aside = aside or path.with_name(path.name + ".tmp")
    if private:
        aside.unlink(missing_ok=True)  # one that is there keeps its mode
    with open(aside, "wb", opener=_private if private else None) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def part_to_parquet(table: pa.Table) -> bytes:
    """Trials as the bytes of a part."""
    plain = ("id", "wall_seconds", "started_seconds")
    return to_parquet(
        table,
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


def write_parquet(path: Path, table: pa.Table) -> None:
    """Writes a table so that it is there whole or not at all."""
    write_whole(path, to_parquet(table, compression="zstd"))


def _lost_seconds(job: Sequence[Any]) -> float:
    """Of a pending job in a state: what its earlier tries have cost, which 0.1.0 did not keep."""
    return float(job[8]) if len(job) > 8 else 0.0


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
