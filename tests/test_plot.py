"""``archsearch.plot``: pictures as figures, from a result and from its folder alike; importance finds what matters."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from archsearch import frames, plot, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import ArchsearchError, RunFolderError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.ranking.importance import importance
from archsearch.spaces import Choices, NASBench201

OBJECTIVES = {"score": "max", "params": "min"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plot") / "run"


@pytest.fixture(scope="module")
def result(folder):
    return search(NASBench201(), RegularizedEvolution(10, 3), Tabular(), trials=60, seed=1, out=folder)


def texts(figure):
    """All that is written in a figure."""
    figure.canvas.draw()
    return " ".join(each.get_text() for each in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.mark.parametrize(
    ("draw", "shown"),
    [
        (plot.learning_curve, "best so far"),
        (lambda source: plot.learning_curve(source, over="cost"), "billed cost (hours)"),
        (lambda source: plot.front(source, OBJECTIVES), "best compromises"),
        (lambda source: plot.importance(source, splits=3), "0->1"),
        (lambda source: plot.parallel_decisions(source, top=7), "the best 7"),
    ],
)
def test_a_result_and_its_folder_give_the_same_figure(draw, shown, result, folder):
    first, second = draw(result), draw(folder)
    assert isinstance(first, Figure)
    assert shown in texts(first)
    for mine, other in zip(first.axes, second.axes, strict=True):
        assert [line.get_xydata().tolist() for line in mine.lines] == [
            line.get_xydata().tolist() for line in other.lines
        ]


def test_an_architecture_by_name_and_by_options(result):
    drawn = [plot.architecture(result.space, which) for which in (result.best_name, result.best.architecture)]
    assert texts(drawn[0]) == texts(drawn[1])
    assert "output" in texts(drawn[0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda _: plot.learning_curve(7), "expected a Result or the path of a run folder, got int"),
        (lambda result: plot.learning_curve(result, over="steps"), "expected trials or cost, got 'steps'"),
        (lambda result: plot.front(result, {"score": "max"}), "expected two"),
        (lambda result: plot.front(result, {"score": "max", "beauty": "max"}), "beauty"),
        (lambda result: plot.parallel_decisions(result, top=0), "top"),
        (lambda _: plot.learning_curve("nowhere"), "no run here"),
    ],
)
def test_what_cannot_be_drawn_is_said(call, said, result):
    with pytest.raises(ArchsearchError, match=said):
        call(result)


# -- which decisions matter ------------------------------------------------------------------------

CONDITIONAL = Choices(
    {
        "large": [0, 1, 2, 3],
        "none": [0, 1, 2],
        "small": [0, 1, 2],
        "kind": ["plain", "deep"],
        "depth": {"options": [1, 2, 3], "when": {"kind": "deep"}},
    }
)


def value(options):
    return 10.0 * options["large"] + 2.0 * options["small"] + 4.0 * options.get("depth", 0)


def test_importance_orders_decisions_by_what_they_explain():
    rng = np.random.default_rng(0)
    architectures = [CONDITIONAL.sample(rng) for _ in range(300)]
    scores = [value(CONDITIONAL.decode(each)) for each in architectures]
    found = importance(CONDITIONAL, architectures, scores, splits=6, seed=1)
    share = dict(zip(found.decisions, found.shares, strict=True))
    assert found.decisions[0] == "large"
    assert share["large"] > share["depth"] > share["small"] > share["none"]
    assert abs(share["none"]) < 0.02
    assert found.explained > 0.95
    assert all(low <= mean <= high for low, mean, high in zip(found.low, found.shares, found.high, strict=True))
    assert found == importance(CONDITIONAL, architectures, scores, splits=6, seed=1)
    assert str(found).splitlines()[1].startswith("large")


def test_noise_explains_nothing():
    rng = np.random.default_rng(0)
    architectures = [CONDITIONAL.sample(rng) for _ in range(200)]
    found = importance(CONDITIONAL, architectures, rng.normal(size=200), splits=6)
    assert found.explained < 0.05


@pytest.mark.parametrize("scores", [[1.0] * 30, list(range(10))])
def test_too_little_to_tell_is_refused(scores):
    architectures = [CONDITIONAL.sample(np.random.default_rng(i)) for i in range(len(scores))]
    with pytest.raises(UsageError, match="expected at least 20 trials, not all of one score"):
        importance(CONDITIONAL, architectures, scores)


# -- frames ----------------------------------------------------------------------------------------


def test_many_runs_are_tables_that_can_be_joined(result, folder, tmp_path):
    def fails(options):
        if options["large"] == 0:
            raise ValueError("no zero")
        return value(options)

    search(CONDITIONAL, RandomSearch(), Function(fails), trials=20, seed=3, out=tmp_path / "failing")
    found = frames([folder, tmp_path / "fail*"])
    assert found.runs["run"].to_pylist() == [str(folder), str(tmp_path / "failing")]
    assert json.loads(found.runs["controller"][1].as_py())["class_path"].endswith("RandomSearch")
    trials = found.trials.group_by("run").aggregate([("score", "max")]).to_pylist()
    assert {row["run"]: row["score_max"] for row in trials}[str(folder)] == result.best.score
    missing = [row["params"] for row in found.trials.to_pylist() if row["run"] != str(folder)]
    assert len(missing) > 20
    assert set(missing) == {None}
    assert set(found.faults["kind"].to_pylist()) == {"exception"}
    assert found.curves.num_rows == 0


def test_curves_have_a_row_for_each_unit(tmp_path):
    from archsearch import Evaluation, Evaluator

    class Curved(Evaluator):
        def evaluate(self, architecture, seed):
            return Evaluation(2.0, curve=(1.0, 2.0))

    search(CONDITIONAL, RandomSearch(), Curved(), trials=3, seed=1, out=tmp_path / "run")
    assert frames(tmp_path / "run").curves.select(["trial", "unit", "score"]).to_pylist()[:2] == [
        {"trial": 0, "unit": 1, "score": 1.0},
        {"trial": 0, "unit": 2, "score": 2.0},
    ]


def test_where_no_run_is_that_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="expected run folders, found none"):
        frames(tmp_path / "nothing*")


# -- in a notebook ---------------------------------------------------------------------------------


def test_what_a_notebook_shows(result):
    assert repr(RegularizedEvolution(10, 3)) == "RegularizedEvolution(population_size=10, tournament_size=3)"
    assert repr(NASBench201()) == "NASBench201()"
    assert repr(result).startswith(f"Result({result.best_name} scores {result.best.score:.6g}; 60 completed")
    assert repr(result.history).startswith("History(60 trials of NASBench201() in ")
    html = result._repr_html_()
    assert html.startswith("<table>")
    assert result.best_name in html
    assert "60 completed, 0 failed" in html
