"""What studies of super-networks measure, on evaluators whose answers are known."""

import numpy as np
import pytest
from one_shot_lab import SMALL, SPACE
from scipy import stats

from archsearch import Evaluation, Evaluator
from archsearch.basics.seeding import stream
from archsearch.components import build
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluators import Differentiable, OneShot, Tabular, Training
from archsearch.studies.measures import DerivedNetwork, InheritedRanking, TrainedCandidates
from archsearch.studies.study import read_study, shipped
from archsearch.trial import Cost

TABLE = "digits201"
OURS = (
    "discretisation_loses_accuracy",
    "fine_tuning_to_individual",
    "gradient_searches_differ",
    "heavy_operators_win_late",
    "ranks_within_complexity",
    "recomputed_statistics",
    "smaller_skeletons",
    "strict_fairness_and_ranks",
    "uniform_paths_train_unequally",
    "updates_after_inheriting",
)


def looked_up(cells, run="mean", metric="test_accuracy"):
    table = Tabular(TABLE, run=run)
    table.start(SPACE)
    return np.array([table.evaluate(cell, 0).metrics[metric] for cell in cells])


def one_training(cells):
    table = Tabular(TABLE, run=0)
    table.start(SPACE)
    return np.array([table.evaluate(cell, 0).score for cell in cells])


# -- how inherited scores rank -------------------------------------------------------------------------


def test_a_ranking_has_the_figures_that_scipy_computes():
    measure = InheritedRanking(SPACE, Tabular(TABLE, run=0), Tabular(TABLE), samples=100, groups=4, top=0.2)
    found = measure.measure(3).figures
    cells = measure._sample(3)
    best = round(0.2 * len(cells))
    scores, truths, sizes = one_training(cells), looked_up(cells), looked_up(cells, metric="flops")
    assert found["tau"] == pytest.approx(stats.kendalltau(scores, truths).statistic)
    off = stats.rankdata(scores) - stats.rankdata(truths)
    assert found["heavy"] == pytest.approx(stats.spearmanr(sizes, off).statistic)
    both = set(np.argsort(-truths)[:best]) & set(np.argsort(-scores)[:best])
    assert found["recall"] == pytest.approx(len(both) / best, abs=1 / best), "ties share"
    assert found["regret"] == pytest.approx(truths.max() - truths[scores == scores.max()].mean())
    places = np.digitize(sizes, np.quantile(sizes, [0.25, 0.5, 0.75]))
    within = [stats.kendalltau(scores[places == i], truths[places == i]).statistic for i in range(4)]
    assert found["tau_within"] == pytest.approx(np.mean(within), abs=0.03), "groups differ by ties"
    assert measure.measure(3) == measure.measure(3)
    assert measure.measure(4).figures != found


