"""The tables that are embedded: what they hold, what can be selected of them, and how each is read.

Whose results they are, ``tabular.py`` says; ``archsearch/data/README.md`` says where every column comes from.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluators.nasbench201_figures import FACTOR, Figures
from archsearch.files.embedded import embedded_columns
from archsearch.space import Space
from archsearch.trial import Architecture, Cost, Evaluation

Dataset = Literal["cifar10", "cifar100", "ImageNet16-120", "nasbench_macro", "ecnas_4v", "ecnas_5v", "digits201"]
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
        attacks: Under which accuracies are reported.
    """

    dataset: Dataset
    epochs: int | None
    run: int | Literal["mean"]
    zero_cost: str | None = None
    device: str | None = None
    attacks: tuple[str, ...] = ()

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
        if self.dataset not in FACTOR:
            return [ECNAS_FILES.get(self.dataset, self.dataset)]
        return self.figures.files

    @property
    def figures(self) -> Figures:
        """Of NAS-Bench-201's, those that are looked up."""
        return Figures(self.dataset, self.zero_cost, self.device, self.attacks)

    def rows(self, space: Space, epochs: int) -> Rows:
        """All architectures of the table, after so many epochs; remembered, so do not change what comes back."""
        return _rows(self, space, epochs)

    def check(self) -> None:
        """Raises ``UsageError`` if there is no such table, or it has no such run."""
        self._check_run()
        self.figures.check()
        if self.zero_cost is not None and (self.epochs, self.run) != (None, "mean"):
            raise UsageError(
                "Tabular: epochs and run select an accuracy to search on, and zero_cost takes its place; leave them out"
            )

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


# -- reading ---------------------------------------------------------------------------------------


def _nasbench201(selection: Selection, space: Space, epochs: int) -> Rows:
    return selection.figures.rows(space, epochs, selection.run)


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
