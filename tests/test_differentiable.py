"""``Differentiable``, ``Derived``: a search by gradient from the start to its end, its bill, its file, its answer."""

import math

import numpy as np
import pytest
import torch
from differentiable_search_lab import SPACE, Killed, kill_after, make, prepared, same, started, untimed

from archsearch import search
from archsearch.abilities import Distribution
from archsearch.components import build, describe
from archsearch.controllers import Derived
from archsearch.differentiable.guards import (
    AdversarialPerturbation,
    EigenvalueStop,
    Guard,
    RandomPerturbation,
    SkipStop,
)
from archsearch.differentiable.optimisations import Amended, FirstOrder, MixedLevel, OneLevel, SecondOrder
from archsearch.differentiable.relaxations import (
    ExponentiatedGradient,
    Gumbel,
    PartialChannels,
    Relaxation,
    Sigmoid,
    Softmax,
    TwoPaths,
)
from archsearch.differentiable.resources import Resource
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import Differentiable, Training
from archsearch.files.parquet import read_parquet
from archsearch.spaces import DARTS, MobileNet, NASBench101
from archsearch.testing import FixedSpace

PER_EPOCH = 2  # of the half of the images


# -- the search ------------------------------------------------------------------------------------

METHODS = {
    "softmax": {"relaxation": Softmax()},
    "second_order": {"optimisation": SecondOrder()},
    "amended": {"optimisation": Amended()},
    "one_level": {"optimisation": OneLevel()},
    "mixed_level": {"optimisation": MixedLevel()},
    "sigmoid": {"relaxation": Sigmoid()},
    "gumbel_soft": {"relaxation": Gumbel(hard=False, first=5.0, last=0.5, form="exponential")},
    "gumbel_hard": {"relaxation": Gumbel(hard=True)},
    "two_paths": {"relaxation": TwoPaths(), "optimisation": FirstOrder(every=2)},
    "partial": {"relaxation": PartialChannels(2)},
    "experts": {"relaxation": ExponentiatedGradient()},
    "perturbed": {"guards": [RandomPerturbation()]},
    "adversarial": {"guards": [AdversarialPerturbation(steps=2)]},
    "resource": {"resource": Resource(0.2), "relaxation": Gumbel(hard=False)},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_searches_stores_itself_and_has_a_distribution(name):
    evaluator = prepared(**METHODS[name])
    assert isinstance(evaluator, Distribution)
    assert len(evaluator.records) == 2
    assert evaluator.derived() in SPACE
    assert evaluator.derived() == tuple(evaluator.records[-1]["derived"])
    for i in range(6):
        assert sum(evaluator.probabilities((0,) * i)) == pytest.approx(1)
    assert np.ptp(evaluator.probabilities(())) > 0  # it has moved
    twin = build(describe(make(**METHODS[name])), "evaluators")
    assert describe(twin) == describe(make(**METHODS[name]))
    evaluation = evaluator.evaluate(evaluator.derived(), 0)
    assert 0 <= evaluation.score <= 100
    assert evaluation.cost.updates == 0


@pytest.mark.parametrize(
    "space",
    [
        DARTS(layers=3),
        MobileNet(stages=[(8, 2, 1), (12, 2, 2)], candidates=[(3, 1), (5, 2)], stem_channels=8, head_channels=16),
    ],
    ids=["darts", "chain"],
)
def test_other_spaces(space):
    evaluator = Differentiable(
        Training("digits", train_examples=64, batch_size=16, skeleton={"channels": 4}),
        epochs=1,
        relaxation=Gumbel(hard=True),
    )
    result = search(space, Derived(limit=4), evaluator, trials=3, seed=0)
    trials = sorted(result.history, key=lambda trial: trial.id)
    assert trials[0].architecture == evaluator.derived()
    assert "none" not in space.format(trials[0].architecture)
    assert len({trial.architecture for trial in trials}) == 3


def test_equal_seeds_learn_the_same_and_others_do_not():
    settings = {"relaxation": Gumbel(hard=True), "epochs": 1}
    first, second, other = (prepared(seed=seed, **settings) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_parameters_do_not_move_before_the_warm_up_ends():
    evaluator = prepared(relaxation=PartialChannels(2), frozen=2, epochs=3)
    first, second, third = (record["parameters"] for record in evaluator.records)
    assert first == second
    assert first["logits"] != third["logits"]
    assert first["edges"] != third["edges"]


@pytest.mark.parametrize(("optimisation", "passes"), [(FirstOrder(), 1), (SecondOrder(), 4), (MixedLevel(), 2)])
def test_what_is_billed(optimisation, passes):
    evaluator = started(optimisation=optimisation, epochs=2)
    cost = evaluator.prepare()
    halves = 32  # images; of the second order, three of the four passes are over the images of the weights
    assert cost.examples == 2 * halves * (1 + passes)
    assert cost.updates == 2 * PER_EPOCH * 2
    run = evaluator.trainer.begin(None, 0)
    from archsearch.differentiable.costs import Mixed
    from archsearch.networks.multiply_adds import multiply_adds

    everything = multiply_adds(Mixed(run.network, [dict.fromkeys(range(5), 1.0)] * 6), (1, 8, 8))
    derived = [evaluator._shared._relaxable.selected(tuple(r["derived"])) for r in evaluator.records]
    from archsearch.differentiable.costs import candidate_costs

    costs = candidate_costs(run.network, SPACE.relaxed_choices(), (1, 8, 8))
    watching = sum(256 * (everything + costs.of(run.network.running(each))) for each in derived)
    assert cost.flops == 2 * (3 * cost.examples * everything + watching)


def test_one_level_learns_from_all_images():
    evaluator = started(optimisation=OneLevel(), epochs=1)
    assert evaluator.prepare().examples == 64


def test_frozen_epochs_take_no_images_for_the_parameters():
    assert started(frozen=2, epochs=3).prepare().examples == 64 + 64


def test_weights_and_parameters_are_trained_on_images_of_their_own_and_on_none_for_validation():
    seen = {"weights": set(), "parameters": set()}

    class Watched(FirstOrder):
        def step(self, search, batch, held_out, moves):
            for what, part in (("weights", batch), ("parameters", held_out)):
                seen[what] |= {image.numpy().tobytes() for image in part.inputs}
            return super().step(search, batch, held_out, moves)

    evaluator = prepared(optimisation=Watched(), epochs=2)
    images = evaluator.trainer.data.part("train")[0]
    own, held_out = ({images[i].numpy().tobytes() for i in part} for part in evaluator._shared._parts)
    assert seen == {"weights": own, "parameters": held_out}
    assert not own & held_out
    valid = {image.numpy().tobytes() for image in evaluator.trainer.data.part("valid")[0]}
    assert not (own | held_out) & valid


def test_halves_have_no_image_in_common_and_every_class_its_share():
    evaluator = started(training={"train_examples": 200}, held_out=0.25)
    own, held_out = evaluator._shared._parts
    assert sorted([*own.tolist(), *held_out.tolist()]) == sorted(evaluator.trainer.chosen.tolist())
    assert len(held_out) == 50
    labels = evaluator.trainer.data.part("train")[1]
    assert (torch.bincount(labels[held_out], minlength=10) >= 4).all()


# -- kept, and resumed -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["perturbed", "adversarial", "gumbel_hard", "experts", "partial"])
def test_a_search_that_is_killed_goes_on_to_the_same_result(name, tmp_path):
    settings = {**METHODS[name], "epochs": 3}
    whole = started(folder=tmp_path / "whole", **settings)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    cost = whole.prepare()
    killed = started(folder=tmp_path / "parts", **settings)
    kill_after(killed, 2)
    with pytest.raises(Killed):
        killed.prepare()
    again = started(folder=tmp_path / "parts", **settings)
    assert untimed(again.prepare()) == untimed(cost)
    assert same(whole, again)
    table = read_parquet(tmp_path / "parts" / "search.parquet")
    assert table["epoch"].to_pylist() == [1, 2, 3]
    assert [tuple(derived) for derived in table["derived"].to_pylist()][-1] == again.derived()
    assert len(table["logits"].to_pylist()[0]) == 30
    assert table.equals(read_parquet(tmp_path / "whole" / "search.parquet"), check_metadata=True)
    done = started(folder=tmp_path / "parts", **settings)
    assert untimed(done.prepare()) == untimed(cost)
    assert same(whole, done)


class StopAt(Guard):
    def __init__(self, epoch: int, back: int) -> None:
        self.epoch = epoch
        self.back = back

    def stop(self, records):
        return self.back if len(records) == self.epoch else None


def test_a_guard_ends_the_search_and_takes_it_back(tmp_path):
    evaluator = started(folder=tmp_path, epochs=6, guards=[StopAt(3, 2)], architecture_rate=0.1)
    evaluator.prepare()
    assert len(evaluator.records) == 3
    assert "stopped after epoch 3" in evaluator.note
    assert evaluator.derived() == tuple(evaluator.records[1]["derived"])
    again = started(folder=tmp_path, epochs=6, guards=[StopAt(3, 2)], architecture_rate=0.1)
    again.prepare()
    assert same(evaluator, again)


def test_eigenvalues_are_noted_and_change_nothing():
    plain, watched = prepared(), prepared(guards=[EigenvalueStop(), SkipStop(skips=7)])
    assert all(math.isfinite(record["eigenvalue"]) for record in watched.records)
    assert "eigenvalue" not in plain.records[0]
    assert plain._shared._facts["strengths"] == watched._shared._facts["strengths"]
    assert all(torch.equal(v, watched._shared.values()[n]) for n, v in plain._shared.values().items())


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [FixedSpace(), NASBench101()], ids=["fixed", "nasbench101"])
def test_spaces_that_cannot_be_relaxed(space):
    with pytest.raises(MissingAbility, match=rf"Differentiable mixes .* {type(space).__name__} has no"):
        make().check(space)


def test_partial_channels_need_a_space_that_has_them():
    with pytest.raises(MissingAbility, match=r"Differentiable: PartialChannels .* MobileNet does not"):
        Differentiable(Training("digits"), relaxation=PartialChannels(2)).check(MobileNet())
    evaluator = prepared(relaxation=PartialChannels(2), epochs=1)
    from archsearch.trial import Query

    with pytest.raises(MissingAbility, match="saw one of 2 channels"):
        evaluator.trained(Query(0, evaluator.derived(), 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relaxation": "softmax"}, "relaxation: expected a Relaxation, got 'softmax'"),
        ({"guards": [Softmax()]}, "guards: expected a list of Guard"),
        ({"guards": SkipStop()}, "guards: expected a list of Guard"),
        ({"frozen": -1}, "Differentiable: frozen: expected a whole number >= 0"),
        ({"held_out": 1.0}, "Differentiable: held_out"),
        ({"epochs": 0}, "Differentiable: epochs"),
        ({"architecture_rate": 0.0}, "Differentiable: architecture_rate"),
        ({"guards": [RandomPerturbation()], "optimisation": OneLevel()}, "RandomPerturbation perturbs .* OneLevel has"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        make(**settings)


def test_nothing_is_known_before_it_is_prepared():
    evaluator = started()
    for ask in (lambda: evaluator.probabilities(()), evaluator.derived, lambda: evaluator.evaluate((0,) * 6, 0)):
        with pytest.raises(UsageError, match=r"Differentiable: .* call prepare"):
            ask()


def test_too_few_images():
    with pytest.raises(UsageError, match="expected at least 4"):
        started(training={"train_examples": 3, "batch_size": 2})


def test_a_search_in_which_nothing_would_be_learnt():
    with pytest.raises(UsageError, match=r"frozen: expected fewer than the 2 epochs of the search, .*, got 2; set"):
        started(frozen=2, epochs=2)


def test_channels_that_cannot_be_cut_are_said_before_anything_is_trained():
    with pytest.raises(
        UsageError, match=r"part: expected a divisor of the channels, .* has 4, got 3; use another part"
    ):
        started(relaxation=PartialChannels(3))


def test_exported_weights_are_those_that_were_scored():
    from archsearch.trial import Query

    evaluator = prepared(epochs=1)
    query = Query(0, evaluator.derived(), 0)
    trained = evaluator.trained(query)
    assert trained.evaluation.score == evaluator.evaluate_query(query).score
    assert trained.network.architecture == query.architecture


class Mine(Relaxation):
    def mix(self, logits, now):
        return {int(logits.argmax()): torch.softmax(logits, 0).max()}


def test_a_relaxation_of_ones_own():
    evaluator = prepared(relaxation=Mine(), epochs=1)
    assert evaluator.derived() in SPACE


class Numbers(Relaxation):
    def mix(self, logits, now):
        return torch.softmax(logits, 0)


class Beyond(Relaxation):
    def mix(self, logits, now):
        return {5: 1.0}


class Weak(Softmax):
    def strengths(self, logits):
        return logits * 0


@pytest.mark.parametrize(
    ("relaxation", "message"),
    [
        (Numbers(), r"Numbers.mix: expected a mapping from numbers of candidates, 0 to 4, to weights, got tensor"),
        (Beyond(), r"Beyond.mix: expected a mapping from numbers of candidates, 0 to 4, to weights, got \{5: 1.0\}"),
        (Weak(), r"Weak.strengths: expected 5 finite numbers >= 0 .* one of them above 0, got \["),
    ],
)
def test_mistakes_in_a_relaxation_of_ones_own_are_said(relaxation, message):
    with pytest.raises(UsageError, match=message):
        prepared(relaxation=relaxation, epochs=1)
