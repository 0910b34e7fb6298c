"""Arrow columns out of Python values, and NumPy arrays out of columns, without pandas.

``pyarrow.array`` and ``pyarrow.scalar`` import pandas, where it is installed, to ask whether they were given something
of it, and ``to_numpy`` does: 50 MiB and twice the time that NumPy and PyArrow take together. Here columns of plain
values are put together from their buffers, as Arrow's columnar format says: a bit for each value that is there, offsets
where values are of different lengths, and the values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

_LARGEST_OFFSET = 2**31 - 1


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """As ``pyarrow.array(values, kind)``, which is asked where the values are not plain ones, and says what is wrong.

    Args:
        values: Whole numbers, floats, texts, or lists or tuples of these, as the type says; None where there is none.
        kind: int32, int64, float64, string, or a list of these.
    """
    import pyarrow as pa

    try:
        built = _built(values, kind)
    except (OverflowError, UnicodeEncodeError):  # too large for the type, or half a surrogate pair
        built = None
    return pa.array(values, kind) if built is None else built


def scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """As ``pyarrow.scalar(value, kind)``."""
    return array([value], kind)[0]


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers, or of true and false, as an array of shape (rows,); a copy.

    Args:
        column: With a value in each row.
    """
    import numpy as np
    import pyarrow as pa

    if pa.types.is_boolean(column.type):  # which Arrow packs, eight to a byte
        return numbers(column.cast(pa.uint8())).astype(bool)
    none = np.zeros(0, column.type.to_pandas_dtype())  # a column may have no parts
    return np.concatenate([none, *map(np.from_dlpack, column.chunks)])


def _built(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """The column; None: of these values or this type, only PyArrow itself can make one."""
    import numpy as np
    import pyarrow as pa

    types = set(map(type, values))
    if types == {type(None)}:
        return pa.nulls(len(values), kind)
    bits, missing = None, type(None) in types
    if missing:
        there = np.fromiter((value is not None for value in values), bool, len(values))
        bits = pa.py_buffer(np.packbits(there, bitorder="little"))
        types.remove(type(None))
    if kind in (pa.int32(), pa.int64(), pa.float64()):
        if not types <= {float if kind == pa.float64() else int}:
            return None
        plain = [0 if value is None else value for value in values] if missing else values
        return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(np.array(plain, kind.to_pandas_dtype()))])
    if kind == pa.string() and types <= {str}:
        parts: list[Any] = [value or "" for value in values] if missing else list(values)
        text = "".join(parts)
        if not text.isascii():  # a letter can be several bytes
            parts = [part.encode() for part in parts]
        return _with_offsets(kind, parts, bits, [pa.py_buffer(text.encode())])
    if pa.types.is_list(kind) and types <= {list, tuple}:
        parts = [() if value is None else value for value in values]
        inner = _built(list(itertools.chain.from_iterable(parts)), kind.value_type)
        return None if inner is None else _with_offsets(kind, parts, bits, [], [inner])
    return None


def _with_offsets(
    kind: pa.DataType, parts: Sequence[Any], bits: pa.Buffer | None, data: list[pa.Buffer], children: Any = None
) -> pa.Array | None:
    """A column of values of different lengths, which lie one after the other; None: they are too long together."""
    import numpy as np
    import pyarrow as pa

    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    if ends[-1] > _LARGEST_OFFSET:
        return None
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(kind, len(parts), [bits, offsets, *data], children=children)
