"""The search loop: seeds, stopping, repeats, lag, the simulated clock, history and resume."""

import json
import math

import pytest

from archsearch import Space, resume, search
from archsearch.basics.seeding import evaluation_seed
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, UnknownName, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.keeping import history
from archsearch.keeping.columns import RESERVED_COLUMNS, table_to_trials, trials_to_table
from archsearch.keeping.events import event_to_trial, trial_to_event
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import Choices, NASBench201
from archsearch.trial import Budget, Cost, Evaluation, Trial, Used

TABLE = Tabular()
EVOLUTION = {"population_size": 10, "tournament_size": 3}


def noisy(architecture, seed):
    """A score that depends on the seed, for a cost that does not depend on the machine."""
    return {"score": sum(architecture) + seed % 1000 / 500, "cost": 1.0 + seed % 5, "metric": seed % 7}


def small_space():
    return Space(arities=[4, 3, 5, 2])


def path(result):
    """What must be equal for two searches to count as the same."""
    return sorted((t.id, t.architecture, t.parent, t.score, t.seed) for t in result.history)


def run(executor="local", workers=1, **settings):
    settings = {"trials": 120, "seed": 4, **settings}
    controller = RegularizedEvolution(**EVOLUTION)
    return search(small_space(), controller, Function(noisy), executor=executor, workers=workers, **settings)


@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 1), ("simulated", 9)])
def test_same_seed_same_trials_other_seed_others(executor, workers):
    assert path(run(executor, workers)) == path(run(executor, workers))
    assert path(run(executor, workers)) != path(run(executor, workers, seed=5))


def test_one_simulated_worker_walks_the_local_path():
    assert path(run("simulated", 1)) == path(run("local"))


def test_with_a_lag_the_number_of_workers_changes_nothing():
    paths = [path(run("simulated", workers, lag=4)) for workers in (1, 3, 4, 16)] + [path(run("local", lag=4))]
    assert all(other == paths[0] for other in paths)
    assert paths[0] != path(run("local", lag=1)), "the lag must matter, or this test shows nothing"
    assert path(run("local", lag=1)) == path(run("local"))


def test_evaluation_seed_depends_on_root_and_id_only():
    for trial in run("simulated", 7).history:
        assert trial.seed == evaluation_seed(4, trial.id)
        assert trial.evaluation.metrics["metric"] == trial.seed % 7
    seeds = {evaluation_seed(root, id_) for root in range(3) for id_ in range(3000)}
    assert len(seeds) == 9000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_stops_after_trials_cost_time_and_target():
    assert run(trials=17).completed == 17
    costly = run(trials=None, max_cost=100.0)
    costs = [trial.cost.device_seconds for trial in costly.history]
    assert costly.stopped == "max_cost"
    assert sum(costs) >= 100 > sum(costs[:-1]), "the trial that crosses the limit counts, none after it"
    assert costly.cost.device_seconds == sum(costs)
    timed = run("simulated", 3, trials=None, max_seconds=50.0)
    assert timed.stopped == "max_seconds"
    assert all(trial.started + trial.seconds <= 50 for trial in timed.history)
    reached = run(trials=None, target=9.0)
    assert reached.stopped == "target"
    assert reached.best.score >= 9 > max(trial.score for trial in list(reached.history)[:-1])


@pytest.mark.parametrize("workers", [1, 7, 50])
def test_virtual_clock_of_equal_costs(workers):
    result = search(
        small_space(),
        RandomSearch(),
        Function(lambda _: {"score": 1.0, "cost": 10.0}),
        trials=100,
        seed=0,
        executor="simulated",
        workers=workers,
    )
    assert result.seconds == pytest.approx(10 * math.ceil(100 / workers))


def test_reuse_evaluates_no_canonical_form_twice_and_ends_when_all_are_known():
    calls = []
    space = NASBench201()

    def count(name):
        calls.append(space.canonical(space.parse(name)))
        return len(name)

    result = search(space, RandomSearch(), Function(count), trials=3000, seed=0, duplicates="reuse")
    assert len(calls) == len(set(calls)) == 3000
    assert result.reused > 0
    tiny = Choices({"a": [1, 2, 3], "b": [1, 2]})
    evolution = RegularizedEvolution(4, 2, immigrants=0.2)
    result = search(tiny, evolution, Function(lambda v: v["a"]), trials=100, seed=0, duplicates="reuse")
    assert (result.completed, result.stopped) == (6, "exhausted")


