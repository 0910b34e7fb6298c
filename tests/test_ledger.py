"""Every try is billed and counted: also those that failed, and those before a kill."""

import signal
import types
from pathlib import Path

import forked
import ledger_lab
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archsearch import Cost, Evaluation, Evaluator, Space, cli, resume, search
from archsearch.controllers import RandomSearch
from archsearch.executors import evaluating, executor
from archsearch.executors import local as local_executor
from archsearch.executors.ray.executor import RayExecutor
from archsearch.executors.ray.queues import Batch
from archsearch.keeping import history
from archsearch.keeping.columns import LOST, table_to_trials, trials_to_table
from archsearch.keeping.events import event_to_trial, trial_to_event
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.history import History
from archsearch.keeping.ledger import billed_seconds, ends, total_cost
from archsearch.trial import Trial

SPACE = Space(arities=[4, 3, 5, 2])
TESTS = Path(__file__).parent


class Killed(BaseException):
    """Ends a search at once, as a kill does: only what is in the journal counts."""


class Flaky(Evaluator):
    """Fails as often as it is told, and notes what each try took by a clock that only it moves.

    Args:
        failures: Of each trial in turn, the kinds of its first tries.
        kill_at: Number of the try before which the search is killed.
        device: Whether it bills device seconds, twice the wall seconds, where it succeeds.
    """

    def __init__(self, failures=((),), kill_at=None, device=False):
        self.failures, self.kill_at, self.device = failures, kill_at, device
        self.tries, self.bill, self.clock = {}, 0.0, 0.0
        self.wall, self.killed = 0.0, False

    def kill_if_due(self):
        if self.kill_at == sum(self.tries.values()) and not self.killed:
            self.killed = True
            raise Killed

    def evaluate_query(self, query):
        number = self.tries.get(query.id, 0)
        self.tries[query.id] = number + 1
        seconds = 0.25 * (1 + (query.id + number) % 4)  # sums of these are exact
        self.clock += seconds
        self.wall += seconds
        kinds = self.failures[query.id % len(self.failures)]
        if number < len(kinds):
            self.bill += seconds
            if kinds[number] == "invalid_score":
                return Evaluation(float("nan"))
            raise MemoryError if kinds[number] == "out_of_memory" else ValueError
        self.bill += 2 * seconds if self.device else seconds
        return Evaluation(float(query.id), cost=Cost(device_seconds=2 * seconds) if self.device else Cost())


@pytest.fixture
def clock(monkeypatch):
    """Has the executors measure by the clock of an evaluator, and be killed before a try where it says so."""
    wait = local_executor.LocalExecutor.wait

    def attach(evaluator):
        def wait_or_die(self, until):
            evaluator.kill_if_due()
            return wait(self, until)

        monkeypatch.setattr(local_executor.LocalExecutor, "wait", wait_or_die)
        read = lambda: evaluator.clock  # noqa: E731
        for module in (evaluating, local_executor):
            monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=read, monotonic=read))
        return evaluator

    return attach


RETRIES = {"exception": 3, "invalid_score": 3, "out_of_memory": 3}


def run(evaluator, **options):
    options = {"trials": 8, "seed": 0, "retries": RETRIES} | options
    return search(SPACE, RandomSearch(), evaluator, **options)


def check_adds_up(result, evaluator):
    """Result, trials, table and folder agree with what the evaluator has noted."""
    assert result.cost.billed_seconds == evaluator.bill
    assert result.cost.wall_seconds == evaluator.wall
    assert sum(trial.cost.billed_seconds for trial in result.history) == evaluator.bill
    assert {trial.id: trial.attempts for trial in result.history} == evaluator.tries
    table = result.history.table()
    assert billed_seconds(table).sum() == evaluator.bill
    assert total_cost(table) == result.cost
    assert (np.sort(ends(table)) == ends(table)).all()


def test_the_failed_tries_of_a_trial_are_billed_and_stop_a_search(clock):
    evaluator = clock(Flaky([["exception", "exception"]]))
    result = run(evaluator)
    assert result.completed == 8
    assert result.faults == {"exception": 16}
    check_adds_up(result, evaluator)
    evaluator = clock(Flaky([["exception", "exception"]]))
    result = run(evaluator, trials=None, max_cost=5.0)
    assert result.stopped == "max_cost"
    assert 5.0 <= result.cost.billed_seconds < 5.0 + 1.0, "within one try"
    check_adds_up(result, evaluator)


