"""What a search found and what it cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from archsearch.basics.texts import name_of
from archsearch.basics.words import format_cost, format_faults, format_figure, html_lines, plain
from archsearch.keeping.history import History
from archsearch.racing.standing import Standing
from archsearch.space import Space
from archsearch.trial import Cost, Trial


@dataclasses.dataclass(frozen=True)
class Result:
    """What a search found and what it cost.

    Attributes:
        best: The completed trial with the highest score, or None: the first of equals; with budgets, of those that were
            trained longest; if the evaluator's scores are ``comparable`` between its advances only, of the newest.
        completed: Completed trials.
        failed: Failed trials.
        reused: Proposals that were answered from memory.
        rejected: Proposals that were beyond the limits.
        thinned: Proposals that were refused since they were likely to fail (``thin``).
        cost: Cost of all evaluations, tries that failed included; its ``billed_seconds`` are what ``max_cost`` counts.
        setup_cost: Cost of the evaluator's one-off work: its preparation, and what it learnt on the way.
        faults: How often what went wrong, by kind (``executors.executor.FAULTS``): tries that succeeded when they were
            repeated, lost workers and nodes, and earlier sessions that did not end in order, included.
        seconds: Seconds on the run's clock.
        stopped: Why it stopped: trials, max_seconds, max_cost, target, exhausted (nothing new to propose), interrupted.
        seed: The root seed; the same seed repeats the search.
        history: All trials: iterate over it, or call ``table()``.
        space: The space that was searched.
        note: What the evaluator says of its one-off work.
        certainty: Who leads, and who cannot be told from the best; None: the search was not asked for ``certainty``. Of
            a race ``best`` is the trial of the leader, whose own score is the one that it was chosen for.
    """

    best: Trial | None
    completed: int
    failed: int
    reused: int
    rejected: int
    cost: Cost
    setup_cost: Cost
    seconds: float
    stopped: str
    seed: int
    history: History
    space: Space
    faults: Mapping[str, int] = dataclasses.field(default_factory=dict)
    note: str = ""
    certainty: Standing | None = None
    thinned: int = 0

    @property
    def best_name(self) -> str | None:
        """The best architecture in the space's own notation."""
        return None if self.best is None else name_of(self.space, self.best.architecture)

    def __repr__(self) -> str:
        best = "none" if self.best is None else f"{self.best_name} scores {format_figure(self.best.score)}"
        counts = f"{self.completed:,} completed, {self.failed:,} failed"
        return f"Result({best}; {counts}; stopped by {self.stopped}; seed {self.seed})"

    def _repr_html_(self) -> str:
        """For notebooks: the lines of ``print(result)`` as a table."""
        return html_lines(str(self))

    def __str__(self) -> str:
        lines = []
        if self.best is None:
            lines.append("best      none: no trial completed")
        else:
            metrics = "".join(f", {plain(name)} {format_figure(value)}" for name, value in self.best.metrics.items())
            lines.append(f"best      {plain(self.best_name or '')}")
            length = f" at budget {self.best.budget.stop}" if self.best.budget else ""
            lines.append(f"          score {format_figure(self.best.score)}{length}{metrics} (trial {self.best.id})")
        if self.certainty is not None:
            lines.append(f"certainty {self.certainty.sentence}")
            lines.append(f"          noise: {self.certainty.noise_text}")
        repeats = 0 if self.certainty is None else self.certainty.repeats
        completed = f"{self.completed:,} completed" + (f" ({repeats:,} of them repeats)" if repeats else "")
        counts = [completed, f"{self.failed:,} failed"]
        if self.reused:
            counts.append(f"{self.reused:,} repeats answered from memory")
        if self.rejected:
            counts.append(f"{self.rejected:,} beyond the limits")
        if self.thinned:
            counts.append(f"{self.thinned:,} refused as likely to fail")
        lines.append(f"trials    {', '.join(counts)}; stopped by {self.stopped}")
        if self.faults:
            lines.append(f"faults    {format_faults(self.faults)}")
        lines.append(f"cost      {format_cost(self.cost)}; set-up {format_cost(self.setup_cost)}; seed {self.seed}")
        if self.note:
            lines.append(f"evaluator {plain(self.note)}")
        return "\n".join(lines)
