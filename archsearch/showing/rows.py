"""Rows of a run's table, made fit to be read; and further tables that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.basics.words import format_faults, format_figure, plain, say
from archsearch.components import import_object, one_line
from archsearch.errors import UsageError
from archsearch.failing.calibration import MOST_TRIALS, Calibration, calibrate
from archsearch.files.arrow import array
from archsearch.keeping.columns import PROPOSED_BY, REPEAT, RESERVED_COLUMNS, has_status
from archsearch.keeping.folder import RunFolder
from archsearch.racing.certainty import certainty_of
from archsearch.racing.standing import Standing, standing_of
from archsearch.showing.page import aligned, heading, table, terms

BEST_OF = 10
"""The best trials, of which a report says who proposed them."""
_ORDER = " order"
"""A column that no metric is called."""

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.ranking.derived import Searched, Truth
    from archsearch.space import Space


def best_rows(table: pa.Table, top: int, standing: Standing | None = None) -> list[dict[str, Any]]:
    """The completed trials with the highest scores (of those trained longest), one row per architecture, best first.

    Args:
        table: The trials of a run.
        top: How many.
        standing: What the run says of its winner: what was scored again comes first, by the means of that.
    """
    import pyarrow.compute as pc

    completed = table.filter(has_status(table, "completed"))
    if REPEAT in completed.column_names:
        completed = completed.filter(pc.is_null(completed[REPEAT]))
    first = [] if standing is None else [each.trial.id for each in standing.raced]
    if first:
        order = pc.index_in(completed["id"], value_set=array(first, completed["id"].type))
        completed = completed.append_column(_ORDER, pc.fill_null(order, len(first)))
    keys = [("score", "descending"), ("id", "ascending")]
    if "budget" in table.column_names:  # scores of unequally long trainings cannot be compared
        keys.insert(0, ("budget", "descending"))
    if first:
        keys.insert(0, (_ORDER, "ascending"))
    order = pc.sort_indices(completed, sort_keys=keys)
    rows: dict[str, dict[str, Any]] = {}
    for chunk in range(0, len(order), 1_000):
        for row in completed.take(order[chunk : chunk + 1_000]).to_pylist():
            row.pop(_ORDER, None)
            rows.setdefault(row["name"], row)
            if len(rows) == top:
                return list(rows.values())
    return list(rows.values())


def ties_text(table: pa.Table, best: Mapping[str, Any], standing: Standing | None) -> str:
    """Such as ``2 others have the same score``, of as long trainings; empty: none has, or the standing says it."""
    import pyarrow.compute as pc

    if standing is not None:
        return ""
    place = table["id"].to_pylist().index(best["id"])
    same = has_status(table, "completed")
    for column in ("score", *(["budget"] if best.get("budget") is not None else [])):
        # With the column's own value: of a number of Python pyarrow would make one by way of pandas.
        same = pc.and_(same, pc.equal(table[column], table[column][place]))
    many = len(pc.unique(table["name"].filter(same))) - 1
    return f"{many:,} other{'s have' if many > 1 else ' has'} the same score" if many > 0 else ""


def standing_of_run(folder: RunFolder, config: Mapping[str, Any]) -> Standing | None:
    """What a run says of its winner; None: it was not asked for ``certainty``, or nothing has completed."""
    race = folder.race() or {}
    certainty = certainty_of(config["settings"].get("certainty") or race.get("error"))
    if certainty is None:
        return None
    said = config.get("noise", (config.get("plan") or {}).get("noise"))  # the former by 0.1.0
    noise, planned = race.get("noise") if said is None else said, config["settings"].get("trials")
    return standing_of(folder.trials(config["seed"]), certainty, noise=noise, planned=planned)


def repeats_in(table: pa.Table) -> int:
    """How many of the completed trials are repeats."""
    import pyarrow.compute as pc

    if REPEAT not in table.column_names:
        return 0
    return int(table.filter(pc.and_(has_status(table, "completed"), pc.is_valid(table[REPEAT]))).num_rows)


def calibration_of_run(table: pa.Table, space: Space | None) -> Calibration | None:
    """What is predicted of a run's failures against what happened; None: none failed, or its space is not known."""
    import pyarrow.compute as pc

    newest = table.slice(max(0, len(table) - MOST_TRIALS))
    if space is None or not pc.any(has_status(newest, "failed")).as_py():
        return None
    if REPEAT in newest.column_names:  # of which a search learns nothing
        newest = newest.filter(pc.is_null(newest[REPEAT]))
    columns = (newest[name].to_pylist() for name in ("architecture", "failure"))
    trials = [(tuple(architecture), failure) for architecture, failure in zip(*columns, strict=True)]
    return calibrate((trial for trial in trials if trial[0] in space), space)


