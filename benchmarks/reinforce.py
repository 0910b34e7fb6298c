"""Whether the softmax policy of ``Reinforce`` learns within some hundred trials: regret on the tables of NAS-Bench-201.

    python benchmarks/reinforce.py [--seeds 12]

In points of validation accuracy, mean and standard error over seeds; repeats are free. ``paper`` has the learning rate
of NAS-Bench-201's REINFORCE and no bonus for entropy, ``trials`` what is left out by the number of trials.
"""

import argparse

import numpy as np
from arena import race
from arena_peers import OURS, ours
from arena_problems import PROBLEMS
from arena_tables import AT

SEARCHERS = {
    "Reinforce, softmax, trials": ours("Reinforce", policy="softmax"),
    "Reinforce, softmax, paper": ours("Reinforce", policy="softmax", defaults="paper"),
    "RandomSearch": ours("RandomSearch"),
    "RegularizedEvolution": ours("RegularizedEvolution"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    given = parser.parse_args()
    OURS.update(SEARCHERS)
    for problem in list(PROBLEMS)[:3]:
        print(f"| {problem} | {' | '.join(map(str, AT))} |")
        for name in SEARCHERS:
            made = PROBLEMS[problem](0, 0)
            found = np.array([race(made, name, seed, 300, 1)["regret"] for seed in range(given.seeds)])
            error = found.std(0, ddof=1) / np.sqrt(len(found))
            cells = [f"{a:.2f} ± {b:.2f}" for a, b in zip(found.mean(0), error, strict=True)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
