"""Checksums of what is written to disk: they tell damage, not malice.

All are CRC-32 (of zlib) as eight hexadecimal digits. JSON keeps its own checksum as its last entry, so that a sealed
file or line is plain JSON still: one line of a journal

    ["t",7,[1,2],null,"#12:9a0b1c2d"]

ends with its place in the file (12, counted from 0) and the checksum of all that stands before it; a sealed object

    {"clock":1.5,"checksum":"9a0b1c2d"}

has an entry ``checksum``. ``checksum`` itself is for anything that is bytes, ``tensors_checksum`` for named tensors:
their files (safetensors) have a place for notes.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from archsearch.errors import UsageError

ENTRY = "checksum"
"""Entry of a sealed JSON object, and of the notes of a safetensors file."""
DIGITS = 8
_OBJECT_SEAL = f'"{ENTRY}":"'

_LOOKS_SEALED = re.compile(rb'"[0-9a-f]{8}"}$')

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Damaged(ValueError):
    """Bytes that are not what was written; the message says how that is known."""


def checksum(*parts: bytes | bytearray | memoryview) -> str:
    """The checksum of bytes, given in one or several parts: eight hexadecimal digits."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return f"{value:08x}"


def tensors_checksum(tensors: Iterable[tuple[str, str, tuple[int, ...], bytes | memoryview]]) -> str:
    """The checksum of named tensors, whatever their order.

    Args:
        tensors: Name, data type (as text), shape, and the values as bytes in C order, of each.
    """
    value = 0
    for name, kind, shape, data in sorted(tensors, key=lambda tensor: tensor[0]):
        value = zlib.crc32(f"{name}|{kind}|{list(shape)}|".encode(), value)
        value = zlib.crc32(data, value)
    return f"{value:08x}"


# -- lines of a journal ------------------------------------------------------------------------------


def seal_line(event: str, place: int) -> bytes:
    """A journal line, its end included.

    Args:
        event: A JSON list with at least one entry, on one line, in ASCII.
        place: Which line of the file it is, from 0.
    """
    head = f'{event[:-1]},"#{place}:'.encode()
    return b'%s%08x"]\n' % (head, zlib.crc32(head))


def open_line(line: bytes) -> tuple[list[Any], int]:
    """The event of a sealed line, and the line's place.

    Raises:
        Damaged: If it is not as it was written.
    """
    line = line.removesuffix(b"\n")
    head, found = line[: -DIGITS - 2], line[-DIGITS - 2 : -2]
    if not line.endswith(b'"]') or found != checksum(head).encode():
        raise Damaged("its checksum does not fit")
    try:
        *event, seal = json.loads(line)
        return event, int(seal[1 : -DIGITS - 1])
    except (ValueError, TypeError, RecursionError) as error:  # someone else's line
        raise Damaged(f"no journal line: {error}") from None


# -- JSON files ------------------------------------------------------------------------------------


def seal_json(value: dict[str, Any]) -> bytes:
    """A JSON object as the bytes of a file, with its checksum as the last entry."""
    try:
        text = _encode(value)
    except (TypeError, ValueError):
        raise UsageError(_no_json(value) or "expected JSON data, got what refers to itself") from None
    head = f"{text[:-1]}{',' if value else ''}{_OBJECT_SEAL}"
    return f'{head}{zlib.crc32(head.encode()):08x}"}}'.encode()


def open_json(data: bytes, sealed: bool = True) -> dict[str, Any]:
    """The JSON object that ``seal_json`` wrote, without its checksum.

    Args:
        data: The bytes of the file.
        sealed: Whether it must have a checksum; files of version 0.1.0 have none.

    Raises:
        Damaged: If it is not as it was written, or no JSON object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Damaged(f"expected a JSON object, got {type(value).__name__}")
    found = value.pop(ENTRY, None)
    if found is None and not sealed and not _LOOKS_SEALED.search(data):  # the name of the entry may be damaged, too
        return value
    head = data[: -DIGITS - 2]
    if found is None or data[-DIGITS - 2 :] != f'{checksum(head)}"}}'.encode():
        raise Damaged("its checksum does not fit" if found else "it has no checksum")
    return value


def _no_json(value: Any, where: str = "") -> str:
    """Which part of a value is no JSON data, in words; empty: none."""
    if isinstance(value, Mapping):
        if named := [name for name in value if not isinstance(name, (str, int, float, bool, type(None)))]:
            return f"{where or 'state'}: expected texts as keys, got {named[0]!r:.80}"
        parts = ((f"{where}.{name}".lstrip("."), each) for name, each in value.items())
    elif isinstance(value, (list, tuple)):
        parts = ((f"{where}[{i}]", each) for i, each in enumerate(value))
    elif value is None or isinstance(value, (str, int, float)):
        return ""
    else:
        return (
            f"{where}: expected JSON data (numbers, texts, lists, mappings), got {type(value).__name__} {value!r:.80}"
        )
    return next((text for name, each in parts if (text := _no_json(each, name))), "")
