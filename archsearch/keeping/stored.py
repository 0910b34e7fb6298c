"""What lies in the folder of a run, and how much of it is sound."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from archsearch.errors import RunFolderError
from archsearch.files.checksums import Damaged, open_json
from archsearch.files.damage import Notices, keep_aside
from archsearch.files.lock import Lock, in_use, noted
from archsearch.files.parquet import read_parquet
from archsearch.files.yaml_files import read_yaml
from archsearch.keeping.columns import check_part, table_to_trials
from archsearch.keeping.events import check_state, sound_event
from archsearch.keeping.journal import Gap, Journal, Reader, last_place
from archsearch.keeping.run_config import check_config, is_changed
from archsearch.stores.places import given_place
from archsearch.trial import Trial

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.stores.mirrors import Mirror


class Stored:
    """What lies in the folder of a run, and how much of it is sound: parts, states, journals.

    Args:
        path: The folder; where it is does not change with the current directory. Or a store, such as
            ``s3://bucket/runs/one``: what it has is then fetched.

    Attributes:
        path: The folder on this machine.
        where: What it is called: the folder, or the store.
        notices: What reading has found to be damaged.
        lost: How many trials of parts are lost, as far as ``table`` or ``trials`` was called.
        died: Whether the session before this one did not end in order: it was killed, or could not write.
    """

    def __init__(self, path: str | Path) -> None:
        self.where: str | Path = given_place(path)
        self.notices = Notices()
        self._written_elsewhere = False
        self.path = Path(self.where) if isinstance(self.where, Path) else self._fetch(self.where)
        self.lost = 0
        self._trials = self.path / "trials"
        self._journals = self.path / "journal"
        self._journal: Journal | None = None
        self._mirror: Mirror | None = None  # where it goes to a store
        self._closed_mirror: Mirror | None = None
        self._lock: Lock | None = None
        self._noted: tuple[int, int] | None = None
        self._parts: dict[int, int] = {}  # that belong to the newest state: their rows
        self._previous_state = 0
        self.died = False

    def _fetch(self, store: str) -> Path:
        """Brings what a store has of a run to this machine; where it lies here."""
        from archsearch.stores.mirrors import fetched

        folder, self._written_elsewhere, told = fetched(store)
        for line in told:
            self.notices.say(line)
        return folder

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
                f"{self.where}: no run here (there is no config.yaml); expected a folder made by 'archsearch run --out'"
            ) from None
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise RunFolderError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        check_config(path, config)
        if is_changed(text):
            self.notices.tell(path, "is not as it was written: it was changed by hand, or is damaged")
        return cast(dict[str, Any], config)

    def in_use(self) -> bool:
        """Whether a process is running this search, on this machine or on one that shares the folder's locks."""
        return self._written_elsewhere or in_use(self.path / "lock")

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
