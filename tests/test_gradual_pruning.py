"""GOLD-NAS's parts: pruning that only ever takes away, a resource that presses for it, what was passed on the way."""

import itertools

import numpy as np
import pytest
import torch
from differentiable_lab import DIGITS, parameters, super_network

from archsearch.differentiable.costs import candidate_costs
from archsearch.differentiable.discretisations import Threshold
from archsearch.differentiable.guards import GradualPruning
from archsearch.differentiable.optimisations import OneLevel
from archsearch.differentiable.part import Pass
from archsearch.differentiable.relaxations import Softmax
from archsearch.differentiable.resources import Resource, RisingResource
from archsearch.errors import UsageError
from archsearch.evaluators import Differentiable, Training
from archsearch.files.parquet import read_parquet
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import build
from archsearch.spaces import DARTS, GOLDNAS

SPACE = GOLDNAS(layers=2, channels=2)
NOW = Pass(True, 0.5, torch.Generator())


def with_gates(gates, space=SPACE):
    """Parameters whose operations have these shares against ``none``."""
    found = parameters(space)
    with torch.no_grad():
        found.logits.zero_()
        found.logits[1::2] = torch.logit(torch.tensor(gates, dtype=torch.float32))
    return found


def alive(found):
    """Whether each operation is still there; ``none`` always is."""
    assert found.alive[::2].all()
    return found.alive[1::2].numpy()


@pytest.fixture
def gates():
    return np.random.default_rng(0).uniform(0.1, 0.9, 56)


def test_the_weakest_go_and_at_most_so_many_but_for_the_hopeless(gates):
    gates[[4, 10, 20, 30, 40]] = [0.049, 0.02, 0.03, 0.04, 0.045]
    found = with_gates(gates)
    GradualPruning(most=3).prune(found, NOW, [{}])
    assert np.flatnonzero(~alive(found)).tolist() == [10, 20, 30]
    gates[[5, 6, 7, 8]] = 0.005
    found = with_gates(gates)
    GradualPruning(most=3).prune(found, NOW, [{}])
    assert np.flatnonzero(~alive(found)).tolist() == [5, 6, 7, 8]
    GradualPruning(most=3).prune(found, NOW, [{}])
    assert np.flatnonzero(~alive(found)).tolist() == [5, 6, 7, 8, 10, 20, 30]
    found = with_gates(gates)
    GradualPruning(first=3).prune(found, NOW, [{}] * 2)
    assert alive(found).all()


def test_a_node_never_loses_its_last_operation():
    found = with_gates([0.001] * 56)
    for _ in range(3):
        GradualPruning(most=5).prune(found, NOW, [{}])
    assert alive(found).sum() == 8
    groups = [choice.group for choice in SPACE.relaxed_choices()]
    assert len({groups[i] for i in np.flatnonzero(alive(found))}) == 8


def test_last_operations_do_not_stand_in_the_way_of_others(gates):
    gates[:4] = [0.02, 0.021, 0.022, 0.023]  # all of the first node
    gates[[40, 41]] = 0.04
    found = with_gates(gates)
    GradualPruning(most=5).prune(found, NOW, [{}])
    assert np.flatnonzero(~alive(found)).tolist() == [0, 1, 2, 40, 41]


def test_other_spaces_keep_a_candidate_of_each_place():
    space = DARTS(layers=2, channels=2)
    found = parameters(space)
    with torch.no_grad():
        found.logits.zero_()
        found.logits[::8] = 30.0  # none is the strongest by far
    GradualPruning().prune(found, NOW, [{}])
    assert found.alive[::8].all()
    assert found.alive.sum() == 28 + 8
    strengths = [some.tolist() for some in Softmax().all_strengths(found)]
    prefix = ()
    while space.arity(prefix):
        p = space.relaxed_probabilities(strengths, prefix)
        assert sum(p) == pytest.approx(1)
        prefix += (int(np.argmax(p)),)


def test_a_resource_weighs_more_after_each_epoch_that_pruned_too_few():
    def record(before, after):
        return {"parameters": {"alive": [True] * before}, "alive": after}

    rising = RisingResource(0.2, growth=2.0, enough=3, first=2)
    records = [record(50, 50), record(50, 48), record(48, 45), record(45, 44)]
    weights = [rising.after(records[:n]).weight for n in range(5)]
    assert weights == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.8])
    assert rising.weight == 0.2
    assert Resource(0.3).after(records).weight == 0.3


