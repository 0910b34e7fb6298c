"""What ``archsearch verify`` has kept in the folder of a run, read."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.words import format_cost, plain_lines
from archsearch.errors import RunFolderError
from archsearch.keeping.columns import COST_COLUMNS
from archsearch.keeping.folder import RunFolder
from archsearch.racing.standing import Raced, Standing
from archsearch.ranking import kendall_tau
from archsearch.showing.page import aligned, heading, paragraph, table, terms
from archsearch.showing.rows import best_rows, number_text, standing_of_run
from archsearch.trial import NO_COST, Architecture, Cost, Trial

if TYPE_CHECKING:
    import pyarrow as pa


FOLDER = "verification"
SET_UP = b"archsearch.set_up"
"""Entry of a file's metadata: what preparing the evaluator has cost, as JSON."""

OUTDATED = "the search has found others since that are better by its scores; verify again"

COLUMNS = ("verification", "rank", "trial", "architecture", "name", "search_budget", "search_score", "score")
FURTHER_COLUMNS = ("status", "failure", "error", "evaluator", "seed", "date", *COST_COLUMNS.values())
"""Columns of a file that are no metrics."""


@dataclasses.dataclass(frozen=True)
class Verified:
    """One architecture that was scored again.

    Attributes:
        rank: In the search, from 1.
        trial: Id of its trial in the run.
        architecture: One option per decision.
        name: In the space's own notation.
        search_score: In the search.
        search_budget: How long it was trained for that; None: there are no budgets.
        score: Of the better evaluator; None: it failed.
        metrics: What that reports.
        cost: What that cost.
        failure: Empty, or its kind, as in ``Trial``.
        error: Error text of a failure.
    """

    rank: int
    trial: int
    architecture: Architecture
    name: str
    search_score: float
    search_budget: int | None
    score: float | None
    metrics: Mapping[str, float]
    cost: Cost
    failure: str
    error: str

    @property
    def gap(self) -> float | None:
        """Verified score minus that of the search, which says something only where both are on one scale."""
        return None if self.score is None else self.score - self.search_score


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a verification has found; printed, it is a table with a sentence.

    Attributes:
        number: In the run, from 1.
        evaluator: Who scored, with its settings, as text.
        seed: Root seed of these evaluations.
        date: When it was done (UTC).
        set_up: Cost of the evaluator's one-off work.
        architectures: In the order of the search, the best first.
        outdated: Whether the best of the run are others now.
        standing: What it says of its winner, by trials of the run; None: it was not asked for ``certainty``.
    """

    number: int
    evaluator: str
    seed: int
    date: str
    set_up: Cost
    architectures: Sequence[Verified]
    outdated: bool = False
    standing: Standing | None = None

    @functools.cached_property
    def ranked(self) -> list[Verified]:
        """In the new order, the best first; of equals the better one of the search; those that failed at the end.

        What was scored again comes first, by its means.
        """
        again = [] if self.standing is None else [each.trial.id for each in self.standing.raced]
        places = {id_: place for place, id_ in enumerate(again)}
        completed = [each for each in self.architectures if each.score is not None]
        failed = [each for each in self.architectures if each.score is None]
        return sorted(completed, key=lambda each: (places.get(each.trial, len(again)), -(each.score or 0.0))) + failed

    @property
    def cost(self) -> Cost:
        """Cost of all evaluations."""
        return sum((each.cost for each in self.architectures), NO_COST)

    @property
    def kendall_tau(self) -> float | None:
        """How far the two orders agree, -1 to 1; None where one of the two has no two different scores."""
        return self._agreement.tau

    @property
    def sentence(self) -> str:
        """What came of it."""
        by, first = f"by {self.evaluator.partition('(')[0]}", self.architectures[0]
        if len(self.architectures) == 1:
            score, before = number_text(first.score), number_text(first.search_score)
            return f"the search's best scores {score} {by}, {before} in the search"
        if self._raced:
            return self._leads(by)
        return self._agreement.sentence(by, first.failure, [number_text(each.score) for each in self.architectures])

    @property
    def _raced(self) -> dict[int, Raced]:
        """What was scored again, by trial, the leader first."""
        return {} if self.standing is None else {each.trial.id: each for each in self.standing.raced}

    def _leads(self, by: str) -> str:
        """Which leads by its repeats, and whether that is the search's best: single scores decide nothing here."""
        first, (lead, *_) = self.architectures[0], self._raced.values()
        mean = f"with a mean of {number_text(lead.mean)} in {lead.repeats:,} repeats"
        if lead.trial.id == first.trial:
            return f"the search's best leads {by}, {mean}"
        place = next(each for each in self.architectures if each.trial == lead.trial.id)
        text = f"number {place.rank} of the search leads {by}, {mean}"
        if self._agreement.before[place.rank - 1] == self._agreement.before[0]:
            text = f"the search's best had equals: {text}"
        if first.score is None:
            return f"{text}; the search's best failed: {first.failure}"
        assert self.standing is not None
        own = self._raced.get(first.trial)
        alike = first.trial in self.standing.unraced if own is None else own.alike
        if own is not None and own.repeats:
            text += f", against {number_text(own.mean)} in {own.repeats:,} of the search's best"
        return f"{text}; the search's best is {'not ' if alike else ''}distinguishable from it"

    @property
    def _agreement(self) -> Agreement:
        # By the search's rule: scores of the longest trainings first.
        before: list[Any] = [(each.search_budget or 0, each.search_score) for each in self.architectures]
        if before != sorted(before, reverse=True):  # by the means of its race, which their single scores belie
            before = [-each.rank for each in self.architectures]
        after: list[float | None] = [each.score for each in self.architectures]
        if self._raced:  # the order is that of the means, then of what was not scored again
            places = {each.trial: float(-place) for place, each in enumerate(self.ranked)}
            after = [None if each.score is None else places[each.trial] for each in self.architectures]
        return Agreement(before, after)

    def cells(self) -> list[list[str]]:
        """The table as text: names of the columns, then a row per architecture, in the new order."""
        metrics = list(dict.fromkeys(name for each in self.architectures for name in each.metrics))
        raced = self._raced
        again = ["repeats", "their mean"] if raced else []
        rows = [["rank", "in search", "trial", "search score", "score", "gap", *again, *metrics, "architecture"]]
        for rank, each in enumerate(self.ranked, start=1):
            row = [str(rank), str(each.rank), str(each.trial), number_text(each.search_score)]
            row += [each.failure or number_text(each.score), "-" if each.gap is None else f"{each.gap:+.4g}"]
            if raced:
                own = raced.get(each.trial)
                row += [str(own.repeats), number_text(own.mean)] if own is not None and own.repeats else ["0", "-"]
            rows.append([*row, *(number_text(each.metrics.get(name)) for name in metrics), each.name])
        return rows

    def facts(self) -> dict[str, str]:
        """What it came to, by name."""
        facts = {"result": self.sentence}
        if self.standing is not None:
            facts["certainty"] = f"trial {self.standing.trial.id} {self.standing.sentence}"
            facts["noise"] = self.standing.noise_text
        if self.kendall_tau is not None:
            facts["tau"] = f"{self.kendall_tau:.3g} (Kendall's, between the order of the search and this one)"
        for each in self.architectures:
            if each.failure:
                reason = each.error.strip().splitlines() or [""]
                facts[f"trial {each.trial}"] = f"failed: {each.failure}: {reason[-1]}"
        if self.outdated:
            facts["note"] = OUTDATED
        facts["cost"] = f"{format_cost(self.cost)}; set-up {format_cost(self.set_up)}; seed {self.seed}"
        return facts

    def __str__(self) -> str:
        head = f"verification {self.number} ({self.date[:10]}): the best of the search, scored by {self.evaluator}"
        facts = self.facts()
        width = max(9, *map(len, facts))
        lines = [f"{name:<{width}} {text}" for name, text in facts.items()]
        return plain_lines("\n".join([head, "", aligned(self.cells(), left=-1), "", *lines]))

    def html(self) -> str:
        """The section of a page."""
        head, *rows = self.cells()
        facts = {"evaluator": self.evaluator, **self.facts(), "date": self.date}
        sentence = facts.pop("result")
        return (
            heading("Verification")
            + paragraph(f"{sentence[0].upper()}{sentence[1:]}.")
            + table(head, rows, last_is_code=True)
            + terms(facts)
        )


