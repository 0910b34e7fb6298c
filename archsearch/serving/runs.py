"""The run folders below some folders, each read again only when its files have changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.errors import ArchsearchError, NotTrusted, UnknownName, UsageError
from archsearch.files.damage import readable
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.stored_run import FAULTS_FILE, NOTE
from archsearch.showing.report import space_or_none
from archsearch.showing.status import Told, standing
from archsearch.space import Space

if TYPE_CHECKING:
    import pyarrow as pa

DEEPEST = 6
"""Folders below one that was named in which runs are found."""

MOST_RUNS = 2_000
MOST_TABLES = 8
"""Runs whose trials are kept in memory."""

AT_ONCE = 1.0
"""Seconds in which one look reads run folders; what is left is read by the next."""

READ = ("config.yaml", "lock", FAULTS_FILE, "trials", "journal", "evaluator", f"evaluator/{NOTE}")
"""What is read of a run folder, besides the files in its folders ``trials`` and ``journal``."""


class Found(NamedTuple):
    """A run folder.

    Attributes:
        id: What stands for it in addresses; no path does.
        name: Its path from the folder that was named.
        path: Where it is.
    """

    id: str
    name: str
    path: Path


class Look(NamedTuple):
    """A run folder as it was when its files were read.

    Attributes:
        run: Which.
        stamp: Changes with its files; empty: they cannot be read.
        config: What is in ``config.yaml``.
        told: How far the search is; None: it was not read yet, or cannot be.
        error: Why it cannot be read; empty: it can.
    """

    run: Found
    stamp: str
    config: Mapping[str, Any]
    told: Told | None
    error: str = ""


class Runs:
    """The runs below some folders; not to be used by two threads at once.

    Args:
        folders: Run folders, or folders above some.
        trust: See ``archsearch.resume``: without it, what is not installed is not imported.

    Raises:
        UsageError: If one of them is no folder.
    """

    def __init__(self, folders: Sequence[str | Path], trust: bool = False) -> None:
        self.folders = [Path(folder) for folder in folders]
        for folder in self.folders:
            if not folder.is_dir():
                raise UsageError(f"{folder}: expected a folder with runs, found none; see 'archsearch run --out'")
        self.trust = trust
        self.left_out = False
        """Whether there are more than ``MOST_RUNS``."""
        self._found: dict[str, Found] = {}
        self._looks: dict[str, Look] = {}
        self._tables: dict[str, tuple[str, RunFolder, Space | None, pa.Table]] = {}

    def looks(self) -> list[Look]:
        """All runs that are there now, by name; those for which the time did not suffice are not told yet."""
        found = list(dict.fromkeys(each for folder in self.folders for each in _found_below(folder)))
        self.left_out = len(found) > MOST_RUNS
        self._found = {each.id: each for each in found[:MOST_RUNS]}
        self._looks = {id_: look for id_, look in self._looks.items() if id_ in self._found}
        end = time.monotonic() + AT_ONCE
        return [self._look(each, late=time.monotonic() > end) for each in self._found.values()]

    def look(self, id_: str) -> Look:
        """A run by its id.

        Raises:
            UnknownName: If there is none.
        """
        if id_ not in self._found:
            self.looks()
        if id_ not in self._found:
            raise UnknownName("there is no such run, or not any more")
        return self._look(self._found[id_])

    def trials(self, look: Look) -> tuple[RunFolder, Space | None, pa.Table]:
        """The folder of a run, its space if that is known, and its trials.

        Raises:
            RunFolderError: If they cannot be read.
        """
        kept = self._tables.pop(look.run.id, None)
        if kept is None or kept[0] != look.stamp:
            with readable(look.run.name):
                folder = RunFolder(look.run.path)
                space = space_or_none(folder, look.config, self.trust)
                kept = (look.stamp, folder, space, folder.table(space))
        self._tables[look.run.id] = kept  # as the newest
        while len(self._tables) > MOST_TABLES:
            del self._tables[next(iter(self._tables))]
        return kept[1:]

    def _look(self, run: Found, late: bool = False) -> Look:
        old = self._looks.get(run.id)
        try:
            stamp = _stamp(run.path, self.trust)
            if old is not None and (late or old.stamp == stamp):
                return old
            if late:
                return Look(run, "", {}, None)
            config = RunFolder(run.path).config()
            new = Look(run, stamp, config, standing(run.path, trust=self.trust))
        except (ArchsearchError, OSError) as error:
            new = Look(run, "", {}, None, str(error))
        self._looks[run.id] = new
        return new


def _found_below(top: Path) -> Iterator[Found]:
    """The run folders in a folder, or itself; a run inside of a run, such as a verification's, is a part of it."""
    for above, folders, files in os.walk(top):
        path = Path(above)
        if "config.yaml" in files and {"trials", "journal"} & set(folders):
            folders.clear()
            name = str(path.relative_to(top)) if path != top else path.resolve().name
            digest = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
            yield Found(digest, name, path)
        deep = len(path.relative_to(top).parts) >= DEEPEST
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))


def _stamp(path: Path, trust: bool) -> str:
    """Changes with whatever is read of a run folder.

    Raises:
        NotTrusted: If a link leads out of it, and it is not trusted.
    """
    root, seen = path.resolve(), [str(RunFolder(path).in_use())]
    inside = [entry for name in ("trials", "journal") for entry in _entries(path / name)]
    for each in [*(path / name for name in READ), *inside]:
        if each.is_symlink() and not trust and not each.resolve().is_relative_to(root):
            raise NotTrusted(f"{each.name}: this link leads out of the run folder, so nothing is read; see --trust")
        with contextlib.suppress(FileNotFoundError):
            facts = each.stat()
            seen.append(f"{each.name} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.blake2b("\n".join(seen).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
