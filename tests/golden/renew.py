"""Recorded proposals of every controller; a change that alters them must be wanted.

Renew with ``python tests/golden/renew.py``, and say so, with the reason, in ``CHANGELOG.md``: users will get other
searches from the same seeds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archsearch.components import entry_points, load
from archsearch.testing import ConditionalSpace, FixedSpace, VariableLengthSpace
from archsearch.trial import Evaluation, Trial

FOLDER = Path(__file__).parent
SEED = 0
FIRST, LATER = 20, range(150, 170)
"""The first proposals, and some that learning controllers base on results."""


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
        kept = [*proposals[:FIRST], *proposals[LATER.start :]]
        recorded[type(space).__name__] = {
            str(p.id): [list(p.architecture), p.parent, *([list(p.budget)] if p.budget else [])] for p in kept
        }
    return recorded


def names() -> list[str]:
    """The controllers that this project brings."""
    return [name for name, point in entry_points("controllers").items() if point.value.startswith("archsearch.")]


def path(name: str) -> Path:
    return FOLDER / f"{name}.json"


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
