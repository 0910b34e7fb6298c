"""A toolbox of DEAP operators as controller: the genetic algorithm of Genetic CNN on its own space.

Xie & Yuille, "Genetic CNN", ICCV 2017: Russian roulette on the accuracy above the worst of the population; crossover
exchanges whole stages, mutation flips single bits. The paper has generations of 20 and 1,000 evaluations at most; here
it is small networks, generations of 8 and 40 evaluations, each a training of two epochs on a few digits. A child can
be both crossed and mutated.
"""

import random

from deap import base

from archsearch import search
from archsearch.controllers import DeapToolbox
from archsearch.evaluators import Training
from archsearch.spaces import GeneticCNN

STAGES = [slice(0, 3), slice(3, 9), slice(9, 19)]  # the bits of 3, 4 and 5 nodes


def exchange_stages(first, second, probability):
    for stage in STAGES:
        if random.random() < probability:
            first[stage], second[stage] = second[stage], first[stage]
    return first, second


def flip(individual, probability):
    for i, bit in enumerate(individual):
        if random.random() < probability:
            individual[i] = 1 - bit
    return (individual,)


def roulette(individuals, k):
    accuracies = [individual.fitness.values[0] for individual in individuals]
    weights = [accuracy - min(accuracies) for accuracy in accuracies]
    return random.choices(individuals, weights if any(weights) else None, k=k)


def genetic_cnn(_space):
    toolbox = base.Toolbox()
    toolbox.register("mate", exchange_stages, probability=0.2)
    toolbox.register("mutate", flip, probability=0.05)
    toolbox.register("select", roulette)
    return toolbox


if __name__ == "__main__":
    space = GeneticCNN(channels=4, kernel=3)
    controller = DeapToolbox(
        genetic_cnn,
        population_size=8,
        crossover_probability=0.2,
        mutation_probability=0.8,
        scheme="generational",
    )
    evaluator = Training("digits", epochs=2, train_examples=200)
    # Whatever the operators draw from the global generator, the seed below decides.
    result = search(space, controller, evaluator, trials=40, seed=0)
    print(result)
    print(f"best: {space.format(result.best.architecture)}, {result.best.score:.2f} % of the validation images")
