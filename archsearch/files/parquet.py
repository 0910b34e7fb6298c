"""Parquet files with checksums: on each page, for all who read them, and one over the whole file.

Pages do not cover the footer, which has the names, types and places of all columns. So the footer has an entry
``archsearch.checksum``: the checksum of the whole file, with eight zeros in its place.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.files.checksums import DIGITS, Damaged, checksum
from archsearch.files.writing import write_whole

if TYPE_CHECKING:
    import pyarrow as pa


ENTRY = b"archsearch.checksum"
_ZEROS = b"0" * DIGITS
_MAGIC = b"PAR1"


def to_parquet(table: pa.Table, **options: Any) -> bytes:
    """A table as the bytes of a Parquet file.

    Args:
        table: The table.
        **options: Of ``pyarrow.parquet.ParquetWriter``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({ENTRY: _ZEROS})
    data = bytearray(sink.getvalue())
    place = _place(data)
    data[place : place + DIGITS] = checksum(data).encode()
    return bytes(data)


def _place(data: bytes | bytearray) -> int:
    """Where the checksum is: after its name, the type of the field that follows, and its length; -1: nowhere."""
    at = data.rfind(ENTRY)
    return -1 if at < 0 else at + len(ENTRY) + 2


def read_parquet(path: Path) -> pa.Table:
    """Reads a Parquet file, if it is as it was written; files without checksums (version 0.1.0) as far as can be told.

    Raises:
        Damaged: If it is not, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = path.read_bytes()
        _check(data)
        # Not pq.read_table: that imports pyarrow.dataset, and with it pandas where it is installed. No threads: some of
        # Arrow's that outlive the process can abort it (apache/arrow#34314).
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise error if isinstance(error, Damaged) else Damaged(str(error).partition("\n")[0]) from None
    if len(set(table.column_names)) < len(table.column_names):
        raise Damaged("two of its columns have one name")
    notes = {name: value for name, value in (table.schema.metadata or {}).items() if name != ENTRY}
    return table.replace_schema_metadata(notes or None)


def _check(data: bytes) -> None:
    if not data.startswith(_MAGIC) or not data.endswith(_MAGIC):
        raise Damaged("it is no whole Parquet file")
    place = _place(data)
    if place < 0:
        if _has_page_checksums(data):
            raise Damaged("its checksum is gone")
        return
    found = zlib.crc32(data[place + DIGITS :], zlib.crc32(_ZEROS, zlib.crc32(data[:place])))
    if data[place : place + DIGITS] != f"{found:08x}".encode():
        raise Damaged("its checksum does not fit")


def _has_page_checksums(data: bytes) -> bool:
    """Whether the first page has a checksum, which files of version 0.1.0 have not: the fourth field of its header."""
    at = len(_MAGIC)
    for _ in range(3):  # type and both sizes: three fields of the compact protocol, 32-bit whole numbers
        if at >= len(data) or data[at] != 0x15:
            return True  # nothing that was written by 0.1.0
        at += 1
        while at < len(data) and data[at] & 0x80:
            at += 1
        at += 1
    return at < len(data) and data[at] == 0x15


def part_to_parquet(table: pa.Table) -> bytes:
    """Trials as the bytes of a part."""
    plain = ("id", "wall_seconds", "started_seconds")
    return to_parquet(
        table,
        compression="zstd",
        compression_level=3,
        write_statistics=False,
        use_dictionary=[name for name in table.column_names if name not in plain],
        column_encoding={
            "id": "DELTA_BINARY_PACKED",
            "wall_seconds": "BYTE_STREAM_SPLIT",
            "started_seconds": "BYTE_STREAM_SPLIT",
        },
    )


def write_parquet(path: Path, table: pa.Table) -> None:
    """Writes a table so that it is there whole or not at all."""
    write_whole(path, to_parquet(table, compression="zstd"))