def failure_parts(calibration: Calibration | None, thinned: int | None) -> list[ReportFacts | ReportTable]:
    """What a report says of failures: whether they can be predicted, and predicted against observed rates."""
    if calibration is None:
        return []
    facts = {"failed": format_faults(calibration.failures), "learnt apart": ", ".join(calibration.kinds) or "none"}
    if thinned is not None:
        facts["thinned"] = f"{thinned:,} proposals were refused as likely to fail"
    parts: list[ReportFacts | ReportTable] = [ReportFacts("Failures", {**facts, "predicted": calibration.sentence})]
    if calibration.bins:
        rows = [["probability of a failure", "trials", "predicted", "observed"]]
        for each in calibration.bins:
            span = f"{each.low:g} to {each.high:g}"
            rows.append([span, f"{each.trials:,}", f"{each.predicted:.3f}", f"{each.observed:.3f}"])
        parts.append(ReportTable("Failures: predicted against observed rate", rows))
    return parts


def certainty_parts(standing: Standing | None) -> list[ReportFacts | ReportTable]:
    """What a report says of a run's winner: in words, and as a table of what was scored again."""
    if standing is None:
        return []
    facts = {"leader": f"trial {standing.trial.id} {standing.sentence}", "noise": standing.noise_text}
    if standing.repeats:
        facts["repeats"] = f"{standing.repeats:,} trials" + (f"; ended: {standing.ended}" if standing.ended else "")
    parts: list[ReportFacts | ReportTable] = [ReportFacts("Certainty", facts)]
    if standing.raced:
        rows = [["trial", "score in the search", "repeats", "mean", "distinguishable"]]
        for each in standing.raced:
            mean, score = number_text(each.mean if each.repeats else None), number_text(each.trial.score)
            rows.append([str(each.trial.id), score, str(each.repeats), mean, "no" if each.alike else "yes"])
        rows[1][-1] = "leads"
        parts.append(ReportTable("Scored again", rows))
    return parts


def score_label(config: Mapping[str, Any]) -> str:
    """What an axis of a run's scores says: what its evaluator said of them, or "score" and what its settings tell."""
    said = config.get("score_label")
    if isinstance(said, str) and said:
        return plain(said)
    evaluator = config["evaluator"]
    told = [str(evaluator["class_path"]).replace(":", ".").rpartition(".")[2]]
    told += [Path(task).name for task in (evaluator["init_args"].get("task"),) if isinstance(task, str)]
    return f"score ({', '.join(map(plain, told))})"


def component_text(description: dict[str, Any]) -> str:
    """A component on one line, without arguments that are None; cut short where it is long."""
    text = one_line(without_none(description))
    return text if len(text) <= 300 else text[:297] + "..."


def without_none(value: Any) -> Any:
    """A description without the arguments that are None."""
    if not isinstance(value, dict) or "init_args" not in value:
        return value
    arguments = {name: without_none(each) for name, each in value["init_args"].items() if each is not None}
    return {**value, "init_args": arguments}


def print_rows(rows: list[dict[str, Any]], facts: dict[str, str]) -> None:
    """Prints facts and the best rows as a table."""
    width = max(len(name) for name in facts) + 2
    for name in (
        "space",
        "controller",
        "evaluator",
        "trials",
        "best",
        "failed",
        "faults",
        "damage",
        "cost",
        "set-up",
        "note",
        "seed",
    ):
        if name in facts:
            say(f"{name:<{width}}{plain(facts[name])}")
    columns = shown_columns(rows)
    cells = [["rank", *columns, "architecture"]]
    cells += [
        [str(rank), *(number_text(row[name]) for name in columns), row["name"]]
        for rank, row in enumerate(rows, start=1)
    ]
    say()
    say(aligned(cells, left=-1))
    say()


def shown_columns(rows: list[dict[str, Any]]) -> list[str]:
    """Columns of the history that a table of trials shows."""
    budget = ["budget"] if "budget" in rows[0] else []
    return ["id", "score", *budget, *(name for name in rows[0] if name not in RESERVED_COLUMNS)]


def number_text(value: Any) -> str:
    """A figure for people, as ``format_figure`` writes it; an ``int``, such as an id, as it is."""
    return str(value) if isinstance(value, int) else format_figure(value)


class ReportFacts(NamedTuple):
    """Names with what they stand for, for the terminal and for the page.

    Attributes:
        title: What stands above them.
        facts: Texts by name.
    """

    title: str
    facts: Mapping[str, str]

    def html(self) -> str:
        """Its part of the page."""
        return heading(self.title) + terms(self.facts)

    def __str__(self) -> str:
        width = max(map(len, self.facts)) + 2
        return "\n".join([self.title, "", *(f"{name:<{width}}{plain(text)}" for name, text in self.facts.items())])


