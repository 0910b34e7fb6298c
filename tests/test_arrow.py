"""Columns put together without pandas are those that PyArrow makes."""

import numpy as np
import pyarrow as pa
import pytest

from archsearch.files.arrow import array, numbers, scalar
from archsearch.files.checksums import Damaged
from archsearch.files.parquet import read_parquet, to_parquet

WHOLE, LIST = pa.int64(), pa.list_(pa.int32())


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 1_000])
@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        (WHOLE, lambda rng: int(rng.integers(-(2**62), 2**62))),
        (pa.int32(), lambda rng: int(rng.integers(-(2**31), 2**31))),
        (pa.float64(), lambda rng: float(rng.choice([0.0, -1.5, np.inf, 1e-300]))),
        (pa.string(), lambda rng: "|äé\U0001f600"[: int(rng.integers(5))] * int(rng.integers(3))),
        (LIST, lambda rng: tuple(rng.integers(9, size=rng.integers(4)).tolist())),
        (pa.list_(pa.float64()), lambda rng: rng.random(int(rng.integers(4))).tolist()),
    ],
    ids=["int64", "int32", "double", "string", "list of integers", "list of numbers"],
)
@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
def test_a_column_is_as_pyarrow_makes_it(length, kind, draw, missing):
    rng = np.random.default_rng(length)
    values = [None if rng.random() < missing else draw(rng) for _ in range(length)]
    built = array(values, kind)
    built.validate(full=True)
    assert built.type == kind
    assert built.null_count == sum(value is None for value in values)
    assert built.equals(pa.array(values, kind))
    assert all(scalar(value, kind) == pa.scalar(value, kind) for value in values[:3])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5], pa.float64()),
        ([True, None], pa.bool_()),
        ([b"x"], pa.string()),
        ([1.0], WHOLE),
        ([(1, None)], LIST),
        ([np.int64(3)], WHOLE),
    ],
    ids=str,
)
def test_values_of_other_types_are_converted_by_pyarrow(values, kind):
    assert array(values, kind).equals(pa.array(values, kind))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**40], pa.int32()),
        ([2**70], WHOLE),
        ([True], WHOLE),
        (["\ud800"], pa.string()),
        ([1], pa.string()),
        (["a"], WHOLE),
        ([(1,), None, (2**40,)], LIST),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_as_pyarrow_refuses_it(values, kind):
    with pytest.raises((ValueError, TypeError, OverflowError)) as expected:
        pa.array(values, kind)
    with pytest.raises(expected.type) as found:
        array(values, kind)
    assert str(found.value) == str(expected.value)


def test_numbers_of_a_column_with_several_parts_or_none():
    column = pa.chunked_array([[1.5, 2.0], [], [3.0]])
    assert numbers(column).tolist() == [1.5, 2.0, 3.0]
    assert numbers(column.slice(1)).tolist() == [2.0, 3.0]
    flags = numbers(pa.chunked_array([[True, False] * 5]).slice(3))
    assert flags.dtype == bool
    assert flags.tolist() == [False, True, False, True, False, True, False]
    empty = numbers(pa.chunked_array([], pa.float64()))
    assert empty.shape == (0,)
    assert empty.dtype == np.float64


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = pa.table({"a": [1, 2], "b": ["x", None]}).replace_schema_metadata({"note": "kept"})
    path = tmp_path / "table.parquet"
    for each in (table, table.replace_schema_metadata(None), pa.table({})):
        path.write_bytes(to_parquet(each))
        assert read_parquet(path).equals(each, check_metadata=True)


def test_two_columns_of_one_name_are_damage(tmp_path):
    path = tmp_path / "twice.parquet"
    path.write_bytes(to_parquet(pa.table([[1], [2]], names=["a", "a"])))
    with pytest.raises(Damaged, match="two of its columns have one name"):
        read_parquet(path)
