"""Export: weights that were scored, files that build the network again, ONNX, the card, what is not overwritten."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import archsearch.artefacts
from archsearch import search
from archsearch.artefacts import export, load_network
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import MissingAbility, RunFolderError, UnknownName, UsageError
from archsearch.evaluators import Function, Inherit, OneShot, Tabular, Training, ZeroCost
from archsearch.history import RunFolder
from archsearch.report import best_rows
from archsearch.spaces import DARTS, Choices, NASBench201
from archsearch.task import Task, load_task
from archsearch.trial import Query
from archsearch.verification import verify

SPACE = NASBench201()
SMALL = {
    "task": "digits",
    "epochs": 1,
    "train_examples": 100,
    "batch_size": 10,
    "skeleton": {"channels": 4, "cells": 1},
}


def training(**settings):
    return Training(**{**SMALL, **settings})


def searched(out, evaluator, trials=3, space=SPACE, controller=None):
    search(space, controller or RandomSearch(), evaluator, trials=trials, seed=2, out=out)
    return out


def best(directory, space=SPACE):
    return best_rows(RunFolder(directory).table(space), 1)[0]


def accuracy(network, part="valid"):
    """In percent, by a loop of its own."""
    images, labels = load_task("digits").part(part)
    with torch.no_grad():
        return 100 * int((network(images).argmax(1) == labels).sum()) / len(labels)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A search by training, which tests do not change."""
    return searched(tmp_path_factory.mktemp("shared") / "r", training())


@pytest.fixture
def run(shared, tmp_path):
    shutil.copytree(shared, tmp_path / "r")
    return tmp_path / "r"


# -- weights are those that were scored -------------------------------------------------------------


def test_training(run, capsys):
    row = best(run)
    (folder,) = export(run)
    assert folder == run / "export" / f"1-{row['id']}"
    assert sorted(os.listdir(folder)) == ["README.md", "genotype.json", "genotype.txt", "weights.safetensors"]
    network = load_network(folder)
    assert not network.training
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    assert accuracy(network) == row["score"]
    assert accuracy(network, "test") == row["test_accuracy"]
    assert f"of these weights {row['score']:.6g}, as recorded" in capsys.readouterr().out


def test_a_training_that_was_stopped_and_went_on(tmp_path):
    controller = SuccessiveHalving(min_budget=1, max_budget=2, reduction=2)
    searched(tmp_path / "r", training(epochs=2), 6, controller=controller)
    row = best(tmp_path / "r")
    assert row["budget_start"] == 1
    (folder,) = export(tmp_path / "r")
    assert accuracy(load_network(folder)) == row["score"]
    shutil.rmtree(tmp_path / "r" / "evaluator")  # its checkpoints
    (folder,) = export(tmp_path / "r")
    assert accuracy(load_network(folder)) == row["score"]
    stopped = next(t for t in RunFolder(tmp_path / "r").trials(2) if t.budget.stop == 1)
    (folder,) = export(tmp_path / "r", trial=stopped.id)
    assert accuracy(load_network(folder)) == stopped.score
    assert "stopped after 1 of 2 epochs" in (folder / "README.md").read_text()


def test_inherit(tmp_path):
    searched(tmp_path / "r", Inherit(training()), 6, controller=RegularizedEvolution(3, 2))
    folder = tmp_path / "r"
    children = [trial for trial in RunFolder(folder).trials(2) if trial.parent is not None]
    assert children[0].metrics["inherited"] > 0
    (path,) = export(folder, trial=children[0].id)
    assert accuracy(load_network(path)) == children[0].score
    (folder / "evaluator" / f"{children[0].id}-.safetensors").unlink()  # again from its parent's
    (path,) = export(folder, trial=children[0].id)
    assert accuracy(load_network(path)) == children[0].score
    assert not (folder / "evaluator" / f"{children[0].id}-.safetensors").exists()  # the run's files stay as they are
    for checkpoint in (folder / "evaluator").glob("*.safetensors"):
        checkpoint.unlink()
    with pytest.raises(UsageError, match=r"checkpoints of trial \d+ and of its parent, trial \d+, are gone"):
        export(folder, trial=children[0].id)
    assert sorted(os.listdir(folder / "export")) == [f"1-{children[0].id}"]
    (path,) = export(folder, trial=0)  # has no parent
    assert accuracy(load_network(path)) == next(iter(RunFolder(folder).trials(2))).score


