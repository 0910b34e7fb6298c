"""Where a command writes that was not told where."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archsearch.errors import UsageError


@contextlib.contextmanager
def output_folder(given: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Where to write: as given, else a new folder below that one, named by the time of day.

    It is made here, so that of several commands that begin in the same second each has its own; if nothing is written
    to it, it goes again.
    """
    if given["out"]:
        yield str(given["out"])
        return
    parent, name = Path(folder), f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}"
    existed = parent.exists()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        made = _first_free(parent, name)
    except OSError as error:
        raise UsageError(f"{folder}: cannot write here ({error.strerror}); name a folder with --out") from None
    try:
        yield str(made)
    finally:
        with contextlib.suppress(OSError):  # it is not empty, as a rule
            made.rmdir()
            if not existed:
                parent.rmdir()


def _first_free(parent: Path, name: str) -> Path:
    """Makes a folder of that name, with a number if there is one already."""
    found, number = parent / name, 1
    while True:
        try:
            found.mkdir()
            return found
        except FileExistsError:
            number += 1
            found = parent / f"{name}-{number}"
