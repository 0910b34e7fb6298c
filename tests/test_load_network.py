"""Networks from exports: of strangers, of spaces that no package has, and damaged ones."""

import json
import shutil
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch
from artefacts_lab import accuracy, best, searched, training
from safetensors.torch import load_file, save_file

import archsearch.bridges.export
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.judging.verification import verify
from archsearch.spaces import NASBench201
from archsearch.task import load_task


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    """An export that tests do not change."""
    return export(trained_run, out=tmp_path_factory.mktemp("exported"))[0]


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
    monkeypatch.setattr(archsearch.bridges.export, "need_onnx", lambda space: None)
    monkeypatch.setattr(archsearch.bridges.export, "save_onnx", lambda path, network, shape: written.append(network))
    (folder,) = export(tmp_path / "r", onnx=True, space=space)
    assert [accuracy(network) for network in written] == [best(tmp_path / "r", space)["score"]]
    pattern = r"of test_load_network\.Mine, which is not installed as a space; pass it: load_network\(.*, "
    pattern += r"space=Mine\(\.\.\.\)"
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
        ({"network": {}}, "network: input_shape: expected one to three whole numbers >= 1, got none"),
        (
            {"network": {**NETWORK, "input_shape": [1, 8, "8"]}},
            r"input_shape: expected one to three .*, got \[1, 8, '8'\]",
        ),
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


def test_a_verification_that_is_damaged(trained_run, tmp_path, capsys):
    shutil.copytree(trained_run, tmp_path / "r")
    verify(tmp_path / "r", Function("artefacts_lab.first"), top=2, seed=0)
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
