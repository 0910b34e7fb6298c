"""The journal of a run: one sealed line per event, in files that say what they follow.

The first line of a journal is ``["j", number, previous, lines]``: its own number, the one of the journal before it, and
how many lines that had. Every line says its place. So whatever is missing or was changed is noticed, line by line: a
reader gets the sound events, and a ``Gap`` where some are missing.

Journals of version 0.1.0 (in ``trials/``) have neither: a line there is sound if it is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from archsearch.files.checksums import Damaged, open_line, seal_line

Event = list[Any]


class Gap(NamedTuple):
    """Events are missing in a journal.

    Attributes:
        path: The journal.
        lines: How many at least.
        why: What is wrong with the file.
        torn: Whether all that is missing is the end of the last line, as a full disk leaves it.
        state: Whether it is the state of the search that is missing: only its trials are there.
    """

    path: Path
    lines: int
    why: str
    torn: bool = False
    state: bool = False


class Journal:
    """A journal that is being written.

    Args:
        path: The file; a new one.
        number: Its number.
        previous: Number and lines of the journal before it.

    Attributes:
        path: The file.
        number: Its number.
        lines: How many it has, the first one included.

    Raises:
        OSError: If it cannot be written.
    """

    def __init__(self, path: Path, number: int, previous: tuple[int, int]) -> None:
        self.path, self.number, self.lines = path, number, 1
        aside = path.with_name(path.name + ".tmp")  # a journal without its first line would look damaged
        aside.write_bytes(seal_line(json.dumps(["j", number, *previous]), 0))
        aside.rename(path)
        # Unbuffered: one system call per append, so that a killed process loses nothing.
        self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115

    @property
    def empty(self) -> bool:
        """Whether no event was written."""
        return self.lines == 1

    def append(self, events: Sequence[str]) -> None:
        """Adds events (JSON lists); the operating system has them when this returns.

        Raises:
            OSError: If they cannot be written.
        """
        first = self.lines
        write_all(self._file, b"".join([seal_line(event, first + i) for i, event in enumerate(events)]))
        self.lines += len(events)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def write_all(file: IO[bytes], data: bytes) -> None:
    """Writes to an unbuffered file: a disk that is nearly full takes a part, and says only then why."""
    while data:
        data = data[file.write(data) :]


class Reader:
    """The sound events of a journal, and gaps where some are missing, in order; once.

    Args:
        path: The file.
        sealed: Whether its lines have checksums; those of version 0.1.0 have none.
        before: Number and lines of what was read before this one.

    Attributes:
        lines: How many lines it has, as far as read.
    """

    def __init__(self, path: Path, sealed: bool, before: tuple[int, int]) -> None:
        self._path, self._sealed, self._before = path, sealed, before
        self.lines = 0

    def __iter__(self) -> Iterator[Event | Gap]:
        """The events, and the gaps."""
        try:
            file = self._path.open("rb")
        except OSError as error:
            yield Gap(self._path, 1, f"cannot be read: {error.strerror}")
            return
        with file:
            yield from self._sealed_events(file) if self._sealed else self._plain_events(file)

    def _sealed_events(self, file: IO[bytes]) -> Iterator[Event | Gap]:
        bad, torn = "", False
        for line in file:
            try:
                event, place = open_line(line)
            except Damaged as error:
                bad, torn = str(error), not bad and not line.endswith(b"\n")
                continue
            if place < self.lines:  # it is there twice
                continue
            first = max(self.lines, 1)  # the first line alone is no event
            if place > first:
                yield Gap(self._path, place - first, f"line {first + 1} is changed or missing")
            self.lines, bad = place + 1, ""
            if place:
                yield event
            elif missing := _missing_before(event, self._before):
                yield Gap(self._path, missing, "the journal before it is missing, or has lost its end")
        if bad:
            yield Gap(self._path, 1, f"line {max(self.lines, 1) + 1} is the last, and changed", torn)
        elif not self.lines:
            yield Gap(self._path, 1, "it is empty")

    def _plain_events(self, file: IO[bytes]) -> Iterator[Event | Gap]:
        for line in file:
            self.lines += 1
            torn = not line.endswith(b"\n")
            try:
                event = None if torn else json.loads(line)
            except (ValueError, RecursionError):
                event = None
            if isinstance(event, list) and event:
                yield event
            else:
                yield Gap(self._path, 1, f"line {self.lines} is changed", torn)


def _missing_before(first_line: Event, before: tuple[int, int]) -> int:
    """How many events the journal that a first line names has lost."""
    _, _, previous, lines = first_line
    if previous == before[0]:
        return int(max(0, lines - before[1]))
    return int(lines) - 1 if previous > before[0] else 0


def last_place(path: Path, sealed: bool) -> int:
    """How many lines a journal has, by what its last sound line says; of those of version 0.1.0: sound ones."""
    lines = 0
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    lines = max(lines, open_line(line)[1] + 1) if sealed else lines + 1
                except Damaged:
                    continue
    except OSError:
        pass
    return lines
