"""The search loop, beyond ``test_loop.py``: whole tables, extended parallel runs, the simulated clock after faults."""

import numpy as np
import pytest

from archsearch import Evaluation, Evaluator, Space, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import TooManyFailures
from archsearch.evaluators import Function, Tabular
from archsearch.executors.simulated import SimulatedExecutor
from archsearch.keeping import history
from archsearch.keeping.columns import RESERVED_COLUMNS
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.history import History
from archsearch.spaces import NASBench201
from archsearch.trial import Cost

SPACE = Space(arities=[4, 3, 5, 2])


class Uneven(Evaluator):
    """Costs of 1 to 3 seconds (many ties), a metric that is sometimes missing, one architecture in three fails."""

    def evaluate(self, architecture, seed):
        if sum(architecture) % 3 == 0:
            raise ValueError("no such layer")
        metrics = {"odd": float(seed % 10)} if seed % 2 else {"even": 1.0}
        return Evaluation(sum(architecture) + seed % 100 / 100, metrics, Cost(device_seconds=1.0 + seed % 3))


def run(executor="simulated", workers=9, controller=None, evaluator=None, **settings):
    settings = {"seed": 0, "max_failures": 99, "trials": 200, **settings}
    controller = controller or RegularizedEvolution(10, 3)
    return search(SPACE, controller, evaluator or Uneven(), executor=executor, workers=workers, **settings)


def path(trials):
    return [(t.id, t.architecture, t.parent, t.score) for t in trials]


def most_at_once(trials):
    """How many of the trials ran at the same (virtual) time."""
    events = [(t.started, 1) for t in trials] + [(t.started + t.seconds, -1) for t in trials]
    running = most = 0
    for _, change in sorted(events):
        running += change
        most = max(most, running)
    return most


# -- tables --------------------------------------------------------------------------------------


def test_table_of_several_parts_equals_the_one_in_memory(tmp_path, monkeypatch):
    whole = run().history
    monkeypatch.setattr(history, "PART_ROWS", 17)
    on_disk, in_parts = run(out=tmp_path / "r").history, run().history
    rows = whole.table().to_pylist()
    assert len(list((tmp_path / "r" / "trials").glob("part-*"))) > 10
    assert {row["status"] for row in rows} == {"completed", "failed"}
    assert {row["odd"] is None for row in rows} == {row["even"] is None for row in rows} == {True, False}
    assert on_disk.table().to_pylist() == in_parts.table().to_pylist() == rows
    assert list(on_disk) == list(in_parts) == list(whole)


@pytest.mark.parametrize("on_disk", [False, True])
def test_numbers_of_numpy_are_kept_as_plain_numbers(on_disk, tmp_path):
    class Numpy(Evaluator):
        def evaluate(self, architecture, seed):
            cost = Cost(device_seconds=np.float32(2.0))
            return Evaluation(np.float32(0.5), {"size": np.int64(3)}, cost)

    result = run("local", 1, evaluator=Numpy(), trials=5, out=tmp_path / "r" if on_disk else None)
    assert (result.completed, result.best.score, result.cost.device_seconds) == (5, 0.5, 10.0)
    for trial in result.history:
        assert [type(n) for n in (trial.score, trial.metrics["size"], trial.cost.device_seconds)] == [float] * 3


