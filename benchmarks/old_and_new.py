"""Another checkout against this one, in turn: start-up, asking and telling, a search on disk, trainings.

    python benchmarks/old_and_new.py OTHER [--rounds 7] [--only NAME ...]

OTHER is the folder of another checkout, with its own ``.venv``. Each round runs each workload once there and once here,
in processes of their own; the table shows the median processor seconds (user and system) of both, and the median,
smallest and largest of the ratios of here to there, round by round. Workloads name only what both have.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SEARCH = """
from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201
"""
WORKLOADS = {
    "import": "import archsearch",
    "help": "from archsearch import cli; cli.main(['--help'])",
    "ask and tell": """
import numpy as np
from archsearch import Evaluation, Space, Trial
from archsearch.controllers import RegularizedEvolution
controller, table = RegularizedEvolution(), np.random.default_rng(0).random(5**6).tolist()
controller.start(Space(arities=(5,) * 6), 0)
for _ in range(100_000):
    (proposal,) = controller.ask(1)
    place = 0
    for option in proposal.architecture:
        place = 5 * place + option
    controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(table[place]))])
""",
    "search on disk": SEARCH
    + """
import tempfile
with tempfile.TemporaryDirectory() as folder:
    search(NASBench201(), RegularizedEvolution(), Tabular(), trials=50_000, seed=0, out=folder + "/run")
""",
    "trainings": """
from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Training
from archsearch.spaces import NASBench201
search(NASBench201(), RandomSearch(), Training("digits", epochs=3), trials=6, seed=0)
""",
    "super-network": """
from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import NASBench201
search(NASBench201(), RandomSearch(), OneShot(Training("digits"), epochs=4), trials=20, seed=0)
""",
}


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    arguments = parser.parse_args()
    print(f"{'workload':<16}{'there':>9}{'here':>9}{'ratio':>8}  smallest to largest")
    for name in arguments.only:
        there, here = [], []
        for number in range(arguments.rounds + 1):
            measured = [cpu_seconds(root, WORKLOADS[name]) for root in (arguments.other, ROOT)]
            if number:  # the first round fills caches
                there.append(measured[0])
                here.append(measured[1])
        ratios = [b / a for a, b in zip(there, here, strict=True)]
        print(
            f"{name:<16}{statistics.median(there):8.2f}s{statistics.median(here):8.2f}s"
            f"{statistics.median(ratios):8.3f}  {min(ratios):.3f} to {max(ratios):.3f}",
            flush=True,
        )


def cpu_seconds(root: Path, code: str) -> float:
    """Of a process that runs the code with a checkout's own Python."""
    python = str((root / ".venv" / "bin" / "python").absolute())
    child = os.fork()
    if not child:
        os.chdir(root)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execve(python, [python, "-c", code], environment)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{root}: the workload failed")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
