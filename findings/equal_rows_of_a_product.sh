#!/usr/bin/env bash
# Equal rows of a matrix, multiplied by the same matrix in the same call, come out unequal: NumPy with OpenBLAS's kernels
# for Haswell and Zen, the usual ones on processors with AVX2.
#
# Package: numpy 2.4.6 (its wheel brings OpenBLAS 0.3.31). Wants an x86-64 processor with AVX2.
# Guess before it was run: products of other sizes may round differently; within one product equal rows are equal.
# Seen: float32, 12 equal rows: rows 0 to 5 agree with each other, 6 to 11 do not agree with row 0. float64: of 3 equal
#   rows the last differs. With the kernels for AVX-512 (SkylakeX) none does, which is why it depends on the machine.
# Why it matters here: a learned predictor that scores architectures in batches gives one architecture two scores, by its
# place in the batch, and an evolution that compares them takes rounding for quality. Blocks of one size, padded, do not
# help. archsearch's Gaussian process predicts row by row (tests/test_models_rounding.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 threadpoolctl==3.8.0
OPENBLAS_CORETYPE=Haswell OPENBLAS_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import threadpoolctl

rng = np.random.default_rng(0)


def strangers(rows, dtype):
    """Rows of a product of equal rows that are not equal to the first one."""
    row, other = rng.standard_normal((1, 72)).astype(dtype), rng.standard_normal((72, 100)).astype(dtype)
    product = np.repeat(row, rows, axis=0) @ other
    return [i for i in range(rows) if not np.array_equal(product[i], product[0])]


found = strangers(12, np.float32), strangers(8, np.float32), strangers(3, np.float64)
kernels = threadpoolctl.threadpool_info()[0]["architecture"]
print(np.__version__, kernels, found)
assert kernels == "Haswell"
assert found == ([6, 7, 8, 9, 10, 11], [], [2])
PYTHON
