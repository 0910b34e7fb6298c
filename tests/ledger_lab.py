"""For the subprocesses and workers of the ledger's tests: evaluators that note each try, and die on some.

    python tests/ledger_lab.py

That begins a search in ``./run``, or goes on with it.
"""

import os
import signal
import time
from pathlib import Path

from archsearch import Evaluation, Evaluator, Space, resume, search
from archsearch.controllers import RandomSearch

NOTES = "tries.log"


def tries(folder):
    """Trial and seconds of each try that was noted."""
    lines = (Path(folder) / NOTES).read_text().splitlines()
    return [(int(id_), float(seconds)) for id_, seconds in map(str.split, lines)]


def note(folder, id_, begun):
    """Notes a try that has come to its end."""
    with (Path(folder) / NOTES).open("a") as file:
        file.write(f"{id_} {time.perf_counter() - begun}\n")


class FailsTwice(Evaluator):
    """Every trial fails twice; before the third try of trial 2 the process is killed, once."""

    def evaluate_query(self, query):
        begun = time.perf_counter()
        before = sum(id_ == query.id for id_, _ in tries(".")) if Path(NOTES).exists() else 0
        if query.id == 2 and before == 2 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        note(".", query.id, begun)
        if before < 2:
            raise ValueError("not yet")
        return Evaluation(float(query.id))


class Mortal(Evaluator):
    """Of every four trials the third takes its process along, the first time.

    Args:
        path: Folder of the notes.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def evaluate_query(self, query):
        begun = time.perf_counter()
        time.sleep(0.01)
        note(self.path, query.id, begun)
        marker = Path(self.path) / f"died-{query.id}"
        if query.id % 4 == 2 and not marker.exists():
            marker.touch()
            os._exit(3)
        return Evaluation(float(query.id))


def drive():
    """Begins the search, or goes on with it."""
    if Path("run", "config.yaml").exists():
        return resume("run", trust=True)
    settings = {"trials": 5, "seed": 0, "retries": {"exception": 2}, "out": "run"}
    return search(Space(arities=[4, 3, 5, 2]), RandomSearch(), FailsTwice(), **settings)


if __name__ == "__main__":
    import ledger_lab  # so that config.yaml names a module that a resume can import

    ledger_lab.drive()
