"""What the commands of the program cost before they do much: processor seconds and memory of whole processes.

    python benchmarks/startup.py
    python benchmarks/startup.py --old PATH_OF_ANOTHER_CHECKOUT --rounds 9

Each command runs in a process of its own, that of the other checkout right before ours, with one Python and the same
libraries. The ratio is to a process that only imports NumPy and PyArrow, of the same round: on a busy machine seconds
change, ratios hardly. Processor seconds are user and system time, memory is the most that a process held at a time.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

BASE = "import numpy, pyarrow"
SEEN = ["run", "--quiet", "--trials", "1000", "--seed", "0", "--out", "seen"]
COMMANDS = {  # targets in seconds and MiB, set where the default run took 4.9 s and 362 MiB
    "run --quiet --seed 0 --out {out}": (1.8, 180),
    "list": (0.8, None),
    "show seen": (0.8, None),
    "status seen": (0.8, None),
    "run --space.help NASBench201": (0.8, None),
    "run --controller.help RegularizedEvolution": (0.8, None),
    "run --evaluator.help Tabular": (0.8, None),
    "--help": (0.8, None),
    "run --help": (None, None),
    "resume seen --trials {trials} --quiet": (None, None),
    "compare --help": (None, None),
}


def lay_out(checkout: Path, folder: Path) -> Path:
    """The packages of a checkout as they would be installed, by links; a folder for ``PYTHONPATH``."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["package-dir"]
    for package, where in packages.items():
        place = folder / package.replace(".", "/")
        place.mkdir(parents=True, exist_ok=True)
        for path in (checkout / where).iterdir():
            if path.name != "__pycache__" and f"{package}.{path.name}" not in packages:
                (place / path.name).symlink_to(path.resolve())
    about = folder / f"archsearch-{project['project']['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: archsearch\nVersion: {project['project']['version']}\n"
    )
    groups = project["project"]["entry-points"].items()
    (about / "entry_points.txt").write_text(
        "".join(f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for group, points in groups)
    )
    return folder


def cost(arguments: list[str], folder: Path, packages: Path | None = None) -> tuple[float, float]:
    """Processor seconds and MiB of a Python with these arguments, run in a folder."""
    path = {} if packages is None else {"PYTHONPATH": str(packages)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=os.environ | path, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{shlex.join(arguments)} in {folder.name}: {said.read().decode()}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024  # bytes on macOS, not KiB


def measure(checkouts: dict[str, Path], rounds: int, folder: Path) -> dict[tuple[str, str], list[tuple[float, ...]]]:
    """Seconds, MiB and ratio of each command in each checkout, a triple a round; the first round is not counted."""
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for number in range(rounds + 1):
        base, _ = cost(["-c", BASE], folder)
        found.setdefault(("base", ""), []).append((base,))
        for command in COMMANDS:
            for name, packages in checkouts.items():
                text = command.format(out=f"run-{number}", trials=1001 + number)
                seconds, memory = cost(["-m", "archsearch.cli", *text.split()], folder / name, packages)
                found.setdefault((command, name), []).append((seconds, memory, seconds / base))
        print(f"round {number} of {rounds}", file=sys.stderr)
    return {key: values[1:] for key, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, help="another checkout, measured beside this one")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    roots = ({"old": given.old} if given.old else {}) | {"this": Path(__file__).parents[1]}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkouts = {name: lay_out(root, folder / f"{name}-packages") for name, root in roots.items()}
        for name, packages in checkouts.items():
            (folder / name).mkdir()
            cost(["-m", "archsearch.cli", *SEEN], folder / name, packages)
        found = measure(checkouts, given.rounds, folder)
    base = [seconds for (seconds,) in found[("base", "")]]
    print(
        f"python -c '{BASE}': {min(base):.2f} / {statistics.median(base):.2f} / {max(base):.2f} s (min / median / max)"
    )
    print("\n| command | checkout | CPU s, min / median / max | over the imports | MiB | target |")
    print("|---|---|---|---|---|---|")
    for (command, name), values in found.items():
        if name:
            seconds, memory, ratio = (sorted(each) for each in zip(*values, strict=True))
            limit, space = COMMANDS[command]
            target = " ".join([f"{limit} s"] * bool(limit) + [f"{space} MiB"] * bool(space))
            print(
                f"| {command} | {name} | {seconds[0]:.2f} / **{statistics.median(seconds):.2f}** / {seconds[-1]:.2f} "
                f"| {statistics.median(ratio):.1f} | {statistics.median(memory):.0f} | {target} |"
            )


if __name__ == "__main__":
    main()
