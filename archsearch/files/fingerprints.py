"""Whether what a run reads from outside is still what it began with: own tables, embedded ones, latency tables.

A fingerprint stands for content, wherever a file lies: a table may move, but a table that was edited between a run and
its resume would mix results of two tables. Fingerprints are in ``config.yaml``; runs of 0.1.0 have none.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archsearch.errors import RunFolderError, TableError
from archsearch.files.embedded import embedded_bytes

LENGTH = 32
"""Hexadecimal digits of a fingerprint; the whole SHA-256 would fill a line."""


def file_fingerprint(path: str | Path) -> str:
    """That of a file's content, read piece by piece.

    Raises:
        TableError: If it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from None


@functools.cache
def embedded_fingerprint(*names: str) -> str:
    """That of tables and models that are shipped with archsearch, which another version may have changed."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(embedded_bytes(name))
    return digest.hexdigest()[:LENGTH]


def fingerprints_of(**parts: Any) -> dict[str, str]:
    """What the parts of a search, and those inside them, read from outside.

    Args:
        **parts: Controllers, evaluators and models by name, such as ``evaluator=Tabular()``; others have no files.

    Returns:
        Fingerprints by where the file is named, such as ``evaluator.evaluators.0.table``.
    """
    found: dict[str, str] = {}
    for name, part in parts.items():
        found.update(_found(part, name, set()))
    return found


def _found(part: Any, where: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    if isinstance(part, (list, tuple)):
        for i, each in enumerate(part):
            yield from _found(each, f"{where}.{i}", seen)
        return
    own = getattr(type(part), "fingerprints", None)
    if own is None or id(part) in seen:
        return
    seen.add(id(part))
    yield from ((f"{where}.{name}", value) for name, value in own(part).items())
    for name, value in vars(part).items():  # not the settings alone: what stands for None is kept elsewhere
        yield from _found(value, f"{where}.{name.lstrip('_')}", seen)


def check_fingerprints(directory: str | Path, stored: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuses to go on where the content has changed.

    Args:
        directory: The run folder, for the message.
        stored: Fingerprints as they were when the run began.
        now: As they are.

    Raises:
        RunFolderError: If one differs.
    """
    for where, before in stored.items():
        if where in now and now[where] != before:
            raise RunFolderError(
                f"{directory}: {where} has changed since this run began, and results of both would be mixed: expected "
                f"the content {before}, got {now[where]}; put back what it was, or begin a new run"
            )


def without_files(description: Mapping[str, Any], name: str, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """A description without the paths of files whose content is known.

    Args:
        description: What ``components.describe`` gave.
        name: What the part is called in the fingerprints, such as ``evaluator``.
        fingerprints: As ``fingerprints_of`` gave them.
    """
    arguments = {key: _plain(value, f"{name}.{key}", fingerprints) for key, value in description["init_args"].items()}
    return {**description, "init_args": arguments}


def _plain(value: Any, where: str, fingerprints: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping) and "class_path" in value and "init_args" in value:
        return without_files(value, where, fingerprints)
    if isinstance(value, list):
        return [_plain(each, f"{where}.{i}", fingerprints) for i, each in enumerate(value)]
    return "" if isinstance(value, str) and where in fingerprints else value
