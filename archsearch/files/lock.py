"""The lock of a run folder: one search at a time, and a note of whether the last one ended in order.

A lock of ``flock`` belongs to an open file, so two searches of one process exclude each other as two processes do, and
somebody who reads the file takes nothing away. But a forked child shares it, and would keep it after its parent was
killed: so every child closes its copy as soon as it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
import zlib
from pathlib import Path

from archsearch.errors import RunFolderError
from archsearch.files.checksums import DIGITS, checksum

TRIES, SECONDS = 5, 0.05
RUNNING = b"running"
"""In the file from the begin of a session until it has ended in order."""

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """The lock of a folder, held from here on.

    Args:
        path: The file.

    Attributes:
        died: Whether the session before this one did not end in order: it was killed, or could not write.

    Raises:
        RunFolderError: If somebody else holds it.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            self._take(path)
            self._file.seek(0)
            self.died = self._file.read(len(RUNNING)) == RUNNING
            if not self.died:  # else nothing is to be done, at which it could be killed or the disk be full
                self._file.truncate(0)
                self._file.write(RUNNING)
        except BaseException:
            self._file.close()
            raise
        self._notes = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        _held.add(self)

    def _take(self, path: Path) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not tries_left:
                    raise RunFolderError(
                        f"{path.parent}: another process is running this search; wait for it or stop it"
                    ) from None
                time.sleep(SECONDS)  # it may be someone who asks ``in_use``, for a moment

    def note(self, journal: int, lines: int) -> None:
        """Notes how many lines a journal has at least, so that it is noticed when whole lines at its end are lost."""
        with contextlib.suppress(OSError):  # a full disk; it is for those who look for damage
            os.pwrite(self._notes, _note(RUNNING, journal, lines), 0)

    def release(self, in_order: bool, journal: tuple[int, int] | None = None) -> None:
        """Lets go of the folder.

        Args:
            in_order: Whether everything was saved.
            journal: Number and lines of the journal that is left.
        """
        if not self._file.closed and in_order:
            self._file.truncate(0)
            if journal is not None:
                with contextlib.suppress(OSError):  # a full disk; it is for those who look for damage
                    os.pwrite(self._notes, _note(b"stopped", *journal), 0)
        self.close()

    def close(self) -> None:
        """Lets go, and leaves the note as it is."""
        if not self._file.closed:
            self._file.close()
            os.close(self._notes)
        _held.discard(self)


def _note(what: bytes, journal: int, lines: int) -> bytes:
    facts = b"%s %06d %012d " % (what, journal, lines)
    return b"%s%08x" % (facts, zlib.crc32(facts))


def in_use(path: Path) -> bool:
    """Whether a process holds that lock, on this machine or on one that shares the folder's locks."""
    try:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def left_running(path: Path) -> bool:
    """Whether the last session did not end in order, and none runs now."""
    try:
        return path.read_bytes().startswith(RUNNING) and not in_use(path)
    except OSError:
        return False


def noted(path: Path) -> tuple[int, int] | None:
    """The newest journal of a folder, and how many lines it has at least, by the file of its lock; None: unknown."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    facts, digits = found[:-DIGITS], found[-DIGITS:]
    parts = facts.split()
    if len(parts) == 3 and digits == checksum(facts).encode():
        return int(parts[1]), int(parts[2])
    return None


def _let_go_in_a_child() -> None:
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_let_go_in_a_child)
