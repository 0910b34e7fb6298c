"""How the folders beside this file were made: with version 0.1.0, at commit d27077d, by

    PYTHONPATH=tests python tests/data/folders-0.1.0/make.py

It cannot be repeated with a later version, which writes another format and is not poisoned.
"""

import contextlib
import shutil
from pathlib import Path

from folder_lab import SPACE, Poison, begin

from archsearch import search, verify
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Tabular

HERE = Path(__file__).parent

FOLDERS = {  # kind, rows of a part, killed after so many trials
    "finished": ("plain", 20_000, None),
    "journal": ("plain", 20_000, 70),
    "two-parts": ("failures", 30, 80),
    "two-parts-finished": ("failures", 40, None),
    "concurrent": ("concurrent", 20, 45),
    "budgets": ("budgets", 20, 45),
    "advances": ("advances", 20_000, 35),
    "predictor": ("predictor", 20_000, 20),
    "one-shot": ("one_shot", 20_000, 4),
    "training": ("training", 20_000, 4),
}

for name, (kind, part_rows, killed_at) in FOLDERS.items():
    shutil.rmtree(HERE / name, ignore_errors=True)
    begin(kind, HERE / name, part_rows, killed_at)
verify(HERE / "finished", Tabular(dataset="cifar100"), top=3, seed=1)

for poison in ("score", "metric", "cost", "curve", "name", "surrogate", "text"):
    folder = HERE / f"poisoned-{poison}"
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(Exception):
        search(SPACE, RandomSearch(), Poison(poison), trials=12, seed=7, out=folder)
        raise SystemExit(f"{poison} does no harm")
