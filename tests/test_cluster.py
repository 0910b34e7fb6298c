"""Several nodes (of ``ray.cluster_utils``): placement, nodes that come and go, stragglers, the object store."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

import cluster_lab  # noqa: E402  (the workers must find it, too)

from archsearch import RayExecutor, Space, search  # noqa: E402
from archsearch.controllers import RandomSearch  # noqa: E402
from archsearch.errors import ExecutorError, UsageError  # noqa: E402
from archsearch.evaluators import Function  # noqa: E402
from archsearch.keeping.folder import RunFolder  # noqa: E402
from archsearch.running.loop import Search  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
SPACE = Space(arities=[4, 3, 5, 2])
STORE_BYTES = 100 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs, where the driver is, and three nodes; on two of them there is something "fast"."""
    from ray.cluster_utils import Cluster

    common = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
    for resources in ({"fast": 2}, {"fast": 2}, {"plain": 4}):
        cluster.add_node(num_cpus=4, resources=resources, wait=False, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture
def _everyone(monkeypatch):
    """A search begins when all its workers are there, however long that takes: each then takes part."""
    monkeypatch.setattr("archsearch.executors.ray.crew.SETTLE_SECONDS", 100.0)


def add_node(cluster, resources):
    return cluster.add_node(num_cpus=4, resources=resources, object_store_memory=STORE_BYTES)


def lose_node(cluster, node, workers):
    """As if its machine lost power: all that runs there ends, and says nothing."""
    cluster.remove_node(node, allow_graceful=False)
    for process in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def run(cluster, evaluator, trials=60, workers=6, on_trial=None, controller=None, executor=None, **settings):
    executor = RayExecutor(workers, address=cluster.address, **(executor or {}))
    settings = {"trials": trials, "seed": 0, **settings}
    if not hasattr(evaluator, "evaluate"):
        evaluator = Function(evaluator)
    return search(SPACE, controller or RandomSearch(), evaluator, executor=executor, on_trial=on_trial, **settings)


def ids(result):
    return sorted(trial.id for trial in result.history)


def nodes_of(trials):
    return {trial.metrics["node"] for trial in trials}


def number_of(node):
    return cluster_lab.number_of(node.node_id)


# -- where -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_everyone")
def test_a_search_over_an_address_uses_all_nodes(cluster):
    import ray

    result = run(cluster, cluster_lab.where, trials=90, workers=12)
    assert ids(result) == list(range(90))
    assert nodes_of(result.history) == {number_of(node) for node in cluster.worker_nodes}
    assert not ray.is_initialized(), "the connection that the search made ends with it"
    assert result.faults == {}


def test_a_wrong_address_is_a_clear_error():
    with pytest.raises(ExecutorError, match=r"cannot reach a Ray cluster at 127\.0\.0\.1:1: nothing listens there"):
        search(
            SPACE, RandomSearch(), Function(cluster_lab.where), trials=1, executor=RayExecutor(address="127.0.0.1:1")
        )


@pytest.mark.slow
def test_the_command_line_takes_an_address(cluster, tmp_path):
    command = [sys.executable, "-m", "archsearch.cli", "run", "--seed", "0", "--quiet"]
    command += ["--evaluator", "Function", "--evaluator.function", "cluster_lab.where_by_name"]
    command += ["--executor", "ray", "--workers", "4", "--address", cluster.address, "--resources.fast", "1"]
    command += ["--trials", "40", "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    resume = [sys.executable, "-m", "archsearch.cli", "resume", "run", "--trust", "--trials", "70", "--quiet"]
    done = subprocess.run(resume, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    trials = list(RunFolder(tmp_path / "run").trials(0))
    assert sorted(trial.id for trial in trials) == list(range(70))
    fast = {number_of(node) for node in cluster.worker_nodes if "fast" in node.get_resource_and_label_spec().resources}
    assert nodes_of(trials) == fast, "the resumed run is on the same cluster, too"


@pytest.mark.slow
def test_workers_are_placed_by_resources_and_those_without_a_place_wait(cluster):
    result = run(cluster, cluster_lab.where, trials=120, workers=7, executor={"resources": {"fast": 1}})
    fast = {number_of(node) for node in cluster.worker_nodes if "fast" in node.get_resource_and_label_spec().resources}
    assert len(fast) == 2
    assert nodes_of(result.history) == fast
    assert ids(result) == list(range(120))
    assert len({trial.worker for trial in result.history}) == 4, "there are no more places"
    assert result.faults == {}


# -- nodes that come and go ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_node_that_is_added_is_used(cluster):
    """The search ends early only if both places of the newcomer are used."""
    places = [add_node(cluster, {"growing": 1})]

    def grow(trial):
        if trial.id == 20:
            places.append(add_node(cluster, {"growing": 2}))
        if len(places) == 2 and trial.metrics["node"] == number_of(places[1]):
            newcomers.add(trial.worker)

    newcomers = set()
    controller = Until()
    controller.condition = lambda: len(newcomers) == 2
    try:
        result = run(
            cluster,
            cluster_lab.where,
            trials=5000,
            workers=3,
            executor={"resources": {"growing": 1}},
            on_trial=grow,
            controller=controller,
        )
    finally:
        for node in places:
            cluster.remove_node(node)
    assert result.stopped == "exhausted"
    assert len(newcomers) == 2, "both places of the new node are used"
    assert ids(result) == list(range(result.completed))
    assert {trial.worker for trial in result.history} == {0, 1, 2}
    assert result.faults == {}


class Until(RandomSearch):
    """Random search that ends when a condition holds."""

    condition = None

    @property
    def finished(self):
        return self.condition()


@pytest.mark.slow
@pytest.mark.usefixtures("_everyone")
@pytest.mark.parametrize("graceful", [False, True], ids=["killed", "ended"])
@pytest.mark.parametrize("settings", [{}, {"lag": 10}, {"batch": 4}], ids=str)
def test_a_node_that_is_removed_costs_only_what_was_pending_there(cluster, graceful, settings):
    nodes = [add_node(cluster, {"shrinking": 2}) for _ in range(2)]
    removed, processes = [], set()

    def shrink(trial):
        if trial.metrics["node"] == number_of(nodes[0]):
            processes.add(int(trial.metrics["process"]))
        if not removed and trial.id >= 20 and len(processes) == 2:
            if graceful:
                cluster.remove_node(nodes[0])
            else:
                lose_node(cluster, nodes[0], processes)
            removed.append(trial.id)

    try:
        result = run(
            cluster,
            cluster_lab.where,
            trials=150,
            workers=4,
            executor={"resources": {"shrinking": 1}},
            on_trial=shrink,
            retries={"worker_died": 0},  # the death of a node blames no trial
            **settings,
        )
    finally:
        for node in nodes[len(removed) :]:
            cluster.remove_node(node)
    assert removed
    assert (result.completed, result.failed) == (150, 0)
    assert ids(result) == list(range(150))
    assert result.faults.keys() <= {"node_died", "worker_died"}
    assert sum(result.faults.values()) >= 2, "both of its workers were lost"
    assert nodes_of(result.history) == {number_of(node) for node in nodes}
    late = [trial for trial in result.history if trial.id > removed[0] + 40]
    assert nodes_of(late) == {number_of(nodes[1])}


# -- stragglers ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("_everyone")
@pytest.mark.parametrize("settings", [{}, {"lag": 40}], ids=str)
def test_nothing_waits_behind_a_straggler(cluster, tmp_path, monkeypatch, settings):
    """The stragglers end only when all the others are done: a job that waited behind one would wait for itself."""
    monkeypatch.setattr("archsearch.executors.ray.queues.QUEUE_SECONDS", 0.04)
    done = []

    def count(trial):
        done.append(trial.id)
        if len(done) == 37:
            (tmp_path / "others-done").touch()

    evaluator = cluster_lab.Waiter(str(tmp_path), late=[0, 5, 12])
    result = run(cluster, evaluator, trials=40, workers=5, on_trial=count, **settings)
    assert (result.completed, result.failed) == (40, 0)
    assert sorted(done[-3:]) == [0, 5, 12]
    assert sorted(done) == list(range(40))
    waiting = {trial.worker for trial in result.history if trial.id in (0, 5, 12)}
    assert len(waiting) == 3
    assert {t.worker for t in result.history if t.id > 20} == set(range(5)) - waiting


@pytest.mark.slow
@pytest.mark.usefixtures("_everyone")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("hangs", "succeeds"),
        ("succeeds", "raises"),
        ("succeeds", "dies"),
        ("raises", "succeeds"),
        ("dies", "succeeds"),
        ("raises", "raises"),
    ],
)
@pytest.mark.parametrize(("late", "settings"), [(29, {}), (7, {"lag": 12})], ids=["end", "lag"])
def test_a_straggler_is_begun_twice_and_counted_once(cluster, tmp_path, monkeypatch, first, second, late, settings):
    """Whatever one of the two comes to, if the other succeeds; the one that is no good fails no trial."""
    note = Search._fault

    def hear(self, fault):
        note(self, fault)
        (tmp_path / "heard").touch()

    monkeypatch.setattr(Search, "_fault", hear)
    evaluator = cluster_lab.BegunTwice(str(tmp_path), [late], first, second)
    settings = {"retries": {"exception": 0, "worker_died": 0}, **settings}
    result = run(cluster, evaluator, trials=30, workers=6, executor={"speculate": 3.0}, **settings)
    trials = {trial.id: trial for trial in result.history}
    assert (tmp_path / f"{late}-begun-2").exists(), "it was not begun twice: this test shows nothing"
    assert len(list(result.history)) == len(trials) == result.completed + result.failed
    assert result.completed == 30
    begun = [cluster_lab.lines(tmp_path / f"{late}-begun-{nth}") for nth in (1, 2)]
    (process, node), (other_process, other_node) = begun
    assert process != other_process
    assert node != other_node, "a whole node may be slow"
    if first == second:
        assert [id_ for id_, trial in trials.items() if trial.failure] == [late]
    else:
        assert result.failed == 0
        assert trials[late].metrics["process"] == begun[second == "succeeds"][0]
    assert result.cost.device_seconds == 30
    assert not (tmp_path / f"{late}-ended").exists(), "the search waited for the one that hangs"
    kinds = {"raises": "exception", "dies": "worker_died"}
    assert result.faults == Counter(kinds[how] for how in (first, second) if how in kinds)


@pytest.mark.slow
@pytest.mark.usefixtures("_everyone")
def test_what_waits_behind_a_straggler_is_begun_elsewhere_too(cluster, tmp_path, monkeypatch):
    """Short evaluations do wait in queues; a machine that hangs keeps none of them."""
    behind = []
    begin_twice = RayExecutor._begin_twice

    def observe(executor, reference, idle):
        worker = executor._live[reference].worker
        behind.append(executor._queues[worker].index(reference))
        begin_twice(executor, reference, idle)

    monkeypatch.setattr(RayExecutor, "_begin_twice", observe)
    evaluator = cluster_lab.BegunTwice(str(tmp_path), [20], "hangs", "succeeds")
    result = run(cluster, evaluator, trials=60, workers=3, executor={"speculate": 3.0})
    assert ids(result) == list(range(60))
    assert result.completed == 60
    assert result.cost.device_seconds == 60
    assert 1 in behind, "nothing waited: this test shows nothing"
    assert not (tmp_path / "20-ended").exists(), "the search waited for the one that hangs"


@pytest.mark.slow
@pytest.mark.usefixtures("_everyone")
@pytest.mark.parametrize("settings", [{}, {"lag": 8}, {"batch": 3}], ids=str)
def test_workers_that_are_late_at_an_advance_are_replaced(cluster, tmp_path, settings):
    evaluator = cluster_lab.BegunTwice(str(tmp_path), [7, 16, 31], "hangs", "succeeds", interval=12)
    result = run(cluster, evaluator, trials=50, workers=4, executor={"speculate": 3.0}, **settings)
    assert (result.completed, result.failed) == (50, 0)
    assert ids(result) == list(range(50))
    assert not list(tmp_path.glob("*-ended")), "the search waited for one that hangs"
    for position, trial in enumerate(result.history):
        assert trial.metrics["version"] == position // 12
    assert result.cost.device_seconds == 50


def test_speculation_is_refused_for_evaluators_that_keep_files():
    evaluator = cluster_lab.KeepsFiles()
    with pytest.raises(UsageError, match="speculate: KeepsFiles keeps files"):
        search(SPACE, RandomSearch(), evaluator, trials=1, executor=RayExecutor(speculate=2.0))
    with pytest.raises(UsageError, match="above 1"):
        RayExecutor(speculate=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_mixture_of_everything_loses_nothing(cluster, tmp_path, seed):
    settings = [{}, {"lag": 20}, {"batch": 5}, {"lag": 7, "batch": 2}, {"timeout": 0.12}, {"batch": 16}][seed]
    evaluator = cluster_lab.Mixture(str(tmp_path), interval=97 if seed % 2 else 0)
    settings |= {"retries": {"exception": 2, "worker_died": 2, "timeout": 1}, "max_failures": 99, "seed": seed}
    result = run(cluster, evaluator, trials=500, workers=5, executor={"speculate": 1.5}, **settings)
    trials = list(result.history)
    assert result.completed == 500
    assert len({trial.id for trial in trials}) == len(trials) == result.completed + result.failed
    assert result.cost.device_seconds == 500
    assert {trial.failure for trial in trials} <= {"", "timeout"}
    assert result.faults["worker_died"] >= 1
    assert result.faults["exception"] >= 1


# -- the object store ------------------------------------------------------------------------------


def store(cluster):
    """Facts about all nodes' object stores."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    return get_memory_info_reply(get_state_from_address(cluster.address)).store_stats


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0, 100])
def test_the_object_store_does_not_fill(cluster, interval):
    """Two versions of 8 MiB at a time and the copies of them, not one for each search, nor for each of 54 advances.

    Ray deletes what nobody refers to a second or more later; copies that were made for a node may go at any time.
    """
    import ray

    referred, executors = [], []
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")  # one driver for all
    try:
        for seed in range(6):
            executors.append(RayExecutor(4))
            result = search(
                SPACE,
                RandomSearch(),
                cluster_lab.Large(8, interval),
                trials=1000,
                seed=seed,
                executor=executors[-1],
                on_trial=lambda trial: trial.id % 50 or referred.append(store(cluster).object_store_bytes_primary_copy),
            )
            assert result.completed == 1000
            versions = {trial.metrics["version"] for trial in result.history}
            assert versions == (set(map(float, range(10))) if interval else {0.0})
            end = time.monotonic() + 30
            while store(cluster).object_store_bytes_used > 2**20 and time.monotonic() < end:
                time.sleep(0.2)
            assert store(cluster).object_store_bytes_used <= 2**20, "what a search has put there goes with it"
    finally:
        ray.shutdown()
    assert len(referred) == 120
    assert min(referred) >= 8 * 2**20, "the evaluator is not in the store: this test shows nothing"
    assert max(referred) <= 3 * 8 * 2**20 + 2**20