def searched_facts(searched: Searched, truth: Truth | None, space: Space | None, trials: pa.Table) -> ReportFacts:
    """What a search by gradient came to."""
    from archsearch.ranking.derived import inherited_agreement

    relaxed, derived = (searched.column(f"{what}_accuracy")[-1] for what in ("relaxed", "derived"))
    entropy, skips = searched.column("entropy"), searched.column("skip_share")
    facts = {"epochs": str(len(entropy))}
    ended_with = searched.derived or searched.architectures[-1]
    if space is not None:
        facts["derived"] = space.format(ended_with)
    facts["drop"] = (
        f"{relaxed - derived:+.1f} points by discretisation alone: {relaxed:.1f} % of the relaxed network, "
        f"{derived:.1f} % of the path derived after the last epoch, on some validation images"
    )
    facts["entropy"] = f"{entropy[0]:.3f} nats after the first epoch, {entropy[-1]:.3f} after the last"
    facts["skips"] = f"share {skips[0]:.3f} after the first epoch, {skips[-1]:.3f} after the last"
    if math.isfinite(most := max(searched.column("activation_bytes"))):
        facts["memory"] = f"{most / 1e6:,.3g} MB of activations, the most that an update kept for its way back"
    if truth is not None:
        own = truth.of([ended_with])[0]
        known = sum(map(math.isfinite, truth.of(searched.architectures)))
        facts["truth"] = (
            f"{number_text(None if math.isnan(own) else own)} of what was derived, "
            f"the best is {number_text(truth.best)}; known of what {known} of {len(entropy)} epochs would have derived "
            f"({truth.figure} of {truth.source})"
        )
        found = inherited_agreement(trials, truth)
        facts["agreement"] = (
            "the truth of too few trials is known"
            if found is None
            else f"Kendall's tau {found[0]:.3f} of the scores of {found[1]} trials with the truth; they were proposed, "
            "and are no random sample"
        )
    return ReportFacts("Search by gradient", facts)


# -- further tables of a report: each is a function of the trials --------------------------------


class ReportTable(NamedTuple):
    """A table, for the terminal and for the page.

    Attributes:
        title: What stands above it.
        rows: The cells of each row as text, the head first.
    """

    title: str
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """Its part of the page."""
        head, *rows = self.rows
        return heading(self.title) + table(head, rows)

    def __str__(self) -> str:
        return f"{self.title}\n\n{aligned(self.rows)}"


MakeTable = Callable[["pa.Table"], "ReportTable | None"]
"""From the trials, one row each, with the columns of the history; None where there is nothing to show."""


def proposers(trials: pa.Table) -> ReportTable | None:
    """What came of the proposals of each: the controller's own, an adviser's, those that were put by hand."""
    import pyarrow.compute as pc

    if PROPOSED_BY not in trials.column_names:
        return None
    completed = trials.filter(has_status(trials, "completed")).sort_by([("score", "descending")])
    if REPEAT in completed.column_names:
        completed = completed.filter(pc.is_null(completed[REPEAT]))
    by = [each or "controller" for each in completed[PROPOSED_BY].to_pylist()]
    scores = completed["score"].to_pylist()
    rows = [["proposed by", "completed", "best", "mean", f"of the best {min(BEST_OF, len(by))}"]]
    for who in dict.fromkeys(["controller", *sorted(set(by))]):
        own = [score for each, score in zip(by, scores, strict=True) if each == who]
        best, mean = (number_text(own[0]), number_text(sum(own) / len(own))) if own else ("", "")
        rows.append([who, f"{len(own):,}", best, mean, str(by[:BEST_OF].count(who))])
    return ReportTable("Who proposed", rows)


TABLES: tuple[MakeTable, ...] = (proposers,)
"""In every report, before those that its user names."""


def make_tables(trials: pa.Table, further: Sequence[MakeTable | str] = ()) -> list[ReportTable]:
    """The tables of a report.

    Args:
        trials: The trials of a run, one row each.
        further: Functions of the user's, or their import paths.

    Raises:
        UsageError: If one of these is no function, fails, or gives no table.
    """
    made = []
    for each in (*TABLES, *further):
        found = _made(import_object(each) if isinstance(each, str) else each, trials)
        if found is not None and not isinstance(found, ReportTable):
            raise UsageError(f"tables: {each}: expected a function that gives a ReportTable or None, got {found!r:.80}")
        if found is not None:
            made.append(found)
    return made


def _made(function: object, trials: pa.Table) -> object:
    """What the function gives; its own mistakes are said to be its own, not the run folder's."""
    try:
        return function(trials) if callable(function) else function
    except Exception as error:
        where = getattr(function, "__name__", function)
        raise UsageError(f"tables: {where} failed: {type(error).__name__}: {error}") from error