def verification_folder(folder: RunFolder, number: int) -> Path:
    """Where the search of a verification is, which has its own run folder."""
    return folder.path / FOLDER / str(number)


def newest_verification(folder: RunFolder, history: pa.Table) -> Verification | None:
    """The verification of a run that was finished last; from the run's trials it is told whether it is outdated.

    Those that are damaged are passed over, with a warning.
    """
    found = []
    for number in numbers(folder, r"verified-(\d+)\.parquet"):
        each = read_verification(folder, number)
        if each is None:
            warnings.warn(
                f"{folder.path}: verification {number} is damaged (verified-{number:06d}.parquet) and passed over; the "
                "same 'archsearch verify' again restores it",
                stacklevel=2,
            )
        else:
            found.append(each)
    newest = max(found, key=lambda each: (each.date, each.number), default=None)
    if newest is None:
        return None
    standing = standing_of_run(folder, folder.config())
    best = [row["id"] for row in best_rows(history, len(newest.architectures), standing)]
    return dataclasses.replace(newest, outdated=best != [each.trial for each in newest.architectures])


def read_verification(folder: RunFolder, number: int) -> Verification | None:
    """A verification from the run's history; None if there is none of that number, or it is damaged."""
    import pyarrow as pa

    try:
        stored = folder.verification(number)
        return None if stored is None else _from_table(folder, number, stored)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError):
        return None


