"""Export: weights that were scored, files that build the network again, ONNX, the card, what is not overwritten."""

import json
import os
import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

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


# -- exports of strangers, and damaged ones --------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(shared, tmp_path_factory):
    """An export that tests do not change."""
    return export(shared, out=tmp_path_factory.mktemp("exported"))[0]


@pytest.fixture
def stranger(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "stranger")
    return tmp_path / "stranger"


def edit(folder, **entries):
    """Changes entries of a genotype; None takes one away."""
    genotype = {**json.loads((folder / "genotype.json").read_text()), **entries}
    kept = {name: value for name, value in genotype.items() if value is not None}
    (folder / "genotype.json").write_text(json.dumps(kept))


NETWORK = {"skeleton": {"channels": 4, "cells": 1}, "input_shape": [1, 8, 8], "classes": 10}
CLASS = "archsearch.spaces.nasbench201.NASBench201"
HARMFUL = {"class_path": "stranger_lab.Harm", "init_args": {}}
FUNCTION = {"class_path": "archsearch.evaluators.function.Function", "init_args": {"function": "stranger_lab.Harm"}}


@pytest.mark.parametrize(
    ("description", "named"),
    [
        (HARMFUL, "stranger_lab.Harm"),
        ({**HARMFUL, "class_path": "stranger_lab:Harm"}, "stranger_lab:Harm"),
        ({"class_path": "this.s", "init_args": {}}, "this.s"),
        ({"class_path": "os.mkdir", "init_args": {"path": "harm"}}, "os.mkdir"),
        ({"class_path": "NASBench201", "init_args": {}}, "NASBench201"),
        (FUNCTION, "archsearch.evaluators.function.Function"),
        ({"class_path": CLASS, "init_args": {"rule": HARMFUL}}, f"{CLASS} with stranger_lab.Harm"),
        ({"class_path": CLASS, "init_args": {"rule": [{"a": HARMFUL}]}}, f"{CLASS} with stranger_lab.Harm"),
        ({"class_path": CLASS, "init_args": {"rule": FUNCTION}}, f"{CLASS} with stranger_lab.Harm (Function.function)"),
    ],
)
def test_nothing_is_imported_for_a_stranger(stranger, tmp_path, monkeypatch, capsys, description, named):
    (tmp_path / "stranger_lab.py").write_text("open('harm', 'w').close()\nHarm = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "this", raising=False)
    edit(stranger, space=description)
    with pytest.raises(UsageError, match=r"which is not installed as a space; pass it: load_network\(.*, space=") as e:
        load_network(stranger)
    assert f"{stranger}/genotype.json: this network is of {named}, which" in str(e.value)
    assert not (tmp_path / "harm").exists()
    assert not {"this", "stranger_lab"} & sys.modules.keys()
    assert capsys.readouterr().out == ""  # ``this`` prints


@pytest.mark.parametrize(
    "path", ["archsearch.spaces.nasbench201:NASBench201", "archsearch.spaces.NASBench201", f"{CLASS}"]
)
def test_paths_of_an_installed_space(stranger, path):
    edit(stranger, space={"class_path": path, "init_args": {}})
    assert load_network(stranger).architecture


class Mine(NASBench201):
    """A space that no package has registered."""

    def __init__(self, inner=None, channels=4):
        super().__init__(channels=channels)
        self.inner = inner


def test_a_space_of_ones_own(tmp_path, monkeypatch):
    space = Mine(NASBench201(), 6)
    searched(tmp_path / "r", training(skeleton={"cells": 1}), 1, space)
    monkeypatch.chdir(tmp_path)
    written = []
    monkeypatch.setattr(archsearch.artefacts, "_need_onnx", lambda: None)
    monkeypatch.setattr(archsearch.artefacts, "_save_onnx", lambda path, network, shape: written.append(network))
    (folder,) = export(tmp_path / "r", onnx=True, space=space)
    assert [accuracy(network) for network in written] == [best(tmp_path / "r", space)["score"]]
    pattern = (
        r"of test_artefacts\.Mine, which is not installed as a space; pass it: load_network\(.*, space=Mine\(\.\.\.\)"
    )
    with pytest.raises(UsageError, match=pattern):
        load_network(folder)
    assert accuracy(load_network(folder, space=space)) == best(tmp_path / "r", space)["score"]
    for other in (Mine(NASBench201(), 7), Mine(None, 6), NASBench201(channels=6)):
        with pytest.raises(UsageError, match=r"genotype\.json: space: expected the one that is given, .*, got Mine\("):
            load_network(folder, space=other)
    with pytest.raises(UsageError, match="space: expected a Space such as"):
        load_network(folder, space=Mine)
    # The card's own lines load it.
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(folder.parent)
    names = {"images": load_task("digits").part("valid")[0][:5]}
    exec(code, names)
    assert names["logits"].shape == (5, 10)
    assert ", space=Mine(inner=NASBench201(" in code


def test_a_space_that_a_package_has_registered(tmp_path, monkeypatch):
    space = Mine(None, 4)
    searched(tmp_path / "r", training(skeleton={"cells": 1}), 1, space)
    broken = EntryPoint("Mine2", "no_such_package:Mine", "archsearch.spaces")
    mine = EntryPoint("Mine", "lab_of_mine:Mine", "archsearch.spaces")  # offers what is defined in another module
    monkeypatch.setitem(sys.modules, "lab_of_mine", SimpleNamespace(Mine=Mine))
    installed = {"spaces": {"Mine2": broken, "Mine": mine}}
    monkeypatch.setattr(archsearch.components, "entry_points", lambda kind: installed.get(kind, {}))
    (folder,) = export(tmp_path / "r")
    assert accuracy(load_network(folder)) == best(tmp_path / "r", space)["score"]
    assert "space=" not in (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"space": None}, r'space: expected an object with "class_path" and "init_args", got none'),
        ({"space": []}, r"space: expected an object .*, got \[\]"),
        ({"space": {"class_path": 3, "init_args": {}}}, r"space: expected an object .*, got \{"),
        ({"space": {"class_path": CLASS, "init_args": [1]}}, r"space: expected an object .*, got \{"),
        ({"space": {"class_path": CLASS, "init_args": {"rule": {"init_args": 3}}}}, "space: expected an object"),
        ({"space": {"class_path": CLASS, "init_args": {"rule": []}}}, "space: expected one that can be made, got NASB"),
        ({"space": {"class_path": CLASS, "init_args": {"new": 1}}}, r"space: expected .* got NASBench201\(new=1\)"),
        ({"decisions": None}, "decisions: expected a list of options, got none"),
        ({"decisions": "333333"}, "decisions: expected a list of options, got '333333'"),
        ({"decisions": [[3]] * 6}, "expected an architecture of NASBench201: "),
        ({"decisions": [9] * 6}, "expected an architecture of NASBench201: "),
        ({"network": [1]}, r"network: expected an object, got \[1\]"),
        ({"network": {}}, "network: input_shape: expected three whole numbers >= 1, got none"),
        ({"network": {**NETWORK, "input_shape": [1, 8, "8"]}}, r"input_shape: expected three .*, got \[1, 8, '8'\]"),
        ({"network": {**NETWORK, "classes": 0}}, "network: classes: expected a whole number >= 1, got 0"),
        ({"network": {**NETWORK, "skeleton": 3}}, "network: skeleton: expected an object, got 3"),
        (
            {"network": {**NETWORK, "skeleton": {"depth": 3}}},
            r"network: expected what NASBench201 can make a network of \(settings of the skeleton: channels, cells\), "
            r"got .*skeleton \{'depth': 3\}",
        ),
        ({"network": {**NETWORK, "skeleton": {"cells": "x"}}}, r"network: expected .* got .*skeleton \{'cells': 'x'\}"),
    ],
)
def test_a_genotype_that_is_damaged(stranger, entries, message):
    edit(stranger, **entries)
    with pytest.raises(UsageError, match=message) as caught:
        load_network(stranger)
    assert str(caught.value).startswith(f"{stranger}/genotype.json: ")


