"""Training loops of users' own as evaluators: budgets, checkpoints, and what comes of kills."""

import contextlib
import json
import random

import forked
import numpy as np
import own_loop_lab
import pytest
import torch
from own_loop_lab import WIDTHS, falling, recipe, sleepy, small
from training_lab import SMALL, SPACE

from archsearch import resume, search
from archsearch.controllers import Hyperband, RandomSearch, SuccessiveHalving
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluators import Function, LearningCurve, Training
from archsearch.evaluators.kept_state import pack, unpack
from archsearch.testing import check_evaluator
from archsearch.training.checkpoints import write_checkpoint
from archsearch.trial import Budget, Query


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def started(function, space=WIDTHS, folder=None, **settings):
    evaluator = Function(function, **settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def paths(result):
    """What of each trial does not depend on the clock."""
    return [
        (t.id, t.architecture, t.parent, t.seed, t.budget, t.score, t.evaluation.curve, t.cost.examples, t.cost.updates)
        for t in sorted(result.history, key=lambda trial: trial.id)
    ]


# -- as Training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("controller", [RandomSearch(), SuccessiveHalving(max_budget=3), Hyperband(max_budget=3)])
def test_a_function_that_yields_equals_training_on_the_same_recipe(controller):
    trials = 3 if isinstance(controller, RandomSearch) else 8
    theirs = search(SPACE, controller, Training(**SMALL), trials=trials, seed=0)
    ours = search(SPACE, controller, Function(recipe), trials=trials, seed=0)
    assert paths(ours) == paths(theirs)
    if controller.budgets:
        assert any(trial.budget.start for trial in ours.history), "none went on: this test shows nothing"
        assert set(own_loop_lab.trained_epochs().values()) == {1}, "no epoch was trained twice"


def killed_search(epoch):
    """A search that is killed in the middle of an epoch, by number from 0, of the first training that gets there."""
    function = Function("own_loop_lab.recipe", save_every=0.0)
    search(SPACE, SuccessiveHalving(max_budget=3), function, trials=8, seed=0, out="run")


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_killed_between_two_reports_a_search_goes_on_from_the_last_checkpoint(epoch, tmp_path, monkeypatch):
    process = forked.Process(killed_search, epoch, cwd=tmp_path, environment={own_loop_lab.KILL_AT: str(epoch)})
    assert process.wait(timeout=60) == -9
    rest = resume("run", trust=True)
    theirs = search(SPACE, SuccessiveHalving(max_budget=3), Training(**SMALL), trials=8, seed=0)
    assert paths(rest) == paths(theirs)
    assert set(own_loop_lab.trained_epochs().values()) == {1}, "what was reported is not trained again"


# -- stopping and going on -------------------------------------------------------------------------


def stages(evaluator, stops, seed=7, architecture=(1, 0)):
    """Evaluates one architecture in stages; the first trial is number 10."""
    results, start = [], 0
    for i, stop in enumerate(stops):
        budget = Budget(stop, start, None if i == 0 else 10)
        results.append(evaluator.evaluate_query(Query(10 + i, architecture, seed, budget=budget)))
        start = stop
    return results


@pytest.mark.parametrize("stops", [(1, 5), (2, 3, 5), (1, 2, 3, 4)])
def test_what_draws_from_the_global_generators_goes_on_exactly(stops, tmp_path):
    whole = started(small).evaluate_query(Query(0, (1, 0), 7, budget=Budget(stops[-1])))
    parts = stages(started(small, folder=tmp_path), stops)
    assert parts[-1] == whole
    assert [part.curve for part in parts] == [whole.curve[:stop] for stop in stops]
    assert parts[-1].metrics["batches"] == 4 * stops[-1]


def test_no_global_generator_is_touched(tmp_path):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    stages(started(small, folder=tmp_path), (1, 5))
    with pytest.raises(ZeroDivisionError):
        started(lambda values, progress: [torch.rand(1), random.random(), 1 / 0]).evaluate((0, 0), 0)
    assert states() == before
    evaluations = [started(small).evaluate((1, 0), seed) for seed in (3, 4, 3)]
    assert evaluations[0] == evaluations[2] != evaluations[1], "they begin from the seed"


def test_without_anything_kept_a_training_begins_anew_and_bills_it(tmp_path):
    first, second = stages(started(falling, folder=tmp_path), (2, 4), architecture=(0, 0))
    assert (first.curve, second.curve) == ((1.0, 1 / 2), (1.0, 1 / 2, 1 / 3, 1 / 4))
    assert (first.cost.device_seconds, second.cost.device_seconds) == (4.0, 8.0)
    assert list(tmp_path.iterdir()) == []


def test_losses_are_turned_around():
    evaluation = started(falling, higher_is_better=False).evaluate((0, 0), 0)
    assert (evaluation.score, evaluation.curve[:2]) == (-1 / 5, (-1.0, -1 / 2))
    assert started(lambda values: 3, higher_is_better=False).evaluate((0, 0), 0).score == -3
    best = search(WIDTHS, RandomSearch(), Function(falling, higher_is_better=False), trials=6, seed=0).best
    assert dict(zip(("width", "rate"), best.architecture, strict=True))["width"] == 0


def test_a_training_in_full_leaves_nothing_and_only_so_many_are_kept(tmp_path):
    evaluator = started(small, folder=tmp_path, keep=2, save_every=0.0)
    for i in range(4):
        evaluator.evaluate_query(Query(i, (1, 0), i, budget=Budget(1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.safetensors", "3.safetensors"]
    evaluator.evaluate_query(Query(9, (1, 0), 0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.safetensors", "3.safetensors"]


@pytest.mark.parametrize("fault", ["gone", "cut", "another seed", "another architecture", "no facts"])
def test_without_its_checkpoint_a_training_begins_anew(tmp_path, fault):
    evaluator = started(small, folder=tmp_path)
    stages(
        evaluator, (1,), seed=8 if fault == "another seed" else 7, architecture=(0, 0) if "arch" in fault else (1, 0)
    )
    (file,) = tmp_path.iterdir()
    if fault == "gone":
        file.unlink()
    elif fault == "cut":
        file.write_bytes(file.read_bytes()[:-50])
    elif fault == "no facts":
        write_checkpoint(file, {}, {"curve": []})
    damaged = fault in ("cut", "no facts")
    with pytest.warns(match=r"10.safetensors is damaged") if damaged else contextlib.nullcontext():
        again = evaluator.evaluate_query(Query(11, (1, 0), 7, budget=Budget(3, 1, 10)))
    assert again == started(small).evaluate_query(Query(0, (1, 0), 7, budget=Budget(3)))


def test_a_function_that_ends_before_its_budget_keeps_its_last_score(tmp_path):
    evaluator = started(small, folder=tmp_path)
    first, second, third = stages(evaluator, (3, 9, 27))
    assert len(first.curve) == 3
    assert second == third
    assert len(second.curve) == 5
    assert len(started(falling).evaluate_query(Query(0, (0, 0), 0, budget=Budget(9))).curve) == 5


def test_its_own_files_are_kept_beside(tmp_path):
    seen = []

    def train(values, progress):
        seen.append(progress.restored and (progress.restored.name, int(progress.restored.read_text())))
        for step in range(progress.done + 1, 6):
            progress.report(step, step, save=lambda path, step=step: path.write_text(str(step)))

    def writes(values, progress):
        seen.append(progress.restored and progress.restored.read_text())
        for step in range(progress.done + 1, 6):
            path = progress.folder / f"mine-{step}"
            path.write_text(f"after {step}")
            progress.report(step, step, saved=path)

    stages(started(train, folder=tmp_path), (1, 3))
    assert [path.name for path in (tmp_path / "10").iterdir()] == ["report-3"]
    (tmp_path / "other").mkdir()
    stages(started(writes, folder=tmp_path / "other"), (1, 3))
    assert seen == [None, ("report-1", 1), None, "after 1"]
    started(train).evaluate((0, 0), 0)  # outside a search there is a temporary folder
    with pytest.raises(UsageError, match=r"saved: expected something in progress\.folder"):
        started(lambda values, progress: progress.report(1, 1, saved="elsewhere"), folder=tmp_path).evaluate_query(
            Query(0, (0, 0), 0, budget=Budget(3))
        )


def test_a_report_that_is_not_finite_ends_the_training_and_fails_the_trial():
    reported = []

    def train(values):
        for score in (1.0, float("nan") if values["width"] == 8 else 1.5, 2.0):
            reported.append(score)
            yield score

    result = search(WIDTHS, RandomSearch(), Function(train), trials=4, seed=0)
    assert {(t.architecture[0], t.failure, t.score) for t in result.history} == {
        (0, "", 2.0),
        (1, "invalid_score", None),
    }
    assert len(reported) == sum(3 if trial.score else 2 for trial in result.history)


def test_a_time_out_keeps_what_was_reported():
    function = Function(sleepy, save_every=0.0)
    result = search(WIDTHS, RandomSearch(), function, trials=1, seed=0, timeout=1.0, retries={"timeout": 1}, out="run")
    (trial,) = result.history
    assert (trial.attempts, trial.score, trial.evaluation.curve) == (2, 3.0, (1.0, 2.0, 3.0))
    assert [line.split()[1] for line in own_loop_lab.LOG.read_text().splitlines()] == ["1", "2", "2", "3"]


# -- mistakes --------------------------------------------------------------------------------------


def forgets(values, progress):
    if not progress.done:
        progress.keep(state={})
    for step in range(progress.done + 1, 6):
        progress.report(step, 1.0)


def renames(values, progress):
    progress.keep(**{"first" if not progress.done else "second": {}})
    for step in range(progress.done + 1, 6):
        progress.report(step, 1.0)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda values, progress: progress.report(2, 1.0), ArchsearchError, "step: expected 1, since 0 were reported"),
        (lambda values, progress: progress.keep(rate=0.1), TypeError, "rate: expected something with state_dict"),
        (lambda values, progress: None, ArchsearchError, "the function ended without a score"),
        (lambda values, progress: progress.report(1, "high"), TypeError, "the reported score: expected a number"),
        (forgets, ArchsearchError, "did not take what was kept, state; call progress.keep"),
        (renames, ArchsearchError, "expected what the checkpoint has, first, got second; if the function has changed"),
    ],
)
def test_mistakes_are_named(function, error, message, tmp_path):
    with pytest.raises(error, match=message):
        stages(started(function, folder=tmp_path), (1, 2))


def test_what_cannot_be_in_a_checkpoint_is_named(tmp_path):
    def train(values, progress):
        progress.keep(state={"part": [object()]})
        progress.report(1, 1.0)

    with pytest.raises(TypeError, match=r"state\.part\.0: expected tensors, .* got object"):
        stages(started(train, folder=tmp_path), (1,))


def test_a_function_that_returns_once_has_no_budgets():
    started(falling).check_budgets((1, 3))
    started(small).check_budgets((1, 3))
    with pytest.raises(UsageError, match="in one go, it cannot stop at 1, 3; have it yield a score after each epoch"):
        started(lambda values: 1).check_budgets((1, 3))
    with pytest.raises(UsageError, match="in one go"):
        started(lambda values, progress=False: 1).check_budgets((1, 3))


# -- together with the rest ------------------------------------------------------------------------


@pytest.mark.parametrize("function", [small, falling])
def test_it_keeps_the_contract(function):
    check_evaluator(lambda: Function(function), WIDTHS)


def test_learning_curves_extrapolate_it():
    evaluator = LearningCurve(Function(small), epochs=5, warm_up=10, interval=5)
    result = search(WIDTHS, RandomSearch(), evaluator, trials=12, seed=0)
    assert result.completed == 12


def test_what_is_kept_comes_back_as_it_was():
    tied = torch.arange(6.0).reshape(2, 3)
    state = {
        "tied": [tied, tied],
        "layouts": (torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last), tied.T, tied[:, ::2]),
        "array": np.arange(3, dtype=np.uint8),
        "numbers": {1: None, (2, "a"): True, "nan": float("inf"), "np": np.float32(0.5)},
        "kinds": [torch.tensor(2), torch.rand(0, 3), torch.ones(2, dtype=torch.bfloat16), torch.tensor([True])],
    }
    tensors = {}
    packed = json.loads(json.dumps(pack(state, "state", tensors)))
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    found = unpack(packed, tensors)
    assert found["numbers"] == state["numbers"]
    for ours, theirs in zip(
        [*found["tied"], *found["layouts"], *found["kinds"]],
        [*state["tied"], *state["layouts"], *state["kinds"]],
        strict=True,
    ):
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert [each.stride() for each in found["layouts"][:2]] == [each.stride() for each in state["layouts"][:2]]
    assert isinstance(found["array"], np.ndarray)
    assert found["array"].dtype == np.uint8
