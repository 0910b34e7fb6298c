"""The tables that are embedded: what they hold, what can be selected of them, and how each is read.

Whose results they are, ``tabular.py`` says; ``archsearch/data/README.md`` says where every column comes from.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from archsearch.errors import ArchsearchError, UsageError
from archsearch.files.embedded import embedded_columns
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation

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
"""Evaluations by architecture; None: the table has no score for it."""


class Selection(NamedTuple):
    """What is looked up in an embedded table.

    Attributes:
        dataset: Which table.
        epochs: Length of the training; None: the longest.
        run: A single run, or the mean of all.
        zero_cost: A published score at initialisation in place of the accuracy.
        device: Whose latency and energy are reported.
    """

    dataset: Dataset
    epochs: int | None
    run: int | Literal["mean"]
    zero_cost: Published | None
    device: Device | None

    @property
    def source(self) -> Source:
        """The table itself."""
        return SOURCES[self.dataset]

    @property
    def length(self) -> int:
        """Epochs of the training."""
        return max(self.source.runs) if self.epochs is None else self.epochs

    @property
    def stops(self) -> tuple[int, ...]:
        """After how many epochs a training can be stopped."""
        # NAS-Bench-201's 12 epochs are another schedule than the 200.
        return tuple(self.source.runs) if self.dataset in (*ECNAS_FILES, "digits201") else ()

    @property
    def files(self) -> list[str]:
        """The files that are read."""
        if self.dataset not in NASBENCH201_FACTOR:
            return [ECNAS_FILES.get(self.dataset, self.dataset)]
        further = {"nasbench201_zerocost": self.zero_cost, "nasbench201_hardware": self.device}
        return ["nasbench201", *(name for name, setting in further.items() if setting is not None)]

    def rows(self, space: Space, epochs: int) -> Rows:
        """All architectures of the table, after so many epochs; remembered, so do not change what comes back."""
        return _rows(self, space, epochs)

    def check(self) -> None:
        """Raises ``UsageError`` if there is no such table, or it has no such run."""
        self._check_run()
        if self.zero_cost is not None:
            self._check_zero_cost(self.zero_cost)
        if self.device is not None:
            self._check_device(self.device)

    def _check_run(self) -> None:
        dataset, epochs, run = self.dataset, self.epochs, self.run
        if dataset not in SOURCES:
            raise UsageError(f"Tabular: dataset: expected one of {', '.join(SOURCES)}, got {dataset!r}")
        runs = SOURCES[dataset].runs
        if epochs is not None and epochs not in runs:
            raise UsageError(f"Tabular: epochs: expected one of {', '.join(map(str, runs))}, got {epochs!r}")
        known = runs[self.length]
        if run not in ("mean", *known):
            raise UsageError(
                f"Tabular: run={run!r} with dataset={dataset}, epochs={self.length} is not in the table; it has "
                f"{', '.join(map(str, ('mean', *known)))}"
            )

    def _check_zero_cost(self, zero_cost: str) -> None:
        dataset = self.dataset
        if dataset not in ZERO_COST:
            raise UsageError(f"Tabular: zero_cost: published for dataset={' and '.join(ZERO_COST)}, not for {dataset}")
        if zero_cost not in ZERO_COST[dataset]:
            known = ", ".join(ZERO_COST[dataset])
            raise UsageError(f"Tabular: zero_cost: expected one of {known} with dataset={dataset}, got {zero_cost!r}")
        if (self.epochs, self.run) != (None, "mean"):
            raise UsageError(
                "Tabular: epochs and run select an accuracy to search on, and zero_cost takes its place; leave them out"
            )

    def _check_device(self, device: str) -> None:
        dataset = self.dataset
        if device not in get_args(Device):
            raise UsageError(f"Tabular: device: expected one of {', '.join(get_args(Device))}, got {device!r}")
        if dataset not in NASBENCH201_FACTOR:
            known = ", ".join(NASBENCH201_FACTOR)
            raise UsageError(f"Tabular: device: known for dataset={known}, not for {dataset}")


@functools.lru_cache(maxsize=4)
def _rows(selection: Selection, space: Space, epochs: int) -> Rows:
    """A table as it was read for an equal space: the searches of a comparison read the same few."""
    return selection.source.rows(selection, space, epochs)


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
        task: Name of the task that they were trained on.
    """

    holds: str
    space: str
    sample: str
    form: str | None
    size: int
    runs: Mapping[int, tuple[int, ...]]
    rows: Callable[[Selection, Space, int], Rows]
    task: str = "cifar10"

    def describes(self, space: Space) -> bool:
        """Whether the table can score that space."""
        try:
            sample = space.parse(self.sample)
            same = space.canonical(sample) == self.form if self.form else space.format(sample) == self.sample
        except (ArchsearchError, ValueError):
            return False
        return same and (space.size() or math.inf) <= self.size


# -- NAS-Bench-201 -----------------------------------------------------------------------------

HAS_ENERGY = ("edgegpu", "eyeriss", "fpga")
"""Devices whose energy HW-NAS-Bench has."""

ZERO_COST: Mapping[str, tuple[str, ...]] = {
    "cifar10": get_args(Published),
    "ImageNet16-120": tuple(name for name in get_args(Published) if name != "naswot_paper"),
}
"""Published scores at initialisation, by dataset."""

NASBENCH201_FACTOR = {"cifar10": 1.0, "cifar100": 2.0, "ImageNet16-120": 6.068}
"""Seconds per epoch relative to the 25,000 training images of the CIFAR-10 search split."""


