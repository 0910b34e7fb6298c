"""Methods of search by gradient by name: what they are made of, and that they run."""

import sys

import pytest
import yaml
from common import run_command as run
from gradient_presets import PARTS
from pages import ROOT

from archsearch.keeping.folder import RunFolder
from archsearch.showing.listing import preset_file

SHORT = {
    "evaluator.epochs": 2,
    "evaluator.training.train_examples": 40,
    "evaluator.training.skeleton.channels": 4,
    "evaluator.frozen": 1,
    "trials": 3,
    "seed": 0,
}


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def name_of(part):
    return part["class_path"].rpartition(".")[2] if part else None


@pytest.mark.parametrize("name", PARTS)
def test_preset_runs_with_its_parts(capsys, name):
    short = {**SHORT, "evaluator.epochs": 6} if name == "p_darts" else SHORT  # two in each stage
    options = [word for key, value in short.items() for word in (f"--{key}", str(value))]
    if name == "proxylessnas":
        options += ["--evaluator.optimisation.every", "1"]  # there are fewer updates than its five
    status, out, err = run(capsys, "run", "--preset", name, *options, "--out", "r", "--quiet")
    assert status == 0, err
    # XNAS and P-DARTS leave one of each choice in the end, Fair DARTS hardly anything that early; these two derive one.
    single = ("fair_darts", "gold_nas", "p_darts", "single_path", "xnas")
    assert ("1 completed, 0 failed" if name in single else "3 completed, 0 failed") in out
    assert "derived " in out
    stored = RunFolder("r").config()
    given = stored["evaluator"]["init_args"]
    guards = [name_of(guard) for guard in given["guards"] or []]
    assert (name_of(given["relaxation"]), name_of(given["optimisation"]), guards, name_of(given["resource"])) == PARTS[
        name
    ]
    assert stored["controller"]["class_path"].endswith(".Derived")
    status, out, err = run(capsys, "resume", "r", "--trials", "4", "--quiet")  # nothing needs to be trusted
    assert status == 0, err
    assert ", 0 failed" in out


@pytest.mark.parametrize("name", PARTS)
def test_preset_says_what_it_is_and_where_it_differs(name):
    content = preset_file(name).read_text()
    heading, empty, *_ = content.splitlines()
    assert heading.startswith("# ")
    assert any(f"{venue} 20" in heading for venue in ("ECCV", "ICCV", "CVPR", "ICML", "ICLR", "NeurIPS", "arXiv"))
    assert heading.endswith(".")
    assert len(heading) <= 120
    assert empty == "#"
    assert "Different here" in content
    assert all(len(line) <= 120 for line in content.splitlines())


def test_settings_of_the_papers():
    """The numbers that the presets keep."""

    def evaluator(name):
        return yaml.safe_load(preset_file(name).read_text())["evaluator"]["init_args"]

    gdas = evaluator("gdas")["relaxation"]["init_args"]
    assert gdas == {"hard": True, "first": 10.0, "last": 0.1, "form": "linear"}
    assert evaluator("pc_darts")["relaxation"]["init_args"] == {"part": 4}
    assert (evaluator("pc_darts")["frozen"], evaluator("pc_darts")["epochs"]) == (15, 50)
    guard = evaluator("r_darts")["guards"][0]["init_args"]
    assert guard == {"ratio": 1.3, "window": 5, "lag": 4, "first": 10}
    assert evaluator("darts_plus")["guards"][0]["init_args"]["skips"] == 2
    assert evaluator("darts_plus")["guards"][1]["init_args"]["epochs"] == 10
    stages, p_darts = evaluator("p_darts")["stages"]["init_args"], evaluator("p_darts")
    assert (p_darts["epochs"], p_darts["frozen"], len(stages["skeletons"])) == (3 * 25, 10, 2)
    assert stages["dropout"] == [0.1, 0.4, 0.7]
    assert (stages["decay"], stages["skips"]) == (pytest.approx(0.2 * 15), 2)
    assert evaluator("fair_darts")["discretisation"]["init_args"] == {"least": 0.85}
    assert evaluator("fair_darts")["relaxation"]["init_args"] == {"zero_one": 10.0}
    guard = evaluator("sdarts_adv")["guards"][0]["init_args"]
    assert guard == {"first": 0.03, "last": 0.3, "steps": 7, "norm": "max"}
    guard = evaluator("gold_nas")["guards"][0]["init_args"]
    assert [guard[name] for name in ("least", "weak", "most")] == [0.01, 0.05, 4]
    assert evaluator("proxylessnas")["optimisation"]["init_args"] == {"every": 5}
    training = evaluator("darts")["training"]["init_args"]
    assert [training[name] for name in ("learning_rate", "weight_decay", "clip_norm", "batch_size")] == [
        0.025,
        3e-4,
        5.0,
        64,
    ]


def test_another_controller_and_another_space(capsys):
    options = [word for key, value in SHORT.items() for word in (f"--{key}", str(value))]
    for words in (
        ["--preset", "gdas", "--controller", "RegularizedEvolution", "--controller.population_size", "4"],
        ["--preset", "pc_darts", "--space", "DARTS", "--evaluator.training.skeleton.layers", "3"],
    ):
        status, out, err = run(capsys, "run", *words, *options, "--out", words[1], "--quiet")
        assert status == 0, err
        assert "3 completed" in out


def test_the_page_has_every_preset():
    page = (
        (ROOT / "docs" / "differentiable.md").read_text().partition("\n## Methods by name\n")[2].partition("\n## ")[0]
    )
    for name, (relaxation, optimisation, guards, resource) in PARTS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        for part in (relaxation, optimisation, *guards, resource):
            assert part is None or f"`{part}" in row


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("relaxation", "Gumble", "relaxation: no relaxation is called 'Gumble'; did you mean Gumbel? Known: Expon"),
        ("optimisation", "SkipStop", "no optimisation is called 'SkipStop'. Known: Amended, FirstOrder, MixedLevel"),
        ("guards+", "SkipStopp", "no guard is called 'SkipStopp'; did you mean SkipStop? Known: AdaptiveDecay"),
        ("stages", "Stage", "no stage is called 'Stage'; did you mean Stages? Known: Stages."),
        ("resource", "Latency", "no resource is called 'Latency'. Known: Resource, RisingResource."),
    ],
)
def test_parts_that_do_not_exist_are_guessed_among_their_like(capsys, option, value, message):
    status, _, err = run(capsys, "run", "--preset", "gdas", f"--evaluator.{option}", value, "--out", "r")
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--trials", "3"]])
def test_help_on_a_part_needs_its_name(capsys, more):
    status, _, err = run(capsys, "run", "--preset", "gdas", "--evaluator.relaxation.help", *more)
    assert status == 2
    assert "--evaluator.relaxation.help: expected the name of the class whose settings are to be shown" in err
