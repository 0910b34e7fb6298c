"""The fault matrix, machines: a node of the cluster leaves, the head is lost."""

import contextlib
import json
import subprocess
import sys

import pytest
from fault_lab import SPACE, Causing
from fault_matrix_lab import SETTINGS, check, environment, finish, journaled, path, trials_of, wait_for

from archsearch import RayExecutor, search
from archsearch.controllers import RegularizedEvolution
from archsearch.keeping.folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@contextlib.contextmanager
def cluster_of(*cpus):
    """A cluster whose head has no worker's place, and nodes with these CPUs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=each) for each in cpus]
        yield cluster, nodes
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_node_removed(row, no_ray, tmp_path):
    row(fault="node removed", how="Ray, 2 of 4 workers on it")
    with cluster_of(2, 2) as (cluster, (_, second)):

        def remove(trial):
            if len(seen) == 60:
                cluster.remove_node(second, allow_graceful=False)
            seen.append(trial.worker)

        seen = []
        executor = RayExecutor(4, address=cluster.address)
        result = search(
            SPACE,
            RegularizedEvolution(20, 5),
            Causing({}, tmp_path, 0.03),
            trials=400,
            executor=executor,
            out=tmp_path / "r",
            on_trial=remove,
            **SETTINGS,
        )
        import ray

        ray.shutdown()
    assert len(set(seen[:60])) == 4
    check(row, tmp_path / "r", 400, {"node_died": 2})
    assert (result.failed, result.faults) == (0, {"node_died": 2})
    assert any(trial.attempts > 1 for trial in result.history)
    assert all((trial.attempts > 1) == (trial.lost_seconds > 0) for trial in result.history), "each lost try is billed"


@pytest.mark.slow
@pytest.mark.parametrize("again", ["local", "ray"])
def test_head_lost(again, row, no_ray, tmp_path):
    row(fault="head node lost", how=f"Ray cluster; resumed on {'a new cluster' if again == 'ray' else 'this machine'}")
    command = [sys.executable, "-m", "archsearch.cli"]
    options = ["--evaluator", "fault_lab.Causing", "--evaluator.causes", "{}", "--evaluator.folder", str(tmp_path)]
    options += ["--evaluator.seconds", "0.02", "--space", "Choices", "--space.decisions", CHOICES]
    begin = [*command, "run", *options, "--seed", "0", "--trials", "50000", "--quiet", "--out", "run"]
    with cluster_of(2) as (cluster, _):
        begin += ["--executor", "ray", "--workers", "2", "--address", cluster.address]
        driver = subprocess.Popen(
            begin, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: len(journaled(tmp_path / "run")) > 100, driver)
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        _, error = driver.communicate(timeout=60)  # Ray itself would end it after as long, with another message
    assert driver.returncode == 1
    assert "has been out of reach for 20 s" in error
    assert "resume" in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    before = trials_of(tmp_path / "run")
    total = str(len(before) + 200)
    resumed = [*command, "resume", "run", "--trust", "--trials", total, "--quiet"]
    with contextlib.ExitStack() as stack:
        if again == "ray":
            cluster, _ = stack.enter_context(cluster_of(2))
            resumed += ["--executor", "ray", "--workers", "2", "--address", cluster.address]
        else:
            resumed += ["--executor", "local"]
        done = finish(resumed, tmp_path)
    assert done.returncode == 0, done.stderr
    after = check(row, tmp_path / "run", int(total))
    assert path(after[: len(before)]) == path(before)
    assert "driver_died" not in RunFolder(tmp_path / "run").faults(), "it ended in order"


CHOICES = json.dumps({name: [0, 1, 2, 3, 4] for name in "abcdefgh"})
