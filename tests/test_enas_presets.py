"""ENAS on its own spaces, by name: the settings of the authors' scripts, and short runs to the paper's last step."""

import sys

import pytest
import yaml
from common import run_command as run

from archsearch.keeping.folder import RunFolder
from archsearch.showing.listing import preset_file

SCRIPTS = {
    "enas_micro": {"hidden_size": 64, "bound": 1.1, "learning_rate": 3.5e-3, "batch_size": 10, "entropy_weight": 0.01},
    "enas_macro": {"hidden_size": 64, "bound": 1.5, "learning_rate": 1e-3, "batch_size": 20, "entropy_weight": 0.01},
    "enas_rnn": {"hidden_size": 100, "bound": 2.5, "learning_rate": 1e-3, "batch_size": 10, "entropy_weight": 3e-5},
}
EXTRAS = {"enas_macro": {"skip_prior": 0.4, "skip_weight": 16}, "enas_rnn": {"temperature": 5.0}}
SPACES = {"enas_micro": "ENASMicro", "enas_macro": "ENASMacro", "enas_rnn": "ENASCell"}
SHORT = {
    "evaluator.epochs": 2,
    "evaluator.trials_per_epoch": 5,
    "controller.after": 10,
    "controller.limit": 2,
    "trials": 12,
    "seed": 0,
}
SMALL = {
    "enas_micro": {"evaluator.training.train_examples": 60, "evaluator.training.skeleton.layers": 3},
    "enas_macro": {"evaluator.training.train_examples": 60, "evaluator.training.skeleton.channels": 4},
    "enas_rnn": {
        "evaluator.training.task": "grammar:train=800,valid=200,test=200",
        "evaluator.training.skeleton.width": 6,
    },
}


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("name", ["enas_macro", pytest.param("enas_micro", marks=pytest.mark.slow), "enas_rnn"])
def test_preset_runs_to_the_last_step(capsys, name):
    options = [word for key, value in (SHORT | SMALL[name]).items() for word in (f"--{key}", str(value))]
    status, out, err = run(capsys, "run", "--preset", name, *options, "--out", "r", "--quiet")
    assert status == 0, err
    assert "12 completed, 0 failed" in out
    folder = RunFolder("r")
    assert folder.config()["space"]["class_path"].endswith(f".{SPACES[name]}")
    assert folder.advanced()
    last = sorted(folder.trials(0), key=lambda trial: trial.id)[10:]
    assert len({trial.architecture for trial in last}) == 2


@pytest.mark.parametrize("name", SPACES)
def test_settings_of_the_scripts(name):
    content = yaml.safe_load(preset_file(name).read_text())
    ending, evaluator = content["controller"]["init_args"], content["evaluator"]["init_args"]
    common = {"policy": "lstm", "layers": 1, "baseline_decay": 0.99, "scale_advantage": False}
    assert ending["controller"]["init_args"] == common | SCRIPTS[name] | EXTRAS.get(name, {})
    assert content["trials"] == ending["after"] + ending["limit"]
    assert ending["after"] == evaluator["epochs"] * evaluator["trials_per_epoch"]
    assert evaluator["sampler"] == "controller"
    assert evaluator["validation_batches"] == 1
    assert evaluator.get("statistics") == (None if name == "enas_rnn" else "batch")


def test_the_weight_of_skips_is_that_of_the_script():
    """0.8, for percent, times the mean over the layers that can have skips; ours is a sum."""
    content = yaml.safe_load(preset_file("enas_macro").read_text())
    layers = content["space"]["init_args"]["layers"]
    weight = content["controller"]["init_args"]["controller"]["init_args"]["skip_weight"]
    assert weight == pytest.approx(0.8 * 100 / (layers - 1))


def test_a_prior_of_skips_is_refused_before_anything_is_spent(capsys):
    options = ["--controller", "Reinforce", "--controller.skip_prior", "0.4", "--trials", "3", "--out", "r", "--quiet"]
    status, _, err = run(capsys, "run", "--space", "NASBench201", "--evaluator", "Tabular", *options)
    assert status == 2
    assert "expected a space with decisions about skip connections" in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
