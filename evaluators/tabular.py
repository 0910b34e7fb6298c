"""Look-up in a table of recorded results: one that is embedded, or a table of the user's own.

Embedded: NAS-Bench-201 (Dong & Yang, ICLR 2020; figures of Dong, Liu, Musial & Gabrys, "NATS-Bench", TPAMI 2021),
its scores at initialisation of Krishnakumar et al., "NAS-Bench-Suite-Zero", NeurIPS 2022, and of Mellor et al., "Neural
architecture search without training", ICML 2021; NAS-Bench-Macro (Su et al., CVPR 2021), EC-NAS (Bakhtiarifard, Igel &
Selvan, ICASSP 2024) and our own ``digits201``.
Latency and energy on devices: Li et al., "HW-NAS-Bench", ICLR 2021. ``archsearch/data/README.md`` says where every
column comes from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from archsearch.checks import whole_number
from archsearch.embedded import embedded_columns
from archsearch.errors import ArchsearchError, InvalidArchitecture, MissingAbility, TableError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.fingerprints import embedded_fingerprint, file_fingerprint
from archsearch.history import RESERVED_COLUMNS
from archsearch.space import Space
from archsearch.tables import numbers, read_table
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query

if TYPE_CHECKING:
    import pyarrow as pa

Dataset = Literal["cifar10", "cifar100", "ImageNet16-120", "nasbench_macro", "ecnas_4v", "ecnas_5v", "digits201"]
Published = Literal[
    "epe_nas",
    "fisher",
    "grad_norm",
    "grasp",
    "jacov",
    "l2_norm",
    "nwot",
    "plain",
    "snip",
    "synflow",
    "zen",
    "naswot_paper",
]
Device = Literal["edgegpu", "edgetpu", "eyeriss", "fpga", "pixel3", "raspi4"]
Rows = dict[Architecture, Evaluation | None]

MEASURED = ("params", "flops", "latency_seconds", "energy_joules")
"""Columns that are known of an architecture without training it."""


class Tabular(Evaluator):
    """Look-up in a table: an embedded one, or a Parquet or CSV file of your own.

    The score is the validation accuracy in percent that ``epochs`` and ``run`` select; what else the table knows is
    reported as metrics and never used. Billed: the recorded seconds of that training.

    ``cifar10``, ``cifar100``, ``ImageNet16-120``: all cells of NASBench201, 12 and 200 epochs. ``test_accuracy`` is
    that after 200 epochs, mean of the runs, whatever the score is; ``flops`` are multiply-adds.
    ``nasbench_macro``: all networks of NASBenchMacro, CIFAR-10. There is no validation accuracy, so the score is the
    test accuracy of the ``run``, and ``test_accuracy`` the mean of the other two (with ``mean``: of all three).
    ``ecnas_4v``, ``ecnas_5v``: all cells of NASBench101 with up to 4 vertices (4, 12, 36, 108 epochs, runs 1 to 3) or
    up to 5 (4 epochs, one run), CIFAR-10, with the measured energy.
    ``digits201``: a sample of NASBench201 cells trained by ``Training(preset="digits201")``, runs 0 to 2, after each
    epoch; ``architectures`` lists them.

    With ``zero_cost`` the score is not an accuracy but a published score at initialisation, of ``cifar10`` or
    ``ImageNet16-120``, as NAS-Bench-Suite-Zero has it: ``synflow`` is the logarithm of the sum, -1e8 stands for what
    could not be computed. ``zen`` was published for all cells, ``naswot_paper`` (``cifar10`` only, the first version of
    the NASWOT paper) for the 15,284 whose output depends on the input, the others for the 9,445 without operations that
    lie on no path from input to output. A cell that has such operations scores as it does without them; what is still
    missing then has no score. Nothing is billed, since how long it took was not published.

    With ``device`` the ``latency_seconds`` of the NAS-Bench-201 tables are those that HW-NAS-Bench has for that device,
    with its ``energy_joules`` (``edgegpu``, ``eyeriss``, ``fpga``). ``edgetpu`` could not run 4,699 cells, which then
    have none. Cells whose output does not depend on the input take next to no time on some devices.

    Under a controller with budgets the other lengths of ``digits201`` and EC-NAS are looked up. Of ``digits201`` the
    seconds of the added epochs are billed; of EC-NAS those of the whole training, since each length was one of its own.

    Args:
        dataset: Embedded table.
        epochs: Embedded table: length of the training; None: the longest.
        run: Embedded table: a single run, or the mean of all.
        table: Path of a ``.parquet`` or ``.csv`` file to use instead of an embedded table.
        architecture: Own table: the column that identifies the architecture: text that the space can parse, or a list
            of options.
        score: Own table: the column to search on.
        metrics: Own table: columns to report; None: all other columns of numbers.
        cost: Own table: column of seconds to bill.
        maximize: Own table: False for a score that should be low, such as a loss; it is negated.
        zero_cost: Embedded table of ``cifar10`` or ``ImageNet16-120``: a published score at initialisation to search
            on, in place of the accuracy that ``epochs`` and ``run`` select.
        device: Embedded table of ``cifar10``, ``cifar100`` or ``ImageNet16-120``: whose latency and energy to report.

    Raises:
        UsageError: If settings exclude each other, or the embedded table has no such run.
        TableError: If the file cannot be used.
    """

    def __init__(
        self,
        dataset: Dataset = "cifar10",
        epochs: int | None = None,
        run: int | Literal["mean"] = "mean",
        table: str | None = None,
        architecture: str | None = None,
        score: str | None = None,
        metrics: list[str] | None = None,
        cost: str | None = None,
        maximize: bool = True,
        zero_cost: Published | None = None,
        device: Device | None = None,
    ) -> None:
        epochs = None if epochs is None else whole_number("Tabular", "epochs", epochs)
        if not isinstance(run, str):
            run = whole_number("Tabular", "run", run)
        own = {"architecture": architecture, "score": score, "metrics": metrics, "cost": cost}
        if table is None:
            given = [name for name, value in own.items() if value is not None]
            if given or not maximize:
                raise UsageError(
                    f"Tabular: {', '.join(given) or 'maximize'} goes with a table of your own; give table=PATH too"
                )
            _check_embedded(dataset, epochs, run)
            if zero_cost is not None:
                _check_zero_cost(zero_cost, dataset, epochs, run)
            if device is not None:
                _check_device(device, dataset)
        elif architecture is None or score is None:
            raise UsageError(f"Tabular: table={str(table)!r} needs the names of two columns: architecture and score")
        elif (dataset, epochs, run, zero_cost, device) != ("cifar10", None, "mean", None, None):
            raise UsageError(
                "Tabular: dataset, epochs, run, zero_cost and device select from the embedded table; leave them out "
                "with table"
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
        self.zero_cost = zero_cost
        self.device = device
        self._evaluations: Rows = {}
        self._shorter: dict[int, Rows] = {}
        self._measured: list[str] | None = None
        self._read = ""  # the fingerprint of the table of one's own that was read

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the embedded table does not describe that space."""
        if self.table is not None:
            return
        source = SOURCES[self.dataset]
        if not source.describes(space):
            raise MissingAbility(
                f"Tabular's table {self.dataset} holds {source.holds}, which {type(space).__name__} does not describe; "
                f"use the space {source.space}, or give a table of your own"
            )

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if the table has no results after so many epochs."""
        known: tuple[int, ...] = ()  # NAS-Bench-201's 12 epochs are another schedule than the 200
        if self.table is None and self.dataset in (*ECNAS_FILES, "digits201"):
            known = tuple(SOURCES[self.dataset].runs)
        if budgets and not set(budgets) <= set(known):
            missing = ", ".join(str(budget) for budget in budgets if budget not in known)
            raise UsageError(
                f"Tabular: {self.table or self.dataset} has no results of a training that is stopped after {missing} "
                f"epochs; it has {', '.join(map(str, known)) or 'none'}. The tables digits201 and ecnas_4v have some"
            )

    def start(self, space: Space) -> None:
        """Reads the table; a second start with an equal space keeps it."""
        if self._evaluations and self.space == space:
            return
        self._evaluations, self._measured = {}, None  # should reading fail, nothing of the last space remains
        super().start(space)
        rows = self._embedded(self.epochs) if self.table is None else _own(self, space)
        self._read = "" if self.table is None else file_fingerprint(self.table)
        self._evaluations, self._shorter = rows, {}

    def fingerprints(self) -> Mapping[str, str]:
        """See ``Evaluator``: the table of one's own as it was read, or the embedded ones."""
        if self.table is not None:
            return {"table": self._read or file_fingerprint(self.table)}
        return {"embedded": embedded_fingerprint(*self._files())}

    def _files(self) -> list[str]:
        """The embedded tables that are read."""
        if self.dataset not in NASBENCH201_FACTOR:
            return [ECNAS_FILES.get(self.dataset, self.dataset)]
        further = {"nasbench201_zerocost": self.zero_cost, "nasbench201_hardware": self.device}
        return ["nasbench201", *(name for name, setting in further.items() if setting is not None)]

    def _embedded(self, epochs: int | None) -> Rows:
        source = SOURCES[self.dataset]
        return source.rows(self, max(source.runs) if epochs is None else epochs)

    @property
    def architectures(self) -> list[Architecture]:
        """All that have a score (after ``start``)."""
        return [architecture for architecture, found in self._evaluations.items() if found is not None]

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """``params``, ``flops`` and ``latency_seconds``, as far as the table has them; NaN where a row lacks them."""
        if self._measured is None:
            known = {name for found in self._evaluations.values() if found is not None for name in found.metrics}
            self._measured = [name for name in MEASURED if name in known]
        found = self._evaluations.get(architecture)
        return {name: math.nan if found is None else found.metrics.get(name, math.nan) for name in self._measured}

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Looks the architecture up; ``seed`` is not used.

        Raises:
            InvalidArchitecture: If the table has no such architecture, or no score for it.
        """
        evaluation = self._evaluations.get(architecture)
        if evaluation is None:
            raise self._missing(architecture)
        return evaluation

    def evaluate_query(self, query: Query) -> Evaluation:
        """Looks up the result after the budget's epochs; bills the added ones or, of EC-NAS, the whole training."""
        if query.budget is None:
            return self.evaluate(query.architecture, query.seed)
        found = self._after(query.budget.stop, query.architecture)
        if not query.budget.start or self.dataset in ECNAS_FILES:
            return found
        before = self._after(query.budget.start, query.architecture).cost.recorded_seconds
        return found._replace(cost=Cost(recorded_seconds=max(0.0, found.cost.recorded_seconds - before)))

    def _after(self, epochs: int, architecture: Architecture) -> Evaluation:
        if epochs not in self._shorter:
            self._shorter[epochs] = self._embedded(epochs)
        found = self._shorter[epochs].get(architecture)
        if found is None:
            raise self._missing(architecture)
        return found

    def _missing(self, architecture: Architecture) -> InvalidArchitecture:
        name = self.space.format(self.space.validate(architecture))
        where = self.table or f"the embedded table ({self.dataset})"
        if architecture in self._evaluations:
            column = self.score or self.zero_cost or f"run {self.run}"
            return InvalidArchitecture(f"{where} has no score for {name} ({column} is empty)")
        return InvalidArchitecture(f"{where} has no architecture {name}; it has {len(self._evaluations):,} others")

    def __getstate__(self) -> dict[str, Any]:
        """Workers read the table themselves, so it is not sent to them."""
        return {**self.__dict__, "_evaluations": {}, "_shorter": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "space" in state:
            read = self._read
            self.start(state["space"])
            if self._read != read:
                raise TableError(
                    f"{self.table} was edited while the search runs, and results of both would be mixed: put back what "
                    "it was, or begin a new run"
                )


# -- the embedded tables -----------------------------------------------------------------------


class Source(NamedTuple):
    """An embedded table.

    Attributes:
        holds: What it holds, for messages.
        space: The space to use, for messages.
        sample: An architecture in the notation of that space.
        form: Its canonical form; None where the space's notation must be given back unchanged.
        size: Most architectures that a space may have, so that none is missing from the table.
        runs: Epochs to the single runs that there are.
        rows: Reads it.
    """

    holds: str
    space: str
    sample: str
    form: str | None
    size: int
    runs: Mapping[int, tuple[int, ...]]
    rows: Callable[[Tabular, int], Rows]

    def describes(self, space: Space) -> bool:
        """Whether the table can score that space."""
        try:
            sample = space.parse(self.sample)
            same = space.canonical(sample) == self.form if self.form else space.format(sample) == self.sample
        except (ArchsearchError, ValueError):
            return False
        return same and (space.size() or math.inf) <= self.size


def _check_embedded(dataset: str, epochs: int | None, run: str | int) -> None:
    if dataset not in SOURCES:
        raise UsageError(f"Tabular: dataset: expected one of {', '.join(SOURCES)}, got {dataset!r}")
    runs = SOURCES[dataset].runs
    if epochs is not None and epochs not in runs:
        raise UsageError(f"Tabular: epochs: expected one of {', '.join(map(str, runs))}, got {epochs!r}")
    known = runs[max(runs) if epochs is None else epochs]
    if run not in ("mean", *known):
        raise UsageError(
            f"Tabular: run={run!r} with dataset={dataset}, epochs={epochs or max(runs)} is not in the table; it has "
            f"{', '.join(map(str, ('mean', *known)))}"
        )


def _check_zero_cost(zero_cost: str, dataset: str, epochs: int | None, run: str | int) -> None:
    if dataset not in ZERO_COST:
        raise UsageError(f"Tabular: zero_cost: published for dataset={' and '.join(ZERO_COST)}, not for {dataset}")
    if zero_cost not in ZERO_COST[dataset]:
        known = ", ".join(ZERO_COST[dataset])
        raise UsageError(f"Tabular: zero_cost: expected one of {known} with dataset={dataset}, got {zero_cost!r}")
    if (epochs, run) != (None, "mean"):
        raise UsageError(
            "Tabular: epochs and run select an accuracy to search on, and zero_cost takes its place; leave them out"
        )


def _check_device(device: str, dataset: str) -> None:
    if device not in get_args(Device):
        raise UsageError(f"Tabular: device: expected one of {', '.join(get_args(Device))}, got {device!r}")
    if dataset not in NASBENCH201_FACTOR:
        known = ", ".join(NASBENCH201_FACTOR)
        raise UsageError(f"Tabular: device: known for dataset={known}, not for {dataset}")


HAS_ENERGY = ("edgegpu", "eyeriss", "fpga")
"""Devices whose energy HW-NAS-Bench has."""

ZERO_COST: Mapping[str, tuple[str, ...]] = {
    "cifar10": get_args(Published),
    "ImageNet16-120": tuple(name for name in get_args(Published) if name != "naswot_paper"),
}
"""Published scores at initialisation, by dataset."""

NASBENCH201_FACTOR = {"cifar10": 1.0, "cifar100": 2.0, "ImageNet16-120": 6.068}
"""Seconds per epoch relative to the 25,000 training images of the CIFAR-10 search split."""


def _nasbench201(evaluator: Tabular, epochs: int) -> Rows:
    prefix = evaluator.dataset.lower().replace("-", "_")
    suffix = "" if evaluator.run == "mean" else f"_seed{evaluator.run}"
    columns = {
        "score": f"{prefix}_valid_acc_{epochs}{suffix}",
        "test_accuracy": f"{prefix}_test_acc_200",
        "params": f"{prefix}_params",
        "flops": f"{prefix}_flops",
        "latency_seconds": f"{prefix}_latency_seconds",
    }
    names = [name for name in columns if name != "score"]
    table = embedded_columns("nasbench201", (*columns.values(), "arch", "train_seconds_per_epoch"))
    architectures = [evaluator.space.parse(text) for text in table["arch"]]
    metrics = zip(*(table[columns[name]] for name in names), strict=True)
    seconds = epochs * NASBENCH201_FACTOR[evaluator.dataset]
    scores = table[columns["score"]]
    if evaluator.zero_cost is not None:
        # Both tables have all cells in the order of their official index.
        scores = _zero_cost(evaluator.space, architectures, f"{prefix}_{evaluator.zero_cost}")
        seconds = 0.0
    rows: Rows = {}
    for architecture, score, values, per_epoch in zip(
        architectures, scores, metrics, table["train_seconds_per_epoch"], strict=True
    ):
        cost = Cost(recorded_seconds=seconds * per_epoch) if seconds else NO_COST
        found = None if score is None else Evaluation(score, dict(zip(names, values, strict=True)), cost)
        rows[architecture] = found
    return rows if evaluator.device is None else _on_device(evaluator.device, prefix, rows)


def _on_device(device: str, prefix: str, rows: Rows) -> Rows:
    """The same with a device's latency and energy; both tables have all cells in the order of their official index."""
    columns = {"latency_seconds": f"{prefix}_{device}_latency_ms"}
    if device in HAS_ENERGY:
        columns["energy_joules"] = f"{prefix}_{device}_energy_mj"
    table = embedded_columns("nasbench201_hardware", tuple(columns.values()))
    measured: Rows = {}
    for (architecture, found), *values in zip(
        rows.items(), *(table[column] for column in columns.values()), strict=True
    ):
        if found is not None:
            own = {name: value / 1_000 for name, value in zip(columns, values, strict=True) if value is not None}
            rest = {name: value for name, value in found.metrics.items() if name != "latency_seconds"}
            found = found._replace(metrics=rest | own)
        measured[architecture] = found
    return measured


def _zero_cost(space: Space, architectures: Sequence[Architecture], column: str) -> list[float | None]:
    """A published score of all cells; of those without one, that of the cell without what changes nothing."""
    scores: list[float | None] = embedded_columns("nasbench201_zerocost", (column,))[column]
    # Kinds of operations are options counted from the one after ``none``.
    pruned = space.operation_graphs(architectures).pruned().labels[:, 1:-1] + 1
    published = dict(zip(architectures, scores, strict=True))
    return [
        published[tuple(cell)] if score is None else score for score, cell in zip(scores, pruned.tolist(), strict=True)
    ]


def _nasbench_macro(evaluator: Tabular, _epochs: int) -> Rows:
    runs = ("test_acc_run1", "test_acc_run2", "test_acc_run3")
    table = embedded_columns("nasbench_macro", ("arch", *runs, "params", "flops"))
    rows: Rows = {}
    for text, *accuracies, params, flops in zip(*table.values(), strict=True):
        scored = accuracies if evaluator.run == "mean" else [accuracies[int(evaluator.run) - 1]]
        others = (
            accuracies if evaluator.run == "mean" else [a for i, a in enumerate(accuracies, 1) if i != evaluator.run]
        )
        metrics = {"test_accuracy": _mean(others), "params": params, "flops": flops}
        rows[evaluator.space.parse(text)] = Evaluation(_mean(scored), metrics)
    return rows


ECNAS_FILES = {"ecnas_4v": "ecnas_4v", "ecnas_5v": "ecnas_5v_4epochs"}


def _ecnas(evaluator: Tabular, epochs: int) -> Rows:
    """Rows are found by the module's hash, so that every labelling of a cell has its result."""
    file = ECNAS_FILES[evaluator.dataset]
    run = ("run",) if evaluator.dataset == "ecnas_4v" else ()
    figures = ("valid_acc", "test_acc", "train_seconds", "energy_kwh")
    table = embedded_columns(file, ("hash", "epochs", *run, "params", *figures))
    found: dict[str, list[tuple[float, ...]]] = {}
    for i, form in enumerate(table["hash"]):
        if table["epochs"][i] == epochs and (not run or evaluator.run in ("mean", table["run"][i])):
            found.setdefault(form, []).append(tuple(table[name][i] for name in ("params", *figures)))
    by_form = {}
    for form, trainings in found.items():
        params, valid, test, seconds, energy = map(_mean, zip(*trainings, strict=True))
        metrics = {"test_accuracy": 100 * test, "params": params, "energy_kwh": energy}
        by_form[form] = Evaluation(100 * valid, metrics, Cost(recorded_seconds=seconds))
    space = evaluator.space
    return {architecture: by_form.get(str(space.canonical(architecture))) for architecture in space.enumerate()}


DIGITS201_EPOCHS = 9


def _digits201(evaluator: Tabular, epochs: int) -> Rows:
    curve = tuple(f"valid_accuracy_{epoch}" for epoch in range(1, DIGITS201_EPOCHS + 1))
    figures = ("test_accuracy", "train_seconds", "params", "flops")
    table = embedded_columns("digits201", ("arch", "run", *figures, *curve))
    found: dict[str, list[tuple[float, ...]]] = {}
    for i, text in enumerate(table["arch"]):
        if evaluator.run in ("mean", table["run"][i]):
            found.setdefault(text, []).append(tuple(table[name][i] for name in (*figures, *curve)))
    rows: Rows = {}
    for text, trainings in found.items():
        test, seconds, params, flops, *accuracies = map(_mean, zip(*trainings, strict=True))
        cost = Cost(recorded_seconds=seconds * epochs / DIGITS201_EPOCHS)
        metrics = {"test_accuracy": test, "params": params, "flops": flops}
        curve_so_far = tuple(accuracies[:epochs])
        rows[evaluator.space.parse(text)] = Evaluation(curve_so_far[-1], metrics, cost, curve_so_far)
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_CELLS = "NAS-Bench-201 cells"
_CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
_MODULE = ("0110001000010000 input,maxpool3x3,maxpool3x3,output", "001a6fcc8b38cbc515be788a86bdc804")

SOURCES: Mapping[str, Source] = {
    "cifar10": Source(_CELLS, "NASBench201", _CELL, None, 5**6, {12: (), 200: (777, 888, 999)}, _nasbench201),
    "cifar100": Source(_CELLS, "NASBench201", _CELL, None, 5**6, {12: (), 200: (888,)}, _nasbench201),
    "ImageNet16-120": Source(_CELLS, "NASBench201", _CELL, None, 5**6, {12: (), 200: (888,)}, _nasbench201),
    "nasbench_macro": Source(
        "networks of NAS-Bench-Macro", "NASBenchMacro", "22212202", None, 3**8, {0: (1, 2, 3)}, _nasbench_macro
    ),
    "ecnas_4v": Source(
        "NAS-Bench-101 cells of up to 4 vertices",
        "NASBench101(max_vertices=4)",
        *_MODULE,
        97,
        dict.fromkeys((4, 12, 36, 108), (1, 2, 3)),
        _ecnas,
    ),
    "ecnas_5v": Source(
        "NAS-Bench-101 cells of up to 5 vertices", "NASBench101(max_vertices=5)", *_MODULE, 3364, {4: (1,)}, _ecnas
    ),
    "digits201": Source(
        _CELLS,
        "NASBench201",
        _CELL,
        None,
        5**6,
        dict.fromkeys(range(1, DIGITS201_EPOCHS + 1), (0, 1, 2)),
        _digits201,
    ),
}
"""The embedded tables by name."""


# -- a table of the user's own -----------------------------------------------------------------


def _own(evaluator: Tabular, space: Space) -> Rows:
    where = str(evaluator.table)
    needed = [str(evaluator.architecture), str(evaluator.score), *(evaluator.metrics or [])]
    if evaluator.cost is not None:
        needed.append(evaluator.cost)
    table = read_table(where, needed)
    names = evaluator.metrics if evaluator.metrics is not None else _other_numbers(table, needed)
    reserved = RESERVED_COLUMNS.intersection(names)
    if reserved:
        raise TableError(
            f"{where}: {', '.join(sorted(reserved))} cannot name a metric, since the history has such columns; "
            "rename them, or list in metrics what to report"
        )
    architectures = _identify(table[evaluator.architecture].to_pylist(), space, where)
    scores = numbers(table, str(evaluator.score), where)
    metrics = [numbers(table, name, where) for name in names]
    costs = numbers(table, evaluator.cost, where) if evaluator.cost else [0.0] * table.num_rows
    wrong = [cost for cost in costs if cost is not None and not 0 <= cost < math.inf]
    if wrong:
        raise TableError(f"{where}: column {evaluator.cost!r}: expected seconds >= 0, got {wrong[0]}")
    sign = 1.0 if evaluator.maximize else -1.0
    rows: Rows = {}
    for i, architecture in enumerate(architectures):
        if scores[i] is None:
            rows[architecture] = None
            continue
        values = {name: column[i] for name, column in zip(names, metrics, strict=True) if column[i] is not None}
        cost = Cost(recorded_seconds=costs[i]) if costs[i] else NO_COST
        rows[architecture] = Evaluation(sign * scores[i], values, cost)
    return rows


def _other_numbers(table: pa.Table, taken: Sequence[Any]) -> list[str]:
    import pyarrow.types as types

    fields = [field for field in table.schema if field.name not in taken]
    names = [field.name for field in fields if types.is_integer(field.type) or types.is_floating(field.type)]
    return [name for name in names if table[name].null_count < table.num_rows]


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
