"""Ensembles of scores at initialisation: ranks against SciPy, one vote for each kind, resume, batches, refusals."""

import itertools
import pickle

import numpy as np
import pytest
from cascade_lab import SPACE as PLAIN
from cascade_lab import Stage
from hypothesis import example, given
from hypothesis import strategies as st
from ranking_lab import quick
from scipy.stats import gmean, rankdata

from archsearch import resume, search
from archsearch.components import build, describe
from archsearch.controllers import RandomSearch
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluators import LearningCurve, Tabular, Training, ZeroCost, ZeroCostEnsemble
from archsearch.evaluators.zero_cost_ensemble import KINDS, Ranks
from archsearch.networks.layers import Layers, layer_count
from archsearch.networks.network import EXAMPLES
from archsearch.ranking import kendall_tau
from archsearch.spaces import DARTS, MobileNet, NASBench101, NASBench201
from archsearch.trial import Query

SPACE = NASBench201()


def queries(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [Query(i, space.sample(rng), i) for i in range(n)]


def ready(evaluator, space=SPACE):
    evaluator.start(space)
    evaluator.prepare()
    return evaluator


@pytest.fixture(scope="module")
def published():
    return ready(ZeroCostEnsemble(published="cifar10", reference=300))


# -- ranks -----------------------------------------------------------------------------------------


@quick
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_references_have_the_ranks_that_scipy_gives_them(values):
    ranks = Ranks([float(each) for each in values])
    expected = (rankdata(values) - 0.5) / len(values)
    assert [ranks.share(each) for each in values] == pytest.approx(expected.tolist())


@quick
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=20),
)
@example([0.0, 2.225073858507203e-309], [-1.0, 1.0])
def test_shares_never_fall_and_stay_between_0_and_1(values, asked):
    shares = [Ranks(values).share(each) for each in sorted(asked)]
    assert shares == sorted(shares)
    assert all(0 < share <= 1 for share in shares)


def test_beyond_the_references_ranks_go_on_rising():
    ranks = Ranks([1.0, 2.0, 4.0, 8.0])
    asked = [-100.0, 0.0, 1.0, 1.5, 8.0, 9.0, 100.0]
    shares = [ranks.share(each) for each in asked]
    assert all(first < second for first, second in itertools.pairwise(shares))


# -- the score -------------------------------------------------------------------------------------


def test_each_kind_has_one_vote(published):
    reference = list(published._draw().values())
    found = published.evaluate_batch(reference)
    figures = {name: [each.metrics[name] for each in found] for name in found[0].metrics}
    assert figures.keys() == {"params", "flops", "layers", "vkdnw", "jacov", "expressivity", "trainability"}
    voting = figures.keys() - {"params", "layers"}
    votes = [(rankdata(figures[name]) - 0.5) / len(reference) for name in voting]
    assert [each.score for each in found] == pytest.approx(gmean(votes).tolist())


def test_scores_of_a_kind_share_a_vote():
    names = "nwot", "naswot_paper", "synflow"
    evaluator = ready(ZeroCostEnsemble([Tabular(zero_cost=name) for name in names], reference=300))
    reference = list(evaluator._draw().values())
    found = evaluator.evaluate_batch(reference)
    figures = {name: [each.metrics[name] for each in found] for name in found[0].metrics}
    assert figures.keys() == {"params", "flops", "layers", *names}
    shares = {name: (rankdata(values) - 0.5) / len(values) for name, values in figures.items()}
    kinds = {KINDS[name] for name in shares}
    votes = [gmean([shares[name] for name in shares if KINDS[name] == kind]) for kind in kinds]
    assert len(votes) == 3
    assert [each.score for each in found] == pytest.approx(gmean(votes).tolist())


def test_a_single_score_ranks_as_it_does():
    alone = ready(ZeroCostEnsemble([Tabular(zero_cost="nwot")], sizes=False, reference=100))
    several = queries(SPACE, 50)
    nwot = [each.metrics["nwot"] for each in alone.evaluate_batch(several)]
    assert kendall_tau(nwot, [each.score for each in alone.evaluate_batch(several)]) == pytest.approx(1)


def test_it_ranks_better_than_each_of_its_scores_on_the_published_ones(published):
    truth = Tabular()
    truth.start(SPACE)
    several = queries(SPACE, 800, 1)
    accuracy = [truth.evaluate(query.architecture, 0).metrics["test_accuracy"] for query in several]
    found = published.evaluate_batch(several)
    own = kendall_tau(accuracy, [each.score for each in found])
    for name in found[0].metrics:
        assert own > kendall_tau(accuracy, [each.metrics[name] for each in found]) + 0.03
    assert own > 0.68


