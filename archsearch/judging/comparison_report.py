"""What people see of a comparison: tables, sentences, pictures, one HTML page, and every figure as Parquet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archsearch.basics.words import format_seconds
from archsearch.errors import RunFolderError
from archsearch.files.parquet import write_parquet
from archsearch.files.writing import write_whole
from archsearch.judging.compared import LEVEL, RANDOM_SEARCH, Compared, Findings, Recommendation, set_up_seconds
from archsearch.judging.comparison_figures import figures, picks
from archsearch.ranking import Agreement, Interval
from archsearch.showing.page import aligned, heading, page, paragraph, picture, table, terms
from archsearch.showing.page import command as command_line

COST_NOTE = (
    "Billed are the recorded seconds of a table, else seconds of the device, else wall time. An evaluator pays off "
    "from the number of architectures on from which it is cheaper than the reference, set-up included. Not known: it "
    "was looked up in a table without seconds."
)
NOT_KNOWN = "not known"
RANK_NOTE = (
    "tau: Kendall's tau-b with its 95 % bootstrap interval. tau within: the mean among architectures of similar size. "
    "recall: of the truly best, the share that is scored best. precision: of those scored best, the share that is in "
    "the truly best tenth. regret: what is lost by taking the best scored of so many random architectures instead of "
    "the truly best. The noise ceiling is the reference under another seed, in the row of "
    "the reference, or evaluators that stand for it, the first against the others."
)
SEARCH_NOTE = (
    "Mean and standard deviation over seeds; a dash where the budget does not pay for the set-up and one evaluation. "
    "evaluations: how many the largest budget paid for, up to the most of a search. Random search: mean and standard "
    "deviation over draws of the sample; where the reference is noisy, the best scored of many need not be better than "
    "that of few. Where a cost is not known, the budget paid for all evaluations."
)

DERIVED_NOTE = (
    "What an evaluator with a distribution ends with itself, once for each seed, scored by the reference: what it "
    "costs is the set-up alone. Regret: the best truth that is known minus the mean. Known: of how many seeds the "
    "reference could say it."
)

FEW_SEEDS = 5
"""Fewer seeds are remarked on: with 2, a difference must be 9 times its spread to be told from chance."""

TITLES = {
    "cost_and_rank.png": "What it costs, and how well it ranks",
    "break_even.png": "When it pays off",
    "search.png": "What a search finds with it",
}


# -- sentences -----------------------------------------------------------------------------------


def sentences(comparison: Findings) -> list[str]:
    """Which evaluator to use with which budget: a sentence for each range of budgets with one answer."""
    found, group = [], list[Recommendation]()
    for each in [*comparison.recommendations(), None]:
        if group and (each is None or each.name != group[-1].name):
            found.append(sentence(comparison, group))
            group = []
        if each is not None:
            group.append(each)
    unpriced = [row.name for row in comparison.rows if row.picks is not None and not comparison.affordable(row)]
    if found and unpriced:
        found.append(f"Not advised, since what they cost is not known: {'; '.join(unpriced)}.")
    if found and comparison.seeds < FEW_SEEDS:
        found.append(f"{comparison.seeds} seeds tell little apart; {FEW_SEEDS} or more would say more.")
    return found


def sentence(comparison: Findings, group: Sequence[Recommendation], budget: float | None = None) -> str:
    """Recommendations for neighbouring budgets that name the same evaluator, as one sentence.

    Its figures are those of the largest budget; others are level that are so for all of them.

    Args:
        comparison: What they are of.
        group: One or more, by rising budget.
        budget: What the user has, if the sentence is to speak of that instead.
    """
    last = group[-1]
    amount = _amounts(group) if budget is None else f"With {format_seconds(budget)}"
    if last.name is None:
        return f"{amount} of billed cost: not enough for any of them."
    trivial = {row.name for row in comparison.rows if row.kind == "trivial"}
    everywhere = [name for name in last.level if all(name in each.level for each in group)]
    level = [name for name in everywhere if name not in trivial]
    leads = f"{last.name} leads"
    if level:  # as a search with ``certainty`` says it
        others = f"{len(level)} other{'s' if len(level) > 1 else ''}"
        leads += f", and is not distinguishable from {others} at {100 * (1 - LEVEL):.0f} % ({'; '.join(level)})"
    chosen = f"{amount} of billed cost: {leads}. Its picks have {_truth(comparison, last)}"
    if last.name in trivial:
        return f"{chosen}. That knows nothing of quality: no evaluator was shown to be worth its cost here."
    if rivals := [name for name in everywhere if name in trivial]:
        chosen += f". Not distinguishable from {' and '.join(rivals)} either, without any knowledge"
    return chosen + "."


def _amounts(group: Sequence[Recommendation]) -> str:
    first, last = format_seconds(group[0].budget), format_seconds(group[-1].budget)
    return f"With {first}" if len(group) == 1 else f"With {first} to {last}"


def _truth(comparison: Findings, each: Recommendation) -> str:
    what = "a true score" if comparison.truth == "score" else comparison.truth
    spread = "" if math.isnan(each.spread) else f" +- {each.spread:.2g} over {comparison.seeds} seeds"
    return (
        f"{what} of {each.truth:.4g}{spread} (a random pick: {comparison.average:.4g}, the best: {comparison.best:.4g})"
    )


# -- the terminal --------------------------------------------------------------------------------


def text(comparison: Findings) -> str:
    """Tables and sentences for a terminal."""
    facts = _facts(comparison)
    width = max(map(len, facts)) + 2
    parts = ["\n".join(f"{name:<{width}}{value}" for name, value in facts.items())]
    parts.append("Cost\n" + _text(_cost_table(comparison)))
    parts.append("Agreement with the reference\n" + _text(_agreement_table(comparison)))
    if any(row.derived is not None for row in comparison.rows):
        parts.append(f"What is derived\n{_text(_derived_table(comparison))}")
    if comparison.budgets:
        parts.append(f"{_search_title(comparison)}\n" + _text(_search_table(comparison)))
        parts.append("\n".join(sentences(comparison)))
    return "\n\n".join(parts)


def _text(table: tuple[list[str], list[list[str]]]) -> str:
    head, rows = table
    return aligned([head, *rows])


def _facts(comparison: Findings) -> dict[str, str]:
    facts = {
        "space": comparison.space,
        "reference": f"{comparison.reference}, {comparison.truth}",
        "cost of it": _reference_cost(comparison),
        "sample": f"{comparison.samples:,} random architectures, {comparison.seeds} seeds",
    }
    if not comparison.ceiling_known:
        facts["ceiling"] = "unknown: the reference does not depend on the seed; evaluators may stand for it (again)"
    if comparison.budgets:
        facts["searches"] = f"{comparison.controller}, up to {comparison.trials:,} evaluations"
    facts["seed"] = str(comparison.seed)
    facts["this call"] = format_seconds(comparison.seconds)
    return facts


def _reference_cost(comparison: Findings) -> str:
    if not comparison.reference_priced:
        return f"{NOT_KNOWN}: it was looked up in a table without seconds, so what pays off is not known either"
    text = f"{_seconds(comparison.reference_cost.billed_seconds)} for an architecture"
    set_up = set_up_seconds(comparison.reference_set_up)
    return f"{_seconds(set_up)} of set-up, {text}" if set_up else text


def _cost_table(comparison: Findings) -> tuple[list[str], list[list[str]]]:
    n = comparison.trials or comparison.samples
    amounts = [
        (field, name)
        for field, name in (("examples", "examples"), ("updates", "updates"), ("flops", "FLOPs"))
        if any(getattr(row.set_up, field) or getattr(row.each, field) for row in comparison.rows)
    ]
    head = ["evaluator", "set-up", "each", f"in all for {n:,}", *(name for _, name in amounts), "pays off from"]
    rows = []
    for row in comparison.rows:
        total = row.set_up + row.each * n
        rows.append(
            [
                _label(comparison, row),
                _seconds(set_up) if (set_up := set_up_seconds(row.set_up)) else "-",
                _seconds(row.each.billed_seconds) if row.priced else NOT_KNOWN,
                _seconds(row.total(n)) if row.priced else NOT_KNOWN,
                *(f"{getattr(total, field):.3g}" for field, _ in amounts),
                _pays_off(comparison, row),
            ]
        )
    return head, rows


def _pays_off(comparison: Findings, row: Compared) -> str:
    if row.kind in ("reference", "ceiling"):
        return "-"
    return _count(comparison.break_even(row.name))


def _count(even: float) -> str:
    if math.isnan(even):
        return NOT_KNOWN
    return "never" if math.isinf(even) else f"{even:,.0f}"


def _agreement_table(comparison: Findings) -> tuple[list[str], list[list[str]]]:
    first = next(row.agreement for row in comparison.rows if row.agreement is not None)
    columns: dict[str, tuple[Callable[[Agreement], Interval | None], str]] = {}
    columns["Spearman"] = (lambda found: found.spearman, ".3f")
    if first.tau_within is not None:
        columns["tau within"] = (lambda found: found.tau_within, ".3f")
    if first.recall:
        top = min(first.recall)
        columns[f"recall {top}"] = (lambda found: found.recall.get(top), ".2f")
        columns[f"precision {top}"] = (lambda found: found.precision.get(top), ".2f")
    if first.regret_of_best:
        of = max(first.regret_of_best)
        columns[f"regret of best of {of}"] = (lambda found: found.regret_of_best.get(of), ".3g")
    failed = any(row.failed for row in comparison.rows)
    rows = []
    for row in comparison.rows:
        found = row.agreement
        cells = [_label(comparison, row), *(["-"] * (2 + len(columns)))]
        if found is not None:
            cells[1:] = [f"{found.tau.value:.3f}", f"[{found.tau.low:.2f}, {found.tau.high:.2f}]"]
            for get, form in columns.values():
                cells.append("-" if (interval := get(found)) is None else format(interval.value, form))
        rows.append(cells + ([f"{row.failed:,}"] if failed else []))
    return ["evaluator", "tau", "[95 %]", *columns, *(["failed"] if failed else [])], rows


def _seconds(seconds: float) -> str:
    for unit, size in (("ms", 1e-3), ("µs", 1e-6)):
        if size <= seconds < min(1.0, 1e3 * size):
            return f"{seconds / size:.3g} {unit}"
    return format_seconds(seconds)


def _label(comparison: Findings, row: Compared) -> str:
    if row.kind == "reference" and (comparison.ceiling_known or row.name != "reference"):
        return f"{row.name} ({'noise ceiling' if comparison.ceiling_known else 'reference'})"
    return f"{row.name} (trivial)" if row.kind == "trivial" else row.name


def _break_even_table(comparison: Findings) -> tuple[list[str], list[list[str]]]:
    names = [row.name for row in comparison.rows if row.kind in ("evaluator", "reference")]
    rows = []
    for name in names:
        rows.append([name, *("" if name == other else _count(comparison.break_even(name, other)) for other in names)])
    return ["evaluator", *(f"than {name}" for name in names)], rows


def _derived_table(comparison: Findings) -> tuple[list[str], list[list[str]]]:
    rows = []
    for row in comparison.rows:
        if row.derived is None:
            continue
        known = row.derived[np.isfinite(row.derived)]
        cells = [_pick(known), f"{known.min():.4g}", f"{known.max():.4g}", f"{comparison.best - known.mean():.3g}"]
        rows.append(
            [
                _label(comparison, row),
                _seconds(set_up_seconds(row.set_up)),
                *(cells if len(known) else ["-"] * 4),
                f"{len(known)} of {len(row.derived)}",
            ]
        )
    what = "score" if comparison.truth == "score" else comparison.truth
    return ["evaluator", "set-up", what, "worst", "best", "regret", "known"], rows


def _search_title(comparison: Findings) -> str:
    what = "score" if comparison.truth == "score" else comparison.truth
    return f"What a search finds for the same billed cost: {what} of its pick, by the reference"


def _search_table(comparison: Findings) -> tuple[list[str], list[list[str]]]:
    rows = []
    for row in comparison.rows:
        if row.picks is not None and row.evaluations is not None:
            best = row.evaluations[-1]
            rows.append([_label(comparison, row), *(_pick(column) for column in row.picks.T), f"{best:,.0f}"])
    rows.append([RANDOM_SEARCH, *(_with_spread(*each) for each in comparison.random_search), ""])
    return ["evaluator", *map(format_seconds, comparison.budgets), "evaluations"], rows


def _pick(values: Any) -> str:
    if not np.isfinite(values).all():
        return "-"
    return _with_spread(values.mean(), values.std(ddof=1) if len(values) > 1 else math.nan)


def _with_spread(mean: float, spread: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.4g}" if math.isnan(spread) else f"{mean:.4g} +- {spread:.2g}"


# -- files ---------------------------------------------------------------------------------------


def save(comparison: Findings, out: Path, command: str = "") -> Path:
    """Writes ``figures.parquet``, ``picks.parquet``, the pictures and ``index.html``; see ``Findings.save``."""
    from archsearch.judging.comparison_pictures import draw_break_even, draw_cost_and_rank, draw_search

    try:
        out.mkdir(parents=True, exist_ok=True)
        write_parquet(out / "figures.parquet", figures(comparison))
        draw_cost_and_rank(comparison, out / "cost_and_rank.png")
        draw_break_even(comparison, out / "break_even.png")
        pictures = ["cost_and_rank.png", "break_even.png"]
        if comparison.budgets:
            write_parquet(out / "picks.parquet", picks(comparison))
            draw_search(comparison, out / "search.png")
            pictures.append("search.png")
        write_whole(out / "index.html", _page(comparison, out, pictures, command).encode())
    except OSError as error:
        raise RunFolderError(f"{out}: cannot write the comparison ({error.strerror})") from None
    return out / "index.html"


def sections(comparison: Findings) -> list[str]:
    """Facts, advice and tables, as parts of an HTML page."""
    parts = [terms(_facts(comparison))]
    if comparison.budgets:
        parts += [heading("Which evaluator to use"), *map(paragraph, sentences(comparison))]
    parts += [heading("Cost"), table(*_cost_table(comparison)), paragraph(COST_NOTE)]
    parts += [heading("Agreement with the reference"), table(*_agreement_table(comparison)), paragraph(RANK_NOTE)]
    if any(row.derived is not None for row in comparison.rows):
        parts += [heading("What is derived"), table(*_derived_table(comparison)), paragraph(DERIVED_NOTE)]
    if comparison.budgets:
        parts += [heading(_search_title(comparison)), table(*_search_table(comparison)), paragraph(SEARCH_NOTE)]
    return parts


def _page(comparison: Findings, out: Path, pictures: Sequence[str], command: str) -> str:
    parts = sections(comparison)
    parts += [heading(TITLES[name]) + picture(out / name, TITLES[name]) for name in pictures]
    parts += [
        heading("From how many architectures on it is cheaper than another"),
        table(*_break_even_table(comparison)),
    ]
    notes = {row.name: f"{row.evaluator}. {row.note}".removesuffix(" ") for row in comparison.rows}
    parts += [heading("What was compared"), terms(notes)]
    if command:
        parts += [heading("Once more"), command_line(command)]
    return page("Evaluators compared", *parts)