class Heavy(Evaluator):
    """Likes multiply-adds alone, at a bill of 2e9 operations."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(looked_up([architecture], metric="flops")[0]), {}, Cost(flops=2e9))


def test_who_likes_size_alone_favours_heavy_cells():
    found = InheritedRanking(SPACE, Heavy(), Tabular(TABLE), samples=40).measure(0).figures
    assert found["heavy"] > 0.5
    assert found["operations"] % 2 == 0
    assert 40 <= found["operations"] <= 80, "cells that compute the same are left out"


class Failing(Evaluator):
    """Scores nothing."""

    def evaluate(self, architecture, seed):
        raise ValueError("no")


def test_a_ranking_of_too_few_is_none():
    with pytest.raises(ArchsearchError, match="of 12 architectures only 0 could be scored, too few for 5 groups"):
        InheritedRanking(SPACE, Failing(), Tabular(TABLE), samples=12).measure(0)
    with pytest.raises(UsageError, match="groups: expected"):
        InheritedRanking(SPACE, Failing(), Tabular(TABLE), groups=0)


def test_updates_of_a_whole_training_are_individual_training_by_default():
    """Claim 12: equal scores, from equal seeds, whatever the super-network; and the same linear bill."""
    figures = {}
    full = 6
    for name, evaluator in {
        "0": OneShot(Training(**SMALL), epochs=1),
        "3": OneShot(Training(**SMALL), epochs=1, steps=3),
        "6": OneShot(Training(**SMALL), epochs=1, steps=full),
        "alone": Training(**SMALL),
    }.items():
        figures[name] = InheritedRanking(SPACE, evaluator, Tabular(TABLE), samples=20).measure(1).figures
    for name in ("tau", "tau_within", "recall", "regret", "heavy"):
        assert figures["6"][name] == figures["alone"][name]
    assert figures["0"]["tau"] != figures["6"]["tau"]
    # Updates cost the same each; what is recomputed in the shorter ones is not in the whole training.
    first, second = figures["3"]["operations"] - figures["0"]["operations"], figures["6"]["operations"]
    recomputed = 4 * 20 / (3 * 3 * 20)  # of what three updates cost
    assert second - figures["3"]["operations"] == pytest.approx(first * (1 - recomputed))


# -- how candidates are trained ------------------------------------------------------------------------


class Noting(Evaluator):
    """Notes what it is told."""

    def __init__(self, rows: dict = {}):  # noqa: B006
        self.rows = rows

    @property
    def noted(self):
        return self.rows

    def prepare(self):
        return Cost(device_seconds=3.0)


def test_unequal_training_is_measured_over_candidates():
    rows = {"a": [10.0, 10.0], "b": [30.0, 90.0], "c": [20.0, 40.0]}
    found = TrainedCandidates(SPACE, Noting(rows)).measure(0)
    assert found.cost.device_seconds == 3
    assert found.figures["updates"] == 20
    assert found.figures["spread"] == pytest.approx(stats.variation([10, 30, 20]))
    assert found.figures["gradients"] == pytest.approx(stats.variation([1, 3, 2]))
    assert found.figures["least"] == 0.5


def test_unequal_training_needs_notes():
    with pytest.raises(UsageError, match="expected one that notes updates, such as OneShot with note_updates, got Tab"):
        TrainedCandidates(SPACE, Tabular(TABLE))
    with pytest.raises(UsageError, match="nothing was noted; expected note_updates: true"):
        TrainedCandidates(SPACE, OneShot(Training(**SMALL), epochs=1)).measure(0)


# -- what is derived -------------------------------------------------------------------------------------


class Deriving(Evaluator):
    """Ends with the cell that it is told."""

    def __init__(self, cell: str = "", relaxed: float = 90.0, discretised: float = 30.0):
        self.cell, self.relaxed, self.discretised = cell, relaxed, discretised
        self.records = [{"relaxed_accuracy": relaxed, "derived_accuracy": discretised}]

    def probabilities(self, prefix):
        return [0.2] * 5

    def derived(self):
        return SPACE.parse(self.cell)


def test_a_search_is_bad_below_the_median_of_random_architectures():
    table = Tabular(TABLE)
    table.start(SPACE)
    known = table.draw(1_013, stream(0, "any"))
    truths = looked_up(known)
    order, middle = np.argsort(truths), len(known) // 2
    # The median is that of a thousand of the thousand and thirteen: near the middle it may be either.
    for place, bad in ((0, 1.0), (middle - 20, 1.0), (middle + 20, 0.0), (len(known) - 1, 0.0)):
        cell = known[order[place]]
        measure = DerivedNetwork(SPACE, Deriving(SPACE.format(cell)), Tabular(TABLE), Failing())
        figures = measure.measure(place).figures
        assert figures["bad"] == bad
        assert figures["truth"] == truths[order[place]]
        assert figures["lost"] == pytest.approx(2 / 3)


def test_what_the_table_lacks_is_trained():
    table = Tabular(TABLE)
    table.start(SPACE)
    rng = np.random.default_rng(0)
    cell = next(each for each in iter(lambda: SPACE.sample(rng), None) if each not in set(table.architectures))
    evaluator = Deriving(SPACE.format(cell))
    measure = DerivedNetwork(SPACE, evaluator, Tabular(TABLE), Training(**SMALL), samples=3)
    figures = measure.measure(0).figures
    assert 0 < figures["truth"] < 60, "a training of six updates"
    assert figures == measure.measure(0).figures
    with pytest.raises(
        UsageError, match="expected one that searches by gradient, such as Differentiable, got Training"
    ):
        DerivedNetwork(SPACE, Training(), Tabular(TABLE), Training())


def test_a_real_search_is_measured():
    found = DerivedNetwork(
        SPACE, Differentiable(Training(**SMALL), epochs=1), Tabular(TABLE), Training(**SMALL), samples=50
    ).measure(1)
    assert found.cost.flops > 0
    assert found.figures["lost"] == pytest.approx(1 - found.figures["discretised"] / found.figures["relaxed"])


# -- the studies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_the_claims_that_need_super_networks_are_studies(name):
    study = read_study(name)
    assert shipped()[name] == study.path
    assert study.question is not None
    assert study.seeds >= 3
    assert {type(measure).__name__ for measure in study.measures.values()} <= {
        "InheritedRanking",
        "TrainedCandidates",
        "DerivedNetwork",
    }


def test_measures_are_built_from_plain_data():
    plain = {
        "class_path": "archsearch.studies.measures.inherited_ranking.InheritedRanking",
        "init_args": {
            "space": {"class_path": "archsearch.spaces.nasbench201.NASBench201", "init_args": {}},
            "evaluator": {"class_path": "archsearch.evaluators.tabular.Tabular", "init_args": {"dataset": TABLE}},
            "reference": {"class_path": "archsearch.evaluators.tabular.Tabular", "init_args": {"dataset": TABLE}},
            "samples": 30,
        },
    }
    assert build(plain, "measures").measure(0).figures["tau"] > 0.5
