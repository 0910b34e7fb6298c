"""Searches on a cluster of several nodes against plain Ray loops, in one run: sleeping evaluations.

    python benchmarks/cluster.py [--nodes 4] [--cpus 4] [--seconds 0.1] [--repeats 3]

The nodes are ``ray.cluster_utils``'s, on this machine; the driver is on a head without CPUs. Every round runs each loop
once, in turn; "plain Ray" is a hand-written ``ray.wait`` loop with so many calls in flight per actor.

1. Evaluations of equal length. Utilisation: the sum of the sleeps / workers / seconds of the loop.
2. Heavy-tailed ones: log-normal around the median, and some that take ``--tail`` times as long. "Until the last began":
   of the workers' time between the beginning of the first evaluation and that of the last, by the workers' own clocks,
   the part in which they evaluated. After that there is nothing left to share out.
3. One node is ``--slow`` times slower: the end of the search without and with ``speculate``.
4. Memory: the driver's growth per trial, and what the nodes' object stores hold. The growth counts from two parts of
   the history on: before, the trials of the part that is to be written come to lie in memory, and PyArrow with them.
"""

import argparse
import collections
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import ray
from plain import ray_loop
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray.cluster_utils import Cluster

from archsearch import Evaluation, Evaluator, RayExecutor, Space, search
from archsearch.controllers import RandomSearch
from archsearch.keeping.history import PART_ROWS

SPACE = Space(arities=[5] * 6)
STORE_BYTES = 100 * 2**20
REFERENCE = "plain Ray, 1 in flight"


class Sleeper(Evaluator):
    """Takes the same time for an architecture, wherever it is not slow.

    Args:
        seconds: The median time.
        spread: Standard deviation of the logarithm of the time.
        tail: Times the median that some take.
        tail_share: Share of the architectures that do.
        slow_node: Id of a node that is slow; empty: none is.
        slow: How many times longer it takes there.
    """

    def __init__(
        self,
        seconds: float,
        spread: float = 0.0,
        tail: float = 1.0,
        tail_share: float = 0.0,
        slow_node: str = "",
        slow: float = 1.0,
    ) -> None:
        self.seconds = seconds
        self.spread = spread
        self.tail = tail
        self.tail_share = tail_share
        self.slow_node = slow_node
        self.slow = slow

    def start(self, space):
        super().start(space)
        rng = np.random.default_rng(1)
        arities = space.arities
        self.times = self.seconds * np.exp(self.spread * rng.standard_normal(arities))
        self.times[rng.random(arities) < self.tail_share] = self.tail * self.seconds

    def evaluate(self, architecture, seed):
        begun = time.time()
        here = self.slow_node and ray.get_runtime_context().get_node_id() == self.slow_node
        time.sleep(self.times[architecture] * (self.slow if here else 1.0))
        return Evaluation(float(sum(architecture)), {"begun": begun, "ended": time.time()})


class AtOnce(Evaluator):
    """Returns at once."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))


@ray.remote(num_cpus=1)
class Worker:
    """A hand-written worker."""

    def __init__(self, evaluator):
        self.evaluator = evaluator

    def evaluate(self, options):
        """When one evaluation began and ended."""
        metrics = self.evaluator.evaluate(options, 0).metrics
        return metrics["begun"], metrics["ended"]


def plain_ray(evaluator, architectures, workers, depth):
    """Seconds that a hand-written loop needs, and when its evaluations began and ended."""
    evaluator.start(SPACE)
    return ray_loop([Worker.remote(evaluator) for _ in range(workers)], architectures, depth)


def ours(evaluator, trials, workers, **settings):
    """The same of a search, and its architectures in order."""
    result = search(SPACE, RandomSearch(), evaluator, trials=trials, seed=0, executor=RayExecutor(workers, **settings))
    history = sorted(result.history, key=lambda trial: trial.id)
    times = [(trial.metrics["begun"], trial.metrics["ended"]) for trial in history]
    return result.seconds, times, [trial.architecture for trial in history]


def fed(times, workers):
    """The part of the workers' time in which they evaluated, until the last evaluation began."""
    first, last = min(begun for begun, _ in times), max(begun for begun, _ in times)
    return sum(min(ended, last) - begun for begun, ended in times) / (workers * (last - first))


def utilisation(arguments, workers, figures):
    """One round of evaluations of equal length."""
    name = f"utilisation, evaluations of {1e3 * arguments.seconds:g} ms"
    ideal = arguments.trials * arguments.seconds / workers
    evaluator = Sleeper(arguments.seconds)
    seconds, _, architectures = ours(evaluator, arguments.trials, workers)
    figures[name]["archsearch"].append(ideal / seconds)
    for depth in (1, 2):
        seconds, _ = plain_ray(evaluator, architectures, workers, depth)
        figures[name][f"plain Ray, {depth} in flight"].append(ideal / seconds)


