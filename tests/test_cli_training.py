"""The command line: training for real."""

import re
import sys

import numpy as np
import pytest
from common import run_command as run


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


TINY = ("--evaluator.epochs", "1", "--evaluator.train_examples", "40", "--evaluator.batch_size", "20")


@pytest.mark.parametrize(
    ("space", "skeleton"),
    [
        ("NASBench201", "{channels: 2, cells: 1}"),
        ("DARTS", "{channels: 2, layers: 3}"),
        ("MobileNet", "{channels: 4}"),
        ("NASBenchMacro", "{channels: 4}"),
        ("NASBench101", "{channels: 8, modules: 1}"),
        ("ConvChain", "{channels: 2}"),
    ],
)
def test_every_trainable_space_trains(capsys, space, skeleton):
    arguments = ["--space", space, "--evaluator", "Training", *TINY, "--evaluator.skeleton", skeleton]
    status, out, err = run(capsys, "run", *arguments, "--trials", "2", "--seed", "0", "--out", "r", "--quiet")
    assert status == 0, err
    assert "2 completed, 0 failed" in out
    assert "80 examples, 4 updates" in out
    status, out, _ = run(capsys, "report", "r")
    assert status == 0
    assert "test_accuracy" in out


def test_training_on_a_folder_of_parquet_images(capsys, tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=2)})
    for part, n in (("train", 40), ("test", 10)):
        labels = [i % 2 for i in range(n)]
        pixels = rng.integers(0, 100, (n, 8, 8, 3), dtype=np.uint8)
        pixels[1::2, :4] += 150  # the second class is bright above
        rows = {"image": [Image.fromarray(picture) for picture in pixels], "label": labels}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{part}-00000.parquet")
    arguments = ["--evaluator", "Training", "--evaluator.task", f"{tmp_path}:valid=0.25", "--evaluator.epochs", "8"]
    arguments += ["--evaluator.batch_size", "10", "--evaluator.skeleton", "{channels: 4}", "--out", "images"]
    status, out, err = run(capsys, "run", *arguments, "--trials", "2", "--seed", "0", "--quiet")
    assert status == 0, err
    assert "2 completed" in out
    assert "480 examples" in out
    score = float(re.search(r"score ([\d.]+)", out)[1])
    assert score > 80, "bright and dark images are told apart"


def test_nested_components_on_the_command_line_and_after_a_resume(capsys):
    halving = ["--controller", "SuccessiveHalving", "--controller.controller", "RegularizedEvolution"]
    halving += ["--controller.controller.population_size", "4", "--controller.max_budget", "3"]
    training = ["--evaluator", "Training", "--evaluator.epochs", "3", *TINY[2:], "--evaluator.skeleton.channels", "2"]
    status, out, err = run(capsys, "run", *halving, *training, "--trials", "6", "--seed", "0", "--out", "r", "--quiet")
    assert status == 0, err
    assert "at budget 3" in out
    status, out, err = run(capsys, "resume", "r", "--trials", "9", "--quiet")
    assert status == 0, err
    assert "9 completed" in out
    assert " budget " in run(capsys, "report", "r", "--top", "3")[1]
    inherit = [
        "--evaluator",
        "Inherit",
        "--evaluator.training.epochs",
        "1",
        "--evaluator.training.train_examples",
        "40",
    ]
    inherit += ["--controller", "RegularizedEvolution", "--controller.population_size", "2", "--evaluator.steps", "1"]
    status, out, err = run(capsys, "run", *inherit, "--trials", "4", "--seed", "0", "--out", "i", "--quiet")
    assert status == 0, err
    assert "inherited" in out