@pytest.mark.parametrize(
    ("evaluation", "text"),
    [
        *((Evaluation(0.5, {name: 9.0}), f"rename the metrics {name}") for name in sorted(RESERVED_COLUMNS)),
        (Evaluation(0.5, {"size": "large"}), "expected a number as metric 'size', got 'large'"),
        (Evaluation(0.5, {"size": None}), "expected a number as metric 'size', got None"),
        (Evaluation(0.5, [1.0]), "expected a mapping as metrics and a Cost, got list and Cost"),
        (Evaluation(0.5, {}, 3.0), "expected a mapping as metrics and a Cost, got dict and float"),
        (Evaluation("high"), "expected a number as score, got 'high'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_evaluation_that_the_history_cannot_hold_is_a_failed_trial(evaluation, text, tmp_path):
    class Wrong(Evaluator):
        def evaluate(self, architecture, seed):
            return evaluation

    with pytest.raises(TooManyFailures) as caught:
        run("local", 1, evaluator=Wrong(), max_failures=3, out=tmp_path / "r")
    assert text in str(caught.value)
    assert [trial.failure for trial in RunFolder(tmp_path / "r").trials(0)] == ["exception"] * 3


# -- resume --------------------------------------------------------------------------------------


@pytest.mark.parametrize("controller", [RandomSearch(), RegularizedEvolution(10, 3)], ids=["random", "evolution"])
@pytest.mark.parametrize("duplicates", ["evaluate", "reuse"])
@pytest.mark.parametrize(("workers", "lag"), [(1, None), (1, 3), (6, 3), (6, 6)])
def test_extended_simulated_run_equals_an_uninterrupted_one(controller, duplicates, workers, lag, tmp_path):
    """One worker, or a lag, makes the path independent of the workers that ran dry at the end."""
    arguments = {"seed": 1, "executor": "simulated", "workers": workers, "lag": lag, "duplicates": duplicates}
    whole = search(NASBench201(), controller, Tabular(), trials=150, **arguments)
    search(NASBench201(), controller, Tabular(), trials=60, out=tmp_path / "r", **arguments)
    resumed = resume(tmp_path / "r", trials=150)
    assert sorted(path(resumed.history)) == sorted(path(whole.history))


@pytest.mark.parametrize(
    ("first", "then"),
    [({"max_seconds": 21.5}, {"max_seconds": 60.0}), ({"max_cost": 150.0}, {"max_cost": 400.0})],
    ids=["max_seconds", "max_cost"],
)
@pytest.mark.parametrize("lag", [None, 4])
def test_a_run_stopped_with_trials_pending_goes_on_as_if_it_had_not(first, then, lag, tmp_path):
    whole = run(trials=None, lag=lag, **then)
    stopped = run(trials=None, lag=lag, out=tmp_path / "r", **first)
    assert stopped.stopped == next(iter(first))
    resumed = resume(tmp_path / "r", evaluator=Uneven(), **then)
    assert resumed.completed > stopped.completed
    # Pending trials are dealt to the workers anew, so only the workers' numbers may differ.
    unnumbered = [[t._replace(worker=0) for t in result.history] for result in (resumed, whole)]
    assert unnumbered[0] == unnumbered[1], "times included"
    assert (resumed.best.id, resumed.cost, resumed.seconds) == (whole.best.id, whole.cost, whole.seconds)


def test_a_parallel_run_goes_on_locally_with_the_trials_that_were_pending(tmp_path):
    ten = Function(lambda options: {"score": float(sum(options)), "cost": 10.0})
    run(workers=4, evaluator=ten, trials=None, max_seconds=25.0, out=tmp_path / "r")
    resumed = resume(tmp_path / "r", evaluator=ten, executor="local", workers=1, max_seconds=1e6, trials=30)
    assert sorted(trial.id for trial in resumed.history) == list(range(30))


@pytest.mark.parametrize("finished", [0, 12])
def test_resumes_that_are_killed_themselves_block_nothing(finished, tmp_path, monkeypatch):
    """Killed, and killed again in each of three resumes: before, or while, what was replayed becomes a part."""

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    def kill_after(trials):
        waits = iter(range(trials))
        wait = SimulatedExecutor.wait
        return lambda self, until: wait(self, until) if next(waits, None) is not None else kill()

    whole = run()
    with monkeypatch.context() as patch:
        patch.setattr(History, "close", lambda self, state: self.folder._lock.close())
        patch.setattr(SimulatedExecutor, "wait", kill_after(finished))
        with pytest.raises(Killed):
            run(out=tmp_path / "r")
        patch.setattr(SimulatedExecutor, "wait", kill)
        patch.setattr(RunFolder, "write_part", kill)
        for _ in range(3):
            with pytest.raises(Killed):
                resume(tmp_path / "r", evaluator=Uneven())
    assert path(resume(tmp_path / "r", evaluator=Uneven()).history) == path(whole.history)


# -- the simulated clock ---------------------------------------------------------------------------


def test_failures_do_not_make_the_simulated_path_depend_on_real_time():
    runs = [run() for _ in range(4)]
    assert runs[0].failed > 20
    assert all(list(other.history) == list(runs[0].history) for other in runs[1:])


def test_a_simulated_retry_takes_its_time_again():
    slow = Function(lambda options: {"score": 1.0, "cost": 100.0 if sum(options) % 4 == 0 else 1.0})
    settings = {"workers": 1, "evaluator": slow, "trials": 20, "controller": RandomSearch(), "timeout": 10.0}
    result = run(retries={"timeout": 2}, **settings)
    failed = [trial for trial in result.history if trial.failure]
    assert {(trial.failure, trial.attempts) for trial in failed} == {("timeout", 3)}
    assert result.seconds == 20 * 1 + 3 * 10 * len(failed)
    assert run(**settings).seconds == 20 * 1 + 10 * len(failed)


@pytest.mark.parametrize(("before", "after"), [(8, 2), (2, 8)])
def test_resumed_with_another_number_of_workers_it_has_that_many(before, after, tmp_path):
    ten = Function(lambda _: {"score": 1.0, "cost": 10.0})
    run(workers=before, evaluator=ten, trials=None, max_seconds=25.0, out=tmp_path / "r")
    resumed = resume(tmp_path / "r", evaluator=ten, workers=after, max_seconds=200.0)
    trials = list(resumed.history)
    assert most_at_once([trial for trial in trials if trial.started < 25]) == before
    assert most_at_once([trial for trial in trials if trial.started >= 40]) == after
    assert {trial.worker for trial in trials if trial.started >= 40} == set(range(after))
