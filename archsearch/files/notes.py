"""Notes that evaluators keep in their folders: JSON objects with a checksum, so that damage is told, not believed."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from archsearch.files.checksums import Damaged, checksum, open_json, seal_json
from archsearch.files.damage import DamageWarning
from archsearch.files.writing import write_whole


def write_note(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes JSON data with their checksum, whole or not at all."""
    write_whole(path, seal_json(dict(facts)))


def read_note(
    path: Path | None,
    expected: Collection[str],
    otherwise: str,
    old_list: str = "",
    check: Callable[[dict[str, Any]], object] = lambda _: None,
) -> dict[str, Any] | None:
    """What ``write_note`` wrote.

    Args:
        path: The file; None where there is no folder to keep one in.
        expected: Entries that it must have.
        otherwise: What is done if it is damaged, for the warning.
        old_list: Entry that a list becomes, as version 0.1.0 wrote some notes, without a checksum.
        check: Raises an error of values, types or names if these are not such facts.

    Returns:
        The data; None if there is no such file, or it is damaged, of which a warning tells.
    """
    if path is None or not path.exists():
        return None
    try:
        facts = _opened(path.read_bytes(), expected, old_list)
        check(facts)
        return facts
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        tell_damage(path, error, otherwise)
        return None


def _opened(data: bytes, expected: Collection[str], old_list: str) -> dict[str, Any]:
    if old_list and data.startswith(b"["):
        try:
            return {old_list: json.loads(data)}
        except (ValueError, RecursionError) as error:
            raise Damaged(f"no JSON: {error}") from None
    facts = open_json(data, sealed=False)
    missing = [name for name in expected if name not in facts]
    if missing:
        raise Damaged(f"it has no entry {missing[0]!r}")
    return facts


def write_text(path: Path, text: str) -> None:
    """Writes one line of text, and its checksum as the second line."""
    write_whole(path, f"{text}\n{checksum(text.encode())}\n".encode())


def read_text(path: Path, pattern: str, otherwise: str) -> str | None:
    """The line that ``write_text`` wrote, or version 0.1.0 without a checksum; None as of ``read_note``.

    Args:
        path: The file.
        pattern: Regular expression that the whole line must match.
        otherwise: As of ``read_note``.
    """
    if not path.exists():
        return None
    try:
        text, newline, seal = path.read_bytes().decode().partition("\n")
        if (newline and seal != f"{checksum(text.encode())}\n") or not re.fullmatch(pattern, text):
            raise Damaged("its checksum does not fit")
    except (OSError, ValueError) as error:
        tell_damage(path, error, otherwise)
        return None
    return text


def tell_damage(path: Path, error: Exception, otherwise: str) -> None:
    """Warns, in one line, of a file that cannot be used."""
    why = " ".join(str(error).split())[:200]
    warnings.warn(f"{path} is damaged and passed over ({why}); {otherwise}", DamageWarning, stacklevel=3)
