"""What makes each table of ``docs/benchmarks.md``, how long it takes, and which of its figures have targets."""

from __future__ import annotations

import dataclasses
import re

NUMBER = r"\*{0,2}(-?[\d,]*\.?\d+)"
"""A number in a cell of a table, bold or not."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that is followed over time.

    Args:
        name: What it is.
        pattern: Finds it in what the script prints; its last group is the number.
        target: What it is to be; None: there is none.
        at_least: Whether the target is a least value; else it is the most.
    """

    name: str
    pattern: str
    target: float | None = None
    at_least: bool = True

    def read(self, text: str) -> float | None:
        """The number; None: it is not there."""
        found = re.search(self.pattern, text, re.MULTILINE)
        return None if found is None else float(found[found.lastindex or 0].replace(",", ""))

    def met(self, value: float) -> bool:
        """Whether a value keeps to the target."""
        return self.target is None or (value >= self.target if self.at_least else value <= self.target)


@dataclasses.dataclass(frozen=True)
class Row:
    """A table.

    Args:
        name: Short.
        section: Heading in ``docs/benchmarks.md``, or another page.
        arguments: The script in ``benchmarks/`` and its arguments.
        minutes: How long it takes on two cores that do nothing else, about.
        figures: Those that are followed.
        quick: Arguments that show in seconds that the script runs; its figures are noise. Empty: there are none.
        needs: What must be given or there: ``old``, another checkout, whose folder is put in for OLD; ``gpu``.
    """

    name: str
    section: str
    arguments: tuple[str, ...]
    minutes: float
    figures: tuple[Figure, ...] = ()
    quick: tuple[str, ...] = ()
    needs: str = ""


def cell(row: str, column: int) -> str:
    """Pattern of the number that a cell of a table begins with.

    Args:
        row: How the row's first cell begins, as a pattern.
        column: From 1, the first cell being 0.
    """
    return rf"^\| {row}[^|]*\|" + r"[^|]*\|" * (column - 1) + rf"\s*{NUMBER}"


def middle(row: str, column: int) -> str:
    """Pattern of the median of a cell that holds ``least / **median** / greatest``."""
    return rf"^\| {row}[^|]*\|" + r"[^|]*\|" * (column - 1) + r"[^|/]*/ \*\*(-?[\d,.]+)\*\*"


