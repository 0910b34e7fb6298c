"""What the worker process costs: trials per second in this process, isolated, and on Ray with one worker.

    python benchmarks/isolation.py [ROUNDS]

Random search; evaluations that return at once, and some that take 1 ms. Starting is told apart. At
last the processor time of a trial, of both processes, which depends less on what else runs on the machine.
"""

import resource
import statistics
import sys
import time

from archsearch import Evaluation, Evaluator, LocalExecutor, RayExecutor, Space, search
from archsearch.controllers import RandomSearch

SPACE = Space(arities=[5] * 6)
TRIALS = {0.0: 5_000, 0.001: 1_000}


class Sleeping(Evaluator):
    """Sleeps, if it is to, and adds up the options.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def evaluate(self, architecture, seed):
        if self.seconds:
            time.sleep(self.seconds)
        return Evaluation(float(sum(architecture)))


def rate(executor, seconds):
    """Trials per second after the first hundred, and the seconds until the first."""
    marks = []
    begun = time.perf_counter()
    search(
        SPACE,
        RandomSearch(),
        Sleeping(seconds),
        trials=TRIALS[seconds],
        seed=0,
        executor=executor,
        on_trial=lambda _: marks.append(time.perf_counter()),
    )
    return (len(marks) - 100) / (marks[-1] - marks[99]), marks[0] - begun


def processor_seconds(make, trials):
    """Of a search, its worker process included."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)
    search(SPACE, RandomSearch(), Sleeping(0.0), trials=trials, seed=0, executor=make())
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds) - before


def main(rounds):
    makers = {
        "in process": LocalExecutor,
        "isolated": lambda: LocalExecutor(isolate=True),
        "Ray, 1 worker": lambda: RayExecutor(1),
    }
    for seconds in TRIALS:
        print(
            f"evaluations of {1000 * seconds:g} ms: trials per second, min / median / max; seconds to the first trial"
        )
        results = {name: [] for name in makers}
        for _ in range(rounds):
            for name, make in makers.items():
                results[name].append(rate(make(), seconds))
        for name, found in results.items():
            rates, starts = zip(*found, strict=True)
            low, middle, high = min(rates), statistics.median(rates), max(rates)
            print(f"{name:14} {low:9,.0f} / {middle:9,.0f} / {high:9,.0f}   {statistics.median(starts):6.2f} s")
    for name in ("in process", "isolated"):
        start, whole = (processor_seconds(makers[name], trials) for trials in (1_000, 6_000))
        print(f"{name:14} {(whole - start) / 5_000 * 1e6:6.1f} us of processor time a trial")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
