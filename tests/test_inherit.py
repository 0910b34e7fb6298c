"""Weights from the parent: children, edits that keep the function, runs that are killed."""

import json
import math
import random
import time

import forked
import numpy as np
import pytest
import torch
from training_lab import CELL, SMALL, SPACE, UPDATES, same, started

from archsearch import cli, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import (
    UsageError,
)
from archsearch.evaluators import Inherit, Training
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import MobileNet
from archsearch.trial import Query

# -- weights from the parent ---------------------------------------------------------------------


def heir(space=SPACE, folder=None, training=None, **settings):
    evaluator = Inherit(training=Training(**{**SMALL, **(training or {})}), **settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def test_a_child_begins_with_what_agrees_and_trains_briefly(tmp_path):
    evaluator = heir(folder=tmp_path, steps=2)
    parent = evaluator.evaluate_query(Query(0, CELL, 1))
    child = evaluator.evaluate_query(Query(1, (3, 1, 3, 3, 4, 3), 2, parent=0))
    assert parent.metrics["inherited"] == 0
    assert parent.cost.updates == UPDATES
    assert 0.5 < child.metrics["inherited"] < 1
    assert child.metrics["function_preserved"] == 0
    assert child.cost.updates == 2
    assert child.cost.examples == 30


def test_an_equal_child_without_steps_is_its_parent(tmp_path):
    evaluator = heir(folder=tmp_path, steps=0)
    parent = evaluator.evaluate_query(Query(0, CELL, 1))
    child = evaluator.evaluate_query(Query(1, CELL, 2, parent=0))
    assert (child.score, child.metrics["test_accuracy"]) == (parent.score, parent.metrics["test_accuracy"])
    assert child.metrics["inherited"] == child.metrics["function_preserved"] == 1
    assert child.cost.updates == 0
    assert "train_loss" not in child.metrics


def test_morphing_keeps_the_parents_accuracy(tmp_path):
    space = MobileNet(stages=[(8, 2, 1), (12, 2, 2)], candidates=[(3, 2), (3, 4), (5, 4)])
    small, large = (1, 0, 0, 0), (2, 3, 2, 2)
    assert small in space
    assert large in space
    settings = {"training": {"skeleton": {}, "preset": "digits"}, "steps": 0}
    evaluator = heir(space, tmp_path / "morph", **settings)
    evaluator.folder.mkdir()
    parent = evaluator.evaluate_query(Query(0, small, 1))
    child = evaluator.evaluate_query(Query(1, space.sample(np.random.default_rng(0)), 2, parent=0))
    assert math.isfinite(child.score)
    grown = next(a for a in space.neighbours(small) if _grows(evaluator, small, a))
    child = evaluator.evaluate_query(Query(2, grown, 2, parent=0))
    assert child.metrics["function_preserved"] == 1
    assert child.score == pytest.approx(parent.score, abs=0.25)
    assert child.metrics["valid_loss"] == pytest.approx(parent.metrics["valid_loss"], rel=1e-3)


def _grows(evaluator, parent, child):
    networks = [evaluator.trainer.begin(architecture, 0).network for architecture in (parent, child)]
    return evaluator.space.morph(*networks, torch.Generator())


def test_a_lost_parent_means_a_full_training(tmp_path):
    evaluator = heir(folder=tmp_path, steps=1)
    found = evaluator.evaluate_query(Query(5, CELL, 3, parent=2))
    assert found.cost.updates == UPDATES
    assert same(
        found._replace(
            metrics={k: v for k, v in found.metrics.items() if k not in ("inherited", "function_preserved")}
        ),
        started().evaluate(CELL, 3),
    )


def test_evolution_hands_parents_on_and_resumes_exactly(tmp_path):
    controller = RegularizedEvolution(population_size=2, tournament_size=2)
    evaluator = Inherit(training=Training(**SMALL), steps=2)
    whole = search(SPACE, controller, evaluator, trials=7, seed=2, out=tmp_path / "whole")
    search(SPACE, controller, evaluator, trials=4, seed=2, out=tmp_path / "cut")
    rest = resume(tmp_path / "cut", trials=7)
    facts = [[(t.id, t.parent, t.architecture, t.score, t.cost.updates) for t in r.history] for r in (whole, rest)]
    assert facts[0] == facts[1]
    assert [updates for *_, updates in facts[0]] == [UPDATES] * 2 + [2] * 5
    assert json.dumps(facts[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": 3}, "training: expected a Training evaluator"),
        ({"steps": -1}, "steps: expected a whole number >= 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number above 0"),
        ({"training": Training(repeats=2)}, "expected a Training evaluator without repeats"),
    ],
)
def test_wrong_settings_of_inherit(settings, message):
    with pytest.raises(UsageError, match=message):
        Inherit(**settings)


@pytest.mark.parametrize("evaluator", ["Training", "Inherit"])
def test_killed_at_random_moments_trainings_end_like_an_uninterrupted_run(evaluator, tmp_path):
    own = "--evaluator" if evaluator == "Training" else "--evaluator.training"
    begin = ["run", "--evaluator", evaluator, f"{own}.epochs", "3", f"{own}.train_examples", "60", "--seed", "1"]
    begin += [f"{own}.skeleton.channels", "2", "--trials", "24", "--quiet"]
    if evaluator == "Training":
        begin += ["--controller", "SuccessiveHalving", "--controller.max_budget", "3"]
        begin += ["--controller.controller", "RegularizedEvolution", "--controller.controller.population_size", "6"]
    else:
        begin += ["--controller", "RegularizedEvolution", "--controller.population_size", "6"]
    assert cli.main([*begin, "--out", str(tmp_path / "whole")]) == 0
    folder, delays, kills = tmp_path / "killed", random.Random(3), 0
    while True:
        started = (folder / "config.yaml").exists()
        arguments = ["resume", str(folder), "--quiet"] if started else [*begin, "--out", str(folder)]
        process = forked.Process(cli.main, arguments, cwd=tmp_path)
        if kills < 3 and wait_for_trials(folder, delays.randrange(1, 6), process):
            time.sleep(delays.uniform(0.0, 0.1))
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.wait() == 0, process.stderr
        break
    assert kills >= 2, "the run ended before it could be killed: this test shows nothing"
    whole, killed = (list(RunFolder(path).trials(1)) for path in (tmp_path / "whole", folder))
    for one, two in zip(whole, killed, strict=True):
        one_asked, two_asked = (each._replace(evaluation=None, started=0, seconds=0, used=None) for each in (one, two))
        assert one_asked == two_asked
        assert same(one.evaluation, two.evaluation)
        assert one.cost.examples == two.cost.examples
    assert any(trial.parent is not None for trial in whole)


def wait_for_trials(folder, n, process):
    """Waits until n more trials are on disk; whether the process still ran then."""
    before = None
    while process.poll() is None:
        done = sum(1 for _ in RunFolder(folder).trials(1))
        before = done if before is None else before
        if done >= before + n:
            return True
        time.sleep(0.05)  # to read the folder takes time from the process
    return False