def test_best_is_the_first_of_the_highest():
    result = run(trials=200)
    trials = list(result.history)
    assert result.best == max(trials, key=lambda trial: trial.score)
    assert result.best_name in str(result)
    assert "200 completed, 0 failed" in str(result)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": None}, "nothing would stop this search"),
        ({"trials": 0}, "trials: expected a whole number >= 1"),
        ({"max_cost": -1.0}, "max_cost"),
        ({"lag": 0}, "lag"),
        ({"duplicates": "forget"}, "duplicates"),
        ({"retries": {"flood": 1}}, "retries"),
        ({"retries": {"timeout": -1}}, "retries"),
        ({"seed": -1}, "seed"),
        ({"executor": "cloud"}, "no executor is called 'cloud'"),
        ({"workers": 2}, "local executor has one worker"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        run(out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


# -- history -----------------------------------------------------------------------------------


def test_table_keeps_everything():
    trials = [
        Trial(
            0, (1, 2, 0, 1), None, Evaluation(0.5, {"a": 1.0}, Cost(0, 1, 2, 3, 4, 5)), evaluation_seed(9, 0), 0.25, 0.5
        ),
        Trial(2, (0, 0, 0, 0), 0, None, evaluation_seed(9, 2), 1.0, 0.5, 3, 2, "exception", "ValueError: no"),
        Trial(1, (3, 2, 4, 1), 0, Evaluation(-1.5, {"b": 2.0}), evaluation_seed(9, 1), 2.0, 0.125),
        Trial(
            3,
            (3, 2, 4, 1),
            1,
            Evaluation(0.5, curve=(0.25, 0.5)),
            evaluation_seed(9, 1),  # goes on with the training that trial 1 began
            budget=Budget(3, 1, origin=1),
        ),
        Trial(4, (0, 0, 0, 0), None, None, evaluation_seed(9, 4), failure="timeout", budget=Budget(1)),
        Trial(5, (1, 2, 0, 1), None, Evaluation(0.25), evaluation_seed(9, 5), repeat_of=0, used=Used(1e6, 2e6, 3.5)),
        Trial(6, (3, 2, 4, 1), 1, Evaluation(0.75), evaluation_seed(9, 6), budget=Budget(3), proposed_by="hand"),
    ]
    assert [event_to_trial(json.loads(json.dumps(trial_to_event(trial))), 9) for trial in trials] == trials
    table = trials_to_table(trials, small_space())
    assert set(table.column_names) == RESERVED_COLUMNS | {"a", "b"}
    assert table["status"].to_pylist() == ["completed", "failed", *["completed"] * 2, "failed", *["completed"] * 2]
    assert table["name"].to_pylist() == ["1-2-0-1", "0-0-0-0", "3-2-4-1", "3-2-4-1", "0-0-0-0", "1-2-0-1", "3-2-4-1"]
    assert list(table_to_trials(table, 9)) == trials


def test_parts_on_disk_equal_memory(tmp_path, monkeypatch):
    in_memory = run()
    monkeypatch.setattr(history, "PART_ROWS", 13)
    for executor in ("local", "simulated"):
        on_disk = run(executor, out=tmp_path / executor)
        assert path(on_disk) == path(in_memory)
        files = sorted(file.name for file in (tmp_path / executor / "trials").iterdir())
        assert files == [f"part-{n:06d}.parquet" for n in range(1, 11)]
        assert [file.name for file in (tmp_path / executor / "journal").iterdir()] == ["state-000010.json"]
        assert on_disk.history.table().num_rows == len(on_disk.history) == 120
    assert path(run()) == path(in_memory), "compaction in memory changes nothing either"


def test_table_is_what_other_tools_read(tmp_path):
    import pyarrow.dataset

    result = run(out=tmp_path / "run")
    table = pyarrow.dataset.dataset(tmp_path / "run" / "trials", exclude_invalid_files=True).to_table()
    assert table.num_rows == 120
    assert max(table["score"].to_pylist()) == result.best.score


# -- resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("controller", [RandomSearch(), RegularizedEvolution(**EVOLUTION)], ids=["random", "evolution"])
@pytest.mark.parametrize(
    "settings", [{}, {"lag": 3}, {"duplicates": "reuse"}, {"duplicates": "reuse", "lag": 3}], ids=str
)
@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 6)])
def test_extended_run_equals_an_uninterrupted_one(controller, settings, executor, workers, tmp_path):
    arguments = {"seed": 1, "executor": executor, "workers": workers, **settings}
    whole = search(NASBench201(), controller, TABLE, trials=150, **arguments)
    search(NASBench201(), controller, TABLE, trials=60, out=tmp_path / "r", **arguments)
    resume(tmp_path / "r", trials=61)
    resumed = resume(tmp_path / "r", trials=150)
    assert resumed.completed == whole.completed == 150
    # Several workers run dry at the end of a run, so extending it is not the same as having gone on.
    if executor == "local":
        assert path(resumed) == path(whole)


def test_resume_of_a_finished_run_does_nothing(tmp_path):
    first = run(out=tmp_path / "r")
    again = resume(tmp_path / "r", evaluator=Function(noisy))
    assert (again.completed, again.stopped) == (first.completed, "trials")
    assert path(again) == path(first)


def test_resume_refuses_what_is_not_the_same_run(tmp_path):
    run(out=tmp_path / "r")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "r").rglob("*")}
    for change in (
        {"space": Space(arities=[4, 3, 5, 3])},
        {"controller": RandomSearch()},
        {"controller": RegularizedEvolution(11, 3)},
        {"evaluator": Function(len)},
    ):
        with pytest.raises(RunFolderError, match="differs"):
            resume(tmp_path / "r", trust=True, **change)
    with pytest.raises(UnknownName, match="no setting is called colour"):
        resume(tmp_path / "r", trust=True, colour="red")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "r").rglob("*")} == before
    with pytest.raises(RunFolderError, match="no run here"):
        resume(tmp_path / "nothing")


def test_second_driver_is_refused(tmp_path):
    run(out=tmp_path / "r")
    folder = RunFolder.open(tmp_path / "r")
    with pytest.raises(RunFolderError, match="another process"):
        resume(tmp_path / "r", trust=True, trials=130)
    folder.close()
    assert resume(tmp_path / "r", trust=True, trials=130).completed == 130
