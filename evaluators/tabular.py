"""Look-up in a table of recorded results: NAS-Bench-201, which is embedded, or a table of the user's own.

Reference of the embedded table: Dong & Yang, "NAS-Bench-201", ICLR 2020, in the figures of Dong, Liu, Musial & Gabrys,
"NATS-Bench", TPAMI 2021 (topology search space). ``archsearch/data/README.md`` says where every column comes from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from archsearch.embedded import embedded_columns
from archsearch.errors import ArchsearchError, InvalidArchitecture, MissingAbility, TableError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.history import RESERVED_COLUMNS
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation

if TYPE_CHECKING:
    import pyarrow as pa

Dataset = Literal["cifar10", "cifar100", "ImageNet16-120"]
Epochs = Literal[12, 200]
Run = Literal["mean", 777, 888, 999]

RUNS: dict[str, tuple[int, ...]] = {"cifar10": (777, 888, 999), "cifar100": (888,), "ImageNet16-120": (888,)}
"""Single 200-epoch runs whose pure validation accuracy is in the embedded table."""

TIME_FACTOR = {"cifar10": 1.0, "cifar100": 2.0, "ImageNet16-120": 6.068}
"""Seconds per epoch relative to the 25,000 training images of the CIFAR-10 search split."""

SAMPLE_CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


class Tabular(Evaluator):
    """Look-up in a table: the embedded NAS-Bench-201 results, or a Parquet or CSV file of your own.

    Embedded: the score is the validation accuracy in percent that ``epochs`` and ``run`` select. Reported but never
    used: ``test_accuracy`` (percent, after 200 epochs, mean of the runs, whatever the score is), ``params``, ``flops``
    (multiply-adds) and ``latency_seconds``. Billed: the recorded seconds of that training.

    Args:
        dataset: Embedded table: cifar10, cifar100 or ImageNet16-120.
        epochs: Embedded table: validation accuracy after the 12-epoch or the 200-epoch schedule.
        run: Embedded table: the mean of the runs, or the single 200-epoch run with that seed.
        table: Path of a ``.parquet`` or ``.csv`` file to use instead of the embedded table.
        architecture: Own table: the column that identifies the architecture: text that the space can parse, or a list
            of options.
        score: Own table: the column to search on.
        metrics: Own table: columns to report; None: all other columns of numbers.
        cost: Own table: column of seconds to bill.
        maximize: Own table: False for a score that should be low, such as a loss; it is negated.

    Raises:
        UsageError: If settings exclude each other, or the embedded table has no such run.
        TableError: If the file cannot be used.
    """

    def __init__(
        self,
        dataset: Dataset = "cifar10",
        epochs: Epochs = 200,
        run: Run = "mean",
        table: str | None = None,
        architecture: str | None = None,
        score: str | None = None,
        metrics: list[str] | None = None,
        cost: str | None = None,
        maximize: bool = True,
    ) -> None:
        own = {"architecture": architecture, "score": score, "metrics": metrics, "cost": cost}
        if table is None:
            given = [name for name, value in own.items() if value is not None]
            if given or not maximize:
                raise UsageError(
                    f"Tabular: {', '.join(given) or 'maximize'} goes with a table of your own; give table=PATH too"
                )
            _check_embedded(dataset, epochs, run)
        elif architecture is None or score is None:
            raise UsageError(f"Tabular: table={str(table)!r} needs the names of two columns: architecture and score")
        elif (dataset, epochs, run) != ("cifar10", 200, "mean"):
            raise UsageError(
                "Tabular: dataset, epochs and run select from the embedded table; leave them out with table"
            )
        self.dataset = dataset
        self.epochs = epochs
        self.run = run
        self.table = None if table is None else str(table)
        self.architecture = architecture
        self.score = score
        self.metrics = metrics
        self.cost = cost
        self.maximize = maximize
        self._evaluations: dict[Architecture, Evaluation | None] = {}

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the embedded table does not describe that space."""
        if self.table is not None:
            return
        try:
            fits = space.format(space.parse(SAMPLE_CELL)) == SAMPLE_CELL
        except (ArchsearchError, ValueError):
            fits = False
        if not fits:
            raise MissingAbility(
                f"Tabular's embedded table holds NAS-Bench-201 cells, which {type(space).__name__} does not describe; "
                "use the space NASBench201, or give a table of your own"
            )

    def start(self, space: Space) -> None:
        """Reads the table; a second start with an equal space keeps it."""
        if self._evaluations and self.space == space:
            return
        self._evaluations = {}  # should reading fail, nothing of the last space remains
        super().start(space)
        rows = _embedded(self) if self.table is None else _own(self, space)
        self._evaluations = rows

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Looks the architecture up; ``seed`` is not used.

        Raises:
            InvalidArchitecture: If the table has no such architecture, or no score for it.
        """
        evaluation = self._evaluations.get(architecture)
        if evaluation is None:
            raise self._missing(architecture)
        return evaluation

    def evaluate_batch(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> list[Evaluation]:
        """Looks several up."""
        return [self.evaluate(architecture, 0) for architecture in architectures]

    def _missing(self, architecture: Architecture) -> InvalidArchitecture:
        name = self.space.format(self.space.validate(architecture))
        where = self.table or f"the embedded table ({self.dataset})"
        if architecture in self._evaluations:
            return InvalidArchitecture(f"{where} has no score for {name} ({self.score or f'run {self.run}'} is empty)")
        return InvalidArchitecture(f"{where} has no architecture {name}; it has {len(self._evaluations):,} others")

    def __getstate__(self) -> dict[str, Any]:
        """Workers read the table themselves, so it is not sent to them."""
        return {**self.__dict__, "_evaluations": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "space" in state:
            self.start(state["space"])


# -- the embedded table ------------------------------------------------------------------------


def _check_embedded(dataset: str, epochs: int, run: str | int) -> None:
    for name, value, known in (
        ("dataset", dataset, get_args(Dataset)),
        ("epochs", epochs, get_args(Epochs)),
        ("run", run, get_args(Run)),
    ):
        if value not in known:
            raise UsageError(f"Tabular: {name}: expected one of {', '.join(map(str, known))}, got {value!r}")
    if run != "mean" and (epochs == 12 or run not in RUNS[dataset]):
        runs = "; ".join(f"{name}: {', '.join(map(str, seeds))}" for name, seeds in RUNS.items())
        raise UsageError(
            f"Tabular: run={run} with dataset={dataset}, epochs={epochs} is not in the table; single runs are there "
            f"for 200 epochs only ({runs})"
        )


def _embedded(evaluator: Tabular) -> dict[Architecture, Evaluation | None]:
    prefix = evaluator.dataset.lower().replace("-", "_")
    suffix = "" if evaluator.run == "mean" else f"_seed{evaluator.run}"
    columns = {
        "score": f"{prefix}_valid_acc_{evaluator.epochs}{suffix}",
        "test_accuracy": f"{prefix}_test_acc_200",
        "params": f"{prefix}_params",
        "flops": f"{prefix}_flops",
        "latency_seconds": f"{prefix}_latency_seconds",
    }
    names = [name for name in columns if name != "score"]
    table = embedded_columns("nasbench201", (*columns.values(), "arch", "train_seconds_per_epoch"))
    architectures = [evaluator.space.parse(text) for text in table["arch"]]
    metrics = zip(*(table[columns[name]] for name in names), strict=True)
    seconds = evaluator.epochs * TIME_FACTOR[evaluator.dataset]
    rows: dict[Architecture, Evaluation | None] = {}
    for architecture, score, values, per_epoch in zip(
        architectures, table[columns["score"]], metrics, table["train_seconds_per_epoch"], strict=True
    ):
        cost = Cost(recorded_seconds=seconds * per_epoch)
        found = None if score is None else Evaluation(score, dict(zip(names, values, strict=True)), cost)
        rows[architecture] = found
    return rows


# -- a table of the user's own -----------------------------------------------------------------


def _own(evaluator: Tabular, space: Space) -> dict[Architecture, Evaluation | None]:
    table = _read_own(str(evaluator.table))
    where = evaluator.table
    needed = [evaluator.architecture, evaluator.score, *(evaluator.metrics or [])]
    if evaluator.cost is not None:
        needed.append(evaluator.cost)
    missing = [str(name) for name in needed if name not in table.column_names]
    if missing:
        raise TableError(f"{where}: no column called {', '.join(missing)}; it has {', '.join(table.column_names)}")
    if len(set(table.column_names)) < len(table.column_names):
        raise TableError(f"{where}: two columns have one name; it has {', '.join(table.column_names)}")
    if table.num_rows == 0:
        raise TableError(f"{where}: the table is empty")
    names = evaluator.metrics if evaluator.metrics is not None else _other_numbers(table, needed)
    reserved = RESERVED_COLUMNS.intersection(names)
    if reserved:
        raise TableError(
            f"{where}: {', '.join(sorted(reserved))} cannot name a metric, since the history has such columns; "
            "rename them, or list in metrics what to report"
        )
    architectures = _identify(table[evaluator.architecture].to_pylist(), space, str(where))
    scores = _numbers(table, str(evaluator.score), str(where))
    metrics = [_numbers(table, name, str(where)) for name in names]
    costs = _numbers(table, evaluator.cost, str(where)) if evaluator.cost else [0.0] * table.num_rows
    wrong = [cost for cost in costs if cost is not None and not 0 <= cost < math.inf]
    if wrong:
        raise TableError(f"{where}: column {evaluator.cost!r}: expected seconds >= 0, got {wrong[0]}")
    sign = 1.0 if evaluator.maximize else -1.0
    rows: dict[Architecture, Evaluation | None] = {}
    for i, architecture in enumerate(architectures):
        if scores[i] is None:
            rows[architecture] = None
            continue
        values = {name: column[i] for name, column in zip(names, metrics, strict=True) if column[i] is not None}
        cost = Cost(recorded_seconds=costs[i]) if costs[i] else NO_COST
        rows[architecture] = Evaluation(sign * scores[i], values, cost)
    return rows


def _read_own(name: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    path = Path(name)
    if path.suffix not in (".parquet", ".csv"):
        raise TableError(f"{name}: expected a file that ends in .parquet or .csv")
    try:
        return pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    except FileNotFoundError:
        raise TableError(f"{name}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{name}: cannot be read: {error}") from None


def _other_numbers(table: pa.Table, taken: Sequence[Any]) -> list[str]:
    import pyarrow.types as types

    fields = [field for field in table.schema if field.name not in taken]
    numbers = [field.name for field in fields if types.is_integer(field.type) or types.is_floating(field.type)]
    return [name for name in numbers if table[name].null_count < table.num_rows]


def _numbers(table: pa.Table, name: str, where: str) -> list[Any]:
    import pyarrow as pa

    column = table[name]
    try:
        values = column.cast(pa.float64()).to_pylist()
    except pa.ArrowException:
        raise TableError(f"{where}: column {name!r} holds {column.type}, expected numbers") from None
    values = [None if value is None or math.isnan(value) else value for value in values]  # NaN is empty, as in CSV
    if not any(value is not None for value in values):
        raise TableError(f"{where}: column {name!r} has no values")
    return values


def _identify(cells: Sequence[Any], space: Space, where: str) -> list[Architecture]:
    architectures = []
    for row, cell in enumerate(cells):
        try:
            architectures.append(space.validate(cell) if isinstance(cell, list) else space.parse(str(cell)))
        except ArchsearchError as error:
            raise TableError(f"{where}, row {row}: {error}") from None
    repeated = [(architecture, times) for architecture, times in Counter(architectures).items() if times > 1]
    if repeated:
        first, times = repeated[0]
        raise TableError(
            f"{where}: {len(repeated)} architectures have more than one row, the first is {space.format(first)} "
            f"({times} rows); keep one row each, such as the mean"
        )
    return architectures
