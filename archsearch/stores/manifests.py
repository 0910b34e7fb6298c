"""Manifests: what a folder held at one moment, and in which objects that lies.

No object but a writer's sign of life is ever written twice. A shipment writes new objects, then the manifest that names
them; so whoever reads the newest manifest sees the folder as it was at one moment, whenever the writer was killed. Its
name is ``_manifests/SESSION-NUMBER-TOKEN.json``: the newest session has the last word, whatever an older one that takes
itself for alive still writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from archsearch.errors import RunFolderError
from archsearch.files.checksums import Damaged, open_json, seal_json
from archsearch.stores.objects import Missing, Objects

FOLDER = "_manifests"
_NAME = re.compile(rf"{FOLDER}/(\d{{6}})-(\d{{9}})-([0-9a-f]+)\.json")


_INLINE = "="


def inline(data: bytes) -> str:
    """What stands for a short piece in place of an object."""
    return f"{_INLINE}{data.hex()}"


def inlined(key: str) -> bytes | None:
    """The piece that stands there itself; None: an object holds it."""
    return bytes.fromhex(key[1:]) if key.startswith(_INLINE) else None


class Piece(NamedTuple):
    """A part of a file.

    Attributes:
        key: The object that holds it, or itself (``inline``).
        size: Bytes.
        crc: Checksum (CRC-32).
    """

    key: str
    size: int
    crc: int


class File(NamedTuple):
    """A file of the folder.

    Attributes:
        pieces: What it is made of, in order.
        crc: Checksum (CRC-32) of the whole.
        mtime: When it was written, in nanoseconds.
        mode: Who may read it.
    """

    pieces: tuple[Piece, ...]
    crc: int
    mtime: int
    mode: int

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(piece.size for piece in self.pieces)


class Manifest(NamedTuple):
    """A folder at one moment.

    Attributes:
        session: Of the writer: 1, 2, ...
        number: Within the session, from 1.
        token: The writer's.
        files: By their paths below the folder.
    """

    session: int
    number: int
    token: str
    files: dict[str, File]

    @property
    def key(self) -> str:
        """The object that holds it."""
        return f"{FOLDER}/{self.session:06d}-{self.number:09d}-{self.token}.json"

    def keys(self) -> set[str]:
        """The objects that it names, and its own."""
        keys = {piece.key for file in self.files.values() for piece in file.pieces}
        return {self.key} | {key for key in keys if not key.startswith(_INLINE)}

    def data(self) -> bytes:
        """As the bytes of an object, with a checksum."""
        return seal_json({"format": 1, "files": {name: list(file) for name, file in self.files.items()}})


def manifests(objects: Objects) -> list[tuple[int, int, str, str]]:
    """Session, number, token and key of the manifests that there are, the newest first."""
    found = [(m, each.key) for each in objects.list(FOLDER) if (m := _NAME.fullmatch(each.key))]
    return sorted(((int(m[1]), int(m[2]), m[3], key) for m, key in found), reverse=True)


def newest_manifest(objects: Objects, told: list[str]) -> Manifest | None:
    """The newest sound manifest; None: there is none at all.

    Args:
        objects: The store.
        told: Gets a line for each that is damaged.

    Raises:
        RunFolderError: If all are damaged.
    """
    lines = list[str]()
    for _ in range(5):  # a writer deletes old ones meanwhile
        found, gone = manifests(objects), False
        for session, number, token, key in found:
            try:
                found_files = dict(_files(open_json(objects.get(key))))
                told += [f"{line}: an older shipment stands for it" for line in lines]
                return Manifest(session, number, token, found_files)
            except Missing:
                gone = True
            except (Damaged, ValueError, TypeError, LookupError) as error:
                line = f"{objects.place.uri}/{key} is damaged ({error})"
                if line not in lines:
                    lines.append(line)
        if not gone:
            break
    if found:
        raise RunFolderError(
            f"{lines[0] if lines else objects.place.uri}, and there is no other manifest: nothing can be read"
        )
    return None


def _files(value: dict[str, Any]) -> Iterator[tuple[str, File]]:
    if value["format"] != 1:
        raise ValueError(f"format {value['format']!r}, of a later version")
    for name, (pieces, crc, mtime, mode) in value["files"].items():
        parts = name.split("/")
        if "" in parts or ".." in parts or "\\" in name or "\0" in name:  # it could lead out of the folder
            raise ValueError(f"no name of a file: {name!r:.80}")
        made = tuple(Piece(str(key), int(size), int(check)) for key, size, check in pieces)
        yield name, File(made, int(crc), int(mtime), int(mode) & 0o666)
