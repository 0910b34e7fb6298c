"""Evaluators that misbehave in some forty ways, in the local worker process and on Ray: the same outcome everywhere."""

import os
import random
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])

from misbehaving_lab import DIED, EXPECTED, MEMORY, SPACE, TIMEOUT, WAYS, Misbehaving  # noqa: E402

from archsearch import LocalExecutor, RayExecutor, SimulatedExecutor, search  # noqa: E402
from archsearch.history import RunFolder  # noqa: E402
from archsearch.scoring import Listed  # noqa: E402

SECONDS = 1.0
"""The time-out: what does not hang takes microseconds."""
HARMLESS_IN_PROCESS = [
    way
    for way, (kind, _) in EXPECTED.items()
    if kind not in (DIED, TIMEOUT) and not way.startswith(("returns_what", "leaves_", "closes_", "prints_"))
]


def outcomes(ways, folder, executor, **settings):
    """Each way between two innocents; the trials by id."""
    rng = random.Random(0)
    architectures = [[rng.randrange(5) for _ in range(6)] for _ in range(2 * len(ways) + 1)]
    search(
        SPACE,
        Listed(architectures),
        Misbehaving(list(ways)),
        trials=10_000,
        seed=0,
        executor=executor,
        retries={"worker_died": 1, "out_of_memory": 0},
        max_failures=100,
        out=folder,
        **settings,
    )
    trials = {trial.id: trial for trial in RunFolder(folder).trials(0)}
    assert sorted(trials) == list(range(len(architectures))), "nothing is lost, nothing is there twice"
    for i, architecture in enumerate(architectures):
        if i % 2 == 0:
            assert trials[i].score == float(sum(architecture)), "an innocent trial completes"
    return trials


def check(trials, ways, record_property, how, expected=EXPECTED):
    found = {way: trials[2 * k + 1] for k, way in enumerate(ways)}
    for way, trial in found.items():
        shown = {"fault": way.replace("_", " "), "how": how, "faults counted": trial.failure or "none"}
        counts = {"asked": 1, "completed": int(not trial.failure), "failed": int(bool(trial.failure))}
        record_property("fault matrix", shown | counts | {"lost": 0, "twice": 0})
    assert {way: trial.failure for way, trial in found.items()} == {way: expected[way][0] for way in ways}
    tries = {way: trial.attempts for way, trial in found.items() if trial.failure}
    assert tries == {way: 2 if expected[way][0] == DIED else 1 for way in tries}, "each kind by its policy"
    return found


def test_misbehaviours_in_the_worker_process(tmp_path, record_property):
    trials = outcomes(WAYS, tmp_path / "r", "local", timeout=SECONDS)
    found = check(trials, WAYS, record_property, "local, worker process")
    for way, (_, text) in EXPECTED.items():
        assert text in found[way].error, way


def test_misbehaviours_in_this_process(tmp_path, record_property):
    """Only those that in-process evaluation promises to survive."""
    assert len(HARMLESS_IN_PROCESS) > 10
    trials = outcomes(HARMLESS_IN_PROCESS, tmp_path / "r", "local")
    check(trials, HARMLESS_IN_PROCESS, record_property, "local, in process")


def test_misbehaviours_on_the_simulated_executor(tmp_path, record_property):
    trials = outcomes(HARMLESS_IN_PROCESS, tmp_path / "r", SimulatedExecutor(3))
    check(trials, HARMLESS_IN_PROCESS, record_property, "simulated, in process")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_misbehaviours_on_ray(tmp_path, record_property, monkeypatch):
    import ray

    monkeypatch.setattr("archsearch.ray_executor.GRACE_SECONDS", 0.5)
    # Ray hears of a worker's death by its connection.
    expected = EXPECTED | {"dies_while_a_child_holds_the_connection": (TIMEOUT, "")}
    try:
        trials = outcomes(WAYS, tmp_path / "r", RayExecutor(3), timeout=SECONDS)
        check(trials, WAYS, record_property, "Ray", expected)
    finally:
        ray.shutdown()


def test_memory_is_limited_in_the_worker_process(tmp_path):
    trials = outcomes(["raises", "fills_memory"], tmp_path / "r", LocalExecutor(memory_gib=1.0))
    assert [trials[i].failure for i in (1, 3)] == ["exception", MEMORY]
    assert "MemoryError" in trials[3].error
