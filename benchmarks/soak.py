"""A long search on Ray in which one evaluation in a hundred goes wrong: nothing lost, all counted, memory flat.

    python benchmarks/soak.py [--trials 100000] [--workers 3]

Two parts. In the first, evaluations raise, return NaN, hang past their time-out, end their process (``os._exit``) or
are killed (SIGKILL). In the second nothing ends a process, so that the workers live from begin to end and a growth of
their memory shows. What is caused is noted by the evaluator and compared with what the search has counted.

Memory is resident memory. A driver keeps its newest trials until they become a part of the run folder: what is compared
is the most that it had during each part, by a line through these after the first third. Workers likewise.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])  # for the workers
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(TESTS))

import numpy as np  # noqa: E402
from fault_lab import SPACE, Causing, expected_faults  # noqa: E402

from archsearch import RayExecutor, search  # noqa: E402
from archsearch.basics.words import format_faults  # noqa: E402
from archsearch.controllers import RegularizedEvolution  # noqa: E402
from archsearch.keeping import history  # noqa: E402
from archsearch.keeping.folder import RunFolder  # noqa: E402

PART = 5_000
MOST = 200
"""Bytes a trial by which a process may grow."""
TIMEOUT = 2.0
PARTS = {
    "all faults": {"raises": 0.0045, "nan": 0.0044, "hangs": 0.0001, "exits": 0.0005, "is_killed": 0.0005},
    "no deaths": {"raises": 0.005, "nan": 0.0049, "hangs": 0.0001},
}
ONCE = ("exception", "invalid_score", "timeout")


class Memory:
    """A listener that keeps the most resident memory of the driver and of each worker, part by part."""

    def __init__(self, parts):
        self.most = defaultdict(lambda: np.zeros(parts))
        self._finished = 0
        self._page = os.sysconf("SC_PAGE_SIZE")

    def __call__(self, trial):
        self._finished += 1
        if self._finished % 100 == 0:
            self._note("driver")
            if trial.metrics:
                self._note(int(trial.metrics["process"]))

    def _note(self, who):
        process = os.getpid() if who == "driver" else who
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except OSError:  # it has just died
            return
        part = min(self._finished // PART, len(self.most[who]) - 1)
        self.most[who][part] = max(self.most[who][part], pages * self._page)

    def growth(self, who):
        """Bytes per trial of the search, for a process that lived from the first third to the end; None for others."""
        most = self.most[who]
        first = len(most) // 3
        if not most[first:].all():
            return None
        return np.polyfit(np.arange(first, len(most)) * PART, most[first:], 1)[0]


def soak(name, causes, trials, workers, folder):
    """One part; returns a row of the table."""
    memory = Memory(max(1, trials // PART))
    begun = time.perf_counter()
    result = search(
        SPACE,
        RegularizedEvolution(),
        Causing(causes, folder, 0.001),
        trials=trials,
        seed=0,
        executor=RayExecutor(workers),
        timeout=TIMEOUT,
        max_failures=50,
        out=folder / "run",
        on_trial=memory,
    )
    seconds = time.perf_counter() - begun
    times = Counter(trial.id for trial in RunFolder(folder / "run").trials(0))
    lost, twice = len(set(range(len(times))) - set(times)), sum(n - 1 for n in times.values())
    caused, counted = expected_faults(folder, ONCE), dict(RunFolder(folder / "run").faults())
    lived = [who for who in memory.most if who != "driver" and memory.growth(who) is not None]
    print(f"{name}\n  trials   {result.completed:,} completed of {trials:,} asked, {result.failed:,} failed")
    print(f"           {lost} lost, {twice} twice; {seconds:.0f} s, {len(times) / seconds:,.0f} a second")
    print(f"  caused   {format_faults(caused)}\n  counted  {format_faults(counted)}")
    for who in ["driver", *lived]:
        most = (memory.most[who] / 2**20).round(1).tolist()
        name = "driver" if who == "driver" else "worker"
        print(f"  {name}   {memory.growth(who) or 0:+.0f} bytes a trial; MiB by part: {most}")
    print(f"           {len(lived)} of {len(memory.most) - 1} worker processes lived to the end", flush=True)
    grown = [memory.growth(who) for who in ("driver", *lived)]
    flat = all(growth is not None and growth <= MOST for growth in grown)
    return (result.completed, lost, twice) == (trials, 0, 0) and caused == counted == result.faults and flat


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000, help="of each part, at least 15,000")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args()
    history.PART_ROWS = PART
    sound = []
    for name in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            sound.append(soak(name, PARTS[name], given.trials, given.workers, Path(folder)))
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main())