def test_scores_are_computed_on_networks():
    training = Training(train_examples=40, skeleton={"channels": 2, "cells": 1})
    evaluator = ready(ZeroCostEnsemble(training=training, batch=8, reference=10))
    found = evaluator.evaluate(SPACE.parse("6111"), 3)
    alone = ZeroCost("naswot", training, batch=8)
    alone.start(SPACE)
    assert found.metrics["naswot"] == alone.evaluate(SPACE.parse("6111"), 3).score
    assert found.cost.flops > alone.evaluate(SPACE.parse("6111"), 3).cost.flops
    assert 0 < found.score < 1
    assert evaluator.asked["synflow"].trainer is not evaluator.asked["naswot"].trainer


def test_batches_pickles_and_descriptions_change_nothing(published):
    several = queries(SPACE, 20)
    together = [each.score for each in published.evaluate_batch(several)]
    for other in (pickle.loads(pickle.dumps(published)), ready(build(describe(published), "evaluators"))):
        assert [other.evaluate_query(query).score for query in several] == together


# -- the reference sample --------------------------------------------------------------------------


def test_references_are_networks_that_differ(published):
    reference = [query.architecture for query in published._draw().values()]
    assert len({SPACE.canonical(each) for each in reference}) == len(reference) == 300
    small = ready(ZeroCostEnsemble([Stage(1.0)], reference=10_000), PLAIN)
    assert len(small._draw()) == len(set(map(PLAIN.canonical, PLAIN.enumerate())))


class Killed(BaseException):
    pass


def test_a_killed_run_has_no_reference_scored_again(tmp_path, monkeypatch):
    save = ZeroCostEnsemble._save

    def stop(self):
        save(self)
        if sum(len(each["scores"]) for each in self._facts) == 25:
            raise Killed

    def make():
        return ZeroCostEnsemble([Stage(1.0), Stage(2.0)], reference=20)

    def run(**settings):
        return search(PLAIN, RandomSearch(), make(), trials=10, seed=1, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(ZeroCostEnsemble, "_save", stop)
        patch.setattr("archsearch.keeping.history.History.close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            run(out=tmp_path / "r")
    evaluator = make()
    resumed = resume(tmp_path / "r", evaluator=evaluator)
    assert sum(id_ < 0 for stage in evaluator.asked.values() for id_ in stage.asked) == 40 - 25
    assert [trial.score for trial in resumed.history] == [trial.score for trial in run().history]
    assert resumed.setup_cost.updates == 40


def test_references_that_fail_and_scores_that_are_all_lost():
    some = ready(ZeroCostEnsemble([Stage(fails=True), Stage(1.0)], reference=60), PLAIN)
    assert None in some._facts[0]["scores"].values()
    with pytest.raises(ArchsearchError, match="ZeroCostEnsemble: vkdnw, Tabular, cannot score"):
        ZeroCostEnsemble(published="cifar10").start(NASBench101())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluators": []}, "evaluators: expected a list of one or more evaluators"),
        ({"evaluators": [LearningCurve(Training())]}, "evaluators: LearningCurve learns during the search"),
        ({"evaluators": [Stage()], "published": "cifar10"}, "evaluators and published are ways to say which scores"),
        ({"task": "digits", "published": "cifar10"}, "published and training or task are ways"),
        ({"reference": 9}, "reference: expected a whole number >= 10, got 9"),
        ({"sizes": 1}, "sizes: expected true or false, got 1"),
        ({"batch": 1}, "batch: expected a whole number >= 2, got 1"),
        ({"seed": -1}, "seed: expected a whole number >= 0, got -1"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=f"ZeroCostEnsemble: {message}"):
        ZeroCostEnsemble(**settings)


def test_without_prepare_it_says_what_to_do():
    evaluator = ZeroCostEnsemble(published="cifar10")
    evaluator.start(SPACE)
    with pytest.raises(UsageError, match="call prepare first"):
        evaluator.evaluate(SPACE.parse("6111"), 0)


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space", [NASBench201(channels=4, cells=2), DARTS(layers=3, channels=4), MobileNet(), NASBench101()]
)
def test_layers_are_those_of_the_network_built_alone(space):
    count, rng = Layers(space), np.random.default_rng(0)
    for _ in range(5):
        architecture = space.sample(rng)
        network = space.network(architecture, EXAMPLES["image classification"])
        assert count(architecture) == layer_count(network)


def test_layers_of_nasbench201_are_its_convolutions():
    # Stem, 15 cells, two residual blocks of three convolutions, classifier.
    for index in (0, 6111, 9930):
        cell = SPACE.from_index(index)
        convolutions = sum(option in (2, 3) for option in cell)
        assert Layers(SPACE)(cell) == 1 + 15 * convolutions + 2 * 3 + 1