def heavy_tail(arguments, workers, figures):
    """One round of evaluations of which some take very long."""
    until, whole = (f"utilisation, heavy tail, {when}" for when in ("until the last began", "until the end"))
    evaluator = Sleeper(arguments.seconds, 0.5, arguments.tail, arguments.tail_share)
    seconds, times, architectures = ours(evaluator, arguments.trials, workers)
    ideal = sum(evaluator.times[architecture] for architecture in architectures) / workers
    figures[until]["archsearch"].append(fed(times, workers))
    figures[whole]["archsearch"].append(ideal / seconds)
    for depth in (1, 2):
        seconds, times = plain_ray(evaluator, architectures, workers, depth)
        figures[until][f"plain Ray, {depth} in flight"].append(fed(times, workers))
        figures[whole][f"plain Ray, {depth} in flight"].append(ideal / seconds)


def slow_machine(arguments, workers, slow_node, figures):
    """One round with a node that is slow."""
    evaluator = Sleeper(arguments.seconds, slow_node=slow_node, slow=arguments.slow)
    for speculate in (None, 2.0):
        seconds, times, _ = ours(evaluator, arguments.trials, workers, speculate=speculate)
        name = f"archsearch, speculate={speculate}"
        figures[f"one node {arguments.slow:g} x slower: seconds of the search"][name].append(seconds)
        first, last = min(begun for begun, _ in times), max(begun for begun, _ in times)
        tail = seconds - (last - first)
        figures["of which after the last evaluation that counted had begun"][name].append(tail)


def memory(arguments, workers, address, figures):
    """One search of evaluations that return at once, with a run folder."""
    finished, resident, stored = 0, [], []
    before = max(2 * PART_ROWS, arguments.memory_trials // 10)

    def look(_):
        nonlocal finished
        finished += 1
        if finished in (before, arguments.memory_trials):
            resident.append(resident_bytes())
        if finished % 2_000 == 0:
            stored.append(stored_bytes(address))

    with tempfile.TemporaryDirectory() as folder:
        settings = {"trials": arguments.memory_trials, "seed": 0, "executor": RayExecutor(workers)}
        search(SPACE, RandomSearch(), AtOnce(), out=Path(folder) / "run", on_trial=look, **settings)
    growth = (resident[1] - resident[0]) / (arguments.memory_trials - before)
    figures["driver's memory, bytes a trial"]["archsearch"].append(growth)
    figures["object stores, MiB at most"]["archsearch"].append(max(stored) / 2**20)
    figures["object stores, MiB at the end"]["archsearch"].append(stored[-1] / 2**20)


def resident_bytes():
    """What this process holds of the machine's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stored_bytes(address):
    """What all nodes' object stores hold."""
    return get_memory_info_reply(get_state_from_address(address)).store_stats.object_store_bytes_used


def start_cluster(arguments):
    """A head without CPUs and the nodes; this process joins them at the head."""
    common = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
    for _ in range(arguments.nodes):
        cluster.add_node(num_cpus=arguments.cpus, wait=False, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    return cluster


def show(figures):
    """The tables."""
    for what, loops in figures.items():
        reference = loops.get(REFERENCE)
        print(f"\n| {what} | min / median / max | over {REFERENCE} |\n|---|---|---|")
        for name, values in loops.items():
            middle = statistics.median(values)
            ratio = f"{middle / statistics.median(reference):.3f}" if reference else ""
            low, middle, high = (f"{v:,.0f}" if v > 100 else f"{v:.3f}" for v in (min(values), middle, max(values)))
            print(f"| {name} | {low} / **{middle}** / {high} | {ratio} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=4, help="nodes beside the head")
    parser.add_argument("--cpus", type=int, default=4, help="logical CPUs of each: as many workers")
    parser.add_argument("--seconds", type=float, default=0.1, help="median of an evaluation")
    parser.add_argument("--trials", type=int, default=800, help="evaluations of each loop")
    parser.add_argument("--tail", type=float, default=50.0, help="times the median that some take")
    parser.add_argument("--tail-share", type=float, default=0.02, help="share that does")
    parser.add_argument("--slow", type=float, default=20.0, help="times longer on the slow node")
    parser.add_argument("--memory-trials", type=int, default=100_000, help="evaluations of the search for memory")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    arguments = parser.parse_args()
    cluster = start_cluster(arguments)
    workers = arguments.nodes * arguments.cpus
    print(f"{arguments.nodes} nodes, {workers} workers, {os.cpu_count()} cores; {arguments.trials} evaluations a loop")
    figures = collections.defaultdict(lambda: collections.defaultdict(list))
    for _ in range(arguments.repeats):
        utilisation(arguments, workers, figures)
        heavy_tail(arguments, workers, figures)
        slow_machine(arguments, workers, min(node.node_id for node in cluster.worker_nodes), figures)
    memory(arguments, workers, cluster.address, figures)
    ray.shutdown()
    cluster.shutdown()
    show(figures)


if __name__ == "__main__":
    main()
