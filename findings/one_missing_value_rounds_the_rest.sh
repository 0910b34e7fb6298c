#!/usr/bin/env bash
# Hugging Face datasets in NumPy format: a missing value rounds the integers beside it to float32, so that a row's number
# depends on which rows it is read with.
#
# Packages: datasets 5.2.0, pyarrow 26.0.1.
# Guess before it was run: float64, exact up to 2**53, as pandas and Arrow's own to_numpy do it; or an object array; or an
#   error. (That float64 columns come as float32 is known; these are integers.)
# Seen (2026-11-30): an int64 column with a None comes as float32, and its 16,777,217 as 16,777,216. The same row alone, or
#   in a slice without the None, is exact. Iterated in blocks of 2, one of two equal numbers is rounded and the other is not.
#   with_format("numpy", dtype=np.float64) keeps it exact. A column of booleans with a None becomes an object array instead.
# Why it matters here: tables of parameter counts, FLOPs and seeds lose digits as soon as one run has none, and only in its
#   block; two equal architectures then differ by their place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 numpy==2.4.6 pyarrow==26.0.1
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import datasets
import numpy as np

odd = 2**24 + 1
stored = datasets.Dataset.from_dict({"count": [odd, 5, odd, None], "flag": [True, False, True, None]})
assert stored.features["count"].dtype == "int64"
shown = stored.with_format("numpy")
blocks = [block["count"] for block in shown.iter(2)]
print("datasets", datasets.__version__, blocks, shown[2]["count"], shown[:]["count"].dtype)
assert [block.dtype for block in blocks] == [np.int64, np.float32], "this has changed"
assert (blocks[0][0], blocks[1][0]) == (odd, odd - 1), "this has changed"
assert shown[2]["count"] == shown[:3]["count"][2] == odd, "this has changed"
assert shown[:]["count"].dtype == np.float32 and shown[:]["count"][0] == odd - 1, "this has changed"
assert shown[:]["flag"].dtype == object, "this has changed"
assert stored.with_format("numpy", dtype=np.float64)[:]["count"][0] == odd
assert stored.data["count"].to_numpy()[0] == stored.to_pandas()["count"][0] == odd
PYTHON
