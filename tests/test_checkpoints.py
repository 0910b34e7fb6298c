"""Files of evaluators that train: damage is noticed, told in one line, and costs only what was damaged."""

import json
import random
import shutil
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from archsearch import models, resume, search
from archsearch.controllers import RandomSearch, SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.evaluators import Cascade, Inherit, LearningCurve, OneShot, Predictor, Training, ZeroCost
from archsearch.files.checksums import Damaged
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201
from archsearch.training.checkpoints import load_checkpoint, write_checkpoint
from archsearch.trial import Budget, Query

SPACE = NASBench201()
CELL, OTHER = (3, 1, 2, 3, 4, 3), (2, 2, 3, 0, 1, 2)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 3, "batch_size": 16, "skeleton": {"channels": 2, "cells": 1}}
TENSORS = {
    "a": torch.arange(60.0).reshape(3, 4, 5),
    "b": torch.tensor(3),
    "c": torch.zeros(0, 2),
    "d": torch.ones(7, dtype=torch.bfloat16),
    "e": torch.tensor([True, False]),
}
FACTS = {"architecture": [1, 2], "note": "é"}


def started(evaluator, folder=None, space=SPACE):
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def same(first, second):
    return (first.score, first.metrics, first.curve) == (second.score, second.metrics, second.curve)


