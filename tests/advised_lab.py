"""An adviser, and a search with it that ends itself in a bad moment; for ``test_advised.py``."""

import os
import signal
import sys
from pathlib import Path

from archsearch import Space, search
from archsearch.controllers import Advised, RegularizedEvolution
from archsearch.evaluators import Function

SPACE = Space(arities=[4, 3, 5, 2, 3])
TRIALS = 40


def score(architecture):
    return float(sum(architecture))


def better(state):
    """The best, with the first decision that can be raised raised; counts how often it was asked."""
    if asked := os.environ.get("ASKED"):
        with open(asked, "a") as file:
            file.write(f"{state['trials']['completed']}\n")
    if not state["best"]:
        return None
    options = state["best"][0]["options"]
    for place, (option, n) in enumerate(zip(options, (4, 3, 5, 2, 3), strict=True)):
        if option + 1 < n:
            return {"architecture": [*options[:place], option + 1, *options[place + 1 :]], "why": "more is better"}
    return {"architectures": ["1-1-1-1-1", "0-0-0-0-0", "7-7-7-7-7"]}


def dies(trial):
    """Kills the search, once."""
    marker = os.environ.get("KILL_ONCE")
    if trial.id == 23 and marker and not Path(marker).exists():
        Path(marker).write_text("")
        os.kill(os.getpid(), signal.SIGKILL)


def controller():
    return Advised(RegularizedEvolution(population_size=8), "advised_lab.better", share=0.4)


def begin(out):
    return search(SPACE, controller(), Function("advised_lab.score"), trials=TRIALS, seed=2, out=out, on_trial=dies)


if __name__ == "__main__":
    begin(sys.argv[1])
