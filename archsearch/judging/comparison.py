"""Evaluators compared: what each one costs, how well it ranks, and when it pays off.

    print(compare(NASBench201(), {"short": Tabular(epochs=12), "synflow": Tabular(zero_cost="synflow")}, Tabular()))

Three questions, answered with the same architectures, seeds and controller for all:

1. What does it cost? Set-up and each architecture apart, and from how many architectures on it is cheaper than another.
2. How well does it rank? Its scores of a random sample against the reference: Kendall's tau and others, with intervals.
3. What does a search with it find? For the same billed cost, its pick is scored by the reference.

What ranks without knowing anything (random numbers, the size of the network) and the noise ceiling (the reference under
another seed) always stand beside. Source: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink
the Optimization Gap", 2020, for the questions; the figures are those of ``archsearch.ranking``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import yaml

from archsearch.basics.seeding import root_seed
from archsearch.basics.words import plain_lines
from archsearch.components import load, names
from archsearch.controller import Controller
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import Executor
from archsearch.files.yaml_files import read_yaml
from archsearch.judging import comparison_figures
from archsearch.judging import comparison_report as report
from archsearch.judging.bench import CONFIG, ComparisonOptions, ComparisonSettings
from archsearch.judging.compared import CEILING, RANDOM, Findings
from archsearch.judging.laboratory import Laboratory
from archsearch.running.search import make_executor
from archsearch.running.settings import ExecutorName, documented, settled
from archsearch.space import Space

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT = Path(__file__).parents[1] / CONFIG
"""What ``archsearch compare`` alone does."""


@dataclasses.dataclass(frozen=True)
class Comparison(Findings):
    """Evaluators side by side; print it for the tables. Its figures are those of ``Findings``."""

    def recommend(self, budget: float) -> str:
        """Says in a sentence which evaluator to use.

        Args:
            budget: Billed seconds; what was found for the largest budget up to it counts.
        """
        fitting = [each for each in self.recommendations() if each.budget <= budget]
        if not fitting:
            least = min(self.budgets, default=math.inf)
            return f"Nothing was measured for so little: the least budget of this comparison is {least:.3g} s."
        return report.sentence(self, [fitting[-1]], budget)

    @property
    def sentences(self) -> list[str]:
        """Which evaluator to use with which budget."""
        return report.sentences(self) if self.budgets else []

    def figures(self) -> pa.Table:
        """Every figure in long form: evaluator, kind, figure, at (where there are several), value, low, high, unit."""
        return comparison_figures.figures(self)

    def save(self, out: str | Path, command: str = "") -> Path:
        """Writes every figure as Parquet, pictures, and one HTML page.

        Args:
            out: The folder.
            command: What remakes it, for the page.

        Returns:
            The page.
        """
        return report.save(self, Path(out), command)

    def __repr__(self) -> str:
        compared = ", ".join(row.name for row in self.rows if row.kind == "evaluator")
        return f"Comparison({compared}; {self.samples:,} architectures, {self.seeds} seeds)"

    def _repr_html_(self) -> str:
        """For notebooks: the tables of the page."""
        return "".join(report.sections(self))

    def __str__(self) -> str:
        return plain_lines(report.text(self))


@documented(ComparisonSettings, ComparisonOptions)
def compare(
    space: Space,
    evaluators: Mapping[str, Evaluator] | Sequence[Evaluator],
    reference: Evaluator,
    *,
    again: Sequence[Evaluator] | None = None,
    controller: Controller | None = None,
    settings: ComparisonSettings | None = None,
    seed: int | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    out: str | Path | None = None,
    progress: bool = False,
    **options: Unpack[ComparisonOptions],
) -> Comparison:
    """Compares evaluators with each other and with a reference.

    The reference scores the sample once. Under another seed it is compared, too, as the noise ceiling, which is what
    another evaluator can hope for; and so are random numbers and the size of the network. Where not all architectures
    of the space can be scored by all, such as those of a partial table, searches draw at random from those that can.

    Args:
        space: What is searched.
        evaluators: What is compared, by name, or a list, which is named by classes and settings. An evaluator that has
            an argument ``seed`` is made anew for each seed, from its own plus 1 on, since the reference has its own.
        reference: What tells the truth.
        again: Evaluators, 2 or more, that stand for the reference under different seeds, such as the single runs of a
            table. For the noise ceiling the scores of the first are compared with those of the others; if the truth is
            a mean of several runs, what agrees with that may be better than this. None: the reference itself.
        controller: Of the searches; None: ``RegularizedEvolution(population_size=20, tournament_size=5)``.
        settings: How they are compared; None: as the keywords say that follow last.
        seed: Root seed, >= 0; None draws one, or takes that of the comparison in ``out``.
        executor: See ``search``.
        workers: See ``search``.
        out: Folder to keep everything in. A comparison that was stopped goes on from its folder when it is begun again
            with the same settings: nothing completed is evaluated again. Evaluators may be added or left out.
        progress: Whether to show on standard error how far it is.
        **options: The fields of ``ComparisonSettings``, in place of ``settings``.

    Raises:
        UsageError: If something cannot be as asked; nothing was evaluated then.
    """
    settings = settled(compare, ComparisonSettings, settings, options)
    by_name = _named(evaluators)
    if controller is None:
        controller = load("RegularizedEvolution", "controllers")(population_size=20, tournament_size=5)
    known = None if out is None else _known_config(Path(out))
    if seed is None and known is not None:
        seed = known.get("seed")
    laboratory = Laboratory(space, by_name, reference, list(again or ()), controller, settings, root_seed(seed))
    laboratory.executor, laboratory.progress = make_executor(executor, workers), progress
    with contextlib.ExitStack() as stack:
        if out is None:
            temporary = tempfile.TemporaryDirectory(prefix="archsearch-", ignore_cleanup_errors=True)
            laboratory.folder = Path(stack.enter_context(temporary))
        else:
            laboratory.open(Path(out), known)
        stack.enter_context(laboratory.executor.held())
        return Comparison(**vars(laboratory.compare()))


def _named(evaluators: Mapping[str, Evaluator] | Sequence[Evaluator]) -> dict[str, Evaluator]:
    if not isinstance(evaluators, Mapping):
        evaluators = dict(zip(names(evaluators), evaluators, strict=True))
    if not evaluators:
        raise UsageError("compare: evaluators: expected at least one, got none")
    for name, evaluator in evaluators.items():
        if not (isinstance(name, str) and name and isinstance(evaluator, Evaluator)):
            raise UsageError(f"compare: evaluators: expected evaluators by name (text), got {name!r}: {evaluator!r}")
    if taken := [name for name in evaluators if name in (RANDOM, CEILING)]:
        raise UsageError(f"compare: evaluators: {taken[0]!r} is always compared; give yours another name")
    return dict(evaluators)


def _known_config(folder: Path) -> dict[str, Any] | None:
    """The configuration of the comparison in a folder; None if there is none."""
    path = folder / CONFIG
    try:
        config = read_yaml(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from None
    if not (isinstance(config, dict) and isinstance(config.get("evaluators"), dict)):
        raise RunFolderError(f"{path} is no configuration of a comparison: it has no evaluators; name another folder")
    return config
