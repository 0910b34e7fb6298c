"""Ask and tell alone: regularized evolution (100/25) on 6 x 5 decisions, against DEAP and a plain loop.

    python benchmarks/ask_tell.py [--trials 100000] [--repeats 3] [--growth 1000000]

The objective is a look-up in a fixed random table. The three take turns; the table shows trials per CPU second.
Growth is the CPU time per trial of the last tenth over that of the first tenth (after trial 100).
"""

import argparse
import collections
import random
import statistics
import time

import numpy as np
from deap import base, creator, tools
from plain import aging_evolution

from archsearch import Evaluation, Space, Trial
from archsearch.controllers import RegularizedEvolution

TABLE = np.random.default_rng(0).random([5] * 6)


def score(options):
    return float(TABLE[tuple(options)])


def ours():
    controller = RegularizedEvolution()
    controller.start(Space(arities=[5] * 6), 0)

    def step():
        (proposal,) = controller.ask()
        evaluation = Evaluation(score(proposal.architecture))
        controller.tell((Trial(proposal.id, proposal.architecture, proposal.parent, evaluation),))

    return step


def deap_loop():
    """Aging evolution wired by hand from DEAP's tools."""
    random.seed(0)
    if not hasattr(creator, "Score"):
        creator.create("Score", base.Fitness, weights=(1.0,))
        creator.create("Cell", list, fitness=creator.Score)
    toolbox = base.Toolbox()
    toolbox.register("option", random.randrange, 5)
    toolbox.register("cell", tools.initRepeat, creator.Cell, toolbox.option, 6)
    toolbox.register("select", tools.selTournament, k=1, tournsize=25)
    toolbox.register("mutate", tools.mutUniformInt, low=0, up=4, indpb=1 / 6)
    population = collections.deque(maxlen=100)

    def step():
        if len(population) < 100:
            cell = toolbox.cell()
        else:
            cell = toolbox.clone(toolbox.select(population)[0])
            toolbox.mutate(cell)
        cell.fitness.values = (score(cell),)
        population.append(cell)

    return step


def plain_loop():
    return aging_evolution(score)


def rate(step, trials):
    begun = time.process_time()
    for _ in range(trials):
        step()
    return trials / (time.process_time() - begun)


def growth(trials):
    step = ours()
    rate(step, 100)
    tenth = trials // 10
    first = rate(step, tenth)
    rate(step, trials - 2 * tenth)
    return first / rate(step, tenth)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000, help="trials per loop and repeat")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each loop")
    parser.add_argument("--growth", type=int, default=1_000_000, help="trials of the search whose growth is shown")
    arguments = parser.parse_args()
    loops = {"archsearch": ours, "DEAP, hand-wired": deap_loop, "plain Python": plain_loop}
    rates = {name: [] for name in loops}
    for _ in range(arguments.repeats):
        for name, make in loops.items():
            rates[name].append(rate(make(), arguments.trials))
    reference = statistics.median(rates["DEAP, hand-wired"])
    print("| loop | trials per CPU second, min / median / max | median over DEAP |\n|---|---|---|")
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"| {name} | {min(values):,.0f} / **{middle:,.0f}** / {max(values):,.0f} | {middle / reference:.2f} |")
    print(f"\ngrowth over {arguments.growth:,} trials, last tenth / first tenth: {growth(arguments.growth):.3f}")


if __name__ == "__main__":
    main()
