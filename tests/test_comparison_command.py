"""``archsearch compare``, and what cannot be compared."""

import pytest
import yaml
from comparison_lab import SPACE, Known

from archsearch.cli import main
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import ZeroCost
from archsearch.judging.compared import Compared
from archsearch.judging.comparison import compare


class Learns(Known):
    """Changes during a search."""

    interval = 5


def test_command_without_options_is_the_default_comparison(tmp_path, capsys):
    out = tmp_path / "default"
    status = main(["compare", "--samples", "60", "--seeds", "1", "--trials", "5", "--out", str(out), "--quiet"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    for name in (
        "12 epochs",
        "synflow",
        "predictor, 50 labels",
        "noise ceiling",
        "flops (trivial)",
        "random (trivial)",
    ):
        assert name in printed
    assert "With " in printed
    assert f"saved     {out}/index.html" in printed
    config = yaml.safe_load((out / "comparison.yaml").read_text())
    assert config["truth"] == "test_accuracy"
    assert config["samples"] == 60
    again = main(["compare", "--config", str(out / "comparison.yaml"), "--out", str(out), "--quiet"])
    assert again == 0  # the command that the page gives: it goes on, and everything is done


def test_command_with_evaluators_of_ones_own(tmp_path, capsys):
    arguments = ["--evaluators+", "Tabular", "--evaluators.epochs", "12", "--samples", "30", "--seeds", "1"]
    assert main(["compare", *arguments, "--trials", "0", "--out", str(tmp_path / "own"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "Tabular(epochs=12)" in printed
    assert "Tabular (reference)" in printed


def test_command_compares_controllers(tmp_path, capsys):
    arguments = ["--controllers+", "RandomSearch", "--controllers+", "LocalSearch", "--evaluators+", "Tabular"]
    arguments += ["--evaluators.epochs", "12", "--truth", "test_accuracy", "--seeds", "4", "--trials", "30"]
    assert main(["compare", *arguments, "--out", str(tmp_path / "controllers"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "LocalSearch" in printed
    assert "4 seeds x 1 task" in printed
    page = (tmp_path / "controllers" / "index.html").read_text()
    assert "archsearch compare --controllers+ RandomSearch --controllers+ LocalSearch" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluators+", "Nobody"], "no evaluator is called 'Nobody'"),
        (["--space", "NASBench201"], "evaluators: expected one or more"),
        (["--samples", "3"], "samples: expected a whole number >= 10, got 3"),
        (["--budgets", "[-1]"], "budgets: expected numbers of seconds above 0"),
        (
            ["--evaluators+", "Tabular", "--evaluators.epochs", "7"],
            "archsearch: Tabular: epochs: expected one of 12, 200",
        ),
        (
            ["--controllers+", "RegularizedEvolution", "--controllers.population_size", "0"],
            "archsearch: RegularizedEvolution: population_size: expected a whole number >= 1, got 0",
        ),
        (
            ["--evaluators.a", "Tabular", "--evaluators+", "ZeroCost"],
            "--evaluators: give all as --evaluators+ NAME, or",
        ),
        (["--controllers+", "RandomSearch", "--best", "94.4"], "best: it goes with a comparison of evaluators"),
        (["--truth", "beauty", "--samples", "20"], "the reference reports no 'beauty'; expected score or one of test_"),
        (["--controllers+", "RandomSearch", "--samples", "20"], "samples: it goes with a comparison of evaluators"),
        (["--evaluators.random", "ZeroCost"], "'random' is always compared; give yours another name"),
    ],
)
def test_mistakes_are_said(arguments, message, tmp_path, capsys):
    assert main(["compare", *arguments, "--out", str(tmp_path / "none"), "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_before_anything_is_spent(tmp_path):
    Known.calls = 0
    with pytest.raises(UsageError, match="Learns learns on during a search"):
        compare(SPACE, [Learns()], Known(), out=tmp_path / "learns")
    with pytest.raises(MissingAbility, match="ZeroCost"):
        compare(SPACE, [ZeroCost()], Known(), out=tmp_path / "ability")
    with pytest.raises(UsageError, match="again: expected 2 or more"):
        compare(SPACE, [Known()], Known(), again=[Known()])
    with pytest.raises(UsageError, match="expected at least one, got none"):
        compare(SPACE, [], Known())
    assert Known.calls == 0
    assert not list(tmp_path.iterdir())


def test_reference_among_the_evaluators_is_the_noise_ceiling():
    reference = Known(noise=0.3)
    found = compare(SPACE, {"itself": Known(noise=0.3)}, reference, samples=50, seeds=1, trials=0, seed=0)
    assert found["itself"].kind == "reference"
    assert [row.name for row in found.rows] == ["itself", "flops", "random"]
    assert found["itself"].agreement.tau.value < 1  # under another seed
    assert isinstance(found["itself"], Compared)


def test_controller_of_the_searches_may_be_any():
    evolution = RegularizedEvolution(population_size=5, tournament_size=2)
    found = compare(SPACE, [Known(each=1.0)], Known(each=1.0), controller=evolution, samples=20, trials=15, seed=0)
    assert found["Known(each=1.0)"].evaluations[-1] == pytest.approx(15)
    assert "population_size=5" in found.controller
