"""Searches in tables with holes, and where an evaluator refuses what it is asked for."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from archsearch import Evaluator, Space, search
from archsearch.controllers import (
    NSGA2,
    Bananas,
    BayesianOptimization,
    HillClimbing,
    LaNAS,
    LocalSearch,
    PairTournament,
    QLearning,
    RandomSearch,
    RegularizedEvolution,
)
from archsearch.controllers.possible import mutated, sampled
from archsearch.errors import ConstraintError, InvalidArchitecture, TableError, TooManyFailures
from archsearch.evaluators import Function, Tabular
from archsearch.spaces import Choices, NASBench201
from archsearch.trial import Evaluation

SPACE = Choices({"depth": [1, 2, 3], "op": {"options": ["conv", "pool", "skip"], "repeat": "depth"}})
"""39 architectures."""


@pytest.fixture
def write(tmp_path):
    def write(**columns):
        path = tmp_path / "table.csv"
        pyarrow.csv.write_csv(pa.table(columns), path)
        return str(path)

    return write


@pytest.fixture
def holes(write):
    """Every third architecture has a row."""
    known = list(SPACE.enumerate())[::3]
    return write(
        name=[f"{SPACE.format(each)}" for each in known],
        score=[float(sum(each)) for each in known],
        size=[len(each) for each in known],
    )


@pytest.mark.parametrize(
    "controller", [RandomSearch(), LocalSearch(2), BayesianOptimization(initial=3), Bananas(initial=3)]
)
def test_what_a_table_lacks_is_not_asked_for(controller, holes):
    evaluator = Tabular(table=holes, architecture="name", score="score")
    result = search(SPACE, controller, evaluator, seed=0, trials=60, duplicates="reuse")
    assert (result.failed, result.faults, result.stopped) == (0, {}, "exhausted")
    assert result.completed == 13
    assert result.best.score == max(sum(each) for each in list(SPACE.enumerate())[::3])
    assert isinstance(controller, (RandomSearch, LocalSearch)) == (result.rejected > 20)


def test_a_table_without_any_of_the_space_says_so(write):
    path = write(name=["depth=1,op.1=conv"], score=[1.0])
    evaluator = Tabular(table=path, architecture="name", score="score")
    with pytest.raises(
        ConstraintError,
        match=r"2,000 proposals in a row that cannot be scored; the first of them: .*lacks|no architecture",
    ):
        search(SPACE, Elsewhere(), evaluator, seed=0, trials=5)


class Elsewhere(RandomSearch):
    def _ask(self):
        return (2, 0, 0, 0)


asked = []


def picky(values):
    asked.append(tuple(values.items()))
    if values["depth"] < 3:
        raise InvalidArchitecture("too shallow")
    return float(values["op.1"] == "conv")


@pytest.mark.parametrize("duplicates", ["evaluate", "reuse"])
def test_refusals_are_no_failures_in_a_row(duplicates):
    asked.clear()
    result = search(SPACE, RandomSearch(), Function(picky), seed=0, trials=12, max_failures=2, duplicates=duplicates)
    assert result.completed == 12
    assert {trial.failure for trial in result.history} == {"", "refused"}
    again = len(asked) - len(set(asked))
    assert again == 0 if duplicates == "reuse" else again > 5


def refuses(values):
    raise InvalidArchitecture("no")


def test_an_evaluator_that_refuses_everything_ends_the_search():
    with pytest.raises(TooManyFailures, match=r"2000 trials failed one after another"):
        search(SPACE, RandomSearch(), Function(refuses), seed=0, trials=3)


# -- tables of one's own -------------------------------------------------------------------------


def started(space, **settings):
    evaluator = Tabular(**settings)
    evaluator.start(space)
    return evaluator


def test_several_columns_are_the_key(write):
    path = write(**{"depth": [1, 2], "op.1": ["conv", "pool"], "op.2": [None, "skip"], "accuracy": [90.0, 91.0]})
    evaluator = started(SPACE, table=path, architecture=["depth", "op.1", "op.2"], score="accuracy")
    assert evaluator.architectures == [(0, 0), (1, 1, 2)]
    assert evaluator.evaluate((1, 1, 2), 0) == Evaluation(91.0)
    edges = {edge: [3, 0] for edge in ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")}
    path = write(**edges, accuracy=[1.0, 2.0])
    assert started(NASBench201(), table=path, architecture=list(edges), score="accuracy").architectures == [
        (3,) * 6,
        (0,) * 6,
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op.1": ["conv", "sep"]}, r"row 1, columns 'depth', 'op.1', 'op.2': Choices: op.1='sep': expected one of"),
        ({"op.2": [None, None]}, r"row 1, columns .*: Choices: no value for 'op.2'"),
        ({"accuracy": ["90", "good"]}, r"column 'accuracy' holds string, expected numbers, row 1: 'good'"),
    ],
)
def test_errors_name_row_and_column(write, changes, message):
    columns = {"depth": [1, 2], "op.1": ["conv", "pool"], "op.2": [None, "skip"], "accuracy": [90.0, 91.0]}
    with pytest.raises(TableError, match=message):
        started(SPACE, table=write(**{**columns, **changes}), architecture=["depth", "op.1", "op.2"], score="accuracy")


def test_rows_are_chosen_and_repeats_averaged_or_kept(write):
    path = write(
        name=["depth=1,op.1=conv"] * 4, data=["a", "a", "b", "a"], score=[1.0, 3.0, 9.0, None], size=[5, 7, 1, 1]
    )
    settings = {"table": path, "architecture": "name", "score": "score", "where": {"data": "a"}}
    mean = started(SPACE, **settings, repeated="mean").evaluate((0, 0), 0)
    assert mean == Evaluation(2.0, {"size": 6.0})
    runs = started(SPACE, **settings, repeated="runs")
    assert [runs.evaluate((0, 0), seed).score for seed in range(4)] == [1.0, 3.0, 1.0, 3.0]
    with pytest.raises(
        TableError, match=r"more than one row, the first is depth=1,op.1=conv \(rows 0, 1, 3\); say repeated="
    ):
        started(SPACE, **settings)
    with pytest.raises(TableError, match=r"where: no row has c in column 'data'; it has a, b"):
        started(SPACE, **{**settings, "where": {"data": "c"}})


def test_architectures_that_compute_the_same_share_a_row(write):
    space = NASBench201()
    lost, plain = (3, 0, 0, 3, 0, 2), (0, 0, 0, 3, 0, 0)
    path = write(name=[space.format(plain)], score=[7.0])
    evaluator = started(space, table=path, architecture="name", score="score")
    assert space.canonical(lost) == space.canonical(plain)
    assert evaluator.evaluate(lost, 0).score == 7.0
    assert evaluator.refusal((3,) * 6).endswith("it has 1 others")


def test_any_column_of_numbers_can_be_limited(holes):
    evaluator = Tabular(table=holes, architecture="name", score="score")
    result = search(SPACE, RandomSearch(), evaluator, seed=0, trials=10, limits={"size": 3})
    assert {len(trial.architecture) for trial in result.history} <= {2, 3}


# -- controllers that know of holes --------------------------------------------------------------


class Sparse(Evaluator):
    """So many in a hundred of the architectures of a space have a score."""

    def __init__(self, percent):
        self.percent = percent

    def refusal(self, architecture):
        return "" if np.random.default_rng(architecture).random() < self.percent / 100 else "a hole"

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(option == 3 for option in architecture)))


@pytest.mark.parametrize(
    "controller",
    [RegularizedEvolution(), HillClimbing(), PairTournament(10), LaNAS(), QLearning(100), NSGA2(population_size=20)],
    ids=lambda controller: type(controller).__name__,
)
def test_nobody_asks_for_the_same_hole_again_and_again(controller, monkeypatch):
    told = Counter()
    tell = type(controller)._tell

    def noted(self, trial):
        told[trial.architecture] += trial.evaluation is None
        tell(self, trial)

    monkeypatch.setattr(type(controller), "_tell", noted)
    result = search(NASBench201(), controller, Sparse(3), trials=60, seed=0)
    assert result.completed == 60
    assert max(told.values()) <= 3


def test_mutations_go_through_holes():
    controller = RandomSearch()
    controller.start(Space(arities=[2] * 12), 0)
    parent, rng = (0,) * 12, np.random.default_rng(0)
    controller.rng = np.random.default_rng(0)
    assert mutated(controller, parent) == controller.space.mutate(parent, rng), "without holes it is a mutation"
    controller.refusal = lambda architecture: "" if sum(architecture) >= 3 else "too few"
    assert sum(mutated(controller, parent)) == 3, "the nearest are three steps away"
    controller.refusal = lambda architecture: "no"
    assert len(mutated(controller, parent)) == len(sampled(controller)) == 12, "it ends where nothing is possible"


@pytest.mark.parametrize("controller", [NSGA2(), BayesianOptimization()])
def test_limits_that_nothing_keeps_end_a_search_after_a_bounded_number_of_looks(controller, monkeypatch):
    monkeypatch.setattr("archsearch.limits.rejections.MAX_LOOKED_AT", 2_000)
    asked = Counter()

    class Hollow(Sparse):
        def refusal(self, architecture):
            asked["refusal"] += 1
            return "a hole"

    with pytest.raises(ConstraintError, match=r"made \d\d proposals in a row that cannot be scored"):
        search(NASBench201(), controller, Hollow(3), trials=5, seed=0)
    assert asked["refusal"] < 6_500, "20 proposals of 200 draws, or 2,000 looks, not 2,000 proposals of 200"


def test_a_search_that_finds_nothing_more_keeps_what_it_has():
    class Stuck(RandomSearch):
        def _ask(self):
            self.count = getattr(self, "count", 0) + 1
            return (0,) if self.count < 4 else (1,)

    class One(Sparse):
        def refusal(self, architecture):
            return "a hole" if architecture == (1,) else ""

    result = search(Space(arities=[2]), Stuck(), One(0), trials=9, seed=0)
    assert (result.completed, result.stopped) == (3, "exhausted")