@pytest.mark.parametrize(
    "settings",
    [{}, {"steps": 3, "restart": True}],
    ids=["recomputed", "steps"],
)
def test_one_shot(tmp_path, settings):
    searched(tmp_path / "r", OneShot(training(), epochs=2, **settings), 2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "r" / "evaluator").iterdir()}
    (folder,) = export(tmp_path / "r")
    assert {path.name: path.read_bytes() for path in (tmp_path / "r" / "evaluator").iterdir()} == before
    network = load_network(folder)
    assert network.architecture is not None
    assert accuracy(network) == pytest.approx(best(tmp_path / "r")["score"], abs=0.3)  # one image is 0.22
    assert "training of its own would" in (folder / "README.md").read_text() or "steps" in settings


def test_one_shot_with_statistics_of_the_batch(tmp_path, capsys):
    searched(tmp_path / "r", OneShot(training(), epochs=2, statistics="batch"), 2)
    (folder,) = export(tmp_path / "r")
    assert "as recorded" in capsys.readouterr().out
    assert "with the statistics of each batch" in (folder / "README.md").read_text()
    # In evaluation mode it has others, from training images: not those of the images that it was scored on.
    recomputed = OneShot(training(), weights=str(tmp_path / "r" / "evaluator" / "super-network.safetensors"))
    recomputed.start(SPACE)
    recomputed.prepare()
    score = recomputed.evaluate(tuple(best(tmp_path / "r")["architecture"]), 0).score
    assert accuracy(load_network(folder)) == pytest.approx(score, abs=0.3)


def test_repeats_give_the_first(tmp_path):
    searched(tmp_path / "r", training(repeats=2), 1)
    (folder,) = export(tmp_path / "r")
    trial = next(iter(RunFolder(tmp_path / "r").trials(2)))
    one = training()
    one.start(SPACE)
    assert accuracy(load_network(folder)) == one.evaluate(trial.architecture, trial.seed).score
    assert "the mean of 2 trainings" in (folder / "README.md").read_text()


def test_an_evaluator_that_is_given(tmp_path, capsys):
    searched(tmp_path / "r", Tabular(), 10)
    (folder,) = export(tmp_path / "r", evaluator=training())
    trial = next(t for t in RunFolder(tmp_path / "r").trials(2) if t.id == best(tmp_path / "r")["id"])
    alone = training()
    alone.start(SPACE)
    score = alone.evaluate(trial.architecture, trial.seed).score
    assert accuracy(load_network(folder)) == score
    assert f"of these weights {score:.6g} in a training of its own" in capsys.readouterr().out
    assert "--evaluator '{" in (folder / "README.md").read_text()
    with pytest.raises(MissingAbility, match="ZeroCost scores no network of its own with weights"):
        export(tmp_path / "r", evaluator=ZeroCost())


def test_without_weights(tmp_path, capsys):
    searched(tmp_path / "r", Tabular(), 10)
    folders = export(tmp_path / "r", top=2)
    assert [sorted(os.listdir(folder)) for folder in folders] == [["README.md", "genotype.json", "genotype.txt"]] * 2
    out = capsys.readouterr().out
    assert "weights   none. Tabular scores no network" in out
    assert "--evaluator Training --evaluator.task digits" in out
    with pytest.raises(UsageError, match="has no weights"):
        load_network(folders[0])
    with pytest.raises(UsageError, match="onnx: not all of these have weights"):
        export(tmp_path / "r", onnx=True)


def test_a_task_of_arrays(tmp_path):
    digits = load_task("digits")
    task = Task(
        *(tuple(array[:150] for array in digits._arrays[part]) for part in ("train", "valid", "test")), name="own"
    )
    searched(tmp_path / "r", training(task=task, train_examples=None), 1)
    with pytest.raises(UsageError, match="a task of your own, own"):
        export(tmp_path / "r")
    with pytest.raises(UsageError, match="a task of your own, own"):
        export(tmp_path / "r", task=digits)
    (folder,) = export(tmp_path / "r", task=task)
    network, (images, labels) = load_network(folder), task.part("valid")
    assert 100 * float((network(images).argmax(1) == labels).double().mean()) == pytest.approx(
        best(tmp_path / "r")["score"]
    )


# -- the order of a verification -----------------------------------------------------------------------


