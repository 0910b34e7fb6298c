"""Recorded proposals of every controller; a change that alters them must be wanted.

Renew with ``python tests/golden/renew.py``, and say so, with the reason, in ``CHANGELOG.md``: users will get other
searches from the same seeds.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

from archsearch.components import entry_points, load
from archsearch.testing import ConditionalSpace, FixedSpace, VariableLengthSpace
from archsearch.trial import Evaluation, Trial

FOLDER = Path(__file__).parent
SEED = 0
FIRST, LATER = 20, range(150, 170)
"""The first proposals, and some that learning controllers base on results."""

ROUNDED = {
    "Auto",
    "BayesianOptimization",
    "HypervolumeImprovement",
    "MOBSTER",
    "MultiFidelityBayesianOptimization",
}
"""Whose later proposals depend on the processor: a process is fitted, and rounding decides between near equals."""


def score(architecture) -> float:
    return sum(option == 1 for option in architecture) / len(architecture)


def record(name: str) -> dict[str, Any]:
    """For each space, the numbered proposals as ``[architecture, parent]``, and the budget, if there is one."""
    recorded = {}
    for space in (FixedSpace(), ConditionalSpace(), VariableLengthSpace()):
        controller = load(name, "controllers")()
        controller.start(space, SEED)
        proposals = []
        for _ in range(LATER.stop):
            proposals += controller.ask()
            id_, architecture, parent, budget = proposals[-1]
            controller.tell([Trial(id_, architecture, parent, Evaluation(score(architecture)), budget=budget)])
        kept = [*proposals[:FIRST], *([] if name in ROUNDED else proposals[LATER.start :])]
        recorded[type(space).__name__] = {
            str(p.id): [list(p.architecture), p.parent, *([list(p.budget)] if p.budget else [])] for p in kept
        }
    return recorded


def names() -> list[str]:
    """The controllers that this project brings."""
    return [name for name, point in entry_points("controllers").items() if point.value.startswith("archsearch.")]


def path(name: str) -> Path:
    return FOLDER / f"{name}.json"


def difference(name: str, recorded: dict[str, Any], got: dict[str, Any]) -> str | None:
    """What is not as recorded, in one line: the first proposal that differs, and how many do; None if all are equal."""
    renew = "if that is meant: python tests/golden/renew.py, and a line in CHANGELOG.md"
    if recorded.keys() != got.keys():
        return f"golden {name}: spaces {', '.join(recorded)} -> {', '.join(got)}; {renew}"
    kept = [(space, id_) for space in recorded for id_ in {**recorded[space], **got[space]}]
    differ = [(space, id_) for space, id_ in kept if recorded[space].get(id_) != got[space].get(id_)]
    if not differ:
        return None
    space, id_ = differ[0]
    change = _change(recorded[space].get(id_), got[space].get(id_))
    return f"golden {name} in {space}: proposal {id_}: {change} (first of {len(differ)} of {len(kept)}); {renew}"


def _change(recorded: list[Any] | None, got: list[Any] | None) -> str:
    """Those of architecture, parent and budget that differ, before and after."""
    if recorded is None or got is None:
        return "not recorded before" if recorded is None else "no longer there"
    parts = zip_longest(("architecture", "parent", "budget"), recorded, got)
    return ", ".join(f"{part} {old} -> {new}" for part, old, new in parts if old != new)


def main() -> None:
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name in names():
        spaces = [
            f'"{space}": {{\n'
            + ",\n".join(f'  "{id_}": {json.dumps(proposal)}' for id_, proposal in proposals.items())
            + "\n}"
            for space, proposals in record(name).items()
        ]
        path(name).write_text("{" + ",\n".join(spaces) + "}\n")
        print(f"wrote {path(name).name}")


if __name__ == "__main__":
    main()
