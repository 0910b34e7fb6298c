"""Every figure of a comparison as tables, for Parquet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from archsearch.judging.compared import Compared, Findings
from archsearch.keeping.columns import COST_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa


def figures(comparison: Findings) -> pa.Table:
    """Every figure in long form: evaluator, kind, figure, at (of what there are several), value, low, high, unit."""
    import pyarrow as pa

    rows = [each for row in comparison.rows for each in _figures(comparison, row)]
    names = ("evaluator", "kind", "figure", "at", "value", "low", "high", "unit")
    types = (*[pa.string()] * 4, *[pa.float64()] * 3, pa.string())
    return pa.table(
        {
            name: pa.array([row[i] for row in rows], type_)
            for i, (name, type_) in enumerate(zip(names, types, strict=True))
        }
    )


def _figures(comparison: Findings, row: Compared) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    def add(figure: str, at: Any, value: float, low: float | None, high: float | None, unit: str) -> None:
        found.append((row.name, row.kind, figure, str(at), value, low, high, unit))

    for what, cost in (("set-up", row.set_up), ("each", row.each)):
        for field, column in COST_COLUMNS.items():
            add(f"{what}_{column}", "", getattr(cost, field), None, None, "s" if field.endswith("seconds") else "")
        add(f"{what}_billed_seconds", "", cost.billed_seconds, None, None, "s")
    add("priced", "", float(row.priced), None, None, "")
    add("pays_off_from", "reference", comparison.break_even(row.name), None, None, "architectures")
    for other in comparison.rows:
        if other is not row:
            add("pays_off_from", other.name, comparison.break_even(row.name, other.name), None, None, "architectures")
    add("failed", "", row.failed, None, None, "architectures")
    for seed, truth in enumerate([] if row.derived is None else row.derived.tolist()):
        add("derived", seed, truth, None, None, comparison.truth)
        add("regret_of_derived", seed, comparison.best - truth, None, None, comparison.truth)
    if row.agreement is not None:
        several = {"recall": row.agreement.recall, "precision": row.agreement.precision}
        several["regret_of_best"] = row.agreement.regret_of_best
        single = {name: getattr(row.agreement, name) for name in ("tau", "tau_within", "spearman", "regret")}
        for name, at, each in [
            *((name, "", each) for name, each in single.items() if each is not None),
            *((name, at, each) for name, intervals in several.items() for at, each in intervals.items()),
        ]:
            unit = "score" if row.kind == "ceiling" else comparison.truth
            add(name, at, each.value, each.low, each.high, unit if name.startswith("regret") else "")
    return found


def picks(comparison: Findings) -> pa.Table:
    """What the picks of searches are worth: evaluator, seed, budget (seconds), truth (null: could not afford one)."""
    import pyarrow as pa

    searched = [(row.name, row.picks) for row in comparison.rows if row.picks is not None]
    rows = [
        (name, seed, budget, None if math.isnan(truth) else float(truth))
        for name, table in searched
        for seed, line in enumerate(table)
        for budget, truth in zip(comparison.budgets, line, strict=True)
    ]
    names = ("evaluator", "seed", "budget_seconds", "truth")
    types = (pa.string(), pa.int64(), pa.float64(), pa.float64())
    return pa.table({name: pa.array([row[i] for row in rows], types[i]) for i, name in enumerate(names)})
