"""Evaluators that misbehave in some forty ways, in the local worker process and on Ray: the same outcome everywhere."""

import os
import random
import signal
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

from misbehaving_lab import DIED, EXPECTED, MEMORY, SPACE, TIMEOUT, WAYS, Misbehaving  # noqa: E402

from archsearch import Evaluation, Evaluator, LocalExecutor, RayExecutor, SimulatedExecutor, search  # noqa: E402
from archsearch.controllers import RandomSearch  # noqa: E402
from archsearch.errors import ArchsearchError  # noqa: E402
from archsearch.keeping.folder import RunFolder  # noqa: E402
from archsearch.running.scoring import Listed  # noqa: E402

SECONDS = 0.5
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


def table(ways, folder, record_property, how, make, expected=EXPECTED):
    """What became of the ways to misbehave; those that hang in a search of their own, whose time-out is short."""
    found = {}
    for name, seconds in (("hang", SECONDS), ("rest", 60.0)):
        some = [way for way in ways if (expected[way][0] == TIMEOUT) == (name == "hang")]
        if some:
            timeout = None if how.endswith("in process") else seconds
            trials = outcomes(some, folder / name, make(), timeout=timeout)
            found |= {way: trials[2 * k + 1] for k, way in enumerate(some)}
    for way, trial in found.items():
        shown = {"fault": way.replace("_", " "), "how": how, "faults counted": trial.failure or "none"}
        counts = {"asked": 1, "completed": int(not trial.failure), "failed": int(bool(trial.failure))}
        record_property("fault matrix", shown | counts | {"lost": 0, "twice": 0})
    assert {way: trial.failure for way, trial in found.items()} == {way: expected[way][0] for way in ways}
    tries = {way: trial.attempts for way, trial in found.items() if trial.failure}
    assert tries == {way: 2 if expected[way][0] == DIED else 1 for way in tries}, "each kind by its policy"
    return found


def test_misbehaviours_in_the_worker_process(tmp_path, record_property):
    found = table(WAYS, tmp_path, record_property, "local, worker process", LocalExecutor)
    for way, (_, text) in EXPECTED.items():
        assert text in found[way].error, way


def test_misbehaviours_in_this_process(tmp_path, record_property):
    """Only those that in-process evaluation promises to survive."""
    assert len(HARMLESS_IN_PROCESS) > 10
    table(HARMLESS_IN_PROCESS, tmp_path, record_property, "local, in process", LocalExecutor)


def test_misbehaviours_on_the_simulated_executor(tmp_path, record_property):
    table(HARMLESS_IN_PROCESS, tmp_path, record_property, "simulated, in process", lambda: SimulatedExecutor(3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_misbehaviours_on_ray(tmp_path, record_property, monkeypatch):
    import ray

    monkeypatch.setattr("archsearch.executors.ray.executor.GRACE_SECONDS", 0.5)
    # A batch with a result that cannot be read is evaluated again; the descriptors are Ray's own.
    ways = [way for way in WAYS if way not in ("closes_its_output", "writes_into_every_file_descriptor")]
    # Ray hears of a worker's death by its connection.
    expected = EXPECTED | {"dies_while_a_child_holds_the_connection": (TIMEOUT, "")}
    try:
        table(ways, tmp_path, record_property, "Ray", lambda: RayExecutor(3), expected)
    finally:
        ray.shutdown()


def test_memory_is_limited_in_the_worker_process(tmp_path):
    trials = outcomes(["raises", "fills_memory"], tmp_path / "r", LocalExecutor(memory_gib=1.0))
    assert [trials[i].failure for i in (1, 3)] == ["exception", MEMORY]
    assert "MemoryError" in trials[3].error


@pytest.mark.parametrize("method", ["prepare", "advance"])
def test_sys_exit_in_one_off_work_is_an_error_that_says_who(method, tmp_path):
    class Exits(Evaluator):
        interval = 2

        def evaluate(self, architecture, seed):
            return Evaluation(1.0)

    setattr(Exits, method, lambda self, *_: sys.exit(0))
    with pytest.raises(ArchsearchError, match=rf"Exits.{method}: it called sys.exit\(0\)"):
        search(SPACE, RandomSearch(), Exits(), trials=5, seed=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_asks_the_process_to_end_is_no_failed_trial(number):
    """The user's own handler, as cluster schedulers need it; Ctrl-C is the search's."""

    class Signalled(Evaluator):
        def evaluate(self, architecture, seed):
            signal.raise_signal(number)
            return Evaluation(1.0)

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    try:
        if number == signal.SIGTERM:
            with pytest.raises(SystemExit):
                search(SPACE, RandomSearch(), Signalled(), trials=5, seed=0)
        else:
            result = search(SPACE, RandomSearch(), Signalled(), trials=5, seed=0)
            assert (result.stopped, result.completed, result.failed) == ("interrupted", 0, 0)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_errors_of_torch_about_memory_are_of_that_kind():
    import torch

    class Large(Evaluator):
        def evaluate(self, architecture, seed):
            torch.empty(1 << 50)

    result = search(SPACE, Listed([[0] * 6]), Large(), trials=5, seed=0)
    assert result.faults == {"out_of_memory": 2}
