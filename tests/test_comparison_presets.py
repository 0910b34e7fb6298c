"""What evaluators derive themselves, compared; and presets as rows of a comparison."""

import math

import pytest
import yaml
from comparison_lab import SPACE, Known, quality

from archsearch.cli import main
from archsearch.cli.comparing import _with_presets
from archsearch.errors import UnknownName, UsageError
from archsearch.evaluators import Tabular
from archsearch.files.parquet import read_parquet
from archsearch.judging.comparison import compare
from archsearch.judging.comparison_figures import figures
from archsearch.ranking.derived import read_searched
from archsearch.spaces import NASBench201

SETTINGS = {"samples": 20, "trials": 0, "seeds": 3, "seed": 0}


class Knowing(Known):
    """Ends with an architecture that its seed says."""

    def probabilities(self, prefix):
        return [0.1] * 10

    def derived(self):
        assert self.prepared  # also where an earlier session scored the sample
        return (self.seed, 2, 3)

    prepared = False

    def prepare(self):
        self.prepared = True
        return super().prepare()


class Lacks(Known):
    """A truth that is not known of what begins with 2."""

    def evaluate(self, architecture, seed):
        if architecture[0] == 2:
            raise RuntimeError("no such architecture")
        return super().evaluate(architecture, seed)


def test_what_is_derived_is_judged_by_the_reference(tmp_path):
    rows = {"knowing": Knowing(set_up=7.0), "known": Known(each=1.0)}
    found = compare(SPACE, rows, Lacks(), out=tmp_path, **SETTINGS)
    assert found["known"].derived is None
    truths = found["knowing"].derived.tolist()  # of the seeds 1, 2 and 3
    assert truths == pytest.approx([quality((1, 2, 3)), math.nan, quality((3, 2, 3))], nan_ok=True)
    known = [truths[0], truths[2]]
    said = str(found).partition("What is derived\n")[2].split("\n\n")[0].splitlines()[1]
    mean, spread = sum(known) / 2, abs(known[0] - known[1]) / math.sqrt(2)
    regret = found.best - mean
    expected = f"knowing 7 s {mean:.4g} +- {spread:.2g} {min(known):.4g} {max(known):.4g} {regret:.3g} 2 of 3"
    assert said.split() == expected.split()
    page = found.save(tmp_path).read_text()
    assert "<h2>What is derived</h2>" in page
    table = [row for row in figures(found).to_pylist() if row["figure"] == "derived"]
    assert [(row["evaluator"], row["at"]) for row in table] == [("knowing", str(seed)) for seed in range(3)]
    calls = Known.calls
    again = compare(SPACE, rows, Lacks(), out=tmp_path, **SETTINGS)
    assert again["knowing"].derived.tolist() == pytest.approx(truths, nan_ok=True)
    assert Known.calls == calls  # everything was there


def test_where_nothing_is_derived_nothing_is_said_of_it():
    found = compare(SPACE, {"known": Known(each=1.0)}, Known(), **SETTINGS)
    assert "What is derived" not in str(found)


SMALL = {
    "presets.epochs": 2,
    "presets.training.skeleton.channels": 4,
    "presets.training.skeleton.cells": 1,
    "presets.training.train_examples": 64,
    "evaluators.gdas.epochs": 1,
    "space": "NASBench201",
    "truth": "test_accuracy",
    "samples": 10,
    "trials": 0,
    "seeds": 1,
    "seed": 0,
}


def test_presets_are_rows(tmp_path, capsys):
    out = tmp_path / "c"
    options = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    assert main(["compare", "--presets", "gdas", "darts_first", *options, "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr().out
    rows = yaml.safe_load((out / "comparison.yaml").read_text())["evaluators"]
    assert [*rows] == ["gdas", "darts_first"]
    arguments = {name: row["init_args"] for name, row in rows.items()}
    assert {name: row["epochs"] for name, row in arguments.items()} == {"gdas": 1, "darts_first": 2}
    for row in arguments.values():
        training = row["training"]["init_args"]
        assert training["skeleton"] == {"channels": 4, "cells": 1}
        assert (training["task"], training["batch_size"], training["train_examples"]) == ("digits", 64, 64)
    assert arguments["gdas"]["relaxation"]["class_path"].endswith("Gumbel")
    truth = Tabular()
    truth.start(NASBench201())
    found = {
        (row["evaluator"], int(row["at"])): row["value"]
        for row in read_parquet(out / "figures.parquet").to_pylist()
        if row["figure"] == "derived"
    }
    for name in rows:
        derived = read_searched(out / "runs" / f"{name}-0" / "evaluator").derived
        assert found[name, 0] == truth.evaluate(derived, 0).metrics["test_accuracy"]
    assert len(found) == 2
    section = printed.partition("What is derived\n")[2]
    assert [line.split()[0] for line in section.splitlines()[1:3]] == ["gdas", "darts_first"]


def test_settings_of_presets():
    given = ["--presets", "gdas", "--presets.optimisation.every=2", "--presets.guards", "[SkipStop]", "--seeds", "3"]
    config, text, *rest = _with_presets(given)
    arguments = yaml.safe_load(text)["evaluators"]["gdas"]["init_args"]
    assert arguments["optimisation"] == {"class_path": "FirstOrder", "init_args": {"every": 2}}
    assert arguments["guards"] == ["SkipStop"]
    assert arguments["relaxation"]["init_args"]["hard"]
    assert (config, rest) == ("--config", ["--seeds", "3"])
    assert _with_presets(["--seeds", "3"]) == ["--seeds", "3"]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (["--presets"], UsageError, "--presets: expected names of presets, got none"),
        (["--presets.epochs", "2"], UsageError, "--presets: expected names of presets, got none"),
        (["--presets", "gads"], UnknownName, "no preset is called 'gads'; did you mean gdas"),
        (["--presets", "gdas", "--evaluators+", "ZeroCost"], UsageError, r"names of their own, --evaluators\.MINE"),
    ],
)
def test_mistakes(given, kind, message):
    with pytest.raises(kind, match=message):
        _with_presets(given)