@pytest.mark.parametrize("limit", ["max_cost", "max_seconds"])
def test_what_fails_when_the_budget_is_used_up_is_not_tried_again(limit, clock):
    evaluator = clock(Flaky([["exception"] * 3]))
    result = run(evaluator, trials=None, **{limit: 0.5})
    assert result.stopped == limit
    assert (result.completed, result.failed) == (0, 1)
    assert evaluator.tries == {0: 2}
    check_adds_up(result, evaluator)


kinds = st.lists(st.sampled_from(["exception", "invalid_score", "out_of_memory"]), max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(kinds, min_size=1, max_size=5),
    st.booleans(),
    st.none() | st.integers(0, 20),
    st.sampled_from([None, 6.0]),
    st.sampled_from([3, 20_000]),
)
def test_the_bill_is_the_sum_of_all_tries_across_a_kill(
    clock, monkeypatch, tmp_path_factory, failures, device, kill_at, max_cost, rows
):
    monkeypatch.setattr(history, "PART_ROWS", rows)
    evaluator = clock(Flaky(failures, kill_at, device))
    folder = tmp_path_factory.mktemp("run") / "r"
    ends_by_itself = all(len(each) < 4 for each in failures)
    options = {"max_failures": 100, "trials": 8 if ends_by_itself else None}
    options["max_cost"] = max_cost if ends_by_itself else 6.0
    try:
        result = run(evaluator, out=folder, **options)
    except Killed:
        evaluator.clock += 100.0  # what passed meanwhile is no part of the run's clock
        result = resume(folder, evaluator=evaluator)
    check_adds_up(result, evaluator)
    if options["max_cost"] is not None:
        assert result.cost.billed_seconds < options["max_cost"] + 2.0, "the last try takes at most 1 s, or 2 of device"
    state = RunFolder(folder).pending_cost()
    assert state == Cost()


def test_simulated_failures_bill_nothing_and_time_outs_their_virtual_seconds():
    class Recorded(Evaluator):
        def evaluate_query(self, query):
            tries[query.id] = tries.get(query.id, 0) + 1
            if query.id % 3 == 0 and tries[query.id] < 3:
                raise ValueError
            long = query.id % 3 == 1 and tries[query.id] < 2
            return Evaluation(1.0, cost=Cost(recorded_seconds=50.0 if long else 4.0))

    results = []
    for _ in range(2):
        tries = {}
        results.append(
            run(Recorded(), executor="simulated", workers=2, timeout=8.0, retries={"exception": 3, "timeout": 3})
        )
        result = results[-1]
        assert result.completed == 8
        late = result.faults["timeout"]
        assert result.cost.failed_seconds == 8.0 * late > 0
        assert result.cost.recorded_seconds == 4.0 * 8
        assert result.cost.billed_seconds == 4.0 * 8 + 8.0 * late
        assert total_cost(result.history.table()) == result.cost
    assert list(results[0].history) == list(results[1].history), "no real time is in it"


def test_the_history_keeps_what_earlier_tries_cost(tmp_path):
    trials = [
        Trial(0, (0, 0, 0, 0), None, Evaluation(1.0), 0, 2.0, 0.5, 0, 3, lost_seconds=1.5),
        Trial(1, (0, 0, 0, 1), None, None, 0, 3.0, 0.5, 0, 2, "exception", "no", lost_seconds=0.25),
        Trial(2, (0, 0, 0, 1), None, Evaluation(1.0, cost=Cost(device_seconds=4.0)), 0, 3.5, 0.5),
    ]
    for trial in trials:
        assert event_to_trial(trial_to_event(trial), 0)._replace(seed=0) == trial
    table = trials_to_table(trials, SPACE)
    assert [trial._replace(seed=0) for trial in table_to_trials(table, 0)] == trials
    assert table["wall_seconds"].to_pylist() == [2.0, 0.75, 0.5]
    assert table[LOST].to_pylist() == [1.5, 0.25, 0.0]
    assert billed_seconds(table).tolist() == [2.0, 0.75, 4.0] == [trial.cost.billed_seconds for trial in trials]
    assert ends(table).tolist() == [2.5, 3.5, 4.0]
    assert total_cost(table) == sum((trial.cost for trial in trials), Cost())


def test_folders_of_before_are_read(clock, tmp_path):
    """Version 0.1.0 kept neither the cost of earlier tries nor a sum of it."""
    evaluator = clock(Flaky())
    run(evaluator, out=tmp_path / "r")
    (part,) = (tmp_path / "r" / "trials").glob("part-*.parquet")
    pq.write_table(pq.read_table(part).drop_columns([LOST]), part)
    table = RunFolder(tmp_path / "r").table(SPACE)
    assert total_cost(table).billed_seconds == evaluator.bill
    assert cli.main(["report", str(tmp_path / "r")]) == 0
    assert [trial.lost_seconds for trial in RunFolder(tmp_path / "r").trials(0)] == [0.0] * 8
    event = ["t", 5, [0, 0, 0, 0], None, 1.0, 0.5, 0, 2, "exception", "no"]
    assert event_to_trial(event, 0).lost_seconds == 0.0
    assert Cost(*[1.0] * 6) == Cost(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0)


