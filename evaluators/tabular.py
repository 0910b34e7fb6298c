"""Look-up in a table of recorded results: one that is embedded, or a table of the user's own.

Embedded: NAS-Bench-201 (Dong & Yang, ICLR 2020; figures of Dong, Liu, Musial & Gabrys, "NATS-Bench", TPAMI 2021),
its scores at initialisation of Krishnakumar et al., "NAS-Bench-Suite-Zero", NeurIPS 2022, and of Mellor et al., "Neural
architecture search without training", ICML 2021; NAS-Bench-Macro (Su et al., CVPR 2021), EC-NAS (Bakhtiarifard, Igel &
Selvan, ICASSP 2024) and our own ``digits201``.
Latency and energy on devices: Li et al., "HW-NAS-Bench", ICLR 2021, and Lee et al., "HELP", NeurIPS 2021. Accuracies
under attack: Jung, Lukasik & Keuper, "Neural architecture design and robustness: a dataset", ICLR 2023.
``archsearch/data/README.md`` says where every column comes from.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from archsearch.basics.checks import whole_number
from archsearch.errors import InvalidArchitecture, MissingAbility, TableError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.evaluators.embedded_tables import ECNAS_FILES, SOURCES, Dataset, Rows, Selection
from archsearch.evaluators.nasbench201_figures import Attack, Computed, Device, Published
from archsearch.evaluators.own_table import OwnTable, Repeated
from archsearch.executors.gate import judged
from archsearch.files.fingerprints import embedded_fingerprint, file_fingerprint
from archsearch.space import Space
from archsearch.trial import Architecture, Cost, Evaluation, Query

MEASURED = ("params", "flops", "latency_seconds", "energy_joules")
"""Columns that are known of an architecture without training it."""
MOST_JUDGED = 4096
"""Results that are kept as the search's gate has judged them, which takes longer than looking them up."""