ROWS: tuple[Row, ...] = (
    Row(
        "ask and tell",
        "Asking and telling",
        ("ask_tell.py",),
        1.5,
        (
            Figure("archsearch over DEAP", cell("archsearch", 2), 1.0),
            Figure("last tenth over the first", r"last tenth[^\n]*?(\d\.\d+)", 1.1, False),
        ),
        ("ask_tell.py", "--trials", "2000", "--repeats", "1", "--growth", "3000"),
    ),
    Row(
        "local search",
        "A local search with its history on disk",
        ("local_search.py", "--paired", "5"),
        1.0,
        (Figure("plain loop's processor time over ours", middle("here", 3), 0.6),),
        ("local_search.py", "--paired", "1", "--trials", "500"),
    ),
    Row("local search, long", "A local search with its history on disk", ("local_search.py",), 3.0),
    Row(
        "driver's memory",
        "The driver's memory",
        ("driver_memory.py",),
        2.0,
        (
            Figure("bytes a trial at the peak, 6,000 trials", cell("6,000", 3)),
            Figure("bytes a trial more, 100,000 to 200,000", cell("200,000", 4), 100, False),
        ),
        ("driver_memory.py", "--sizes", "200", "400", "--traced-up-to", "200"),
    ),
    Row("worker process", "A worker process", ("isolation.py",), 2.0),
    Row("ray", "Ray", ("ray_throughput.py",), 5.0),
    Row("search quality", "Search quality on NAS-Bench-201", ("quality.py",), 30.0),
    Row(
        "training",
        "Training",
        ("training.py", "--ray-rounds", "0", "--rounds", "3"),
        1.0,
        (
            Figure("Training over a plain loop, ResNet-like cell", middle("ResNet-like", 3), 0.95),
            Figure("Training over a plain loop, heaviest cell", middle("heaviest", 3), 0.95),
        ),
    ),
    Row(
        "several seeds at once",
        "docs/training.md, Several seeds at once",
        ("stacked.py", "--repeats", "3"),
        2.5,
        (
            Figure("8 channels, 4 seeds", r"^\| 8 \| 4 \| (\d+\.\d+)", 2.0),
            Figure("8 channels, 16 seeds", r"^\| 8 \| 16 \| (\d+\.\d+)", 3.0),
            Figure("16 channels, 4 seeds", r"^\| 16 \| 4 \| (\d+\.\d+)", 1.7),
        ),
    ),
    Row(
        "several cells at once",
        "docs/experiments.md",
        ("union.py", "--rounds", "3"),
        1.0,
        (Figure("8 cells, 8 channels: an update", middle("8", 4), 1.5),),
        ("union.py", "--rounds", "1", "--channels", "4", "--cells", "2"),
    ),
    Row(
        "ranking by a super-network",
        "docs/optimization_gap.md",
        ("ranking_cost.py", "--rounds", "3"),
        2.0,
        (Figure("training all over ranking all, seconds", middle("here", 4), 20.0),),
    ),
    Row(
        "compiled",
        "docs/training.md, Compiled",
        ("compiled.py",),
        10.0,
        (Figure("digits: eager over compiled, an update", cell("digits", 3)),),
    ),
    Row("halving", "Successive halving and Hyperband against random search", ("halving.py",), 10.0),
    Row(
        "lengths",
        "A model over lengths of training",
        ("halving.py", "--models", "--repeats", "20", "--trainings", "5", "10", "20"),
        12.0,
        quick=("halving.py", "--models", "--repeats", "2", "--trainings", "2", "--problems", "Digits"),
    ),
    Row("inherited weights", "Inherited weights", ("inherit.py", "--seeds", "5", "--trials", "50"), 20.0),
    Row(
        "super-network step",
        "A step of a super-network",
        ("one_shot.py", "--rounds", "2", "--architectures", "3"),
        1.5,
        tuple(
            Figure(f"a path's step over alone, {space}", middle(space, 3), 1.05, False)
            for space in ("NASBench201", "DARTS", "MobileNet", "NASBench101")
        ),
    ),
    Row("elastic steps", "Elastic networks", ("elastic.py", "steps", "--rounds", "3", "--architectures", "2"), 3.0),
    Row("elastic search", "Elastic networks", ("elastic.py", "search"), 10.0),
    Row("chain scoring", "Scoring chains together", ("chain_scoring.py",), 5.0),
    Row("gpu", "On a GPU", ("cuda.py",), 5.0, needs="gpu"),
    Row("gpu, workers against stacked", "On a GPU", ("gpu.py",), 10.0, needs="gpu"),
    Row("comparing evaluators", "Comparing evaluators", ("comparison.py", "--simulations", "1000"), 5.0),
    Row("old and new", "The engine in rooms, beside the one before", ("old_and_new.py", "OLD"), 5.0, needs="old"),
    Row(
        "start-up",
        "Start-up",
        ("startup.py", "--rounds", "3"),
        1.0,
        (
            Figure("run: CPU seconds, median", r"^\| `run`[^\n]*?\*\*(\d+\.\d+)\*\*", 1.8, False),
            Figure("list: CPU seconds, median", r"^\| `list`[^\n]*?\*\*(\d+\.\d+)\*\*", 0.8, False),
        ),
    ),
    Row("several nodes", "Several nodes", ("cluster.py",), 10.0),
    Row("faults", "Faults", ("soak.py",), 6.0),
    Row("scaling", "Scaling", ("scaling.py", "simulate"), 10.0),
    Row("messages", "Scaling", ("scaling.py", "messages"), 5.0),
    Row("Ray Tune", "Ray Tune", ("ray_tune.py", "overhead"), 20.0),
    Row("what is done once a trial", "What is done once a trial", ("hot_paths.py", "OLD"), 10.0, needs="old"),
    Row("graphs: functions kept", "Graphs that grow", ("graphs.py", "preserve"), 10.0),
    Row("reading data", "Reading data", ("reading.py", "--pictures", "10000", "--repeats", "1"), 2.0),
    Row("tables", "Tables", ("tables.py", "--seeds", "10", "--seconds", "4"), 5.0),
    Row("numbers in order", "Numbers in order", ("ordered.py", "models", "--seeds", "6"), 10.0),
    Row("reinforce", "Reinforce within 300 trials", ("reinforce.py",), 10.0),
    Row("trees", "Trees on many decisions", ("trees.py", "--seeds", "4"), 5.0),
)