def test_after_a_verification(tmp_path, capsys):
    searched(tmp_path / "r", Tabular(), 10)
    found = verify(tmp_path / "r", training(), top=3, seed=1)
    folders = export(tmp_path / "r", top=4)
    assert [int(folder.name[2:]) for folder in folders[:3]] == [each.trial for each in found.ranked]
    rest = best_rows(RunFolder(tmp_path / "r").table(SPACE), 4)[3]["id"]
    assert folders[3].name == f"4-{rest}"
    assert accuracy(load_network(folders[0])) == found.ranked[0].score  # the weights that were verified
    assert not (folders[3] / "weights.safetensors").exists()
    out = capsys.readouterr().out
    assert "order     of verification 1, by Training(" in out
    assert f"{found.ranked[0].score:.6g} in the verification" in out
    card = (folders[0] / "README.md").read_text()
    assert "| figure | the search | verification 1 | these weights |" in card
    assert found.sentence in card
    shutil.rmtree(tmp_path / "r" / "verification")  # its score is still in the history
    shutil.rmtree(tmp_path / "r" / "export")
    assert export(tmp_path / "r")[0].name == folders[0].name


# -- the files ---------------------------------------------------------------------------------------


def test_genotype_and_metadata(run):
    (folder,) = export(run)
    row, genotype = best(run), json.loads((folder / "genotype.json").read_text())
    assert (folder / "genotype.txt").read_text() == row["name"] + "\n"
    assert genotype["decisions"] == row["architecture"]
    assert genotype["named"] == dict(
        zip(["0->1", "0->2", "1->2", "0->3", "1->3", "2->3"], row["architecture"], strict=True)
    )
    assert genotype["space"]["class_path"] == "archsearch.spaces.nasbench201.NASBench201"
    assert genotype["network"]["skeleton"] == {"channels": 4, "cells": 1}
    images = load_task("digits")._arrays["valid"][0]
    network = genotype["network"]
    pixels = (images - np.float32(network["mean"])) / np.float32(network["deviation"])
    assert torch.allclose(torch.from_numpy(pixels), load_task("digits").part("valid")[0], atol=1e-6)
    with safe_open(folder / "weights.safetensors", "pt") as file:
        facts = file.metadata()
    assert facts["text"] == row["name"]
    assert json.loads(facts["network"]) == network
    assert json.loads(facts["space"]) == genotype["space"]


def test_named_decisions(tmp_path):
    space = Choices({"kernel": [3, 5], "kind": ["a", "b"]})
    searched(tmp_path / "c", Function("test_artefacts.first"), 3, space)
    genotype = json.loads((export(tmp_path / "c")[0] / "genotype.json").read_text())
    assert set(genotype["named"].items()) <= {("kernel", 3), ("kernel", 5), ("kind", "a"), ("kind", "b")}
    searched(tmp_path / "d", Function("test_artefacts.first"), 2, DARTS())
    (folder,) = export(tmp_path / "d")
    assert DARTS().parse((folder / "genotype.txt").read_text().strip()) == tuple(best(tmp_path / "d")["architecture"])


def first(architecture):
    return 1.0


def test_networks_come_back_with_equal_outputs(tmp_path):
    space, evaluator = DARTS(auxiliary=True), training(skeleton={"channels": 2, "layers": 3})
    searched(tmp_path / "r", evaluator, 1, space)
    (folder,) = export(tmp_path / "r")
    trial = next(iter(RunFolder(tmp_path / "r").trials(2)))
    evaluator.start(space)
    trained = evaluator.trained(Query(0, trial.architecture, trial.seed)).network
    images = load_task("digits").part("valid")[0][:20]
    torch.testing.assert_close(load_network(folder)(images), trained(images), rtol=1e-5, atol=1e-6)


def test_card(run):
    (folder,) = export(run)
    card, row = (folder / "README.md").read_text(), best(run)
    for text in (
        row["name"],
        f"| score | {row['score']:.6g} | {row['score']:.6g} |",
        f"| params | {row['params']:.6g}",
        "accuracy in percent on the validation part",
        "Task(digits: 899 train, 449 valid, 449 test",
        "- its set-up: ",
        "300 examples",
        "- these weights: ",
        "- controller: RandomSearch()",
        "- seed of the search: 2",
        "torch ",
        f"archsearch export {run} --trial {row['id']}",
        "--trials 3 --seed 2 --out NEW_FOLDER",
        "optimistic",
        "one training with seed",
    ):
        assert text in card


