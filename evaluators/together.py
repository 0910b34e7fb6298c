"""One training in several processes of one machine, each with a share of every batch, as torchrun would set it up.

Each process has a device of its own (CUDA devices 0, 1, ..., by NCCL; else processors, by gloo), does what a training
in one process does, and gives PyTorch's ``DistributedDataParallel`` its share of the batches; gradients are averaged,
so the weights are the same everywhere. They meet by a file: no port is opened for that. The evaluation is that of the
first; all of them are billed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Protocol

import torch

from archsearch.errors import ArchsearchError, UsageError
from archsearch.training.trainer import Trainer
from archsearch.trial import Cost, Evaluation, Query

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from archsearch.evaluators.together import main; main(sys.argv[2], *map(int, sys.argv[3:]))"
)
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
    with tempfile.TemporaryDirectory(prefix="archsearch-") as name:
        folder = Path(name)
        (folder / "asked").write_bytes(cloudpickle.dumps((training, query)))
        command = [sys.executable, "-c", CHILD, json.dumps(sys.path), name]
        children = [
            subprocess.Popen([*command, str(rank), str(processes)], stdin=subprocess.PIPE) for rank in range(processes)
        ]
        try:
            _wait(children)
        finally:
            for child in children:
                child.kill()
                child.communicate()
        return _together([_answer(folder, rank, child) for rank, child in enumerate(children)])


def _wait(children: list[subprocess.Popen[bytes]]) -> None:
    """Waits until all have ended, or one has failed: the others would wait for it without end."""
    while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
        time.sleep(LOOK_SECONDS)


def _answer(folder: Path, rank: int, child: subprocess.Popen[bytes]) -> Evaluation | Exception | None:
    file = folder / f"answer-{rank}"
    if file.exists():
        answer: Evaluation | Exception = pickle.loads(file.read_bytes())
        return answer
    return (
        ArchsearchError(f"Training: process {rank} ended with status {child.returncode}") if child.returncode else None
    )


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


def main(folder: str, rank: int, processes: int) -> None:
    """Trains with one share of the batches, and writes the answer."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    training, query = pickle.loads(Path(folder, "asked").read_bytes())
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
    part = Path(folder, f"answer-{rank}.part")
    part.write_bytes(pickle.dumps(answer))
    part.rename(part.with_suffix(""))
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
