"""A comparison of controllers as sentences, tables, files and one page."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archsearch.basics.words import format_seconds, html_text, plain_lines
from archsearch.contests.regret_pictures import draw
from archsearch.contests.standings import AXIS_TITLES, Regrets, Standing
from archsearch.errors import RunFolderError
from archsearch.files.parquet import write_parquet
from archsearch.files.writing import write_whole
from archsearch.ranking import Interval, RankTest
from archsearch.showing.page import aligned
from archsearch.trial import Cost

if TYPE_CHECKING:
    import pyarrow as pa

SIGNIFICANT = 0.05
"""A controller is called better than another one if p is at most this, after Holm's correction."""


@dataclasses.dataclass(frozen=True, eq=False)
class ControllerComparison(Regrets):
    """What a comparison of controllers found; print it for tables and sentences.

    Attributes, beside those of ``Regrets``:
        best: Best known truth of each task.
        set_up: What the one-off work of each task's evaluator has cost, which no search was billed for.
        standings: For each task each controller.
        tests: The rank test over all seeds and tasks, at each checkpoint of evaluations; the last one is the end.
        wins: For each pair of controllers, by position: in how many blocks the first was better at the end, less those
            in which the second was.
    """

    best: Mapping[str, float]
    set_up: Mapping[str, Cost]
    standings: tuple[Standing, ...]
    tests: Mapping[int, RankTest]
    wins: Mapping[tuple[int, int], int]

    @property
    def sentences(self) -> list[str]:
        """What the test at the end can tell, and no more."""
        test = self.tests[self.evaluations]
        scope = f"{self.seeds} seeds x {len(self.tasks)} task{'s' if len(self.tasks) > 1 else ''}"
        order = sorted(range(len(self.controllers)), key=lambda i: test.mean_ranks[i])
        found = [self._verdict(test, *pair, scope) for pair in itertools.combinations(order, 2)]
        if len(order) > 2:
            alike = "cannot tell the controllers apart" if test.p > SIGNIFICANT else "says that not all are alike"
            found.insert(0, f"Friedman's test after {self.evaluations:,} evaluations {alike} ({_p(test.p)}, {scope}).")
        return found

    def _verdict(self, test: RankTest, first: int, second: int, scope: str) -> str:
        """On two controllers, by position, the one with the lower mean rank first."""
        p = _pairwise(test, first, second)
        ranks = test.mean_ranks[first], test.mean_ranks[second]
        # Mean ranks are among all controllers: those of the two alone may point the other way.
        wins = self.wins[first, second] if first < second else -self.wins[second, first]
        figures = f"mean rank {ranks[0]:.2f} against {ranks[1]:.2f}, {_p(p)} after Holm"
        if p <= SIGNIFICANT and ranks[0] < ranks[1] and wins > 0:
            return f"{self.controllers[first]} is better than {self.controllers[second]} ({figures}, {scope})."
        pair = f"{self.controllers[first]} and {self.controllers[second]}"
        return f"No difference that {scope} could tell between {pair} ({figures})."

    # -- as text ---------------------------------------------------------------------------------

    def table(self) -> str:
        """For each task the controllers as aligned lines; if there are several tasks, the mean ranks over all."""
        blocks = []
        for task in self.tasks:
            blocks.append(f"{self._heading(task)}\n{aligned([self._head, *self._rows(task)])}")
        if len(self.tasks) > 1:
            blocks.append(f"all {len(self.tasks)} tasks\n{aligned(self._mean_ranks())}")
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        compared, tasks = ", ".join(self.controllers), ", ".join(self.tasks)
        return f"ControllerComparison({compared}; on {tasks}; {self.seeds} seeds)"

    def _repr_html_(self) -> str:
        """For notebooks: the lines of ``print(comparison)``."""
        return f"<pre>{html_text(str(self))}</pre>"

    def __str__(self) -> str:
        return plain_lines("\n".join([self.table(), "", *self.sentences]))

    def _heading(self, task: str) -> str:
        target = next(standing.target for standing in self.standings if standing.task == task)
        return (
            f"{task}: up to {self.evaluations:,} evaluations, {self.seeds} seeds, best known {self.truth} "
            f"{self.best[task]:.6g}; target: regret {target:.3g}, the median of {self.baseline} at the end"
        )

    @property
    def _head(self) -> tuple[str, ...]:
        earlier = [f"regret at {at:,}" for at in list(self.tests)[:-1]]
        return (
            "controller",
            *earlier,
            "regret [95 %]",
            "billed",
            "to target",
            "billed to target",
            "speed-up",
            "mean rank",
        )

    def _rows(self, task: str) -> Iterator[tuple[str, ...]]:
        curves = {
            curve.controller: curve for curve in self.regrets if (curve.task, curve.axis) == (task, "evaluations")
        }
        for standing in self.standings:
            if standing.task == task:
                yield (
                    standing.controller,
                    *(_ends(curves[standing.controller].at_evaluation(at)) for at in list(self.tests)[:-1]),
                    _ends(standing.regret),
                    format_seconds(standing.billed_seconds),
                    "not reached" if standing.evaluations is None else f"{standing.evaluations:,}",
                    "-" if standing.seconds is None else format_seconds(standing.seconds),
                    "-" if standing.speed_up is None else f"{standing.speed_up:.1f} x",
                    f"{standing.mean_rank:.2f}",
                )

    def _mean_ranks(self) -> list[tuple[str, ...]]:
        """Over all tasks, with a head: a row for each controller, a column for each checkpoint."""
        columns = [[f"{rank:.2f}" for rank in test.mean_ranks] for test in self.tests.values()]
        head = ("controller", *(f"mean rank at {at:,}" for at in self.tests))
        return [head, *zip(self.controllers, *columns, strict=True)]

    # -- as tables -------------------------------------------------------------------------------

    def figures(self) -> pa.Table:
        """All figures, one per row.

        Columns: task (empty: all of them), controller (for a p-value ``A against B``; empty: all), figure, at (number
        of evaluations or, for what says ``to target``, the regret that is the target), value, low, high (null where
        there is no interval), unit.
        """
        import pyarrow as pa

        numbers = dict.fromkeys(("at", "value", "low", "high"), pa.float64())
        fields = {**dict.fromkeys(("task", "controller", "figure"), pa.string()), **numbers, "unit": pa.string()}
        rows = [dict(zip(fields, row, strict=True)) for row in self._figures()]
        return pa.Table.from_pylist(rows, pa.schema(list(fields.items())))

    def _figures(self) -> Iterator[tuple[Any, ...]]:
        end = self.evaluations
        for task in self.tasks:
            yield task, "", "best known", None, self.best[task], None, None, self.truth
            yield task, "", "set-up", None, self.set_up[task].billed_seconds, None, None, "seconds"
        for curve in self.regrets:
            if curve.axis == "evaluations":
                for at in self.tests:
                    regret = curve.at_evaluation(at)
                    yield curve.task, curve.controller, "regret", at, regret.value, regret.low, regret.high, self.truth
        for each in self.standings:
            where = each.task, each.controller
            yield *where, "billed", end, each.billed_seconds, None, None, "seconds"
            yield *where, "mean rank", end, each.mean_rank, None, None, "rank"
            yield *where, "evaluations to target", each.target, each.evaluations, None, None, "evaluations"
            yield *where, "billed to target", each.target, each.seconds, None, None, "seconds"
            yield *where, "speed-up to target", each.target, each.speed_up, None, None, "times"
        for at, test in self.tests.items():
            if len(self.controllers) > 2:  # of two there is the one p-value below
                yield "", "", "Friedman p", at, test.p, None, None, "probability"
            for name, rank in zip(self.controllers, test.mean_ranks, strict=True):
                yield "", name, "mean rank", at, rank, None, None, "rank"
            for first, second in itertools.combinations(range(len(self.controllers)), 2):
                pair = f"{self.controllers[first]} against {self.controllers[second]}"
                yield "", pair, "Holm p", at, _pairwise(test, first, second), None, None, "probability"

    def curves(self) -> pa.Table:
        """All curves, one point per row.

        Columns: task, controller, axis, at, mean, low, high (null where a seed has no result yet).
        """
        import pyarrow as pa

        lengths = [len(curve.at) for curve in self.regrets]
        words = {
            name: pa.array(np.repeat([getattr(curve, name) for curve in self.regrets], lengths), pa.string())
            for name in ("task", "controller", "axis")
        }
        numbers = {
            name: pa.array(np.concatenate([getattr(curve, name) for curve in self.regrets]), from_pandas=True)
            for name in ("at", "mean", "low", "high")
        }
        return pa.table({**words, **numbers})

    # -- as files --------------------------------------------------------------------------------

    def save(self, out: str | Path, command: str = "") -> Path:
        """Writes ``figures.parquet``, ``curves.parquet``, a picture for each axis, and all in one HTML page.

        Args:
            out: Folder; may be that of the searches.
            command: What makes this comparison again, for the page; empty leaves it out.

        Returns:
            The page.

        Raises:
            RunFolderError: If the folder cannot be written.
        """
        from archsearch.showing import page

        target = Path(out)
        axes = [axis for axis in AXIS_TITLES if any(curve.axis == axis for curve in self.regrets)]
        try:
            target.mkdir(parents=True, exist_ok=True)
            write_parquet(target / "figures.parquet", self.figures())
            write_parquet(target / "curves.parquet", self.curves())
            for axis in axes:
                draw(target / f"regret_{axis}.png", self, axis)
            parts = [page.paragraph(sentence) for sentence in self.sentences]
            for task in self.tasks:
                parts += [
                    page.heading(task),
                    page.paragraph(self._heading(task)),
                    page.table(self._head, self._rows(task)),
                ]
            if len(self.tasks) > 1:
                head, *rows = self._mean_ranks()
                parts += [page.heading("All tasks"), page.table(head, rows)]
            for axis in axes:
                title = AXIS_TITLES[axis]
                parts += [page.heading(title), page.picture(target / f"regret_{axis}.png", title)]
            if command:
                parts += [page.heading("Again"), page.command(command)]
            write_whole(target / "index.html", page.page("Comparison of controllers", *parts).encode())
        except OSError as error:
            raise RunFolderError(f"{target}: cannot write the comparison ({error.strerror})") from None
        return target / "index.html"


def _pairwise(test: RankTest, first: int, second: int) -> float:
    return test.pairwise[min(first, second), max(first, second)]


def _ends(interval: Interval) -> str:
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
