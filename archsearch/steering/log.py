"""A file of a run folder to which one line after another is added: what came from outside, and cannot be made again.

Each line is a JSON list that ends with its place and a checksum, as those of a journal (``files/checksums.py``). Unlike
a journal it stays as long as the folder does: a search that is replayed from its beginning needs all of it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from archsearch.errors import StorageError
from archsearch.files.checksums import Damaged, open_line, seal_line
from archsearch.files.damage import Notices


class SealedLog:
    """Lines that are added and never changed; may be used by several threads.

    Args:
        path: The file; it need not be there.
        notices: Where damage is told.
    """

    def __init__(self, path: Path, notices: Notices) -> None:
        self._path, self._notices = path, notices
        self._lock = threading.Lock()
        self._lines: int | None = None  # None: not looked at yet

    def read(self) -> list[list[Any]]:
        """The sound lines, in order; damage is told, but for a last line that a killed process did not finish."""
        with self._lock:
            return list(self._read())

    def _read(self) -> Iterator[list[Any]]:
        self._lines = bad = 0
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            self._notices.tell(self._path, f"cannot be read ({error.strerror}); what it held is not known")
            return
        for line in data.splitlines(keepends=True):
            try:
                event, place = open_line(line)
            except Damaged:
                whole = line.endswith(b"\n")
                bad += whole
                self._lines += whole
                continue
            bad += max(0, place - self._lines)
            self._lines = place + 1
            yield event
        if bad:
            self._notices.tell(self._path, f"is damaged: at least {bad:,} of its lines lost, with what they held")

    def append(self, event: list[Any]) -> None:
        """Adds a line; the operating system has it when this returns.

        Raises:
            StorageError: If it cannot be written.
        """
        with self._lock:
            if self._lines is None:
                for _ in self._read():
                    pass
            try:
                with open(self._path, "a+b", buffering=0) as file:
                    end = _end_of_lines(file)
                    line = seal_line(json.dumps(event), self._lines or 0)
                    if file.write(line) != len(line):
                        file.truncate(end)
                        raise OSError(28, os.strerror(28))
            except OSError as error:
                raise StorageError(f"{self._path}: cannot be written ({error.strerror})") from None
            self._lines = (self._lines or 0) + 1


def _end_of_lines(file: IO[bytes]) -> int:
    """Where the last whole line ends; what a killed process has begun behind it goes: nobody was told of it."""
    end = file.tell()
    file.seek(0)
    if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
        end = file.read().rfind(b"\n") + 1
        file.truncate(end)
    return end
