"""What the policies of ``Reinforce`` and ``PPO`` cost a trial: CPU time of asking and telling, in one run.

    python benchmarks/policies.py [--trials 600] [--repeats 5]

The objective is the share of options that are 1. The controllers take turns; the table shows the median CPU time per
trial, and the median of the ratios to ``Reinforce()`` of the same turn. The target is 1.3 for ``PPO()``.
"""

import argparse
import statistics
import time

from archsearch import Evaluation, Trial
from archsearch.controllers import PPO, Reinforce
from archsearch.spaces import DARTS, NASBench201, NASNet

CONTROLLERS = {
    "Reinforce()": Reinforce,
    "PPO()": PPO,
    "Reinforce('softmax')": lambda: Reinforce("softmax"),
    "PPO('softmax')": lambda: PPO("softmax"),
}


def cost(make, space, trials):
    """CPU milliseconds per trial."""
    controller = make()
    controller.start(space, 0)
    begun = time.process_time()
    for _ in range(trials):
        (proposal,) = controller.ask()
        score = sum(option == 1 for option in proposal.architecture) / len(proposal.architecture)
        controller.tell([Trial(proposal.id, proposal.architecture, None, Evaluation(score))])
    return (time.process_time() - begun) / trials * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for space in (NASBench201(), DARTS(), NASNet()):
        found = {name: [] for name in CONTROLLERS}
        for _ in range(options.repeats):
            for name, make in CONTROLLERS.items():
                found[name].append(cost(make, space, options.trials))
        print(f"{type(space).__name__}: {space.max_length} decisions, {options.trials} trials, {options.repeats} turns")
        for name, costs in found.items():
            ratios = [mine / theirs for mine, theirs in zip(costs, found["Reinforce()"], strict=True)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"  {name:<22} {statistics.median(costs):7.3f} ms a trial   {ratio} times Reinforce()")


if __name__ == "__main__":
    main()
