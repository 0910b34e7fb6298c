"""What a search's own process holds for each trial, at all sizes: a fresh process each.

    python benchmarks/driver_memory.py [--sizes 1000 6000 ...] [--json FILE]

A local search (evolution 100/25 on the embedded table) with its history on disk. Two processes a size: one reads the
resident memory when the last trial is told, before the history is closed, and the highest so far; the other lets
``tracemalloc`` count what Python's allocator holds then. Both are above what they were after 500 trials of another
search, which has loaded all that is loaded once. "A trial more" is the rise from the size before, divided by the
trials between.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

SIZES = (1_000, 3_000, 6_000, 20_000, 60_000, 100_000, 200_000)
WARM = 500


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def highest() -> int:
    """Bytes of the peak since ``forget_highest``."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(trials: int, traced: bool) -> dict[str, int]:
    """Of this process: how much it grew in a search of so many trials."""
    from archsearch import search
    from archsearch.controllers import RegularizedEvolution
    from archsearch.evaluators import Tabular
    from archsearch.spaces import NASBench201

    found: dict[str, int] = {}

    def watch(trial: Any) -> None:
        if trial.id == trials - 1:
            found["resident"], found["highest"] = resident(), highest()
            found["traced"] = tracemalloc.get_traced_memory()[0] if traced else 0

    with tempfile.TemporaryDirectory() as name:
        folder, table = Path(name), Tabular()
        search(NASBench201(), RegularizedEvolution(), table, trials=WARM, seed=1, out=folder / "warm")
        if traced:
            tracemalloc.start()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident()
        search(NASBench201(), RegularizedEvolution(), table, trials=trials, seed=0, out=folder / "run", on_trial=watch)
    return {"resident": found["resident"] - before, "highest": found["highest"] - before, "traced": found["traced"]}


def in_a_process(trials: int, traced: bool) -> dict[str, int]:
    """``measure`` in a Python of its own."""
    command = [sys.executable, __file__, "--child", str(trials), *(["--traced"] if traced else [])]
    answer: dict[str, int] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--traced-up-to", type=int, default=60_000, help="tracemalloc makes a search some times slower")
    parser.add_argument("--json", type=Path, help="the figures, as JSON")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.traced)))
        return
    print("| trials | MiB more, now | at the peak | bytes a trial | a trial more, bytes | traced now, MiB |")
    print("|---|---|---|---|---|---|")
    figures: dict[str, float] = {}
    last = (0, 0)
    for trials in arguments.sizes:
        grown = in_a_process(trials, False)
        traced = "" if trials > arguments.traced_up_to else f"{in_a_process(trials, True)['traced'] / 2**20:.1f}"
        rise = (grown["highest"] - last[1]) / (trials - last[0])
        each = grown["highest"] / trials
        print(
            f"| {trials:,} | {grown['resident'] / 2**20:.1f} | {grown['highest'] / 2**20:.1f} | {each:,.0f} "
            f"| {rise:,.0f} | {traced} |",
            flush=True,
        )
        figures[f"bytes a trial, {trials} trials"], last = each, (trials, grown["highest"])
    if arguments.json:
        arguments.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
