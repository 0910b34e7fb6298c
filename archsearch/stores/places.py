"""Where a store is, how it is written, and where its copy on this machine lies.

A place is named as pyarrow and fsspec do, ``s3://bucket/runs/one``; after a ``?`` follow settings, of the file system
(``endpoint_override=localhost:9000``) and of what is said here (``ship_seconds=2``). Credentials are in none of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import urllib.parse
from pathlib import Path

from archsearch.errors import RunFolderError, UsageError

CACHE = "ARCHSEARCH_STORES"
"""Environment variable: the folder in which the copies of stores lie."""
KEPT = "archsearch-store.json"
"""File beside a copy: which store it is one of, and how far both went together."""

HELD: set[Path] = set()
"""Copies that this process ships."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder in a store.

    Attributes:
        uri: What names it, without settings; messages say it.
        options: Settings of the file system, as given.
        ship_seconds: Between two shipments, as long as there is something new, > 0.
        ship_bytes: What is new, at most, before it is shipped earlier, >= 1.
        lease: Seconds without a sign of life after which a writer counts as dead, >= 1; of the store's own clock.
        patience: Seconds for which a store may be out of reach before the search ends, >= 0.
    """

    uri: str
    options: tuple[tuple[str, str], ...] = ()
    ship_seconds: float = 10.0
    ship_bytes: float = 1 << 20
    lease: float = 30.0
    patience: float = 600.0

    @property
    def around(self) -> Path:
        """Where the copy lies on this machine, with what is noted of it; other endpoints, other folders."""
        above = os.environ.get(CACHE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "archsearch" / "stores"
        endpoint = [each for each in self.options if each[0] == "endpoint_override"]
        endpoint += [
            (name, os.environ[name]) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if name in os.environ
        ]
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", self.uri)[-60:].strip("-.")
        digest = hashlib.sha256(repr((self.uri, endpoint)).encode()).hexdigest()[:10]
        return Path(above).expanduser().absolute() / f"{name}-{digest}"

    @property
    def folder(self) -> Path:
        """The copy on this machine."""
        return self.around / "run"


_LEAST = {"ship_seconds": 0.01, "ship_bytes": 1.0, "lease": 1.0, "patience": 0.0}


def is_store(path: object) -> bool:
    """Whether this names a store, and no folder of this machine."""
    return isinstance(path, str) and _SCHEME.match(path) is not None


def place_of(text: str) -> Place:
    """The place that a text names.

    Raises:
        UsageError: If it holds credentials, names no folder in a bucket, or one of its settings is none.
    """
    parts = urllib.parse.urlsplit(text)
    uri = urllib.parse.urlunsplit((parts.scheme.lower(), parts.netloc, parts.path.rstrip("/"), "", ""))
    if "@" in parts.netloc and parts.scheme not in ("abfs", "abfss", "wasb", "wasbs"):
        raise UsageError(
            f"{parts.scheme}://...@{parts.netloc.rpartition('@')[2]}{parts.path}: expected no credentials in the name "
            "of a store, since it is printed and kept; give them in the environment"
        )
    if not (parts.netloc + parts.path).strip("/"):
        raise UsageError(f"{text}: expected a folder in a store, such as s3://bucket/runs/one")
    options, own = [], {}
    for name, value in urllib.parse.parse_qsl(parts.query, keep_blank_values=True):
        if name in _LEAST:
            own[name] = _number(uri, name, value)
        else:
            options.append((name, value))
    return Place(uri, tuple(options), **own)


def _number(uri: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not _LEAST[name] <= number < float("inf"):
        raise UsageError(f"{uri}: {name}: expected a number >= {_LEAST[name]:g}, got {value!r}")
    return number


def local_folder(path: str | Path) -> Path:
    """Where a folder lies on this machine: itself, or the copy of a store's."""
    return place_of(path).folder if isinstance(path, str) and is_store(path) else Path(path).absolute()


def given_place(path: str | Path) -> str | Path:
    """What names a folder from now on, whatever becomes of the current directory: a store stays what it is.

    Raises:
        UsageError: If it is a ``Path`` made of the name of a store, which has lost a slash.
    """
    if isinstance(path, str) and is_store(path):
        return path
    if (
        isinstance(path, Path)
        and (parts := path.parts)
        and re.fullmatch(r"(s3|gs|gcs|abfss?|hdfs|memory|file):", parts[0])
    ):
        raise UsageError(f"{path}: expected the name of a store as a text, got a Path, which loses a slash of it")
    return Path(path).absolute()


def refuse_copy(folder: Path) -> None:
    """Refuses to write to a copy of a store as if it were an ordinary folder: what is done there would not be shipped.

    Raises:
        RunFolderError: If it is one, and this process does not ship it.
    """
    if folder not in HELD and (note := folder.parent / KEPT).exists():
        uri = json.loads(note.read_text()).get("uri", "a store")
        raise RunFolderError(f"{folder}: this is the copy of {uri} on this machine; name that instead")
