"""Makes the table ``archsearch/data/digits201.parquet``: NAS-Bench-201 cells, each trained on its own on digits.

    python scripts/make_digits201.py --minutes 60 --work digits201.jsonl
    python scripts/make_digits201.py --work digits201.jsonl --table archsearch/data/digits201.parquet

The recipe is the preset ``digits201`` of ``Training``. Cells are drawn uniformly, without replacement, in an order that
depends on ``SEED`` alone; each is trained three times (runs 0, 1, 2) from seeds of its own. The first command trains
for as long as it is given, and goes on where it stopped when it is given again; the second writes the complete cells
as a table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from archsearch.basics.seeding import evaluation_seed, stream
from archsearch.evaluators import Training
from archsearch.spaces import NASBench201

SEED = 201
RUNS = 3


def train(index: int, run: int) -> dict[str, Any]:
    """Trains the cell of that official index once."""
    space = NASBench201()
    evaluator = Training(preset="digits201")
    evaluator.start(space)
    seed = evaluation_seed(SEED + run, index)
    found = evaluator.evaluate(space.from_index(index), seed)
    row: dict[str, Any] = {"index": index, "arch": space.format(space.from_index(index)), "run": run, "seed": seed}
    row |= {f"valid_accuracy_{epoch}": accuracy for epoch, accuracy in enumerate(found.curve, start=1)}
    row |= {name: found.metrics[name] for name in ("test_accuracy", "valid_loss", "train_loss", "params", "flops")}
    return {**row, "train_seconds": found.cost.device_seconds, "train_examples": found.cost.examples}


def jobs(done: set[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is to be trained, in order, all runs of a cell together."""
    for index in stream(SEED, "digits201").permutation(len(list(NASBench201().enumerate()))).tolist():
        yield from ((index, run) for run in range(RUNS) if (index, run) not in done)


def work(path: Path, minutes: float, workers: int) -> None:
    """Trains until the time is over."""
    rows = read(path)
    todo = jobs({(row["index"], row["run"]) for row in rows})
    end = time.monotonic() + 60 * minutes
    context = multiprocessing.get_context("spawn")
    running: set[Future[dict[str, Any]]] = set()
    with path.open("a") as file, ProcessPoolExecutor(workers, mp_context=context) as pool:
        while running or time.monotonic() < end:
            while len(running) < 2 * workers and time.monotonic() < end:
                running.add(pool.submit(train, *next(todo)))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                file.write(json.dumps(future.result()) + "\n")
            file.flush()


def read(path: Path) -> list[dict[str, Any]]:
    """The trainings done so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(rows: list[dict[str, Any]], target: Path) -> None:
    """Writes the cells of which all runs are done."""
    runs = Counter(row["index"] for row in rows)
    complete = sorted((r for r in rows if runs[r["index"]] == RUNS), key=lambda row: (row["index"], row["run"]))
    table = pa.Table.from_pylist(complete)
    narrow = {"index": pa.int32(), "run": pa.int8(), "params": pa.int32(), "flops": pa.int32()}
    fields = [
        pa.field(f.name, narrow.get(f.name, pa.float32() if f.type == pa.float64() else f.type)) for f in table.schema
    ]
    pq.write_table(table.cast(pa.schema(fields)), target, compression="zstd", compression_level=19)
    print(f"{target}: {len(complete):,} trainings of {len(complete) // RUNS:,} cells, {target.stat().st_size:,} bytes")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="file of the trainings done so far")
    parser.add_argument("--minutes", type=float, default=0.0, help="train for so long")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--table", type=Path, default=None, help="write this table")
    arguments = parser.parse_args()
    if arguments.minutes:
        work(arguments.work, arguments.minutes, arguments.workers)
    if arguments.table:
        write(read(arguments.work), arguments.table)


if __name__ == "__main__":
    main()