def test_report_and_status_add_up_with_the_result(clock, tmp_path, capsys):
    evaluator = clock(Flaky([["exception"], []]))
    result = run(evaluator, out=tmp_path / "r")
    for command in ("report", "status"):
        assert cli.main([command, str(tmp_path / "r")]) == 0
        said = capsys.readouterr().out
        assert (
            f"{result.cost.wall_seconds:.3g} s on the run's clock, {result.cost.failed_seconds:.3g} s of it in" in said
        )


def test_tries_before_a_kill_9_are_billed_and_counted(tmp_path):
    """The third try of trial 2 kills its own process, which is the search's: the two before are not forgotten."""
    first = forked.run(ledger_lab.drive, cwd=tmp_path)
    assert first.poll() == -signal.SIGKILL, first.stderr
    pending = RunFolder(tmp_path / "run").pending_cost()
    assert pending.billed_seconds >= sum(seconds for id_, seconds in ledger_lab.tries(tmp_path) if id_ == 2) > 0
    assert forked.run(ledger_lab.drive, cwd=tmp_path).poll() == 0
    tries = ledger_lab.tries(tmp_path)
    trials = {trial.id: trial for trial in RunFolder(tmp_path / "run").trials(0)}
    assert {id_: trial.attempts for id_, trial in trials.items()} == dict.fromkeys(range(5), 3)
    for id_, trial in trials.items():
        assert trial.cost.billed_seconds >= sum(seconds for each, seconds in tries if each == id_)


@pytest.mark.slow
def test_tries_on_workers_that_die_are_billed_and_counted(tmp_path, monkeypatch):
    """Each worker dies now and then with four trials on it: all of them were tried once more than they say."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    evaluator = ledger_lab.Mortal(str(tmp_path))
    result = search(
        SPACE, RandomSearch(), evaluator, trials=12, seed=0, batch=4, executor="ray", workers=2, out=tmp_path / "r"
    )
    assert result.completed == 12
    tries = ledger_lab.tries(tmp_path)
    begun = {trial.id: sum(id_ == trial.id for id_, _ in tries) for trial in result.history}
    assert any(number > 1 for number in begun.values())
    spent = sum(seconds for _, seconds in tries)
    assert result.cost.billed_seconds >= spent
    assert result.cost.failed_seconds >= spent - sum(trial.seconds for trial in result.history)
    for trial in result.history:
        assert trial.attempts >= begun[trial.id]
        assert (trial.lost_seconds > 0) == (trial.attempts > 1)
    assert total_cost(result.history.table()).billed_seconds == pytest.approx(result.cost.billed_seconds)


def test_an_empty_history_costs_nothing():
    table = History(SPACE, 0).table()
    assert total_cost(table) == Cost()
    assert billed_seconds(table).shape == (0,)


class Losing(local_executor.LocalExecutor):
    """Loses the first try of every job after half a second, as if its worker had died with others on it."""

    def wait(self, until):
        job = self._jobs[0]
        if job.attempt > 1:
            return super().wait(until)
        self._jobs[0] = job.lost(0.5)
        self.on_loss([self._jobs[0]])
        return []


def test_tries_that_were_lost_with_a_worker_are_billed_but_are_no_retries(clock, tmp_path):
    evaluator = clock(Flaky([["exception"]]))
    result = run(evaluator, trials=4, executor=Losing(), retries={"exception": 1}, out=tmp_path / "r")
    assert (result.completed, result.failed) == (4, 0)
    trials = list(result.history)
    assert [trial.attempts for trial in trials] == [3] * 4, "lost, failed, completed"
    assert result.cost.billed_seconds == evaluator.bill + 4 * 0.5
    assert total_cost(result.history.table()) == result.cost
    assert result.faults == {"exception": 4}


def test_each_trial_on_a_lost_worker_is_billed_its_share():
    told = []
    engine = RayExecutor(1)
    engine.on_loss = told.extend
    jobs = [executor.Job(i, (0, 0, 0, 0), None, 0, 0.0) for i in range(4)]
    lost = engine._lost(Batch(0, jobs), 6.0)
    assert lost == told
    assert [(job.attempt, job.lost_seconds, job.spared) for job in lost] == [(2, 1.5, 1)] * 4
    assert engine._lost(Batch(0, []), 6.0) == [], "another worker has done it meanwhile"
