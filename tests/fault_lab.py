"""For the fault matrix and the soak: an evaluator that causes faults and notes each, and drivers that are to be killed.

    python tests/fault_lab.py EXECUTOR WORKERS TRIALS SEED CAUSES
    python tests/fault_lab.py clock EXECUTOR

The first begins the search in ``./run``, or goes on with it. CAUSES is JSON: shares of the evaluations by cause. In the
second, of 200 trials, the clock jumps back on the way.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from archsearch import Evaluation, Evaluator, RayExecutor, Space, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.keeping import history

KINDS = {
    "raises": "exception",
    "nan": "invalid_score",
    "hangs": "timeout",
    "hangs_in_native_code": "timeout",
    "exits": "worker_died",
    "is_killed": "worker_died",
    "is_killed_afterwards": "worker_died",
    "fills_memory": "out_of_memory",
}
"""The kind of fault that each cause is counted as."""

SPACE = Space(arities=[5] * 8)
NOTES = "caused.log"
MOST_MEMORY = 8 << 30


class Causing(Evaluator):
    """Scores by the sum of the options; for chosen seeds causes a fault, and notes that before.

    Whether an evaluation goes wrong depends on its seed alone. What ends its process does so on the first try only,
    unless ``always``: markers in the folder remember.

    Args:
        causes: Shares of the evaluations, by cause (``KINDS``), together <= 1.
        folder: Where faults are noted.
        seconds: How long an evaluation takes.
        always: Whether what ends a process does so on every try.
        clock: A file that is made in the evaluation number 40 of a process: the shim's clock then jumps back.
    """

    def __init__(
        self,
        causes: dict[str, float],
        folder: str,
        seconds: float = 0.0,
        always: bool = False,
        clock: str | None = None,
    ) -> None:
        self.causes = causes
        self.folder = str(folder)
        self.seconds = seconds
        self.always = always
        self.clock = clock
        self._calls = 0
        self._dying = False

    def evaluate(self, architecture, seed):
        self._calls += 1
        if self.clock and self._calls == 40:
            Path(self.clock).touch()
        if self.seconds:
            time.sleep(self.seconds)
        if cause := self.cause(seed):
            if cause != "is_killed_afterwards":
                self._note(cause, seed)
            getattr(self, f"_{cause}")(seed)
            if cause == "nan":
                return Evaluation(float("nan"))
        return Evaluation(float(sum(architecture)), {"process": os.getpid()})

    def cause(self, seed):
        """What goes wrong in the evaluation with this seed; an empty string for nothing, or no more."""
        point = seed % 1_000_003 / 1_000_003
        for cause, share in self.causes.items():
            if point < share:
                ends = KINDS[cause] in ("worker_died", "out_of_memory")
                return "" if ends and not self.always and not self._first(cause, seed) else cause
            point -= share
        return ""

    def _first(self, cause, seed):
        try:
            os.close(os.open(f"{self.folder}/{cause}-{seed}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _note(self, cause, seed):
        """One short line by one system call: several processes may write."""
        file = os.open(f"{self.folder}/{NOTES}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, f"{cause} {seed} {os.getpid()}\n".encode())
        os.close(file)

    def _raises(self, seed):
        raise ValueError("no such layer")

    def _nan(self, seed):
        pass

    def _hangs(self, seed):
        time.sleep(3600)

    def _hangs_in_native_code(self, seed):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(3600)

    def _exits(self, seed):
        os._exit(3)

    def _is_killed(self, seed):
        os.kill(os.getpid(), signal.SIGKILL)

    def _is_killed_afterwards(self, seed):
        """Between the end of the evaluation and the arrival of its result, or just after that; once a process."""
        if not self._dying:
            self._dying = True
            threading.Thread(target=self._die_soon, args=(seed,), daemon=True).start()

    def _die_soon(self, seed):
        time.sleep(0.002)
        self._note("is_killed_afterwards", seed)
        os.kill(os.getpid(), signal.SIGKILL)

    def _fills_memory(self, seed):
        taken = []
        for _ in range(MOST_MEMORY // (64 << 20)):
            taken.append(b"\1" * (64 << 20))
            time.sleep(0.02)
        raise AssertionError("nobody stopped this process")


def noted(folder):
    """What was caused: (cause, seed) of each, in order."""
    path = Path(folder) / NOTES
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def expected_faults(folder, once=("exception", "invalid_score")):
    """How often what was caused, by kind of fault.

    Args:
        folder: Where it was noted.
        once: Kinds of which a trial has one only: one that went down with its worker, before it was heard of, is caused
            again, and counted once.
    """
    notes = noted(folder)
    notes = [note for note in notes if KINDS[note[0]] not in once] + list(
        {note for note in notes if KINDS[note[0]] in once}
    )
    return dict(Counter(KINDS[cause] for cause, _ in notes))


def processes():
    """Of every process: (parent, begin), by process id; a begin tells a process from a later one with its id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
            if facts[0] != "Z":
                found[int(folder.name)] = (int(facts[1]), int(facts[19]))
    return found


def descendants(process):
    """Every process that descends from this one, as {process id: begin}."""
    table, found = processes(), {}
    generation = [process]
    while generation:
        generation = [child for child, (parent, _) in table.items() if parent in generation]
        found |= {child: table[child][1] for child in generation}
    return found


def still_there(family):
    """Those of ``descendants`` that have not ended."""
    table = processes()
    return {process: begin for process, begin in family.items() if table.get(process, (0, 0))[1] == begin}


def drive(executor, workers, trials, seed, causes, address=None, **settings):
    """Begins the search in ``./run``, or goes on with it; small parts, so that kills hit their writing too."""
    history.PART_ROWS = 400
    if os.path.exists("run/config.yaml"):
        return resume("run", trust=True)
    if executor == "ray":
        executor = RayExecutor(workers, address=address)
    return search(
        SPACE,
        RegularizedEvolution(20, 5),
        Causing(causes, os.getcwd(), 0.001),
        trials=trials,
        seed=seed,
        executor=executor,
        out="run",
        max_failures=100,
        **settings,
    )


def drive_with_clock(executor):
    """Prints the time of day at the begin and at the end, and the seconds on the run's clock."""
    evaluator = Causing({"hangs": 0.03}, os.getcwd(), 0.005, clock=os.environ["CLOCK_FILE"])
    before = time.time()
    settings = {"trials": 200, "seed": 0, "max_failures": 100, "timeout": 0.5, "out": "run"}
    executor = RayExecutor(2) if executor == "ray" else executor
    result = search(SPACE, RegularizedEvolution(20, 5), evaluator, executor=executor, **settings)
    print(before, time.time(), result.seconds)


if __name__ == "__main__":
    import fault_lab  # so that the run folder names the evaluator by a path that others can import

    if sys.argv[1] == "clock":
        fault_lab.drive_with_clock(sys.argv[2])
        sys.exit()
    fault_lab.drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), json.loads(sys.argv[5]))
