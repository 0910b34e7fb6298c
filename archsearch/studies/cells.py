"""The cells of a study as a space, and who fills them as an evaluator: so that running a study is a search.

Journal, resume, executors, tries after failures and bills are then those of every search.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from archsearch.basics.checks import at_least_one
from archsearch.errors import ArchsearchError, InvalidArchitecture, UsageError
from archsearch.evaluator import Evaluator
from archsearch.space import Space
from archsearch.studies.measure import Measure
from archsearch.trial import Architecture, Evaluation

PROCESSOR = "processor_seconds"
"""Figure that each cell has besides those of its measure: what measuring took, in this process."""


class Cells(Space):
    """Settings and seeds: an architecture is one of each.

    Args:
        settings: What each setting is called.
        seeds: How many, >= 1; they are counted from 0.
    """

    def __init__(self, settings: Sequence[str], seeds: int) -> None:
        self.settings = list(settings)
        self.seeds = at_least_one("Cells", "seeds", seeds)
        super().__init__(arities=[len(self.settings), self.seeds])

    def format(self, architecture: Architecture) -> str:
        """Such as ``uniform, seed 3``."""
        return f"{self.settings[architecture[0]]}, seed {architecture[1]}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote."""
        setting, _, seed = text.rpartition(", seed ")
        if setting not in self.settings or not seed.isdecimal():
            raise InvalidArchitecture(f"{text!r} is no cell: expected such as {self.format((0, 0))!r}")
        return self.validate((self.settings.index(setting), int(seed)))


class Asked(Evaluator):
    """Fills a cell: has the measure of its setting measure under its seed.

    Args:
        measures: By the name of the setting.
        figure: Which of the figures is the score.
    """

    def __init__(self, measures: dict[str, Measure], figure: str) -> None:
        self.measures = measures
        self.figure = figure
        self._each = list(measures.values())  # a list, in which fingerprints are looked for

    def check(self, space: Space) -> None:
        """Takes its own cells only."""
        if not (isinstance(space, Cells) and space.settings == list(self.measures)):
            raise UsageError(f"Asked: expected the cells of {', '.join(self.measures)}, got {space!r}")

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """The figures of a cell; the seed is the cell's own, so that a second try gives the same."""
        measure, begun = self._each[architecture[0]], time.process_time()
        figures, cost = measure.measure(architecture[1])
        score = _checked(measure, figures)[self.figure]
        return Evaluation(score, {**figures, PROCESSOR: time.process_time() - begun}, cost)


def _checked(measure: Measure, figures: Mapping[str, float]) -> Mapping[str, float]:
    """The figures, if they are those that the class lists."""
    if set(figures) != set(measure.figures):
        name = type(measure).__name__
        raise ArchsearchError(
            f"{name}.measure: expected the figures {', '.join(measure.figures)}, as {name}.figures lists them, "
            f"got {', '.join(figures)}"
        )
    return figures
