"""Whole methods by name: ``archsearch run --preset``, and what overrides them."""

import sys
from pathlib import Path

import pytest
import yaml
from common import run_command as run
from gradient_presets import PARTS

import archsearch
from archsearch.keeping.folder import RunFolder
from archsearch.showing.listing import preset_file

FOLDER = Path(archsearch.__file__).parent / "presets"
NAMES = ["bender", "enas", "fairnas", "random_sharing", "smash", "spos"]
OWN = ["enas_macro", "enas_micro", "enas_rnn"]
ELASTIC = ["bignas", "ofa"]
"""Those of ``OneShot``; ``test_enas_presets.py`` runs those of ENAS, ``test_elastic_training.py`` the elastic ones, and
``test_gradient_presets.py`` has the others."""

# Two epochs of a thin super-network on a few images; everything else is as the preset has it.
SHORT = {
    "evaluator.epochs": 2,
    "evaluator.training.train_examples": 60,
    "evaluator.training.skeleton.channels": 4,
    "trials": 12,
    "seed": 0,
}
SETTINGS = {
    "random_sharing": {"controller.samples": 10, "controller.finalists": 2, "controller.budget": 1},
    "spos": {"batch": 4, "controller.population_size": 4, "limits.flops": 150e3},
    "fairnas": {"batch": 4, "controller.population_size": 4},
    "enas": {"evaluator.trials_per_epoch": 5, "controller.after": 10, "controller.limit": 2},
}


def options(settings):
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def config_of(capsys, *arguments):
    """The configuration that a run with these arguments has; nothing is run."""
    status, out, err = run(capsys, "run", *arguments, "--print_config")
    assert status == 0, err
    return yaml.safe_load(out)


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_these_are_all():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted([*NAMES, *OWN, *ELASTIC, *PARTS])


@pytest.mark.parametrize("name", NAMES)
def test_preset_runs(capsys, name):
    settings = SHORT | SETTINGS.get(name, {})
    status, out, err = run(capsys, "run", "--preset", name, *options(settings), "--out", "r", "--quiet")
    assert status == 0, err
    assert "12 completed, 0 failed" in out
    stored = RunFolder("r").config()
    evaluator = stored["evaluator"]["init_args"]
    assert stored["evaluator"]["class_path"] == "archsearch.evaluators.one_shot.OneShot"
    assert evaluator["training"]["init_args"]["task"] == "digits"
    assert evaluator["training"]["init_args"]["skeleton"] == {"channels": 4}
    assert evaluator["epochs"] == 2
    trials = list(RunFolder("r").trials(0))
    if name == "random_sharing":
        assert [trial.budget.stop for trial in trials] == [1] * 10 + [1000] * 2
        best = sorted(trials[:10], key=lambda trial: (-trial.score, trial.id))[:2]
        assert [trial.parent for trial in trials[10:]] == [trial.id for trial in best]
    if name == "spos":
        assert all(trial.metrics["flops"] <= 150e3 for trial in trials)
        assert "beyond the limits" in out
        assert len({trial.architecture for trial in trials}) == 12
    if name == "enas":
        last = sorted(trials, key=lambda trial: trial.id)[10:]
        assert len({trial.architecture for trial in last}) == 2
        assert RunFolder("r").advanced()


@pytest.mark.parametrize("name", [*NAMES, *OWN, *ELASTIC])
def test_preset_says_what_it_is_and_where_it_differs(name):
    content = preset_file(name).read_text()
    heading, empty, *_ = content.splitlines()
    assert heading.startswith("# ")
    assert any(f"{venue} 20" in heading for venue in ("UAI", "ECCV", "ICCV", "ICML", "ICLR"))
    assert heading.endswith(".")
    assert len(heading) <= 120
    assert empty == "#"
    assert "Different here" in content
    assert yaml.safe_load(content)["trials"] >= 500


def test_settings_of_the_papers(capsys):
    """The numbers that the presets keep; see the comments in their files."""
    sharing = config_of(capsys, "--preset", "random_sharing")["controller"]["init_args"]
    assert [sharing[name] for name in ("samples", "finalists", "budget")] == [1000, 10, 10]
    spos = config_of(capsys, "--preset", "spos")
    assert spos["controller"]["init_args"] == {
        "population_size": 50,
        "mutations": 25,
        "crossovers": 25,
        "mutation_probability": 0.1,
        "parents": 10,
    }
    assert spos["evaluator"]["init_args"]["statistics"] == "recomputed"
    assert (spos["trials"], spos["batch"], spos["duplicates"]) == (1000, 50, "reuse")
    fair = config_of(capsys, "--preset", "fairnas")
    assert fair["evaluator"]["init_args"]["sampler"] == "fair"
    assert fair["controller"]["class_path"].endswith(".NSGA2")
    assert fair["controller"]["init_args"]["objectives"] == {"score": "max", "flops": "min", "params": "max"}
    assert fair["space"]["init_args"]["identity"] == "never"
    enas = config_of(capsys, "--preset", "enas")
    ending = enas["controller"]["init_args"]
    assert (ending["limit"], ending["after"], enas["trials"]) == (10, 3000, 3010)
    assert enas["controller"]["class_path"].endswith(".Derived")
    assert ending["after"] % enas["evaluator"]["init_args"]["trials_per_epoch"] == 0
    assert ending["controller"]["init_args"] == {
        "policy": "lstm",
        "learning_rate": 3.5e-3,
        "entropy_weight": 0.01,
        "baseline_decay": 0.99,
        "batch_size": 10,
        "hidden_size": 64,
        "layers": 1,
        "scale_advantage": False,
        "temperature": 1.0,
        "bound": None,
        "skip_prior": None,
        "skip_weight": 0.8,
        "defaults": "trials",
    }
    assert enas["evaluator"]["init_args"]["sampler"] == "controller"
    assert enas["evaluator"]["init_args"]["statistics"] == "batch"
    assert enas["evaluator"]["init_args"]["validation_batches"] == 1
    assert config_of(capsys, "--preset", "bender")["evaluator"]["init_args"]["sampler"] == "dropout"
    assert config_of(capsys, "--preset", "smash")["evaluator"]["init_args"]["source"] == "hyper_network"


