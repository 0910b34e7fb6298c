"""How well latency tables predict whole networks: chains and cells, with PyTorch and ONNX Runtime, on this machine.

    python benchmarks/devices.py [SPACE ...]

For each space and runtime ``archsearch profile`` measures all blocks, 50 random networks to judge the table by, and 25
others that its correction is fitted to; all in turn, so that whatever else the machine does meets them alike. One
thread, one image of 3x32x32. The machine of continuous integration is shared by many programs: the figures are the
processor's time of this thread, not the time on the wall, and of the rounds the lower quartile, since what other
programs do to the caches only adds. A device that does nothing else is measured by ``--clock wall`` and the median.

Wanted: rank correlation (Spearman's) at least 0.95 for chains and 0.9 for cells, mean absolute error below 10 %.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from archsearch.devices import profile
from archsearch.evaluator import Built
from archsearch.evaluators import Training
from archsearch.space import Space
from archsearch.spaces import DARTS, MobileNet, NASBench201

SHAPE, CLASSES = (3, 32, 32), 10
SPACES: dict[str, tuple[Space, dict[str, int], float]] = {
    "MobileNet": (MobileNet(), {"channels": 24}, 0.95),
    "NASBench201": (NASBench201(), {"channels": 16, "cells": 2}, 0.9),
    "DARTS": (DARTS(), {"channels": 16, "layers": 3}, 0.9),
}


class Widths(Training):
    """Says how networks are built, for images that no task of the package has."""

    skeleton_built: dict[str, int]

    @property
    def built(self) -> Built:
        return Built(SHAPE, CLASSES, self.skeleton_built)


def main(names: list[str]) -> None:
    print(f"{'space':12} {'runtime':12} {'milliseconds':>14} {'sums: rank, error':>19} {'table: rank, error':>20}")
    for name in names or SPACES:
        space, skeleton, wanted = SPACES[name]
        for runtime in ("pytorch", "onnxruntime"):
            evaluator = Widths("digits")
            evaluator.skeleton_built = skeleton
            begun = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                found = profile(
                    space,
                    evaluator,
                    Path(folder) / "table.parquet",
                    runtime=runtime,
                    clock="processor",
                    quantile=0.25,
                    repeats=30,
                )
            low, high = (1e3 * seconds for seconds in found.facts["range_seconds"])
            kept = found.corrected.rank_correlation >= wanted and found.corrected.error < 0.1
            print(
                f"{name:12} {runtime:12} {low:6.2f} - {high:5.2f} "
                f"{found.sums.rank_correlation:11.3f} {found.sums.error:7.1%} "
                f"{found.corrected.rank_correlation:12.3f} {found.corrected.error:7.1%}   "
                f">= {wanted} and < 10 %: {'kept' if kept else 'missed'} ({time.process_time() - begun:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
