"""The folder of a run: what is written there, and in which order, so that nothing is lost."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.errors import RunFolderError, StorageError
from archsearch.files.checksums import seal_json
from archsearch.files.damage import keep_aside
from archsearch.files.lock import Lock, noted
from archsearch.files.parquet import part_to_parquet, write_parquet
from archsearch.files.writing import write_whole
from archsearch.keeping.journal import Journal, write_all
from archsearch.keeping.run_config import sealed_yaml
from archsearch.keeping.stored_run import FAULTS_FILE, StoredRun
from archsearch.keeping.trust import holds_environment
from archsearch.stores.places import is_store, refuse_copy

if TYPE_CHECKING:
    import pyarrow as pa

NEW_JOURNAL = 64
"""Bytes that a journal without events has at most."""


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
        text = sealed_yaml(config)  # first, so that what cannot be written leaves no folder behind
        folder = cls._to_write(path)
        try:
            folder._refuse_occupied()
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
                f"{self.where}: there is a run here already; 'archsearch resume {self.where}' goes on with it"
            )
        if any(self._numbers(what) for what in ("part", "state")) or any(
            self._find("journal", number).stat().st_size > NEW_JOURNAL for number in self._numbers("journal")
        ):
            raise RunFolderError(
                f"{self.where}: there are trials of a run here, but its config.yaml is gone; put that back and resume "
                "it, or name another folder"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens a run to go on with it.

        Raises:
            RunFolderError: If another process has it open, or it cannot be written.
            StorageError: If a store cannot be reached.
        """
        folder = cls._to_write(path)
        try:
            folder._acquire()
        except OSError as error:
            folder._close_mirror()
            raise RunFolderError(f"{path}: cannot write to this run ({error.strerror})") from None
        except RunFolderError:
            folder._close_mirror()
            raise
        return folder

    @classmethod
    def _to_write(cls, path: str | Path) -> RunFolder:
        """The folder; of a store, which is claimed, the one on this machine that is shipped there."""
        if not is_store(path):
            folder = cls(path)
            refuse_copy(folder.path)
            return folder
        from archsearch.stores.mirrors import Mirror

        mirror = Mirror(str(path))
        folder = cls(mirror.folder)
        folder.where, folder._mirror = str(path), mirror
        for line in mirror.told:
            folder.notices.say(line)
        return folder

    def _acquire(self) -> None:
        self._noted = noted(self.path / "lock")
        self._lock = Lock(self.path / "lock")
        self.died = self._lock.died

    # -- writing -------------------------------------------------------------------------------------

    def append(self, events: Sequence[str]) -> None:
        """Adds events, as JSON lists, to the journal; the operating system has them when this returns.

        Raises:
            StorageError: If they cannot be written, or the store that they go to was out of reach for too long.
        """
        assert self._journal is not None
        try:
            self._journal.append(events)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot write to the run folder ({error.strerror}); what was done before is saved: "
                f"make room, then 'archsearch resume {self.where}'"
            ) from None
        if self._lock is not None:
            self._lock.note(self._journal.number, self._journal.lines)
        if self._mirror is not None:
            self._mirror.check()

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
            self._close_mirror()

    def _close_mirror(self) -> None:
        """Ships the rest to the store, if there is one."""
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            self._closed_mirror = mirror
            mirror.close()

    def abandon(self) -> None:
        """Removes what ``create`` has made, as long as nothing was done; for a search that turned out to be refused."""
        journals, made = (
            self._numbers("journal"),
            [self.path / name for name in ("config.yaml", "lock", "told.parquet")],
        )
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
        if self._mirror is not None or self._closed_mirror is not None:
            self._close_mirror()
            assert self._closed_mirror is not None
            self._closed_mirror.forget()

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
                end = file.tell()
                # A process that was killed in the middle of the last line: this one must not be a part of it.
                begin = b"\n" if end and os.pread(file.fileno(), 1, end - 1) != b"\n" else b""
                try:
                    write_all(file, begin + seal_json(dict(fault)) + b"\n")
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(end)  # a disk that is full took a part of it
                    raise
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
