"""Export: the weights are those that were scored, by every evaluator, also after a verification."""

import os
import shutil

import pytest
from artefacts_lab import SPACE, accuracy, best, searched, training

from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.controllers import RegularizedEvolution, SuccessiveHalving
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import Inherit, OneShot, Tabular, ZeroCost
from archsearch.judging.verification import verify
from archsearch.keeping.folder import RunFolder
from archsearch.showing.rows import best_rows
from archsearch.task import ImageTask, load_task


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "r")
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
    searched(tmp_path / "r", training(repeats=2, together=False), 1)
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
    task = ImageTask(
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
