"""What our searcher adds to Ray Tune's overhead, and what Tune's overhead is beside ours.

    python benchmarks/ray_tune.py overhead [--trials 200] [--rounds 5] [--limit 2] [--new-actors]
    python benchmarks/ray_tune.py workload [--trials 400] [--few 48] [--rounds 3]

overhead: a Tuner with trials that report at once, with Tune's own random search (``BasicVariantGenerator``), with a
minimal random ``Searcher``, and with ``ControllerSearch``; the same trainable and number of trials, in turn.
Milliseconds per trial, from the end of the first fifth of the trials to the end of the last. The time that is spent
inside the searcher is shown apart: the rest of a difference is Tune's own handling of searchers, or noise. As many
trials run at a time as the cluster has CPUs (``--slots``), or fewer by ``max_concurrent_trials`` (``--limit``).

workload: evaluations that sleep for 50 to 150 ms, fixed for each configuration, on 8 workers: ``search`` on Ray, and
Tune by itself with random search. Wall time over the ideal, the sum of the sleeps / 8. As Tune comes, it starts a
process for each trial, and makes fewer of them here.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator

from archsearch import RayExecutor, Space, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.tune import ControllerSearch

OPTIONS, DECISIONS, WORKERS = 5, 6, 8
SPACE = Space(arities=[OPTIONS] * DECISIONS)
SLEEPS = np.random.default_rng(1).uniform(0.05, 0.15, [OPTIONS] * DECISIONS)
NAMES = [f"decision_{i}" for i in range(DECISIONS)]
CHOICES = {name: tune.choice(list(range(OPTIONS))) for name in NAMES}
SEARCHERS = ("suggest", "on_trial_result", "on_trial_complete", "save")
Figures = Mapping[str, Mapping[str, list[float]]]


def options(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The decisions of a configuration."""
    return tuple(config[name] for name in NAMES)


# -- overhead per trial ------------------------------------------------------------------------


def at_once(config: dict[str, Any]) -> None:
    """A trial that takes no time."""
    tune.report({"score": float(sum(options(config)))})


class RandomSearcher(Searcher):
    """As little as a searcher can do."""

    def __init__(self) -> None:
        super().__init__("score", "max")
        self.rng = random.Random(0)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {name: self.rng.randrange(OPTIONS) for name in NAMES}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        with open(checkpoint_path, "w") as file:
            file.write("")


class Stamps(tune.Callback):
    """When the first trial began, and when each was over."""

    def __init__(self) -> None:
        self.first = 0.0
        self.times: list[float] = []

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.first = self.first or time.perf_counter()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.times.append(time.perf_counter())


def timed(searcher: Searcher) -> tuple[Searcher, list[float]]:
    """The searcher, and the seconds that its methods will have taken."""
    inside = [0.0]

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                inside[0] += time.perf_counter() - begun

        return call

    for name in SEARCHERS:
        setattr(searcher, name, wrapped(getattr(searcher, name)))
    return searcher, inside


def fit(
    function: Callable[[dict[str, Any]], None],
    searcher: Any,
    trials: int,
    limit: int | None = None,
    reuse: bool = True,
    callbacks: list[tune.Callback] | None = None,
) -> tuple[tune.ResultGrid, float]:
    """A Tuner's results and the seconds that its call took."""
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            function,
            param_space=None if isinstance(searcher, Searcher) else CHOICES,
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                search_alg=searcher,
                num_samples=trials,
                max_concurrent_trials=limit if isinstance(searcher, Searcher) else None,  # the other has it
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(name="run", storage_path=folder, verbose=0, callbacks=callbacks),
        )
        begun = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - begun
    assert len(results) == trials
    assert not results.errors
    return results, seconds


def overhead(arguments: argparse.Namespace) -> None:
    """Figure 3: our searcher beside Tune's own."""
    makers: Mapping[str, Callable[[], Any]] = {
        "Tune's BasicVariantGenerator": lambda: BasicVariantGenerator(max_concurrent=arguments.limit or 0),
        "a minimal random Searcher": RandomSearcher,
        "ControllerSearch(RandomSearch())": lambda: ControllerSearch(RandomSearch(), SPACE, seed=0),
        "ControllerSearch(RegularizedEvolution())": lambda: ControllerSearch(RegularizedEvolution(), SPACE, seed=0),
    }
    each: dict[str, list[float]] = collections.defaultdict(list)
    inside: dict[str, list[float]] = collections.defaultdict(list)
    processes: dict[str, list[float]] = collections.defaultdict(list)
    for turn in range(arguments.rounds + 1):
        for name, make in makers.items():
            searcher, spent, stamps = make(), [float("nan")], Stamps()
            if isinstance(searcher, Searcher):
                searcher, spent = timed(searcher)
            reuse = not arguments.new_actors
            results, _ = fit(at_once, searcher, arguments.trials, arguments.limit, reuse, [stamps])
            skipped = len(stamps.times) // 5
            if turn:  # the first turn warms up
                steady = stamps.times[-1] - stamps.times[skipped - 1]
                each[name].append(1e3 * steady / (len(stamps.times) - skipped))
                inside[name].append(1e3 * spent[0] / arguments.trials)
                processes[name].append(len({result.metrics["pid"] for result in results}))
    print(
        f"{arguments.trials} trials, {arguments.slots} at a time by the cluster's CPUs, max_concurrent_trials="
        f"{arguments.limit}, reuse_actors={not arguments.new_actors}, {arguments.rounds} rounds\n"
    )
    print(
        "| searcher | ms per trial, min / median / max | over BasicVariantGenerator, round by round: "
        "min / median / max | inside the searcher, ms per trial | processes used |\n|---|---|---|---|---|"
    )
    (first, *_) = makers
    for name, values in each.items():
        ratios = [value / reference for value, reference in zip(values, each[first], strict=True)]
        own, used = statistics.median(inside[name]), statistics.median(processes[name])
        print(f"| {name} | {three(values, '.1f')} | {three(ratios, '.3f')} | {own:.3f} | {used:.0f} |")


