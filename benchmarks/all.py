"""Remakes the tables of ``docs/benchmarks.md``, keeps dated results, and writes the page with the trend.

    python benchmarks/all.py --list
    python benchmarks/all.py [--only NAME ...] [--minutes 2] [--old CHECKOUT] [--quick]
    python benchmarks/all.py --page

Runs the scripts of ``registry.py`` one after the other: all, those that are named, or those that take at most so many
minutes. What each prints is kept, with its figures and targets, in ``benchmarks/history/DATE.json``, beside versions,
processor and load; a run of the same day goes into the same file. ``docs/benchmarks_trend.md`` then has every figure
over time; one that misses its target is bold there until it is met. ``--page`` only writes that page. ``--quick`` runs
each script for seconds, keeps nothing, and says whether it works. A script that needs a GPU or another checkout that is
not given is passed over, and said.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry import ROWS, Figure, Row

ROOT = Path(__file__).parent.parent
HISTORY, PAGE = ROOT / "benchmarks" / "history", ROOT / "docs" / "benchmarks_trend.md"
VERSIONS = ("numpy", "pyarrow", "torch", "ray", "deap")
HEAD = """# Benchmarks over time

Figures with a target, and some others: a column for each day on which `python benchmarks/all.py` ran. A figure that
misses its target is **bold** until it is met. Figures of different days compare as far as ratios do: machine and
versions of each day are below. What they mean, and why targets are missed, is in [benchmarks](benchmarks.md).
`python benchmarks/all.py --page` writes this page, from `benchmarks/history/`.
"""


def surroundings() -> dict[str, Any]:
    """Of a run: versions, processor, load, commit."""
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "versions": versions,
        "processor": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "commit": git.stdout.strip(),
    }


def missing(row: Row, old: Path | None) -> str:
    """Why a script cannot be run here; empty: it can."""
    if row.needs == "old" and old is None:
        return "it needs --old, another checkout with its own .venv"
    if row.needs == "gpu":
        import torch

        return "" if torch.cuda.is_available() else "no GPU: not measured"
    return ""


def run(row: Row, old: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """What a script has printed, and the figures in it.

    Raises:
        SystemExit: If it fails.
    """
    arguments = [str(old) if each == "OLD" else each for each in (row.quick if quick else row.arguments)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "benchmarks" / arguments[0]), *arguments[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{row.name}: {' '.join(arguments)} failed:\n{done.stderr[-2_000:]}")
    return {
        "command": " ".join(("python", f"benchmarks/{arguments[0]}", *(row.arguments if not quick else row.quick)[1:])),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "printed": done.stdout,
        "figures": {each.name: value for each in row.figures if (value := each.read(done.stdout)) is not None},
        "targets": {each.name: each.target for each in row.figures if each.target is not None},
    }


def keep(day: str, name: str, result: dict[str, Any], history: Path = HISTORY) -> None:
    """Puts a result into the file of a day; an older one of that name and day goes."""
    history.mkdir(exist_ok=True)
    path = history / f"{day}.json"
    kept = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    kept |= surroundings()
    kept["rows"][name] = result
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def page(days: dict[str, dict[str, Any]], rows: Sequence[Row] = ROWS) -> str:
    """The page with the trend.

    Args:
        days: What the files of the history hold, by their dates.
        rows: Whose figures.
    """
    dates = sorted(days)
    lines = [HEAD, "| figure | target | " + " | ".join(dates) + " |", "|---|---|" + "---|" * len(dates)]
    for row in rows:
        for figure in row.figures:
            values = [days[date]["rows"].get(row.name, {}).get("figures", {}).get(figure.name) for date in dates]
            if any(value is not None for value in values):
                shown = " | ".join(_shown(figure, value) for value in values)
                lines.append(f"| {row.name}: {figure.name} | {_target(figure)} | {shown} |")
    lines += ["", "| day | commit | processor, cores | load at the end | versions |", "|---|---|---|---|---|"]
    for date in dates:
        day = days[date]
        versions = ", ".join(f"{name} {version}" for name, version in day["versions"].items())
        lines.append(f"| {date} | {day['commit']} | {day['processor']}, {day['cores']} | {day['load']} | {versions} |")
    return "\n".join(lines) + "\n"


def _shown(figure: Figure, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,g}" if figure.met(value) else f"**{value:,g}**"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'at least' if figure.at_least else 'at most'} {figure.target:g}"


def read_days(history: Path = HISTORY) -> dict[str, dict[str, Any]]:
    """All that is kept, by date."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(history.glob("*.json"))}


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="NAME")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="only what takes at most so long")
    parser.add_argument("--old", type=Path, help="another checkout, for what compares with one")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    chosen = [row for row in ROWS if row.minutes <= arguments.minutes and row.name in (arguments.only or [row.name])]
    if arguments.quick:
        chosen = [row for row in chosen if row.quick]
    if arguments.list:
        for row in chosen:
            print(f"{row.name:<32}{row.minutes:5g} min  {' '.join(row.arguments)}  ({row.section})")
        return
    day = datetime.date.today().isoformat()
    for row in () if arguments.page else chosen:
        if why := missing(row, arguments.old):
            print(f"{row.name}: passed over: {why}", flush=True)
            continue
        result = run(row, arguments.old, arguments.quick)
        print(f"{row.name}: {result['cpu_seconds']} s of processors; {result['figures']}", flush=True)
        if not arguments.quick:
            keep(day, row.name, result)
    if not arguments.quick:
        PAGE.write_text(page(read_days()))


if __name__ == "__main__":
    main()