def damage_value(path):
    """Changes one bit of the last tensor, which safetensors' own checks do not notice."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def unsealed(path):
    """The file as version 0.1.0 wrote it."""
    with safe_open(path, "pt") as file:
        tensors, notes = {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata()
    save_file(tensors, path, {"json": notes["json"]})


# -- the files themselves ----------------------------------------------------------------------------


def test_a_checkpoint_holds_what_was_written(tmp_path):
    write_checkpoint(tmp_path / "x.safetensors", {**TENSORS, "f": TENSORS["a"].permute(2, 0, 1)}, FACTS)
    tensors, facts = load_checkpoint(tmp_path / "x.safetensors")
    assert facts == FACTS
    for name, value in {**TENSORS, "f": TENSORS["a"].permute(2, 0, 1)}.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def mutated(data, rng):
    """One random change of bytes."""
    data, at = bytearray(data), rng.randrange(len(data))
    kind = rng.choice(("bit", "byte", "zeros", "cut", "appended", "emptied", "doubled", "lost"))
    if kind == "bit":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        data[at] = (data[at] + rng.randrange(1, 256)) % 256
    elif kind == "zeros":
        data[at : at + 16] = bytes(len(data[at : at + 16]))
    elif kind == "cut":
        del data[at:]
    elif kind == "appended":
        data += b"more"
    elif kind == "emptied":
        data.clear()
    elif kind == "doubled":
        data *= 2
    else:
        del data[at : at + 3]
    return bytes(data)


def test_no_random_change_of_a_checkpoint_is_believed(tmp_path):
    path, rng = tmp_path / "x.safetensors", random.Random(0)
    write_checkpoint(path, TENSORS, FACTS)
    sound = path.read_bytes()
    noticed = 0
    for _ in range(1000):
        path.write_bytes(data := mutated(sound, rng))
        try:
            tensors, facts = load_checkpoint(path)
        except Damaged:
            noticed += 1
        else:  # a change that changes nothing, such as zeros in place of zeros
            assert facts == FACTS
            assert {name: value.tolist() for name, value in tensors.items()} == {
                name: value.tolist() for name, value in TENSORS.items()
            }
            noticed += data == sound
    assert noticed > 900


def test_a_file_of_the_version_before_is_read_as_far_as_its_structure_tells(tmp_path):
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, TENSORS, FACTS)
    unsealed(path)
    assert load_checkpoint(path).facts == FACTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged):
        load_checkpoint(path)
    for notes in (None, {"other": "1"}, {"json": "[1]"}, {"json": "{"}):
        save_file({"a": torch.zeros(1)}, path, notes)
        with pytest.raises(Damaged):
            load_checkpoint(path)


# -- trainings ---------------------------------------------------------------------------------------


def test_damaged_weights_are_not_trained_on(tmp_path):
    evaluator = started(Training(**SMALL), tmp_path)
    evaluator.evaluate_query(Query(10, CELL, 7, budget=Budget(1)))
    (path,) = tmp_path.glob("*.safetensors")
    damage_value(path)
    with pytest.warns(UserWarning, match="damaged") as told:
        again = evaluator.evaluate_query(Query(11, CELL, 7, budget=Budget(3, 1, 10)))
    (message,) = {str(each.message) for each in told}
    assert message == f"{path} is damaged and passed over (its checksum does not fit); the training begins anew"
    full = started(Training(**SMALL)).evaluate(CELL, 7)
    assert same(again, full)
    assert again.cost.examples == full.cost.examples


@pytest.mark.parametrize("fault", ["sound", "shapes", "facts", "generator", "optimizer"])
def test_a_checkpoint_of_the_version_before_goes_on_or_is_passed_over(tmp_path, fault):
    evaluator = started(Training(**SMALL), tmp_path)
    evaluator.evaluate_query(Query(10, CELL, 7, budget=Budget(1)))
    (path,) = tmp_path.glob("*.safetensors")
    tensors, facts = load_checkpoint(path)
    if fault == "shapes":
        tensors["network.stem.0.weight"] = torch.zeros(1)
    elif fault == "facts":
        facts["curve"] = "12"
    elif fault == "generator":
        tensors["generator"] = tensors["generator"][:-1].clone()
    elif fault == "optimizer":
        tensors["optimizer.9999.momentum_buffer"] = torch.zeros(1)
    save_file(tensors, path, {"json": json.dumps(facts)})
    query = Query(11, CELL, 7, budget=Budget(3, 1, 10))
    full = started(Training(**SMALL)).evaluate(CELL, 7)
    if fault == "sound":
        again = evaluator.evaluate_query(query)
        assert again.cost.examples < full.cost.examples
    else:
        with pytest.warns(UserWarning, match=r"10-0-1\.safetensors is damaged"):
            again = evaluator.evaluate_query(query)
        assert again.cost.examples == full.cost.examples
    assert same(again, full)


def test_a_child_of_a_damaged_parent_is_trained_in_full(tmp_path):
    evaluator = started(Inherit(Training(**SMALL), steps=1), tmp_path)
    evaluator.evaluate_query(Query(3, CELL, 0))
    damage_value(tmp_path / "3-.safetensors")
    with pytest.warns(UserWarning, match=r"3-\.safetensors is damaged"):
        child = evaluator.evaluate_query(Query(4, OTHER, 1, parent=3))
    assert child.metrics["inherited"] == 0
    assert child.cost.examples == 3 * 60


def test_a_search_goes_on_past_damaged_checkpoints_and_bills_what_is_done_again(tmp_path):
    settings = {"trials": 9, "seed": 0}
    whole = search(SPACE, SuccessiveHalving(max_budget=3), Training(**SMALL), out=tmp_path / "whole", **settings)
    search(SPACE, SuccessiveHalving(max_budget=3), Training(**SMALL), out=tmp_path / "run", **{**settings, "trials": 4})
    for path in (tmp_path / "run" / "evaluator").glob("*.safetensors"):
        damage_value(path)
    with pytest.warns(UserWarning, match="is damaged"):
        result = resume(tmp_path / "run", trials=9)
    assert [trial.score for trial in result.history] == [trial.score for trial in whole.history]
    assert result.cost.examples > whole.cost.examples


def test_a_damaged_note_of_the_data_does_not_end_the_run(tmp_path):
    evaluator = started(Training(**SMALL), tmp_path)
    evaluator.prepare()
    note = tmp_path / "task.txt"
    sound = note.read_bytes()
    note.write_bytes(sound.replace(b"digits", b"bigits"))
    with pytest.warns(UserWarning, match=r"task\.txt is damaged"):
        evaluator.prepare()
    assert note.read_bytes() == sound
    note.write_text(evaluator.trainer.data.fingerprint)  # as version 0.1.0 did
    evaluator.prepare()
    note.write_text("digits 0123456789abcdef")
    with pytest.raises(UsageError, match="the data of digits changed since this run began"):
        evaluator.prepare()


# -- super-networks ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """The folder of a super-network, and its evaluator."""
    folder = tmp_path_factory.mktemp("shared")
    evaluator = started(OneShot(Training(**SMALL), epochs=2), folder)
    cost = evaluator.prepare()
    return folder, evaluator, cost


def test_a_damaged_super_network_is_trained_anew_and_both_are_billed(tmp_path, trained_once):
    folder, before, cost = trained_once
    shutil.copytree(folder, tmp_path / "copy")
    damage_value(tmp_path / "copy" / "super-network.safetensors")
    evaluator = started(OneShot(Training(**SMALL), epochs=2), tmp_path / "copy")
    with pytest.warns(
        UserWarning, match=r"super-network\.safetensors is damaged .*; the super-network is trained anew"
    ):
        again = evaluator.prepare()
    assert again.examples == 2 * cost.examples
    assert again.device_seconds > cost.device_seconds
    assert same(evaluator.evaluate(CELL, 0), before.evaluate(CELL, 0))
    mended = started(OneShot(Training(**SMALL), epochs=2), tmp_path / "copy")
    assert mended.prepare() == again


@pytest.mark.parametrize("fault", ["sound", "facts", "bill", "tensors"])
def test_a_super_network_of_the_version_before(tmp_path, trained_once, fault):
    folder, before, cost = trained_once
    path = tmp_path / "copy" / "super-network.safetensors"
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "super-network.json").unlink()
    tensors, facts = load_checkpoint(path)
    if fault == "facts":
        facts["paths"]["state"] = "none"
    elif fault == "bill":
        facts["prepared"] = ["much"]
    elif fault == "tensors":
        del tensors[next(name for name in tensors if name.startswith("network."))]
    save_file(tensors, path, {"json": json.dumps(facts)})
    evaluator = started(OneShot(Training(**SMALL), epochs=2), tmp_path / "copy")
    if fault == "sound":
        assert evaluator.prepare() == cost
    else:
        with pytest.warns(UserWarning, match=r"super-network\.safetensors is damaged"):
            evaluator.prepare()
    assert same(evaluator.evaluate(CELL, 0), before.evaluate(CELL, 0))


def test_weights_that_are_damaged_are_refused_by_name(tmp_path, trained_once):
    shutil.copytree(trained_once[0], tmp_path / "copy")
    path = tmp_path / "copy" / "super-network.safetensors"
    damage_value(path)
    with pytest.raises(UsageError, match=r"weights: .*super-network\.safetensors is no super-network.*its checksum"):
        started(OneShot(Training(**SMALL), epochs=2, weights=str(path))).prepare()


# -- other files of evaluators -----------------------------------------------------------------------


def curve():
    return LearningCurve(Training(**SMALL), warm_up=10, interval=5)


def cascade():
    return Cascade([ZeroCost("params", Training(**SMALL)), ZeroCost("flops", Training(**SMALL))], reference=10)


def predictor():
    return Predictor(labels=30, model=models.RandomForest(), folds=0)


def swapped(data):
    """One digit of a JSON text changed."""
    at = next(i for i in range(len(data) // 3, len(data)) if data[i : i + 1].isdigit())
    return data[:at] + (b"7" if data[at : at + 1] != b"7" else b"8") + data[at + 1 :]


@pytest.mark.parametrize(
    ("make", "name"),
    [(curve, "learning-curves.json"), (cascade, "reference.json"), (predictor, "predictor.safetensors")],
)
@pytest.mark.parametrize("change", [swapped, lambda data: data[:-2], lambda data: b"", lambda data: bytes(len(data))])
def test_a_damaged_file_of_an_evaluator_costs_only_itself(tmp_path, make, name, change):
    search(SPACE, RandomSearch(), make(), trials=4, seed=0, out=tmp_path / "run")
    path = tmp_path / "run" / "evaluator" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.warns(UserWarning, match=f"{name} is damaged"):
        result = resume(tmp_path / "run", trials=6)
    assert result.completed == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resume(tmp_path / "run", trials=7).completed == 7
    assert RunFolder(tmp_path / "run").config()["seed"] == 0


@pytest.mark.parametrize("make", [curve, cascade])
def test_notes_of_the_version_before_are_read(tmp_path, make):
    search(SPACE, RandomSearch(), make(), trials=4, seed=0, out=tmp_path / "run")
    (path,) = (tmp_path / "run" / "evaluator").glob("*e*.json")
    facts = json.loads(path.read_text())
    del facts["checksum"]
    path.write_text(json.dumps(facts.get("stages", facts)))
    assert resume(tmp_path / "run", trials=6).completed == 6
