"""What runs on Ray's workers: the actor that keeps the evaluator; and what is known of one that is lost."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluate_batch_safely, evaluates_batches
from archsearch.executors.executor import Outcome
from archsearch.executors.usage import GAUGE
from archsearch.trial import Query

MAX_PRINTED_LINES = 20
MAX_PRINTED = 2_000
"""Characters, the last ones, of what an evaluation printed that go with its error."""


class Place(NamedTuple):
    """Where a worker is.

    Attributes:
        node: Id of its node.
        logs: Files on that node that hold what it prints.
    """

    node: str
    logs: tuple[str, ...]


class Worker:
    """The actor: keeps the evaluator, so that it is sent once."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._printed = Printed()
        GAUGE.alone, GAUGE.energy = True, False  # others evaluate on this machine, too

    def ready(self) -> tuple[str, tuple[str, ...]]:
        """Where it runs, once it can: the fields of ``Place``."""
        import ray

        return ray.get_runtime_context().get_node_id(), self._printed.files

    def update(self, evaluator: Evaluator) -> tuple[str, tuple[str, ...]]:
        """Takes what the evaluator has become; returns what ``ready`` does."""
        self._evaluator = evaluator
        return self.ready()

    def evaluate(self, queries: Sequence[tuple[Any, ...]], timeout: float | None) -> list[tuple[Any, ...]]:
        """The outcomes of the fields of queries, as plain tuples."""
        asked = [Query(*query) for query in queries]
        together = [asked] if evaluates_batches(self._evaluator) else [[query] for query in asked]
        return [tuple(outcome) for some in together for outcome in self._evaluate(some, timeout)]

    def _evaluate(self, queries: Sequence[Query], timeout: float | None) -> list[Outcome]:
        self._printed.begin()
        outcomes = evaluate_unattended(self._evaluator, queries, timeout)
        if any(outcome.failure for outcome in outcomes) and (text := self._printed.text()):
            return [
                outcome._replace(error=with_printed(text, outcome.error)) if outcome.failure else outcome
                for outcome in outcomes
            ]
        return outcomes


def evaluate_unattended(evaluator: Evaluator, queries: Sequence[Query], timeout: float | None = None) -> list[Outcome]:
    """As ``evaluate_batch_safely``, in a process at which nobody sits: there a ``KeyboardInterrupt`` is no Ctrl-C.

    It comes from the evaluator, or from a signal to this one process, and fails the trial as any other exception.
    """
    begun = time.perf_counter()
    try:
        return evaluate_batch_safely(evaluator, queries, timeout)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - begun
    if len(queries) > 1:
        return [outcome for query in queries for outcome in evaluate_unattended(evaluator, [query], timeout)]
    return [
        Outcome(None, seconds, "exception", "KeyboardInterrupt: raised by the evaluator or a signal to its process")
    ]


# -- what is printed -------------------------------------------------------------------------------


class Printed:
    """What this process prints, its native code and its children included, as Ray keeps it in files.

    Attributes:
        files: Their paths; empty where output goes elsewhere.
    """

    def __init__(self) -> None:
        self._descriptors = [fd for fd in (1, 2) if stat.S_ISREG(os.fstat(fd).st_mode)]
        self.files: tuple[str, ...] = ()
        with contextlib.suppress(OSError):
            self.files = tuple(os.readlink(f"/proc/self/fd/{fd}") for fd in self._descriptors)
        self.begin()

    def begin(self) -> None:
        """What follows counts."""
        self._sizes = [os.fstat(fd).st_size for fd in self._descriptors]

    def text(self) -> str:
        """The last lines since ``begin``."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return tail(self.files, self._sizes)


def tail(files: Sequence[str], sizes: Sequence[int] | None = None) -> str:
    """The last lines of files that are here.

    Args:
        files: Paths.
        sizes: How much of each is not meant.
    """
    lines: list[str] = []
    for file, skipped in zip(files, sizes or [0] * len(files), strict=True):
        with contextlib.suppress(OSError), Path(file).open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(skipped, end - MAX_PRINTED))
            text = log.read(MAX_PRINTED).decode(errors="replace")
            lines += [line.rstrip() for line in text.splitlines() if not line.startswith((":job_id:", ":actor_name:"))]
    return "\n".join(lines[-MAX_PRINTED_LINES:])[-MAX_PRINTED:].strip()


def with_printed(printed: str, error: str) -> str:
    """An error, with what was printed before it; the line that says what it was stays the last."""
    return f"printed last:\n{printed}\n\n{error}" if printed else error


# -- workers that are lost ---------------------------------------------------------------------------


def kind_of_loss(error: Exception) -> str:
    """What happened to a worker, by Ray's error."""
    import ray

    text = str(error)
    # How Ray's memory monitor words it; its text for any other death only guesses at the kernel's "OOM killer".
    if isinstance(error, ray.exceptions.OutOfMemoryError) or any(
        words in text.lower() for words in ("running low on memory", "out of memory")
    ):
        return "out_of_memory"
    unreachable = (ray.exceptions.ActorUnavailableError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError)
    if isinstance(error, unreachable) or "node has died" in text or "node was terminated" in text:
        return "node_died"
    return "worker_died"
