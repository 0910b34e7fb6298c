"""What our searches are measured against: aging evolution (100/25) on 6 x 5 decisions in plain Python."""

import collections
import random


def aging_evolution(score):
    """A function that proposes and scores the next cell, and returns it with its score."""
    generator = random.Random(0)
    population = collections.deque(maxlen=100)

    def step():
        if len(population) < 100:
            cell = tuple(generator.randrange(5) for _ in range(6))
        else:
            parent = list(max(generator.sample(population, 25), key=lambda member: member[1])[0])
            edge = generator.randrange(6)
            parent[edge] = (parent[edge] + generator.randrange(1, 5)) % 5
            cell = tuple(parent)
        population.append((cell, score(cell)))
        return population[-1]

    return step
