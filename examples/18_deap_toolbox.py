"""A toolbox of DEAP operators as controller: the genetic algorithm of Genetic CNN on the cells of NAS-Bench-201.

Xie & Yuille, "Genetic CNN", ICCV 2017: generations of 20, 1,000 evaluations at most; Russian roulette on the accuracy
above the worst of the population; crossover exchanges whole stages, mutation redraws single bits. Here a stage is a
node of the cell with its incoming edges, a bit the operation of an edge, and a child can be both crossed and mutated.
"""

import random

from deap import base

from archsearch import search
from archsearch.controllers import DeapToolbox
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

STAGES = [slice(0, 1), slice(1, 3), slice(3, 6)]


def exchange_stages(first, second, probability):
    for stage in STAGES:
        if random.random() < probability:
            first[stage], second[stage] = second[stage], first[stage]
    return first, second


def redraw(individual, probability, arities):
    for i, n in enumerate(arities):
        if random.random() < probability:
            individual[i] = (individual[i] + random.randrange(1, n)) % n
    return (individual,)


def roulette(individuals, k):
    accuracies = [individual.fitness.values[0] for individual in individuals]
    weights = [accuracy - min(accuracies) for accuracy in accuracies]
    return random.choices(individuals, weights if any(weights) else None, k=k)


def genetic_cnn(space):
    toolbox = base.Toolbox()
    toolbox.register("mate", exchange_stages, probability=0.2)
    toolbox.register("mutate", redraw, probability=0.05, arities=space.arities)
    toolbox.register("select", roulette)
    return toolbox


if __name__ == "__main__":
    controller = DeapToolbox(
        genetic_cnn,
        population_size=20,
        crossover_probability=0.2,
        mutation_probability=0.8,
        scheme="generational",
    )
    # Whatever the operators draw from the global generator, the seed below decides.
    result = search(NASBench201(), controller, Tabular(), trials=1000, seed=0)
    print(result)
    test = result.best.metrics["test_accuracy"]
    print(f"best: {NASBench201().format(result.best.architecture)}, {test:.2f} % on the test images")
