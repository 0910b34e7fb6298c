"""Files are written aside, flushed and renamed: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

# -- files -----------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes, aside: Path | None = None, private: bool = False) -> None:
    """Writes a file so that it is there whole or not at all, even if the process is killed.

    Args:
        path: The file.
        data: What it is to hold.
        aside: Where it is until it is whole; None: beside it.
        private: Whether only its owner may read it.
    """
    aside = aside or path.with_name(path.name + ".tmp")
    if private:
        aside.unlink(missing_ok=True)  # one that is there keeps its mode
    with open(aside, "wb", opener=_private if private else None) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