def _from_table(folder: RunFolder, number: int, stored: pa.Table) -> Verification:
    """The reverse of ``_table``."""
    rows = stored.to_pylist()
    known = {*COLUMNS, *FURTHER_COLUMNS}
    metrics = [name for name in stored.column_names if name not in known]
    set_up = json.loads((stored.schema.metadata or {}).get(SET_UP, b"[]"))
    architectures = [_verified(row, metrics) for row in rows]
    return Verification(
        number=number,
        evaluator=rows[0]["evaluator"],
        seed=rows[0]["seed"],
        date=rows[0]["date"],
        set_up=Cost(*set_up),
        architectures=architectures,
        standing=_standing(folder, number, [each.trial for each in architectures]),
    )


def _standing(folder: RunFolder, number: int, trials: Sequence[int]) -> Standing | None:
    """What the search of a verification says of its winner, with the ids of the run's trials in place of its own."""
    below = RunFolder(verification_folder(folder, number))
    try:
        standing = standing_of_run(below, below.config())
    except (RunFolderError, OSError):  # it may have been deleted: all else is in the run
        return None
    if standing is None:
        return None

    def renamed(trial: Trial) -> Trial:
        return trial._replace(id=trials[trial.id])

    raced = tuple(each._replace(trial=renamed(each.trial)) for each in standing.raced)
    unraced = tuple(trials[id_] for id_ in standing.unraced)
    return dataclasses.replace(standing, trial=renamed(standing.trial), raced=raced, unraced=unraced)


def _verified(row: Mapping[str, Any], metrics: Sequence[str]) -> Verified:
    return Verified(
        rank=row["rank"],
        trial=row["trial"],
        architecture=tuple(row["architecture"]),
        name=row["name"],
        search_score=row["search_score"],
        search_budget=row.get("search_budget"),
        score=row["score"],
        metrics={name: row[name] for name in metrics if row[name] is not None},
        cost=Cost(**{field: row.get(column) or 0.0 for field, column in COST_COLUMNS.items()}),
        failure=row["failure"],
        error=row["error"],
    )


def numbers(folder: RunFolder, pattern: str) -> list[int]:
    """Numbers of what there is of verifications under names of that pattern, sound or not."""
    names = (path.name for path in (folder.path / FOLDER).glob("*"))
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(pattern, name)))


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two scores of the same architectures, which are in the order of the search, the best first.

    Attributes:
        before: What the search went by: anything that can be compared, higher is better.
        after: Scores of the better evaluator; None: it failed.
    """

    before: Sequence[Any]
    after: Sequence[float | None]

    @property
    def tau(self) -> float | None:
        """Kendall's tau (tau-b) of the two, -1 to 1; None where one of them is no order, all its scores being equal."""
        scored = self._scored()
        places = sorted({before for before, _ in scored})
        if len(places) < 2 or len({after for _, after in scored}) < 2:
            return None
        return kendall_tau([places.index(before) for before, _ in scored], [after for _, after in scored])

    @property
    def kept(self) -> str:
        """What became of the order: ``the order stays the same``, where tau is 1, or another clause."""
        pairs = list(itertools.combinations(self._scored(), 2))
        if any(before > below and after < behind for (before, after), (below, behind) in pairs):
            return "the order below it changed"
        tied = any((before == below) != (after == behind) for (before, after), (below, behind) in pairs)
        if None in self.after:
            return "no two that were scored changed places"
        return "no two changed places, but there are equal scores" if tied else "the order stays the same"

    def sentence(self, by: str, failure: str, numbers: Sequence[str]) -> str:
        """What came of it.

        Args:
            by: Who scored, such as ``by Training``.
            failure: Kind of the failure of the search's best, if it failed.
            numbers: The scores of ``after`` as text.
        """
        scores = [score for score in self.after if score is not None]
        best = max(scores)
        winners = [place for place, score in enumerate(self.after) if score == best]
        lost = f"; the search's best failed: {failure}" if self.after[0] is None else ""
        if len(winners) == len(scores) > 1:
            equal = f"all that were scored are equal {by} ({numbers[winners[0]]})"
            return f"{equal}: their order can neither hold nor change{lost}"
        score, others = numbers[winners[0]], len(winners) - 1
        ties = sum(before == self.before[0] for before in self.before)
        if ties > 1 and winners[0] == 0 and winners[-1] < ties:
            which = " and ".join(str(place + 1) for place in winners)
            are = f"numbers {which} of them are" if others else f"number {which} of them is"
            return f"the search's {ties} best were equal: {are} the best {by} ({score}){lost}; {self.kept}"
        if winners[0] == 0:
            if others:
                return f"the search's best stays among the best {by} ({score}, as {others} more); {self.kept}"
            return f"the search's best stays the best {by} ({score}); {self.kept}"
        numbers_of_best = " and ".join(str(place + 1) for place in winners)
        are = f"numbers {numbers_of_best} of the search are" if others else f"number {numbers_of_best} of the search is"
        against = "" if self.after[0] is None else f" against {numbers[0]} of the search's best"
        # Of equals in the search one is first by the number of its trial, which says nothing.
        what = "the order changed" if self.before[winners[0]] < self.before[0] else "the search's best had equals"
        return f"{what}: {are} the best {by} ({score}{against}){lost}"

    def _scored(self) -> list[tuple[Any, float]]:
        return [(before, after) for before, after in zip(self.before, self.after, strict=True) if after is not None]