def evaluator(folder=None, **settings):
    found = Differentiable(
        Training("digits", train_examples=96, batch_size=16, learning_rate=0.05, nesterov=False),
        **{
            "epochs": 7,
            "optimisation": OneLevel(),
            "guards": [GradualPruning(most=6)],
            "resource": RisingResource(1.0, growth=2.0, enough=6),
            "discretisation": Threshold(1e-6),
            "architecture_rate": 0.5,
            "architecture_decay": 0.0,
            **settings,
        },
    )
    found.folder = folder
    found.start(SPACE)
    return found


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    found = evaluator(tmp_path_factory.mktemp("gold"))
    cost = found.prepare()
    return found, cost


def test_pruning_is_monotone_and_multiply_adds_fall(searched):
    found, _ = searched
    masks = [np.array(record["parameters"]["alive"]) for record in found.records]
    assert all((later <= earlier).all() for earlier, later in itertools.pairwise(masks))
    counts = [record["alive"] for record in found.records]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] - 15
    flops = [record["flops"] for record in found.records]
    assert flops == sorted(flops, reverse=True)
    assert flops[-1] < 0.7 * flops[0]
    for record in found.records[::3]:
        network = build(lambda r=record: SPACE.network(tuple(r["derived"]), DIGITS), 0)
        assert record["flops"] == multiply_adds(network, DIGITS.input_shape)


def test_what_is_derived_has_all_that_is_left(searched):
    found, _ = searched
    left = np.array(found._shared._facts["learnt"]["alive"]).reshape(-1, 2)[:, 1]
    chosen = np.array([1 in some for some in SPACE.selected(found.derived())])
    assert (left == chosen).all()


def test_one_level_sees_all_images_and_pruned_operations_are_not_billed(searched):
    found, cost = searched
    assert cost.examples == 7 * 96
    everything = found.records[0]["flops"]
    assert cost.flops < 2 * everything * (3 * 7 * 96 + 2 * 7 * 256)


def test_no_compromise_is_dominated_and_nothing_else_is_left_out(searched):
    found, _ = searched
    best = found.compromises
    assert [each.flops for each in best] == sorted({each.flops for each in best})
    assert [each.accuracy for each in best] == sorted({each.accuracy for each in best})
    for record in found.records:
        assert any(
            each.flops <= record["flops"] and each.accuracy >= record["derived_accuracy"] for each in best
        ) or any(tuple(record["derived"]) == each.architecture for each in best)
    table = read_parquet(found.folder / "search.parquet")
    marked = [
        e for e, is_best in zip(table["epoch"].to_pylist(), table["compromise"].to_pylist(), strict=True) if is_best
    ]
    assert sorted(each.epoch for each in best) == marked


def test_a_search_that_prunes_and_is_killed_goes_on_to_the_same_result(searched, tmp_path):
    class Killed(Exception):
        pass

    def told(what, done, total):
        if done == 4:
            raise Killed

    found, _ = searched
    killed = evaluator(tmp_path)
    killed.on_progress = told
    with pytest.raises(Killed):
        killed.prepare()
    again = evaluator(tmp_path)
    again.prepare()
    assert [*again.records] == [*found.records]
    assert again.derived() == found.derived()


def test_costs_of_operations_that_only_none_stands_against():
    costs = candidate_costs(super_network(SPACE), SPACE.relaxed_choices(), DIGITS.input_shape)
    for seed in range(3):
        architecture = SPACE.sample(np.random.default_rng(seed))
        network = build(lambda a=architecture: SPACE.network(a, DIGITS), 0)
        assert costs.of(SPACE.selected(architecture)) == multiply_adds(network, DIGITS.input_shape)
    by_parameters = Resource(of="params").costs(SPACE, super_network(SPACE), DIGITS.input_shape)
    assert by_parameters.of(SPACE.selected(architecture)) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradualPruning(least=0.1, weak=0.05), "GradualPruning: weak: "),
        (lambda: GradualPruning(most=0), "GradualPruning: most: "),
        (lambda: RisingResource(growth=1.0), "RisingResource: growth: "),
        (lambda: RisingResource(of="joules"), "RisingResource: of: expected one of flops, params, latency"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(UsageError, match=message):
        make()
