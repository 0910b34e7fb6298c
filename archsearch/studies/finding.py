"""What came of a study: its cells, the effect with its interval, and the verdict."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from archsearch.basics.words import format_seconds, plain_lines
from archsearch.ranking.intervals import Interval
from archsearch.showing.page import aligned
from archsearch.studies.cells import PROCESSOR
from archsearch.studies.study import ALONE, BETWEEN, Question, Study, shipped
from archsearch.studies.verdicts import effect, verdict
from archsearch.trial import Cost

SMALL, PLACES = 1e-3, 4
"""Below it numbers are written with an exponent; and the most decimals of others."""


class Cell(NamedTuple):
    """One setting under one seed.

    Attributes:
        setting: Its name.
        seed: Which.
        figures: What was measured, with the processor seconds that it took.
        cost: What was billed.
        session: Number of the session that measured it.
    """

    setting: str
    seed: int
    figures: Mapping[str, float]
    cost: Cost
    session: int


class Session(NamedTuple):
    """When cells were measured, of which file (its SHA-256), by which versions."""

    number: int
    digest: str
    date: str
    versions: str


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """What came of a study, or has come so far; print it.

    Attributes:
        name: Of the study.
        file: Where its file is: the path as it was given; empty: it comes with the package.
        digest: SHA-256 of the file.
        claim: One sentence.
        section: Where the claim is made.
        hypothesis: What was expected.
        fixed_on: When the file was written, as in 2026-11-30.
        settings: Names of what was varied.
        seeds: How many.
        figure: The one that the claim is about.
        kinds: All figures, with what they mean.
        question: How the claim is judged; None: nothing is claimed.
        cells: Those that are filled, by setting and seed.
        sessions: Those that filled them.
    """

    name: str
    file: str
    digest: str
    claim: str
    section: str
    hypothesis: str
    fixed_on: str
    settings: tuple[str, ...]
    seeds: int
    figure: str
    kinds: Mapping[str, str]
    question: Question | None
    cells: tuple[Cell, ...]
    sessions: tuple[Session, ...]

    @classmethod
    def of(cls, study: Study, cells: Sequence[Cell], sessions: Sequence[Session]) -> Finding:
        """That of a study with these cells."""
        return cls(
            name=study.name,
            file="" if shipped().get(study.name) == study.path else str(study.path),
            fixed_on=study.fixed_on.isoformat(),
            settings=tuple(study.measures),
            kinds=dict(study.kinds),
            cells=tuple(cells),
            sessions=tuple(sessions),
            **{name: getattr(study, name) for name in ("digest", "claim", "section", "hypothesis")},
            **{name: getattr(study, name) for name in ("seeds", "figure", "question")},
        )

    # -- what can be said --------------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """Cells that are not filled: not yet, or since they failed."""
        return len(self.settings) * self.seeds - len(self.cells)

    def values(self, setting: str, figure: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """A figure of one setting, by rising seed."""
        return np.array([cell.figures[figure] for cell in self.cells if cell.setting == setting], np.float64)

    @property
    def effect(self) -> Interval | None:
        """What the claim is about, with its interval; None: nothing is claimed, or cells of it are missing."""
        if self.question is None:
            return None
        compared = [self.values(each, self.figure) for each in self.question.compare]
        if any(len(each) < self.seeds for each in compared):
            return None
        values = compared[0] if len(compared) == 1 else compared[0] - compared[1]
        return effect(values, self.question.test, self.question.error)

    @property
    def verdict(self) -> str:
        """Holds, does not hold, cannot be told with so few seeds; or why nothing is said."""
        if self.question is None:
            return "a table, no claim" + (f"; partial, {self._filled}" if self.missing else "")
        found = self.effect
        if found is None:
            return f"not finished, {self._filled}"
        return verdict(found, self.question.threshold, self.question.direction)

    @property
    def _filled(self) -> str:
        return f"{len(self.cells):,} of {len(self.settings) * self.seeds:,} cells measured"

    @property
    def warnings(self) -> list[str]:
        """What speaks against taking the verdict for one on a threshold that was fixed before."""
        found = []
        if any(session.digest != self.digest for session in self.sessions):
            found.append("The file has changed since a part of this was measured.")
        current = self._current_digest()
        if current and current != self.digest:
            found.append("The file has changed since this was measured: run the study again.")
        if self.sessions and min(session.date for session in self.sessions) < self.fixed_on:
            found.append("A part of this was measured before the day on which the file says that it was fixed.")
        return found

    def _current_digest(self) -> str:
        path = Path(self.file) if self.file else shipped().get(self.name)
        if path is None or not path.exists():
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def cost(self) -> Cost:
        """Of all cells."""
        return sum((cell.cost for cell in self.cells), Cost())

    @property
    def processor_seconds(self) -> float:
        """Of all cells, those of other processes left out."""
        return sum(cell.figures.get(PROCESSOR, 0.0) for cell in self.cells)

    @property
    def sentences(self) -> list[str]:
        """The verdict, the effect, the cost, warnings."""
        lines = [f"{self.verdict[0].upper()}{self.verdict[1:]}."]
        if self.question is not None and (found := self.effect) is not None:
            level = f"{100 * (1 - self.question.error):g} %"
            expected = f"{self.question.direction} {self.question.threshold:g}"
            lines.append(
                f"{self._subject}: {found.value:.3g}, {level} interval {ends(found)}; expected {expected} "
                f"({self.question.test}, {self.seeds} seeds)."
            )
            if self.missing:
                lines.append(f"Of other settings {self.missing:,} cells are missing.")
        lines.append(
            f"Billed {format_seconds(self.cost.billed_seconds)}, processor {format_seconds(self.processor_seconds)}."
        )
        return lines + self.warnings

    @property
    def _subject(self) -> str:
        assert self.question is not None
        if self.question.compare == (ALONE,):
            return self.figure
        return f"{self.figure} of {' minus that of '.join(self.question.compare)}"

    # -- as text -----------------------------------------------------------------------------------

    @property
    def shown(self) -> dict[str, str]:
        """Those figures that some cell has, with what they mean."""
        known = {kind for cell in self.cells for kind in self.kinds if math.isfinite(cell.figures[kind])}
        return {kind: text for kind, text in self.kinds.items() if kind in known}

    def grid(self) -> list[list[str]]:
        """The figure of the study alone, in a column for each of what is varied first; empty: nothing else is."""
        parts = [each.split(BETWEEN) for each in self.settings]
        columns = list(dict.fromkeys(first for first, *_ in parts))
        lines = list(dict.fromkeys(BETWEEN.join(others) for _, *others in parts))
        if len(columns) < 2 or len(lines) < 2 or len(columns) * len(lines) != len(parts):
            return []
        rows = [[self.figure, *columns]]
        for line in lines:
            means = (_mean(self.values(f"{column}{BETWEEN}{line}", self.figure)) for column in columns)
            rows.append([line, *means])
        return rows

    def rows(self) -> list[list[str]]:
        """A line for each setting, with a head: the mean of each figure and its deviation over the seeds, the cost.

        Figures that no cell has are left out.
        """
        kinds = list(self.shown)
        rows = [["setting", "seeds", *kinds, "billed", "processor"]]
        for setting in self.settings:
            mine = [cell for cell in self.cells if cell.setting == setting]
            if not mine:
                rows.append([setting, "0", *["-"] * (len(kinds) + 2)])
                continue
            billed = float(np.mean([cell.cost.billed_seconds for cell in mine]))
            processor = float(np.mean([cell.figures.get(PROCESSOR, 0.0) for cell in mine]))
            figures = [_mean(self.values(setting, kind)) for kind in kinds]
            rows.append([setting, str(len(mine)), *figures, format_seconds(billed), format_seconds(processor)])
        return rows

    def __str__(self) -> str:
        head = f"{self.name}: {self.claim} ({self.section}; fixed on {self.fixed_on})"
        return plain_lines("\n".join([head, *self.sentences, "", aligned(self.rows())]))

    def __repr__(self) -> str:
        return f"Finding({self.name}: {self.verdict})"


def ends(interval: Interval) -> str:
    """Such as ``[0.1, 0.3]``; without ends where nothing is excluded."""
    return f"[{_end(interval.low)}, {_end(interval.high)}]"


def _end(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else f"{'-' if value < 0 else ''}∞"


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    mean = float(values.mean())
    if len(values) < 2:
        return f"{mean:.4g}"
    spread = float(values.std(ddof=1))
    if max(abs(mean), spread) < SMALL or spread == 0:
        return f"{mean:.{2 if spread else 4}g} ± {spread:.2g}"
    places = max(0, 1 - math.floor(math.log10(spread)))  # two digits of the deviation, and as many places of the mean
    return f"{mean:.{min(places, PLACES)}f} ± {spread:.{min(places, PLACES)}f}"
