"""Export: files that build the network again, ONNX, the card, and what is not overwritten."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from artefacts_lab import SPACE, best, searched, training
from safetensors import safe_open

import archsearch.bridges.export
from archsearch.bridges.export import export
from archsearch.bridges.exported import PROGRAM, QUANTIZED
from archsearch.bridges.load_network import load_network
from archsearch.errors import RunFolderError, UnknownName, UsageError
from archsearch.evaluators import Function
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import DARTS, Choices
from archsearch.task import load_task
from archsearch.trial import Query


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "r")
    return tmp_path / "r"


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
    searched(tmp_path / "c", Function("artefacts_lab.first"), 3, space)
    genotype = json.loads((export(tmp_path / "c")[0] / "genotype.json").read_text())
    assert set(genotype["named"].items()) <= {("kernel", 3), ("kernel", 5), ("kind", "a"), ("kind", "b")}
    searched(tmp_path / "d", Function("artefacts_lab.first"), 2, DARTS())
    (folder,) = export(tmp_path / "d")
    assert DARTS().parse((folder / "genotype.txt").read_text().strip()) == tuple(best(tmp_path / "d")["architecture"])


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
        f"| params | {row['params']:,.0f}",
        "the validation accuracy in percent",
        "Task(digits: 899 train, 449 valid, 449 test",
        "- its set-up: ",
        "300 examples",
        "- these weights: ",
        "- controller: RandomSearch(over='decisions')",
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
    assert set(os.listdir(folder)) == archsearch.bridges.exported.FILES - {QUANTIZED, PROGRAM}
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
        patch.setattr(archsearch.bridges.export, "save_weights", fail)
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


# -- refusals --------------------------------------------------------------------------------------------


def test_refusals(run, tmp_path):
    with pytest.raises(UsageError, match="top: expected a whole number >= 1"):
        export(run, top=0)
    with pytest.raises(UnknownName, match="no completed trial 77"):
        export(run, trial=77)
    with pytest.raises(RunFolderError, match="no run here"):
        export(tmp_path / "nowhere")
    assert not (run / "export").exists()
