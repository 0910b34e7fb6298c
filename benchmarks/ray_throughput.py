"""Searches on Ray against plain Ray loops, in one run: 8 workers, sleeping evaluations.

    python benchmarks/ray_throughput.py [--workers 8] [--repeats 3]

Evaluations of 50 to 150 ms: utilisation, the sum of the sleeps / workers / seconds of the loop. Evaluations of 1 ms:
evaluations per second. What is paid once (Ray and its workers) is shown apart.
"""

import argparse
import statistics
import time

import numpy as np
import ray

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


@ray.remote(num_cpus=1)
class Worker:
    """A hand-written worker."""

    def __init__(self, function):
        self.function = function

    def evaluate(self, options):
        """One evaluation."""
        return self.function(options)


def plain_ray(function, options, workers, depth):
    """Seconds that a hand-written ``ray.wait`` loop needs, with ``depth`` calls in flight per actor."""
    actors = [Worker.remote(function) for _ in range(workers)]
    ray.get([actor.evaluate.remote((0,) * 6) for actor in actors])
    begun = time.perf_counter()
    queue = iter(options)
    live = {}
    for _ in range(depth):
        for actor in actors:
            live[actor.evaluate.remote(next(queue))] = actor
    while live:
        (reference,), _ = ray.wait(list(live), num_returns=1)
        actor = live.pop(reference)
        ray.get(reference)
        following = next(queue, None)
        if following is not None:
            live[actor.evaluate.remote(following)] = actor
    seconds = time.perf_counter() - begun
    for actor in actors:
        ray.kill(actor)
    return seconds


def ours(function, trials, workers):
    executor = RayExecutor(workers)
    result = search(SPACE, RandomSearch(), Function(function), trials=trials, seed=0, executor=executor)
    return result, executor


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    workers = arguments.workers
    begun = time.perf_counter()
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    print(f"ray.init {time.perf_counter() - begun:.1f} s (once)")
    utilisation = {"archsearch": [], "plain Ray, 1 in flight": [], "plain Ray, 2 in flight": []}
    rates = {"archsearch": [], "plain Ray, 1 in flight": []}
    for _ in range(arguments.repeats):
        result, executor = ours(long_sleep, 400, workers)
        options = [trial.architecture for trial in sorted(result.history)]
        ideal = sum(SLEEPS[o] for o in options) / workers
        print(f"start of {workers} workers {executor.workers_seconds:.1f} s (once)")
        utilisation["archsearch"].append(ideal / result.seconds)
        for depth in (1, 2):
            seconds = plain_ray(long_sleep, options, workers, depth)
            utilisation[f"plain Ray, {depth} in flight"].append(ideal / seconds)
        result, _ = ours(short_sleep, 8000, workers)
        rates["archsearch"].append(8000 / result.seconds)
        options = [trial.architecture for trial in result.history][:2000]
        rates["plain Ray, 1 in flight"].append(2000 / plain_ray(short_sleep, options, workers, 1))
    print("\n| loop | utilisation at 50-150 ms, min / median / max |\n|---|---|")
    for name, values in utilisation.items():
        print(f"| {name} | {min(values):.3f} / **{statistics.median(values):.3f}** / {max(values):.3f} |")
    print("\n| loop | evaluations of 1 ms per second, min / median / max |\n|---|---|")
    for name, values in rates.items():
        print(f"| {name} | {min(values):,.0f} / **{statistics.median(values):,.0f}** / {max(values):,.0f} |")
    ratio = statistics.median(rates["archsearch"]) / statistics.median(rates["plain Ray, 1 in flight"])
    print(f"\nratio at 1 ms: {ratio:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