def test_limit_of_spos_is_about_the_median_of_random_architectures(capsys):
    import numpy as np

    from archsearch.evaluators import Training
    from archsearch.spaces import MobileNet

    config = config_of(capsys, "--preset", "spos")
    space, training = MobileNet(**config["space"]["init_args"]), Training("digits")
    training.start(space)
    rng = np.random.default_rng(1)
    flops = [training.measure(space.sample(rng))["flops"] for _ in range(60)]
    low, high = np.percentile(flops, [35, 65])
    assert low < config["limits"]["flops"] < high


# -- what overrides what -------------------------------------------------------------------------


def test_files_override_presets_and_options_override_both_wherever_they_stand(capsys):
    content = {"controller": {"class_path": "ElitistEvolution", "init_args": {"parents": 7, "mutations": 3}}}
    Path("c.yaml").write_text(yaml.safe_dump(content | {"trials": 6, "limits": None, "seed": 5}))
    words = ["--controller.mutations", "2", "--trials", "3", "--config", "c.yaml", "--preset", "spos"]
    for arguments in (words, words[-2:] + words[:-2], ["--config=c.yaml", "--preset=spos", *words[:4]]):
        config = config_of(capsys, *arguments)
        given = config["controller"]["init_args"]
        assert (given["mutations"], given["parents"], given["crossovers"]) == (2, 7, 25)
        assert (config["trials"], config["limits"], config["seed"], config["batch"]) == (3, None, 5, 50)
        assert (
            config["evaluator"]["init_args"]["epochs"]
            == yaml.safe_load(preset_file("spos").read_text())["evaluator"]["init_args"]["epochs"]
        )


@pytest.mark.parametrize("how", ["--evaluator Training", "--evaluator=Training", "--config c.yaml", "--config d.yaml"])
def test_settings_of_one_class_do_not_become_those_of_another(capsys, how):
    Path("c.yaml").write_text("evaluator: Training\n")
    Path("d.yaml").write_text("evaluator: {class_path: archsearch.evaluators.training.Training}\n")
    config = config_of(capsys, "--preset", "spos", *how.split())
    assert config["evaluator"]["class_path"].endswith(".Training")
    given = config["evaluator"]["init_args"]
    assert {given[name] for name in ("epochs", "task", "learning_rate", "weight_decay")} == {None}
    assert config["controller"]["init_args"]["parents"] == 10  # the rest is as in the preset
    assert config["space"]["init_args"]["identity"] == "never"


def test_another_controller_under_a_preset(capsys):
    arguments = ["--preset", "spos", "--controller", "RegularizedEvolution", "--controller.tournament_size", "3"]
    given = config_of(capsys, *arguments)["controller"]["init_args"]
    assert given["tournament_size"] == 3
    assert given["population_size"] != 50
    named_again = ["--preset", "spos", "--controller", "archsearch.controllers.elitist_evolution.ElitistEvolution"]
    assert config_of(capsys, *named_again)["controller"]["init_args"]["parents"] == 10


def test_a_preset_and_the_file_itself_mean_the_same(capsys):
    assert config_of(capsys, "--preset", "enas") == config_of(capsys, "--config", str(preset_file("enas")))


# -- the list, and mistakes ------------------------------------------------------------------------


def test_list(capsys):
    status, out, _ = run(capsys, "list", "presets")
    assert status == 0
    heading, *lines = out.splitlines()
    assert heading == "presets"
    assert [line.split()[0] for line in lines] == sorted([*NAMES, *OWN, *ELASTIC, *PARTS])
    assert all(f"# {line[24:]}" == preset_file(line.split()[0]).read_text().splitlines()[0] for line in lines)
    everything = run(capsys, "list")[1]
    assert out.strip() in everything
    assert "NASBench201" in everything


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "spso"], "no preset is called 'spso'; did you mean spos? Known: bender, bignas, darts"),
        (["--preset", "../presets/spos"], "no preset is called"),
        (["--preset="], "no preset is called ''"),
        (["--preset"], "expected one argument"),
        (["--preset", "spos", "--preset", "enas"], "expected one, got spos, enas"),
        (["--config", "c.yaml"], "a file with options cannot name one"),
        (["--preset", "spos", "--config", "none.yaml"], "does not exist"),
        (["--preset", "spos", "--config", "bad.yaml"], "bad.yaml: line 2, column 1: no YAML"),
        (["--preset", "spos", "--controller", "Elitist"], "no controller is called 'Elitist'"),
    ],
)
def test_mistakes(capsys, arguments, message):
    Path("c.yaml").write_text("preset: spos\n")
    Path("bad.yaml").write_text("a: [1\n")
    status, _, err = run(capsys, "run", *arguments, "--trials", "1", "--out", "r")
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not Path("r").exists()
