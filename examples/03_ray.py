"""A search on Ray, two workers; and with a lag, the same path as one worker."""

import time

from archsearch import RayExecutor, Space, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function


def slow_sum(architecture):
    """Stands for a training."""
    time.sleep(0.02)
    return sum(architecture)


if __name__ == "__main__":
    space, evaluator = Space(arities=[5] * 6), Function(slow_sum)
    on_ray = search(space, RegularizedEvolution(10, 3), evaluator, trials=100, seed=0, executor=RayExecutor(2), lag=2)
    alone = search(space, RegularizedEvolution(10, 3), evaluator, trials=100, seed=0, lag=2)
    print(f"2 workers {on_ray.seconds:.1f} s, best {on_ray.best_name}")
    print(f"1 worker  {alone.seconds:.1f} s, best {alone.best_name}")