class Tabular(Evaluator):
    """Looks scores up in a table: an embedded one, or a Parquet or CSV file of your own.

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
    missing then has no score. Nothing is billed, since how long it took was not published. ``expressivity``,
    ``progressivity``, ``trainability`` and ``vkdnw`` nobody published: they are those of ``ZeroCost`` on networks of
    the published size, noise in place of images, and the same for both data sets.

    With ``device`` the ``latency_seconds`` of the NAS-Bench-201 tables are those that HW-NAS-Bench has for that device,
    with its ``energy_joules`` (``edgegpu``, ``eyeriss``, ``fpga``), or those of HELP (``cifar10`` only; of GPUs for a
    batch of 1, 32 or 256, of phones in whole milliseconds). ``edgetpu`` could not run 4,699 cells, which then have
    none. Cells whose output does not depend on the input take next to no time on some devices.

    ``attacks`` (``cifar10`` only) are metrics: accuracies in percent, in steps of 0.1, under L-infinity attacks of so
    many 255ths. **They are on test images**, of networks trained on all training images, as ``test_accuracy`` is. The
    column without an attack, which comes with them as a validation accuracy, is neither that nor of these networks: it
    is the test accuracy of run 888, trained on half of the images. It is left out; compare with ``test_accuracy``.

    Under a controller with budgets the other lengths of ``digits201`` and EC-NAS are looked up. Of ``digits201`` the
    seconds of the added epochs are billed; of EC-NAS those of the whole training, since each length was one of its own.

    Args:
        dataset: Embedded table.
        epochs: Embedded table: length of the training; None: the longest.
        run: Embedded table: a single run, or the mean of all.
        table: Path of a ``.parquet`` or ``.csv`` file to use instead of an embedded table.
        architecture: Own table: the column that identifies the architecture: text that the space can parse, or a list
            of options. Or a list of columns, each with the name of a decision: for ``Choices`` with its values, for
            other spaces with numbers of options, counted from 0; empty if an architecture has no such decision.
        score: Own table: the column to search on.
        metrics: Own table: columns to report; None: all other columns of numbers.
        cost: Own table: column of seconds to bill.
        maximize: Own table: False for a score that should be low, such as a loss; the score is then negated.
        zero_cost: Embedded table of ``cifar10`` or ``ImageNet16-120``: a score at initialisation to search
            on, in place of the accuracy that ``epochs`` and ``run`` select.
        device: Embedded table of ``cifar10``, ``cifar100`` or ``ImageNet16-120``: whose latency and energy to report.
        attacks: Embedded table of ``cifar10``: accuracies under which attacks to report, such as ``pgd_eps1.0``, or
            ``all`` 32.
        where: Own table: which rows count: name of a column to the value, or list of values, that it must have.
        repeated: Own table: what to do with several rows of one architecture: ``refuse``: they are a mistake; ``mean``:
            their mean counts; ``runs``: each trial gets one of them, by its seed.

    Raises:
        UsageError: If settings exclude each other, or the embedded table has no such run.
        TableError: If the file cannot be used.
    """

    instant = True

    def __init__(
        self,
        dataset: Dataset = "cifar10",
        epochs: int | None = None,
        run: int | Literal["mean"] = "mean",
        table: str | None = None,
        architecture: str | list[str] | None = None,
        score: str | None = None,
        metrics: list[str] | None = None,
        cost: str | None = None,
        maximize: bool = True,
        zero_cost: Published | Computed | None = None,
        device: Device | None = None,
        where: dict[str, Any] | None = None,
        repeated: Repeated = "refuse",
        attacks: list[Attack] | Attack | Literal["all"] | None = None,
    ) -> None:
        epochs = None if epochs is None else whole_number("Tabular", "epochs", epochs)
        if not isinstance(run, str):
            run = whole_number("Tabular", "run", run)
        chosen: Sequence[str] = get_args(Attack) if attacks == "all" else attacks or ()
        chosen = (chosen,) if isinstance(chosen, str) else tuple(dict.fromkeys(chosen))
        self._selection = Selection(dataset, epochs, run, zero_cost, device, chosen)
        own = {"architecture": architecture, "score": score, "metrics": metrics, "cost": cost, "where": where}
        if table is None:
            given = [name for name, value in own.items() if value is not None]
            given += [] if maximize else ["maximize"]
            given += [] if repeated == "refuse" else ["repeated"]
            if given:
                raise UsageError(f"Tabular: {', '.join(given)} goes with a table of your own; give table=PATH too")
            self._selection.check()
        elif not architecture or score is None:
            raise UsageError(f"Tabular: table={str(table)!r} needs the names of two columns: architecture and score")
        elif self._selection != ("cifar10", None, "mean", None, None, ()):
            raise UsageError(
                "Tabular: dataset, epochs, run, zero_cost, device and attacks select from the embedded table; leave "
                "them out with table"
            )
        self.dataset, self.epochs, self.run = dataset, epochs, run
        self.table = None if table is None else str(table)
        self.architecture = architecture
        self.score = score
        self.metrics = metrics
        self.cost = cost
        self.maximize = maximize
        self.zero_cost = zero_cost
        self.device = device
        self.attacks = attacks
        self.where = where
        self.repeated: Repeated = repeated
        self._own = None if self.table is None else self._own_table(self.table)
        self.score_label = self._label()
        self._evaluations: Rows = {}
        self._judged: dict[Architecture, Evaluation] = {}
        self._runs: dict[Architecture, list[Evaluation]] = {}
        self._equal: dict[Hashable, Architecture] = {}  # of a table of one's own: a row's, by canonical form
        self._shorter: dict[int, Rows] = {}
        self._measured: list[str] | None = None
        self._read = ""  # the fingerprint of the table of one's own that was read

    def _label(self) -> str:
        """What an axis of its scores says; embedded are accuracies in percent, and published scores."""
        if self.table is not None:
            return f"{self.score} ({Path(self.table).name})"
        task = self._selection.source.task
        return f"validation accuracy, % ({task})" if self.zero_cost is None else f"{self.zero_cost} ({task})"

    def _own_table(self, path: str) -> OwnTable:
        if self.repeated not in get_args(Repeated):
            known = ", ".join(get_args(Repeated))
            raise UsageError(f"Tabular: repeated: expected one of {known}, got {self.repeated!r}")
        if self.where is not None and not isinstance(self.where, Mapping):
            raise UsageError(f"Tabular: where: expected names of columns and their values, got {self.where!r}")
        key = self.architecture if isinstance(self.architecture, str) else list(self.architecture or ())
        score, where = str(self.score), self.where or {}
        return OwnTable(path, key, score, self.metrics, self.cost, self.maximize, where, self.repeated)

    @classmethod
    def of_task(cls, space: Space, task: str) -> Tabular | None:
        """The first embedded table that has trainings of the space's architectures on that task; None: there is none.

        Args:
            space: Whose architectures.
            task: Name of a task, such as ``digits``; with options it is another one.
        """
        for name, source in SOURCES.items():
            if source.task == task and source.describes(space):
                return cls(name)  # type: ignore[arg-type]
        return None

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the embedded table does not describe that space."""
        if self.table is not None:
            return
        source = self._selection.source
        if not source.describes(space):
            raise MissingAbility(
                f"Tabular's table {self.dataset} holds {source.holds}, which {type(space).__name__} does not describe; "
                f"use the space {source.space}, or give a table of your own"
            )

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if the table has no results after so many epochs."""
        known = self._selection.stops if self.table is None else ()
        if budgets and not set(budgets) <= set(known):
            missing = ", ".join(str(budget) for budget in budgets if budget not in known)
            others = "take dataset='digits201' or 'ecnas_4v', or a controller that stops none"
            raise UsageError(
                f"Tabular: {self.table or self.dataset} has no results of a training that is stopped after {missing} "
                f"epochs, only after {', '.join(map(str, known)) or 'whole ones'}; "
                f"{'choose among these' if known else others}"
            )

    def start(self, space: Space) -> None:
        """Reads the table; a second start with an equal space keeps it."""
        if self._evaluations and self.space == space:
            return
        # Should reading fail, nothing of the last space remains.
        self._evaluations, self._judged, self._measured = {}, {}, None
        super().start(space)
        self._runs, self._equal = {}, {}
        if self._own is None:
            rows = self._selection.rows(space, self._selection.length)
        else:
            rows, self._runs = self._own.read(space)
            for architecture, found in rows.items():
                if found is not None:
                    self._equal.setdefault(space.canonical(architecture), architecture)
        self._read = "" if self.table is None else file_fingerprint(self.table)
        self._evaluations, self._shorter = rows, {}

    def fingerprints(self) -> Mapping[str, str]:
        """See ``Evaluator``: the table of one's own as it was read, or the embedded ones."""
        if self.table is not None:
            return {"table": self._read or file_fingerprint(self.table)}
        return {"embedded": embedded_fingerprint(*self._selection.files)}

    @property
    def architectures(self) -> list[Architecture]:
        """All that have a score (after ``start``)."""
        return [architecture for architecture, found in self._evaluations.items() if found is not None]

    @property
    def score_noise(self) -> float | None:
        """See ``Evaluator``: 0, but where the seed chooses between rows."""
        return None if self.repeated == "runs" else 0.0

    def _known(self, architecture: Architecture) -> Architecture:
        """The architecture, or the one that the table has in its place, since it computes the same."""
        if self._evaluations.get(architecture) is None and self._equal:
            return self._equal.get(self.space.canonical(architecture), architecture)
        return architecture

    def _row(self, architecture: Architecture) -> Evaluation | None:
        """What the table has of an architecture, or of one that computes the same."""
        return self._evaluations.get(self._known(architecture))

    @property
    def priced(self) -> bool:
        """Whether its rows have seconds; published scores at initialisation, and some tables, have none."""
        return any(each is not None and each.cost.recorded_seconds for each in self._evaluations.values())

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """``params``, ``flops``, ``latency_seconds`` and ``energy_joules``, as far as the table has them.

        Of a table of one's own all metrics; NaN where a row lacks them.
        """
        if self._measured is None:
            known = {name for found in self._evaluations.values() if found is not None for name in found.metrics}
            self._measured = [name for name in MEASURED if name in known] if self._own is None else sorted(known)
        found = self._row(architecture)
        return {name: math.nan if found is None else found.metrics.get(name, math.nan) for name in self._measured}

    def refusal(self, architecture: Architecture) -> str:
        """See ``Evaluator``: the table has no such architecture, or no score for it."""
        return "" if self._row(architecture) is not None else str(self._missing(architecture))

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Looks the architecture up; ``seed`` decides between repeated rows, if they are ``runs``.

        Raises:
            InvalidArchitecture: If the table has no such architecture, or no score for it.
        """
        evaluation = self._row(architecture)
        if evaluation is None:
            raise self._missing(architecture)
        runs = self._runs.get(self._known(architecture)) if self._runs else None
        return runs[seed % len(runs)] if runs else evaluation

    def evaluate_query(self, query: Query) -> Evaluation:
        """Looks up the result after the budget's epochs; bills the added ones or, of EC-NAS, the whole training."""
        if query.budget is None:
            return self._judged.get(query.architecture) or self._judge(query.architecture, query.seed)
        found = self._after(query.budget.stop, query.architecture)
        if not query.budget.start or self.dataset in ECNAS_FILES:
            return found
        before = self._after(query.budget.start, query.architecture).cost.recorded_seconds
        return found._replace(cost=Cost(recorded_seconds=max(0.0, found.cost.recorded_seconds - before)))

    def _judge(self, architecture: Architecture, seed: int) -> Evaluation:
        """The result, judged; kept, for searches come back to the same few, where the seed makes no difference."""
        found = self.evaluate(architecture, seed)
        if self._runs or type(self) is not Tabular:
            return found
        if len(self._judged) >= MOST_JUDGED:
            self._judged.clear()
        self._judged[architecture] = found = judged(found)
        return found

    def _after(self, epochs: int, architecture: Architecture) -> Evaluation:
        if epochs not in self._shorter:
            self._shorter[epochs] = self._selection.rows(self.space, epochs)
        found = self._shorter[epochs].get(architecture)
        if found is None:
            raise self._missing(architecture)
        return found

    def _missing(self, architecture: Architecture) -> InvalidArchitecture:
        name = self.space.format(self.space.validate(architecture))
        where = self.table or f"the embedded table ({self.dataset})"
        if architecture in self._evaluations:
            column = self.score or self.zero_cost or f"run {self.run}"
            how = "is empty or not finite" if self.table else "is empty"
            return InvalidArchitecture(f"{where} has no score for {name} ({column} {how})")
        return InvalidArchitecture(f"{where} has no architecture {name}; it has {len(self._evaluations):,} others")

    def __getstate__(self) -> dict[str, Any]:
        """Workers read the table themselves, so it is not sent to them."""
        return {**self.__dict__, "_evaluations": {}, "_judged": {}, "_shorter": {}, "_runs": {}, "_equal": {}}

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