# -- the workload of sleeping evaluations ------------------------------------------------------


def sleep(architecture: tuple[int, ...]) -> float:
    """50 to 150 ms, fixed for each architecture."""
    time.sleep(SLEEPS[architecture])
    return float(sum(architecture))


def sleeping(config: dict[str, Any]) -> None:
    """The same as a trial of Tune."""
    tune.report({"score": sleep(options(config))})


def ours(trials: int) -> tuple[float, float, float]:
    """Seconds of the whole call, of it from the first evaluation to the last, and the ideal."""
    begun = time.perf_counter()
    result = search(SPACE, RandomSearch(), Function(sleep), trials=trials, seed=0, executor=RayExecutor(WORKERS))
    whole = time.perf_counter() - begun
    return whole, result.seconds, sum(SLEEPS[trial.architecture] for trial in result.history) / WORKERS


def tunes(trials: int, reuse: bool) -> tuple[float, float, float]:
    """The same of Tune; the cluster's CPUs are its limit."""
    stamps = Stamps()
    results, whole = fit(sleeping, BasicVariantGenerator(), trials, reuse=reuse, callbacks=[stamps])
    ideal = sum(SLEEPS[options(result.config)] for result in results) / WORKERS
    return whole, stamps.times[-1] - stamps.first, ideal


def workload(arguments: argparse.Namespace) -> None:
    """Figure 4: ``search`` beside Tune."""
    turns: Mapping[str, tuple[int, Callable[[int], tuple[float, float, float]]]] = {
        "search on Ray": (arguments.trials, ours),
        "Tune, reuse_actors=True": (arguments.trials, lambda trials: tunes(trials, True)),
        "search on Ray, few": (arguments.few, ours),
        "Tune as it comes, few": (arguments.few, lambda trials: tunes(trials, False)),
    }
    whole: dict[str, list[float]] = collections.defaultdict(list)
    steady: dict[str, list[float]] = collections.defaultdict(list)
    for _ in range(arguments.rounds):
        for name, (trials, call) in turns.items():
            seconds, running, ideal = call(trials)
            whole[name].append(seconds / ideal)
            steady[name].append(running / ideal)
    print(
        "\n| | evaluations | whole call / ideal, min / median / max | first evaluation to last / ideal "
        "| whole call over ours |\n|---|---|---|---|---|"
    )
    for name, (trials, _) in turns.items():
        own = next(other for other in turns if other.startswith("search") and turns[other][0] == trials)
        ratio = statistics.median(whole[name]) / statistics.median(whole[own])
        print(f"| {name} | {trials} | {three(whole[name], '.2f')} | {three(steady[name], '.2f')} | {ratio:.1f} |")


def three(values: list[float], form: str) -> str:
    """Least, median and most."""
    low, middle, high = (f"{value:{form}}" for value in (min(values), statistics.median(values), max(values)))
    return f"{low} / **{middle}** / {high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("overhead", help="our searcher beside Tune's own")
    part.add_argument("--trials", type=int, default=200)
    part.add_argument("--rounds", type=int, default=5)
    part.add_argument("--slots", type=int, default=2, help="CPUs of the cluster, one for each trial")
    part.add_argument("--limit", type=int, default=None, help="max_concurrent_trials")
    part.add_argument("--new-actors", action="store_true", help="reuse_actors=False, as Tune comes")
    part.set_defaults(run=overhead)
    part = parts.add_parser("workload", help="search beside Tune")
    part.add_argument("--trials", type=int, default=400)
    part.add_argument("--few", type=int, default=48, help="trials where Tune takes seconds for each")
    part.add_argument("--rounds", type=int, default=3)
    part.set_defaults(run=workload, slots=WORKERS)
    arguments = parser.parse_args()
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # no files of figures for each trial, for either
    ray.init("local", num_cpus=arguments.slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    arguments.run(arguments)


if __name__ == "__main__":
    main()
