"""The command line: what users get wrong is said in one message, and settings are those of the class that is named."""

import sys
from pathlib import Path

import pytest
import yaml
from common import run_command as run

from archsearch import cli
from archsearch.errors import UsageError
from archsearch.running.settings import Settings


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def files(folder):
    return sorted(str(path) for path in Path(folder).rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "no command is called 'fly'"),
        (["run", "--controller", "RegularisedEvolution"], "controller"),
        (["run", "--controller", "no_such_module.Thing"], "no_such_module"),
        (["run", "--trials", "many"], "trials"),
        (["run", "--trials", "0"], "trials: expected a whole number >= 1"),
        (["run", "--seed", "-1"], "seed: expected a whole number >= 0"),
        (["run", "--controller.modelled", "0"], "modelled: expected a whole number >= 1"),
        (["run", "--workers", "3"], "local executor has one worker"),
        (["run", "--workers", "0", "--executor", "simulated"], "workers: expected a whole number >= 1"),
        (["run", "--gpus", "1"], "only together with --executor ray"),
        (["run", "--evaluator.dataset", "mnist"], "dataset"),
        (["run", "--evaluator.table", "none.parquet"], "architecture and score"),
        (["run", "--out", "file/x"], "cannot write a run here"),
        (["resume", "nowhere"], "no run here"),
        (["resume", "nowhere", "--address", "auto"], "only together with --executor ray"),
        (["report", "nowhere"], "no run here"),
        (["show", "|nonsense|"], "is no NAS-Bench-201 cell"),
        (["show", "99999"], "15624"),
        (["list", "Tabularr"], "did you mean Tabular?"),
        (["list", "--compatible-with", "Nothing"], "no controller or evaluator or model or space is called"),
    ],
)
def test_wrong_usage_is_one_message_and_touches_nothing(capsys, arguments, expected):
    Path("file").write_text("in the way")
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert expected in err
    assert "Traceback" not in err
    assert files(".") == ["file"]


def test_another_space_on_resume_is_refused(capsys):
    assert run(capsys, "run", "--trials", "5", "--out", "r", "--quiet")[0] == 0
    before = {path: Path(path).stat().st_mtime_ns for path in files("r")}
    status, _, err = run(capsys, "resume", "r", "--space", "NASBench201", "--space.rule", "published")
    assert status == 2
    assert "space differs" in err
    assert {path: Path(path).stat().st_mtime_ns for path in files("r")} == before


def test_occupied_folder_is_refused(capsys):
    assert run(capsys, "run", "--trials", "5", "--out", "r", "--quiet")[0] == 0
    status, _, err = run(capsys, "run", "--trials", "6", "--out", "r", "--quiet")
    assert status == 2
    assert "'archsearch resume r --trials 6' changes that" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluator", "Training", "--evaluator.task", "mnist"], "no task is called 'mnist'; expected digits"),
        (["--evaluator", "Training", "--evaluator.epochs", "0"], "epochs: expected a whole number >= 1, got 0"),
        (
            ["--evaluator", "Training", "--evaluator.skeleton.cell", "1"],
            "have no setting 'cell'; expected any of channels",
        ),
        (["--controller", "SuccessiveHalving"], "cifar10 has no results of a training that is stopped after 1, 3, 9"),
        (["--controller", "Hyperband", "--controller.max_budget", "0"], "max_budget: expected a whole number >= 1"),
        (
            ["--controller", "SuccessiveHalving", "--controller.max_budget", "99", "--evaluator", "Training"],
            "a budget of 99 epochs is longer than a full training of 9",
        ),
    ],
)
def test_mistakes_in_training_are_said_in_one_line(capsys, arguments, message):
    status, _, err = run(capsys, "run", *arguments, "--trials", "1", "--out", "r")
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not Path("r").exists()


@pytest.mark.parametrize("option", ["--evaluator", "--evaluator.help"])
def test_misspelt_classes_are_guessed(capsys, option):
    status, _, err = run(capsys, "run", option, "Trainig", "--trials", "1")
    assert status == 2
    assert "no evaluator is called 'Trainig'; did you mean Training?" in err


def test_config_with_an_equals_sign_finds_the_classes_it_names(capsys):
    settings = {"class_path": "Training", "init_args": {"epochs": 9, "train_examples": 20}}
    Path("c.yaml").write_text(yaml.safe_dump({"controller": "SuccessiveHalving", "evaluator": settings}))
    status, out, err = run(capsys, "run", "--config=c.yaml", "--trials", "1", "--out", "r", "--quiet")
    assert status == 0, err
    assert "at budget 1" in out


@pytest.mark.parametrize("way", ["option", "file", "file with settings"])
def test_settings_of_the_defaults_do_not_become_those_of_another_class(way, tmp_path):
    """RegularizedEvolution has a population of 100, NASBench201 has 16 channels: that is not for others."""
    out = tmp_path / "run"
    arguments = ["--controller", "ElitistEvolution", "--space", "NASBench201", "--trials", "3", "--out", str(out)]
    if way != "option":
        content = "ElitistEvolution" if way == "file" else "{class_path: ElitistEvolution, init_args: {parents: 7}}"
        (tmp_path / "run.yaml").write_text(f"controller: {content}\ntrials: 3\nout: {out}\n")
        arguments = ["--config", str(tmp_path / "run.yaml")]
    assert cli.main(["run", *arguments, "--quiet"]) == 0
    settings = yaml.safe_load((out / "config.yaml").read_text())["controller"]["init_args"]
    assert settings["population_size"] == 50
    assert settings["parents"] == (7 if way == "file with settings" else 10)


def test_a_space_has_its_own_settings(tmp_path):
    arguments = ["--space", "DARTS", "--evaluator", "Function", "--evaluator.function", "builtins.len", "--trials", "2"]
    cli.main(["run", *arguments, "--out", str(tmp_path / "run"), "--quiet", "--max_failures", "1"])
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["space"]["init_args"]["channels"] == 36


@pytest.mark.parametrize("name", ["trials", "lag"])
def test_numbers_of_trials_are_whole(name):
    with pytest.raises(UsageError, match=f"{name}: expected a whole number >= 1"):
        Settings(**{"trials": 5} | {name: 2.5})
