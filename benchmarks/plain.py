"""What our searches are measured against: aging evolution (100/25) on 6 x 5 decisions, and a loop on plain Ray."""

import collections
import random
import time


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


def ray_loop(actors, options, depth):
    """A hand-written ``ray.wait`` loop; ends the actors.

    Args:
        actors: With a remote method ``evaluate``.
        options: What each evaluation is asked.
        depth: Calls in flight per actor.

    Returns:
        Seconds of the loop, once all actors are there, and the answers as they came.
    """
    import ray

    ray.get([actor.evaluate.remote((0,) * 6) for actor in actors])
    begun = time.perf_counter()
    queue = iter(options)
    live, answers = {}, []
    for _ in range(depth):
        for actor in actors:
            live[actor.evaluate.remote(next(queue))] = actor
    while live:
        (reference,), _ = ray.wait(list(live), num_returns=1)
        actor = live.pop(reference)
        answers.append(ray.get(reference))
        following = next(queue, None)
        if following is not None:
            live[actor.evaluate.remote(following)] = actor
    seconds = time.perf_counter() - begun
    for actor in actors:
        ray.kill(actor)
    return seconds, answers