def test_the_command_in_the_card_searches_again(run, tmp_path, capsys, monkeypatch):
    import shlex

    from common import run_command

    (folder,) = export(run)
    command = next(
        line for line in (folder / "README.md").read_text().splitlines() if line.startswith("archsearch run")
    )
    monkeypatch.chdir(tmp_path)
    assert run_command(capsys, *shlex.split(command)[1:], "--quiet")[0] == 0
    columns = ["id", "architecture", "score"]
    again = RunFolder(tmp_path / "NEW_FOLDER").table(SPACE)
    assert again.select(columns).equals(RunFolder(run).table(SPACE).select(columns))


# -- ONNX ----------------------------------------------------------------------------------------------


def test_onnx_computes_the_same(run):
    reference = pytest.importorskip("onnx.reference")
    (folder,) = export(run, onnx=True)
    network, onnx = load_network(folder), reference.ReferenceEvaluator(str(folder / "network.onnx"))
    images = load_task("digits").part("test")[0]
    for n in (1, 5):
        (logits,) = onnx.run(None, {"images": images[:n].contiguous().numpy()})
        expected = network(images[:n]).detach().numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01  # so that it is no constant that agrees
    assert sorted(os.listdir(folder)) == sorted(archsearch.artefacts.FILES)
    assert "`network.onnx` has the input `images`" in (folder / "README.md").read_text()


def test_onnx_without_its_packages(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "archsearch\[onnx\]"'):
        export(run, onnx=True)


# -- folders -------------------------------------------------------------------------------------------


def test_an_earlier_export_is_replaced_and_nothing_else(run, tmp_path):
    (folder,) = export(run)
    (folder / "README.md").write_text("old")
    assert export(run) == [folder]
    assert (folder / "README.md").read_text() != "old"
    assert os.listdir(folder.parent) == [folder.name]  # nothing is left lying about
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no earlier export of this trial"):
        export(run)
    assert (folder / "notes.txt").read_text() == "mine"
    other = tmp_path / "other" / folder.name
    shutil.copytree(folder, other)
    (other / "notes.txt").unlink()
    genotype = json.loads((other / "genotype.json").read_text())
    (other / "genotype.json").write_text(json.dumps({**genotype, "trial": 99}))
    with pytest.raises(UsageError, match="no earlier export of this trial"):
        export(run, out=tmp_path / "other")
    shutil.rmtree(other)
    other.mkdir()  # empty: nothing can be lost
    assert export(run, out=tmp_path / "other") == [other]


def test_a_half_written_export_is_not_there(run, monkeypatch):
    def fail(path, *_):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archsearch.artefacts, "_save_weights", fail)
        with pytest.raises(KeyboardInterrupt):
            export(run)
    assert not [name for name in os.listdir(run / "export") if not name.startswith(".")]
    (folder,) = export(run)
    assert os.listdir(run / "export") == [folder.name]


def test_weights_of_a_search_in_progress_are_not_touched(run):
    (run / "evaluator" / "7-.1.tmp").write_text("being written")
    held = RunFolder.open(run)
    try:
        with pytest.raises(RunFolderError, match="another process is running this search"):
            export(run)
        assert (run / "evaluator" / "7-.1.tmp").exists()
        assert export(run, evaluator=training())  # needs none of its files
    finally:
        held.close()
    assert export(run, evaluator=training())


def test_files_of_strangers(run, tmp_path):
    (folder,) = export(run)
    genotype = json.loads((folder / "genotype.json").read_text())
    for description in (
        {"class_path": "os.mkdir", "init_args": {"path": str(tmp_path / "harm")}},
        {"class_path": genotype["space"]["class_path"], "init_args": {"rule": {"class_path": "os.system"}}},
    ):
        (folder / "genotype.json").write_text(json.dumps({**genotype, "space": description}))
        with pytest.raises(UsageError, match="is no space"):
            load_network(folder)
    assert not (tmp_path / "harm").exists()
    (folder / "genotype.json").write_text(json.dumps({**genotype, "decisions": [3] * 6}))
    with pytest.raises(UsageError, match="damaged, or of another network"):
        load_network(folder)
    (folder / "genotype.json").write_text("[]")
    with pytest.raises(UsageError, match="no export"):
        load_network(folder)
    with pytest.raises(UsageError, match="no export"):
        load_network(tmp_path / "nowhere")


def test_refusals(run, tmp_path):
    with pytest.raises(UsageError, match="top: expected a whole number >= 1"):
        export(run, top=0)
    with pytest.raises(UnknownName, match="no completed trial 77"):
        export(run, trial=77)
    with pytest.raises(RunFolderError, match="no run here"):
        export(tmp_path / "nowhere")
    assert not (run / "export").exists()
