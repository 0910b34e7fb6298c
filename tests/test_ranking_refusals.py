"""How well scores agree with the truth: what is refused, and that nothing heavy is imported."""

import math
import subprocess
import sys

import numpy as np
import pytest

from archsearch.errors import UsageError
from archsearch.ranking import (
    agreement,
    best_of,
    bootstrap,
    kendall_tau,
    noise_ceiling,
    rank_test,
    regret,
    regret_of_best,
    spearman,
    tau_within,
    top_k_precision,
    top_k_recall,
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kendall_tau([1, 2, 3], [1, 2]), "b: expected 3 values, as many as a has, got 2"),
        (lambda: spearman([1], [1]), "a: expected at least 2 architectures.*got 1"),
        (lambda: spearman([], []), "expected at least 2 architectures.*got 0"),
        (lambda: kendall_tau(1.0, 2.0), r"a: expected one number per architecture, got an array of shape \(\)"),
        (lambda: kendall_tau([1, 2], [[1], [2]]), r"b: expected one number per architecture.*\(2, 1\)"),
        (lambda: regret([1, 2], [1, math.nan]), r"scores: expected finite numbers, got nan at \[1\]"),
        (lambda: regret([1, None], [1, 2]), r"truth: expected finite numbers, got nan at \[1\]"),
        (lambda: regret([math.inf, 1], [1, 2]), r"truth: expected finite numbers, got inf at \[0\]"),
        (lambda: regret(["high", "low"], [1, 2]), "truth: expected numbers, got something else"),
        (lambda: top_k_recall([1, 2], [1, 2], 0), "k: expected 1 to 2.*got 0"),
        (lambda: top_k_recall([1, 2], [1, 2], 3), "k: expected 1 to 2.*got 3"),
        (lambda: top_k_precision([1, 2], [1, 2], 3), "k: expected 1 to 2.*got 3"),
        (lambda: top_k_precision([1, 2], [1, 2], 1, share=0), "share: expected a number above 0 and at most 1.*got 0"),
        (lambda: top_k_precision([1, 2], [1, 2], 1, share=math.nan), "share: expected a number above 0.*got nan"),
        (lambda: best_of([1, 2], [1, 2], 0), "n: expected 1 to 2.*got 0"),
        (lambda: regret_of_best([1, 2], [1, 2], 3), "n: expected 1 to 2.*got 3"),
        (lambda: rank_test([[1, 2]]), r"values: expected the shape \(blocks, methods\).*got \(1, 2\)"),
        (lambda: rank_test([[1], [2]]), r"at least 2 of each, got \(2, 1\)"),
        (lambda: rank_test([1, 2]), r"values: expected the shape \(blocks, methods\).*got \(2,\)"),
        (lambda: rank_test([[1, 2], [math.nan, 1]]), r"values: expected finite numbers, got nan at \[1, 0\]"),
        (lambda: tau_within([1, 2], [1, 2], [1, 2], 2), "groups: expected 1 to 1.*got 2"),
        (lambda: tau_within([1, 2], [1, 2], [1, 2, 3], 1), "sizes: expected 2 values"),
        (lambda: noise_ceiling([1, 2, 3]), r"repeats: expected the shape \(architectures, runs\).*got \(3,\)"),
        (lambda: noise_ceiling([[1], [2]]), r"at least 2 of each, got \(2, 1\)"),
        (lambda: noise_ceiling([[1, 2], [2, math.nan]]), r"got nan at \[1, 1\]"),
        (lambda: bootstrap(np.mean, []), "arrays: expected at least 1"),
        (lambda: bootstrap(np.mean, [1.0]), "arrays: expected one entry for each of 2 or more.*got 0 entries"),
        (lambda: bootstrap(kendall_tau, [[1, 2], [1, 2, 3]]), "arrays: .*got 2 and 3 entries"),
        (lambda: bootstrap(np.mean, [[1, 2]], repeats=0), "repeats: expected at least 1, got 0"),
        (lambda: bootstrap(np.mean, [[1, 2]], level=1), "level: expected a number between 0 and 1"),
        (lambda: bootstrap(np.mean, [[1, 2]], seed=-1), "seed: expected a whole number >= 0"),
        (lambda: bootstrap(lambda _: math.nan, [[1, 2]]), "statistic: expected a finite number"),
        (lambda: agreement([1, 2, 3], [1, 2]), "scores: expected 3 values"),
        (lambda: agreement([1, 2], [1, 2], sizes=[1, math.nan]), "sizes: expected finite numbers"),
        (lambda: agreement([1, 2], [1, 2], top=(1, 0)), "top: expected counts of at least 1, got 1 and 0"),
        (lambda: agreement([1, 2], [1, 2], best_of=(0,)), "best_of: expected counts of at least 1, got 0"),
        (lambda: agreement([1, 2], [1, 2], repeats=0), "repeats: expected at least 1, got 0"),
        (lambda: agreement([1, 2], np.ones((2, 3))), r"scores: expected the shape \(2,\) or \(runs.*2\), got \(2, 3\)"),
        (lambda: agreement([1, 2], np.ones((0, 2))), r"scores: expected the shape.*got \(0, 2\)"),
        (lambda: agreement([1, 2], np.ones((1, 2, 1))), r"scores: expected one number.*\(1, 2, 1\)"),
        (lambda: agreement([1, 2], [[1, 2], [1, math.nan]]), r"scores: expected finite numbers, got nan at \[1, 1\]"),
    ],
)
def test_refusals_say_what_was_expected(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_import_is_light():
    code = "import sys, archsearch.ranking; print(sorted({'torch', 'ray', 'scipy', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
