#!/usr/bin/env bash
# Arrow groups and joins floats by their bits: 0.0 and -0.0 are two keys though they are equal, and NaNs are one key or two
# by the sign that they carry.
#
# Package: pyarrow 26.0.1.
# Guess before it was run: keys are equal when pyarrow.compute.equal says so, with one NaN for all NaNs, as in pandas.
# Seen (2026-11-30): a filter on k == 0.0 keeps 0.0 and -0.0; group_by makes two groups of them, unique and count_distinct
#   give two, is_in does not find one by the other, and a join leaves both rows without a partner. nan and nan make one group
#   and do join, though nan != nan; nan and -nan make two groups that print alike, [nan, nan].
# Why it matters here: an objective to be maximised is stored negated, and 0.0 becomes -0.0; inf - inf is -nan on x86
#   processors where a literal is nan. Groups of a results table split, and a join drops trials, with nothing to see in print.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import math

import pyarrow as pa
import pyarrow.compute as pc

zeros = pa.table({"k": [0.0, -1.0 * 0.0], "count": [1, 1]})
nans = pa.table({"k": [math.nan, math.nan, math.copysign(math.nan, -1.0)], "count": [1, 1, 1]})


def groups(table):
    return sorted(table.group_by("k").aggregate([("count", "sum")])["count_sum"].to_pylist())


def partners(left, right):
    found = pa.table({"k": [left]}).join(pa.table({"k": [right], "there": [True]}), "k")
    return found["there"].to_pylist() == [True]


found = {
    "equal": pc.equal(zeros["k"][0], zeros["k"][1]).as_py(),
    "kept by a filter": zeros.filter(pc.field("k") == 0.0).num_rows,
    "groups of 0.0, -0.0": groups(zeros),
    "distinct": (len(pc.unique(zeros["k"])), pc.count_distinct(zeros["k"]).as_py()),
    "is -0.0 in [0.0]": pc.is_in(pa.array([-0.0]), pa.array([0.0])).to_pylist()[0],
    "0.0 joins -0.0": partners(0.0, -0.0),
    "nan equals nan": pc.equal(math.nan, math.nan).as_py(),
    "groups of nan, nan, -nan": groups(nans),
    "nan joins nan": partners(math.nan, math.nan),
    "nan joins -nan": partners(math.nan, math.copysign(math.nan, -1.0)),
}
print("pyarrow", pa.__version__, found)
assert found == {
    "equal": True, "kept by a filter": 2, "groups of 0.0, -0.0": [1, 1], "distinct": (2, 2), "is -0.0 in [0.0]": False,
    "0.0 joins -0.0": False, "nan equals nan": False, "groups of nan, nan, -nan": [1, 2], "nan joins nan": True,
    "nan joins -nan": False,
}, "this has changed"
PYTHON
