"""Failures met, and what is found, with and without thinning: searches of made-up spaces in which a region fails.

    python benchmarks/failures.py [--seeds 10] [--trials 200]

Both searches have the same seeds, and are judged after the same number of evaluations, failed ones included. The best
that does not fail is known by enumeration of the decisions on which the score depends. Regions: what is too large runs
out of memory; two options diverge; both; a corner of two decisions (no sum of decisions says where); and failures by
chance alone, of which nothing can be learnt.
"""

import argparse
import dataclasses
import datetime
import functools
import itertools
import math
import platform

import numpy as np

import archsearch
from archsearch import Evaluation, Evaluator, Space, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.failing.calibration import calibrate

SPACE = Space(arities=[4] * 8)
WEIGHTS = np.array([1.0, -0.5, 1.0, 0.7, -0.2, 1.0, 0.3, 0.6])
REGIONS = ("too large", "two options", "both", "corner", "chance 0.3")
CONTROLLERS = {"RandomSearch": RandomSearch, "RegularizedEvolution": functools.partial(RegularizedEvolution, 40, 10)}
SHARES = (None, 0.5, 0.9)


def failure(region, architecture):
    """The kind of failure of an architecture; empty: none, or by chance."""
    if region in ("too large", "both") and sum(architecture) >= 14:
        return "out_of_memory"
    if region in ("two options", "both") and (architecture[0] == 3 or architecture[5] == 2):
        return "invalid_score"
    if region == "corner" and architecture[0] >= 2 and architecture[1] >= 2:
        return "exception"
    return ""


def score(architecture):
    x = np.array(architecture) / 3.0
    return float(WEIGHTS @ x + 0.8 * math.sin(5 * x[2] * x[7]))


class Failing(Evaluator):
    """Scores, unless the architecture lies in the region."""

    def __init__(self, region):
        self.region = region

    def evaluate(self, architecture, seed):
        kind = failure(self.region, architecture)
        if kind == "out_of_memory":
            raise MemoryError("too large")
        if kind == "exception" or (self.region.startswith("chance") and np.random.default_rng(seed).random() < 0.3):
            raise ValueError("failed")
        return Evaluation(math.nan if kind else score(architecture))


@dataclasses.dataclass
class Course:
    """What came of a search, after so many evaluations."""

    failed: int
    regret: float
    thinned: int
    brier: float
    plain: float


@functools.cache
def best(region):
    return max(score(each) for each in itertools.product(range(4), repeat=8) if not failure(region, each))


def course(region, make, thin, seed, evaluations):
    settings = {"trials": evaluations, "max_failures": 10**6, "retries": {"out_of_memory": 0}}
    result = search(SPACE, make(), Failing(region), thin=thin, seed=seed, **settings)
    trials = list(itertools.islice(result.history, evaluations))
    found = calibrate([(trial.architecture, trial.failure) for trial in trials], SPACE)
    scores = [trial.score for trial in trials if trial.score is not None]
    failed = sum(bool(trial.failure) for trial in trials)
    asked = trials[-1].id + 1 - len(trials)  # ids of what was refused are skipped
    return Course(failed, best(region) - max(scores), asked, found.brier, found.plain)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=200, help="evaluations, failed ones included")
    given = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, NumPy {np.__version__}, archsearch "
        f"{archsearch.__version__}; {given.seeds} seeds, {given.trials} evaluations each\n"
    )
    print("| region | controller | thin | failed | of those without | refused | regret | Brier score | of the rate |")
    print("|---|---|---|---|---|---|---|---|---|")
    for region, (name, make) in itertools.product(REGIONS, CONTROLLERS.items()):
        without = 0.0
        for thin in SHARES:
            courses = [course(region, make, thin, seed, given.trials) for seed in range(given.seeds)]
            means = {
                field.name: float(np.mean([getattr(each, field.name) for each in courses]))
                for field in dataclasses.fields(Course)
            }
            without = without or means["failed"]
            print(
                f"| {region} | `{name}` | {thin or 'no'} | {means['failed']:.1f} | {means['failed'] / without:.2f} | "
                f"{means['thinned']:.1f} | {means['regret']:.3f} | {means['brier']:.3f} | {means['plain']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