def test_a_space_that_builds_no_networks(stranger):
    edit(stranger, space={"class_path": "archsearch.spaces.Choices", "init_args": {"decisions": {"a": [1, 2]}}})
    edit(stranger, decisions=[0])
    with pytest.raises(UsageError, match=r"genotype\.json: expected an architecture of Choices.*does not build"):
        load_network(stranger)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected a JSON file, got: "),
        (b"\xff\xfe", "expected a JSON file, got: "),
        (b"[" * 100_000, "expected a JSON file, got: "),
        (b"[]", r"expected a JSON object, got \[\]"),
        (None, "expected a JSON file, got: .*No such file"),
    ],
)
def test_a_genotype_that_is_none(stranger, content, message):
    path = stranger / "genotype.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError, match=f"no export of archsearch: {message}") as caught:
        load_network(stranger)
    assert str(caught.value).startswith(f"{path}: ")


def test_weights_that_do_not_fit(stranger):
    path = stranger / "weights.safetensors"
    tensors = load_file(path)
    bias = "head.3.bias"
    for changed, message in (
        (
            {**tensors, bias: torch.zeros(7)},
            rf"{bias}: expected shape \[10\], got shape \[7\]; 1 of \d+ tensors differ",
        ),
        ({**tensors, "own": torch.zeros(7)}, r"own: expected no such tensor, got shape \[7\]"),
        ({n: t for n, t in tensors.items() if n != bias}, rf"{bias}: expected shape \[10\], got no such tensor"),
    ):
        save_file(changed, path)
        with pytest.raises(UsageError, match=message) as caught:
            load_network(stranger)
        assert str(caught.value).startswith(f"{path}: of another network than genotype.json describes: ")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UsageError, match=r"weights\.safetensors: expected a sound safetensors file, damaged: "):
        load_network(stranger)


def test_a_verification_that_is_damaged(shared, tmp_path, capsys):
    shutil.copytree(shared, tmp_path / "r")
    verify(tmp_path / "r", Function("test_artefacts.first"), top=2, seed=0)
    config = tmp_path / "r" / "verification" / "1" / "config.yaml"
    for text in ("{", "space: {}\n", "space: {}\nevaluator: {class_path: os.mkdir}\n"):
        config.write_text(text)
        with pytest.warns(UserWarning, match="verification/1: its weights are passed over"):
            (folder,) = export(tmp_path / "r")
        assert "order     of verification 1" in capsys.readouterr().out
        assert load_network(folder)  # of the search
    (tmp_path / "r" / "verification" / "verified-000001.parquet").write_text("damaged")
    with pytest.warns(UserWarning, match="verification 1 is damaged"):
        (folder,) = export(tmp_path / "r")
    assert "order" not in capsys.readouterr().out
    assert accuracy(load_network(folder)) == best(tmp_path / "r")["score"]


def test_refusals(run, tmp_path):
    with pytest.raises(UsageError, match="top: expected a whole number >= 1"):
        export(run, top=0)
    with pytest.raises(UnknownName, match="no completed trial 77"):
        export(run, trial=77)
    with pytest.raises(RunFolderError, match="no run here"):
        export(tmp_path / "nowhere")
    assert not (run / "export").exists()
