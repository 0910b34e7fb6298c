"""What leaves for other runtimes: ONNX, 8-bit ONNX, torch.export; each is run there and compared."""

import shutil

import numpy as np
import pytest
import torch

from archsearch import cli, search
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.controllers import RandomSearch
from archsearch.devices import exports
from archsearch.errors import ExportError
from archsearch.evaluators import Training
from archsearch.spaces import MobileNet
from archsearch.task import load_task

CHAIN = MobileNet(stages=[(8, 2, 2)], candidates=[(3, 3)], head_channels=None)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "chain"
    search(CHAIN, RandomSearch(), Training("digits", epochs=3), trials=1, seed=0, out=path)
    return path


def test_a_program_of_torch_export_computes_the_same(chain, tmp_path, capsys):
    assert cli.main(["export", str(chain), "--pt2", "--out", str(tmp_path)]) == 0
    assert "network.pt2: run in torch.export: outputs differ by at most" in capsys.readouterr().out
    images = load_task("digits").part("test")[0]
    network, program = load_network(tmp_path / "1-0"), torch.export.load(tmp_path / "1-0" / "network.pt2").module()
    for n in (1, 7):
        torch.testing.assert_close(program(images[:n]), network(images[:n]), atol=1e-4, rtol=1e-4)
    assert "`network.pt2` is read by `torch.export.load`" in (tmp_path / "1-0" / "README.md").read_text()


def test_eight_bits_in_onnx_runtime(chain, tmp_path, capsys):
    runtime = pytest.importorskip("onnxruntime")
    export(chain, quantize=True, out=tmp_path)
    printed = capsys.readouterr().out
    folder = tmp_path / "1-0"
    images, labels = load_task("digits").part("valid")
    right = {}
    for file in ("network.onnx", "network-int8.onnx"):
        session = runtime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])
        logits = np.concatenate([session.run(None, {"images": each[None].numpy()})[0] for each in images])
        right[file] = float((logits.argmax(1) == labels.numpy()).mean())
    before, after = right["network.onnx"], right["network-int8.onnx"]
    assert before > 0.5
    assert abs(before - after) < 0.1
    assert f"accuracy {after:.2%} on the validation part, before {before:.2%}" in printed
    model = pytest.importorskip("onnx").load(folder / "network-int8.onnx")
    kinds = {initializer.data_type for initializer in model.graph.initializer}
    assert {2, 3} & kinds, "unsigned or signed bytes"
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_what_computes_something_else_does_not_leave(chain, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    right = exports.run_onnx
    monkeypatch.setattr(exports, "run_onnx", lambda path, images: right(path, images) + 1)
    with pytest.raises(ExportError, match=r"expected the outputs of the network, up to 0\.001 of the largest"):
        export(chain, onnx=True, out=tmp_path)
    assert not (tmp_path / "1-0").exists()
    shutil.rmtree(tmp_path)
    assert cli.main(["export", str(chain), "--onnx", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
