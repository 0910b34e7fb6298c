"""A folder at one moment, while others write to it: what a process that is killed just then would leave behind.

Files of a run are written aside and renamed, or grow. So links to all of them, made while no name came, went or changed
its file, are the folder at that moment; and a link keeps what it stands for, whatever becomes of the name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOCK = "lock"
TRIES = 20
PAUSE = 0.01
CHUNK = 1 << 20
_GROWING = ".jsonl"


class Seen(NamedTuple):
    """A file, as far as one sees without reading it: which one, its bytes, when written (ns), who may read it."""

    inode: int
    size: int
    mtime: int
    mode: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Seen:
        """A file by what the system says of it."""
        return cls(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_mode & 0o666)


def look(folder: Path) -> dict[str, Seen]:
    """The files below a folder; those that are not whole yet, and links, are none."""
    found: dict[str, Seen] = {}
    todo = [folder]
    while todo:
        with contextlib.suppress(FileNotFoundError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(".tmp"):
                        name = os.path.relpath(entry.path, folder)
                        found[name] = Seen.of(entry.stat(follow_symlinks=False))
    return found


@contextlib.contextmanager
def snapshot(folder: Path, aside: Path, known: dict[str, Seen]) -> Iterator[tuple[dict[str, Seen], dict[str, Path]]]:
    """The files of a folder at one moment, and where to read those that are not known as they are.

    Args:
        folder: The folder.
        aside: A folder beside it, for the links.
        known: Files that need no link.
    """
    for _ in range(TRIES):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        before = look(folder)
        links = _link(folder, aside, before, known)
        after = look(folder)
        if links is not None and _names(before) == _names(after):
            break
        time.sleep(PAUSE)  # after so many tries it is taken as it is: a logger may make files all the time
    try:
        yield (
            {name: seen for name, seen in after.items() if name in (links or {}) or known.get(name) == seen},
            links or {},
        )
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _link(folder: Path, aside: Path, seen: dict[str, Seen], known: dict[str, Seen]) -> dict[str, Path] | None:
    """Links to the files that are not known; None: one went meanwhile."""
    links: dict[str, Path] = {}
    # What the lock notes of the journal is never more than that has: so it comes first.
    for number, name in enumerate(sorted(seen, key=lambda name: os.path.basename(name) != LOCK)):
        if known.get(name) == seen[name] and not name.endswith(_GROWING):
            continue
        link = aside / str(number)
        try:
            if os.path.basename(name) == LOCK:  # it is written in place
                shutil.copyfile(folder / name, link)
            else:
                _link_or_copy(folder / name, link)
        except FileNotFoundError:
            return None
        links[name] = link
    return links


def _link_or_copy(path: Path, link: Path) -> None:
    try:
        os.link(path, link)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(path, link)


def _names(seen: dict[str, Seen]) -> set[tuple[str, int]]:
    return {(name, each.inode) for name, each in seen.items()}


def whole_lines(path: Path, name: str, size: int) -> int:
    """How many bytes of a file are whole: of one that grows line by line, up to its last line that has ended."""
    if not name.endswith(_GROWING):
        return size
    with open(path, "rb") as file:
        while size:
            start = max(0, size - CHUNK)
            file.seek(start)
            end = file.read(size - start).rfind(b"\n")
            if end >= 0:
                return start + end + 1
            size = start
    return 0


def crc_of(path: Path, size: int) -> int | None:
    """Checksum of the first bytes of a file; None: it has fewer."""
    crc, left = 0, size
    with open(path, "rb") as file:
        while left:
            data = file.read(min(CHUNK, left))
            if not data:
                return None
            crc, left = zlib.crc32(data, crc), left - len(data)
    return crc
