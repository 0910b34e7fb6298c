"""One training in several processes of one machine, each with a share of every batch, as torchrun would set it up.

Each process has a device of its own (CUDA devices 0, 1, ..., by NCCL; else processors, by gloo), does what a training
in one process does, and gives PyTorch's ``DistributedDataParallel`` its share of the batches; gradients are averaged,
so the weights are the same everywhere. They meet by a file: no port is opened for that. What is asked and answered
goes through pipes, and never lies in a file. The evaluation is that of the first; all of them are billed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from typing import Protocol

import torch

from archsearch.errors import ArchsearchError, UsageError
from archsearch.training.trainer import Trainer
from archsearch.trial import Cost, Evaluation, Query

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from archsearch.evaluators.together import main; main(sys.argv[2], *map(int, sys.argv[3:]))"
)
LENGTH = 8
"""Bytes that say how long what is asked is."""

LOOK_SECONDS = 0.05
"""Between two looks at which processes have ended."""


class Trains(Protocol):
    """What of ``Training`` is used."""

    trainer: Trainer

    def evaluate_query(self, query: Query) -> Evaluation:
        """Trains; in one of the processes, by its share."""


def evaluate_together(training: Trains, query: Query, processes: int) -> Evaluation:
    """Trains in so many processes; they are ended with this one.

    Raises:
        ArchsearchError: If one of them ends without an answer; what one of them raises is raised here.
    """
    import cloudpickle

    if training.trainer.where.type == "cuda" and torch.cuda.device_count() < processes:
        raise UsageError(
            f"Training: processes: expected at most {torch.cuda.device_count()}, the CUDA devices there are, got "
            f"{processes}; on Ray give each worker as many: --gpus {processes}"
        )
    asked = cloudpickle.dumps((training, query))
    with tempfile.TemporaryDirectory(prefix="archsearch-") as folder:
        children = [_Child(rank, processes, folder, asked) for rank in range(processes)]
        try:
            _wait(children)
        finally:
            for child in children:
                child.end()
        return _together([child.answer() for child in children])


class _Child:
    """One of the processes: what is asked goes into its standard input, its answer comes through a pipe of its own.

    Args:
        rank: Its number.
        processes: How many there are.
        folder: Where they meet.
        asked: The pickled training and query.
    """

    def __init__(self, rank: int, processes: int, folder: str, asked: bytes) -> None:
        self.rank = rank
        self._said = b""
        answer, into = os.pipe()
        command = [sys.executable, "-c", CHILD, json.dumps(sys.path), folder, *map(str, (rank, processes, into))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[into])
        os.close(into)
        self._threads = [
            threading.Thread(target=self._ask, args=(asked,), daemon=True),
            threading.Thread(target=self._hear, args=(answer,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, asked: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: its status tells
            self.process.stdin.write(len(asked).to_bytes(LENGTH, "big") + asked)
            self.process.stdin.flush()  # and it stays open: it closes when this process ends

    def _hear(self, answer: int) -> None:
        with open(answer, "rb") as pipe:
            self._said = pipe.read()

    def end(self) -> None:
        """Ends it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def answer(self) -> Evaluation | Exception | None:
        """What it has answered; None: it was ended before, for another one."""
        if self._said:
            answer: Evaluation | Exception = pickle.loads(self._said)
            return answer
        status = self.process.returncode
        return ArchsearchError(f"Training: process {self.rank} ended with status {status}") if status else None


def _wait(children: list[_Child]) -> None:
    """Waits until all have ended, or one has failed: the others would wait for it without end."""
    processes = [child.process for child in children]
    while any(each.poll() is None for each in processes) and not any(each.poll() for each in processes):
        time.sleep(LOOK_SECONDS)


def _together(answers: list[Evaluation | Exception | None]) -> Evaluation:
    """The evaluation of the first process, with what all have cost, and the mean of their losses in training."""
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    # That of the process that failed by itself, not of those that were ended for it.
    for failure in sorted(failures, key=lambda each: type(each) is ArchsearchError):
        raise failure
    evaluations = [answer for answer in answers if isinstance(answer, Evaluation)]
    first = evaluations[0]
    cost = dataclasses.replace(sum((each.cost for each in evaluations), Cost()), updates=first.cost.updates)
    metrics = dict(first.metrics)
    if "train_loss" in metrics:
        metrics["train_loss"] = sum(each.metrics["train_loss"] for each in evaluations) / len(evaluations)
    return first._replace(metrics=metrics, cost=cost)


# -- in each of the processes ----------------------------------------------------------------------


def main(folder: str, rank: int, processes: int, into: int) -> None:
    """Trains with one share of the batches, and writes the answer into a pipe."""
    asked = sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(LENGTH), "big"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    training, query = pickle.loads(asked)
    cuda = training.trainer.where.type == "cuda"
    if cuda:
        torch.cuda.set_device(rank)
        training.trainer.device = f"cuda:{rank}"
    training.trainer.rank = rank
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes
    )
    failed = False
    try:
        answer = training.evaluate_query(query)
    except Exception as error:
        answer, failed = _plain(error), True
    with open(into, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    if failed:
        os._exit(1)  # without waiting for the others, which wait for this one
    torch.distributed.destroy_process_group()


def _plain(error: Exception) -> Exception:
    """An error as it can be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    """The pipe from the parent closes when that ends, however it does."""
    sys.stdin.buffer.read()
    os._exit(1)
