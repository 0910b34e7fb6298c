"""Limits with a least and a most: random search stays uniform within them, every reader knows both sides."""

import math
from collections import Counter

import numpy as np
import pytest
import yaml
from limits_lab import run, table
from scipy import stats

from archsearch import Evaluation, Evaluator, Space, cli, resume, search
from archsearch.controllers import BayesianOptimization, RandomSearch, RegularizedEvolution
from archsearch.errors import ConstraintError, RunFolderError, UsageError
from archsearch.evaluators import ZeroCost
from archsearch.limits import checked_limits
from archsearch.limits.composition import Composition
from archsearch.running import course
from archsearch.spaces import ConvChain

LOW, HIGH = 1e5, 3e5


class Sums(Evaluator):
    """The size is the sum of the options, not known where the first one is 2."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))

    def measure(self, architecture):
        return {"size": math.nan if architecture[0] == 2 else float(sum(architecture))}


@pytest.mark.parametrize(
    "controller", [RandomSearch(), RegularizedEvolution(10, 3)], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("given", [(LOW, HIGH), [LOW, HIGH], "between 1e5 and 3e5", np.array([LOW, HIGH]).tolist()])
def test_nothing_outside_is_evaluated(controller, given):
    result = run(controller, limits={"params": given})
    sizes = [table().measure(trial.architecture)["params"] for trial in result.history]
    assert len(sizes) == 80
    assert LOW <= min(sizes) <= max(sizes) <= HIGH
    assert result.rejected > 20


def test_random_search_is_uniform_within():
    space, trials = Space(arities=[3, 3, 3]), 3_000
    result = search(space, RandomSearch(), Sums(), trials=trials, seed=0, limits={"size": (2, 3)})
    within = [each for each in space.enumerate() if each[0] != 2 and 2 <= sum(each) <= 3]
    counts = Counter(trial.architecture for trial in result.history)
    assert set(counts) == set(within)
    assert stats.chisquare([counts[each] for each in within]).pvalue > 0.01


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [((4, 4), 4, 4), ("at least 4", 4, 6), ([4, None], 4, 6), ("at most 3", 0, 3), ((0, 3), 0, 3), ([None, 3], 0, 3)],
)
def test_either_side_may_be_left_out(given, low, high):
    result = search(Space(arities=[3] * 3), RandomSearch(), Sums(), trials=40, seed=1, limits={"size": given})
    sizes = [sum(trial.architecture) for trial in result.history]
    assert low <= min(sizes) <= max(sizes) <= high


def test_bayesian_optimisation_knows_both_sides():
    controller = BayesianOptimization(labels=40, candidates=100)
    result = run(controller, trials=20, limits={"params": (LOW, HIGH)})
    assert result.rejected == 0, "it chooses among candidates that keep the limits"
    assert all(LOW <= trial.metrics["params"] <= HIGH for trial in result.history)


def test_bytes_of_networks_have_two_sides():
    space, evaluator = ConvChain(max_layers=3), ZeroCost("params", task="digits", batch=8)
    evaluator.start(space)
    sizes = Composition(space, evaluator.built)
    drawn = [sizes.bytes(space.sample(np.random.default_rng(seed)))["weight_bytes"] for seed in range(30)]
    low, high = np.quantile(drawn, [0.3, 0.8])
    result = search(space, RandomSearch(), evaluator, trials=10, seed=0, limits={"weight_bytes": (low, high)})
    assert all(low <= sizes.bytes(trial.architecture)["weight_bytes"] <= high for trial in result.history)
    assert result.rejected > 0


def test_what_is_impossible_ends_with_what_was_seen(monkeypatch):
    monkeypatch.setattr(course, "MAX_REJECTED_IN_A_ROW", 50)
    space = Space(arities=[2, 50, 50])
    with pytest.raises(ConstraintError, match=r"200 <= size <= 300 \(proposed: \d+ to \d+\)"):
        search(space, RandomSearch(), Sums(), trials=3, seed=0, limits={"size": (200, 300)})
    with pytest.raises(ConstraintError, match=r"size >= 200 \(most proposed: \d+\)"):
        search(space, RandomSearch(), Sums(), trials=3, seed=0, limits={"size": "at least 200"})


def test_controllers_hear_on_which_side_it_lay():
    heard = []

    class Listening(RandomSearch):
        def _tell(self, trial):
            heard.append(trial.error)

    search(Space(arities=[3] * 3), Listening(), Sums(), trials=30, seed=0, limits={"size": (2, 3)})
    assert {"size 1 < 2", "size 4 > 3", "size not known"} <= set(heard)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((2e6, 1e6), r"limits: params: expected the least first, then the most, above 0, got \(2000000.0, 1000000.0\)"),
        ("between 2e6 and 1e6", "expected the least first, then the most, above 0, got 'between 2e6 and 1e6'"),
        (
            "between few and many",
            r"expected the most, such as 2e6, or the least and the most.*got 'between few and many'",
        ),
        ("about 3", "got 'about 3'"),
        ((1e6,), r"got \(1000000.0,\)"),
        ((1, 2, 3), r"got \(1, 2, 3\)"),
        ((1e6, "2e6"), "expected finite numbers"),
        ((-1, 3), "the least >= 0, got"),
        ((1, math.nan), "expected finite numbers"),
        ((1, math.inf), "expected finite numbers"),
        ((True, 3), "expected finite numbers"),
        ((0, 0), "the most, above 0"),
        ((None, None), "which limits nothing"),
        ("at least 0", "which limits nothing"),
        ({"low": 1}, "got {'low': 1}"),
    ],
)
def test_wrong_pairs_are_refused_in_one_line(given, message, tmp_path):
    with pytest.raises(UsageError, match=message) as refused:
        run(limits={"params": given}, out=tmp_path / "r")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "r").exists()


def test_what_was_checked_can_be_checked_again():
    given = {"a": (1, 2), "b": "at least 3", "c": 4, "d": "between 0 and 5"}
    once = checked_limits(given)
    assert once == {"a": [1.0, 2.0], "b": [3.0, None], "c": 4.0, "d": 5.0}
    assert checked_limits(once) == once


def test_words_pairs_and_files_mean_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("limits:\n  params: [1e5, 3e5]\n")
    forms = [
        ["--limits.params", "between 1e5 and 3e5"],
        ["--limits.params", "[1e5, 3e5]"],
        ["--limits", '{"params": [1e5, 3e5]}'],
        ["--config", "run.yaml"],
    ]
    for number, options in enumerate(forms):
        assert cli.main(["run", "--trials", "12", "--seed", "0", "--quiet", "--out", f"r{number}", *options]) == 0
        config = yaml.safe_load((tmp_path / f"r{number}" / "config.yaml").read_text())
        assert config["settings"]["limits"] == {"params": [LOW, HIGH]}
    assert cli.main(["run", "--trials", "12", "--seed", "0", "--quiet", "--out", "r0", *forms[1]]) == 0
    assert len(resume("r1", trials=20).history) == 20
    with pytest.raises(RunFolderError, match=r"limits: the run was made with .*; start a new run for others"):
        resume("r1", trials=30, limits={"params": HIGH})
    capsys.readouterr()
    assert cli.main(["run", "--out", "bad", "--limits.params", "[3e5, 1e5]"]) == 2
    assert "expected the least first" in capsys.readouterr().err