def _nasbench201(selection: Selection, space: Space, epochs: int) -> Rows:
    prefix = selection.dataset.lower().replace("-", "_")
    suffix = "" if selection.run == "mean" else f"_seed{selection.run}"
    columns = {
        "score": f"{prefix}_valid_acc_{epochs}{suffix}",
        "test_accuracy": f"{prefix}_test_acc_200",
        "params": f"{prefix}_params",
        "flops": f"{prefix}_flops",
        "latency_seconds": f"{prefix}_latency_seconds",
    }
    names = [name for name in columns if name != "score"]
    table = embedded_columns("nasbench201", (*columns.values(), "arch", "train_seconds_per_epoch"))
    architectures = [space.parse(text) for text in table["arch"]]
    metrics = zip(*(table[columns[name]] for name in names), strict=True)
    seconds = epochs * NASBENCH201_FACTOR[selection.dataset]
    scores = table[columns["score"]]
    if selection.zero_cost is not None:
        # Both tables have all cells in the order of their official index.
        scores = _zero_cost(space, architectures, f"{prefix}_{selection.zero_cost}")
        seconds = 0.0
    rows: Rows = {}
    for architecture, score, values, per_epoch in zip(
        architectures, scores, metrics, table["train_seconds_per_epoch"], strict=True
    ):
        cost = Cost(recorded_seconds=seconds * per_epoch) if seconds else NO_COST
        found = None if score is None else Evaluation(score, dict(zip(names, values, strict=True)), cost)
        rows[architecture] = found
    return rows if selection.device is None else _on_device(selection.device, prefix, rows)


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


def _nasbench_macro(selection: Selection, space: Space, _epochs: int) -> Rows:
    runs = ("test_acc_run1", "test_acc_run2", "test_acc_run3")
    table = embedded_columns("nasbench_macro", ("arch", *runs, "params", "flops"))
    rows: Rows = {}
    for text, *accuracies, params, flops in zip(*table.values(), strict=True):
        scored = accuracies if selection.run == "mean" else [accuracies[int(selection.run) - 1]]
        others = (
            accuracies if selection.run == "mean" else [a for i, a in enumerate(accuracies, 1) if i != selection.run]
        )
        metrics = {"test_accuracy": _mean(others), "params": params, "flops": flops}
        rows[space.parse(text)] = Evaluation(_mean(scored), metrics)
    return rows


ECNAS_FILES = {"ecnas_4v": "ecnas_4v", "ecnas_5v": "ecnas_5v_4epochs"}


def _ecnas(selection: Selection, space: Space, epochs: int) -> Rows:
    """Rows are found by the module's hash, so that every labelling of a cell has its result."""
    file = ECNAS_FILES[selection.dataset]
    run = ("run",) if selection.dataset == "ecnas_4v" else ()
    figures = ("valid_acc", "test_acc", "train_seconds", "energy_kwh")
    table = embedded_columns(file, ("hash", "epochs", *run, "params", *figures))
    found: dict[str, list[tuple[float, ...]]] = {}
    for i, form in enumerate(table["hash"]):
        if table["epochs"][i] == epochs and (not run or selection.run in ("mean", table["run"][i])):
            found.setdefault(form, []).append(tuple(table[name][i] for name in ("params", *figures)))
    by_form = {}
    for form, trainings in found.items():
        params, valid, test, seconds, energy = map(_mean, zip(*trainings, strict=True))
        metrics = {"test_accuracy": 100 * test, "params": params, "energy_kwh": energy}
        by_form[form] = Evaluation(100 * valid, metrics, Cost(recorded_seconds=seconds))
    return {architecture: by_form.get(str(space.canonical(architecture))) for architecture in space.enumerate()}


DIGITS201_EPOCHS = 9


def _digits201(selection: Selection, space: Space, epochs: int) -> Rows:
    curve = tuple(f"valid_accuracy_{epoch}" for epoch in range(1, DIGITS201_EPOCHS + 1))
    figures = ("test_accuracy", "train_seconds", "params", "flops")
    table = embedded_columns("digits201", ("arch", "run", *figures, *curve))
    found: dict[str, list[tuple[float, ...]]] = {}
    for i, text in enumerate(table["arch"]):
        if selection.run in ("mean", table["run"][i]):
            found.setdefault(text, []).append(tuple(table[name][i] for name in (*figures, *curve)))
    rows: Rows = {}
    for text, trainings in found.items():
        test, seconds, params, flops, *accuracies = map(_mean, zip(*trainings, strict=True))
        cost = Cost(recorded_seconds=seconds * epochs / DIGITS201_EPOCHS)
        metrics = {"test_accuracy": test, "params": params, "flops": flops}
        curve_so_far = tuple(accuracies[:epochs])
        rows[space.parse(text)] = Evaluation(curve_so_far[-1], metrics, cost, curve_so_far)
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_CELLS = "NAS-Bench-201 cells"
_CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
_MODULE = ("0110001000010000 input,maxpool3x3,maxpool3x3,output", "001a6fcc8b38cbc515be788a86bdc804")

SOURCES: Mapping[str, Source] = {
    "cifar10": Source(_CELLS, "NASBench201", _CELL, None, 5**6, {12: (), 200: (777, 888, 999)}, _nasbench201),
    "cifar100": Source(_CELLS, "NASBench201", _CELL, None, 5**6, {12: (), 200: (888,)}, _nasbench201, "cifar100"),
    "ImageNet16-120": Source(
        _CELLS, "NASBench201", _CELL, None, 5**6, {12: (), 200: (888,)}, _nasbench201, "ImageNet16-120"
    ),
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
        "digits",
    ),
}
"""The embedded tables by name."""
