"""Searches on Ray against plain Ray loops, in one run: 8 workers, sleeping evaluations.

    python benchmarks/ray_throughput.py [--workers 8] [--repeats 3]

Evaluations of 50 to 150 ms: utilisation, the sum of the sleeps / workers / seconds of the loop. Evaluations of 1 ms,
and ones that return at once: evaluations per second. "Ceiling" is what the workers reach with 1 ms sleeps when each
is called once for 1,000 of them: no way of sending can be faster. What is paid once is shown apart.
"""

import argparse
import collections
import statistics
import time

import numpy as np
import ray
from plain import ray_loop

from archsearch import RayExecutor, Space, search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function

SLEEPS = np.random.default_rng(1).uniform(0.05, 0.15, [5] * 6)
SPACE = Space(arities=[5] * 6)


def long_sleep(options):
    time.sleep(SLEEPS[options])
    return float(sum(options))


def short_sleep(options):
    time.sleep(0.001)
    return float(sum(options))


def no_sleep(options):
    return float(sum(options))


@ray.remote(num_cpus=1)
class Worker:
    """A hand-written worker."""

    def __init__(self, function):
        self.function = function

    def evaluate(self, options):
        """One evaluation."""
        return self.function(options)

    def evaluate_many(self, options, times):
        for _ in range(times):
            self.function(options)


def plain_ray(function, options, workers, depth):
    """Seconds that a hand-written ``ray.wait`` loop needs, with ``depth`` calls in flight per actor."""
    return ray_loop([Worker.remote(function) for _ in range(workers)], options, depth)[0]


def ceiling(workers, each=1000):
    """Evaluations of 1 ms per second when nothing has to be sent."""
    actors = [Worker.remote(short_sleep) for _ in range(workers)]
    ray.get([actor.evaluate.remote((0,) * 6) for actor in actors])
    begun = time.perf_counter()
    ray.get([actor.evaluate_many.remote((0,) * 6, each) for actor in actors])
    seconds = time.perf_counter() - begun
    for actor in actors:
        ray.kill(actor)
    return workers * each / seconds


def ours(function, trials, workers):
    """The search's result and the seconds until its workers were up."""
    executor = RayExecutor(workers)
    result = search(SPACE, RandomSearch(), Function(function), trials=trials, seed=0, executor=executor)
    return result, executor.workers_seconds


def measure(workers, figures):
    """One turn of every loop."""
    result, seconds = ours(long_sleep, 400, workers)
    figures["seconds to start the workers (once)"]["archsearch"].append(seconds)
    options = [trial.architecture for trial in result.history]
    ideal = sum(SLEEPS[o] for o in options) / workers
    utilisation = figures["utilisation at 50-150 ms"]
    utilisation["archsearch"].append(ideal / result.seconds)
    for depth in (1, 2):
        utilisation[f"plain Ray, {depth} in flight"].append(ideal / plain_ray(long_sleep, options, workers, depth))
    for what, function in (("1 ms", short_sleep), ("0 ms", no_sleep)):
        rates = figures[f"evaluations of {what} per second"]
        rates["archsearch"].append(8000 / ours(function, 8000, workers)[0].seconds)
        for depth in (1, 2):
            seconds = plain_ray(function, [(0,) * 6] * 2000, workers, depth)
            rates[f"plain Ray, {depth} in flight"].append(2000 / seconds)
    figures["evaluations of 1 ms per second"]["ceiling"].append(ceiling(workers))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8, help="actors")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each loop")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    ray.init(
        address="local",
        num_cpus=arguments.workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    print(f"ray.init {time.perf_counter() - begun:.1f} s (once)", flush=True)
    figures = collections.defaultdict(lambda: collections.defaultdict(list))
    for _ in range(arguments.repeats):
        measure(arguments.workers, figures)
    ray.shutdown()
    for what, loops in figures.items():
        reference = loops.get("plain Ray, 1 in flight")
        print(f"\n| {what} | min / median / max | over plain Ray, 1 in flight |\n|---|---|---|")
        for name, values in loops.items():
            middle = statistics.median(values)
            ratio = f"{middle / statistics.median(reference):.2f}" if reference else ""
            low, middle, high = (f"{v:,.0f}" if v > 100 else f"{v:.3f}" for v in (min(values), middle, max(values)))
            print(f"| {name} | {low} / **{middle}** / {high} | {ratio} |")


if __name__ == "__main__":
    main()
