"""REINFORCE with ENAS's temperature, bound and prior of skips: how far the policy can go, and where it is drawn to."""

import math

import numpy as np
import pytest
from common import Tree
from reinforce_lab import FLAT, MACRO, POLICIES, proposals, run, started

from archsearch.controllers.lstm_policy import LstmPolicy
from archsearch.controllers.reinforce import Reinforce
from archsearch.errors import MissingAbility, UsageError
from archsearch.spaces import NASRL, ENASMacro, GeneticCNN, NASBench201


def extreme(policy, **settings):
    """A controller whose policy has weights that no training gives."""
    controller, rng = started(policy, Tree(), **settings), np.random.default_rng(0)
    proposals(controller, 5)
    policy = controller._policy
    weights = policy._vector if isinstance(policy, LstmPolicy) else policy._table[0]
    weights[:] = rng.normal(scale=1e4, size=weights.shape)
    policy.load(policy.state())  # what was remembered is of the old weights
    return controller


def ratios(controller):
    """Of all decisions, how many times the most probable option is as likely as the least probable."""
    space = Tree()
    prefixes = {architecture[:i] for architecture in space.enumerate() for i in range(len(architecture))}
    probabilities = [np.array(controller.probabilities(prefix)) for prefix in prefixes]
    with np.errstate(divide="ignore"):
        return [p.max() / p.min() for p in probabilities]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_option_is_more_than_148_times_as_likely_as_another(policy):
    assert math.exp(5) == pytest.approx(148.413, abs=1e-3)
    found = ratios(extreme(policy, bound=2.5))
    assert max(found) <= math.exp(5) * (1 + 1e-5)
    assert max(found) == pytest.approx(math.exp(5), rel=1e-4)  # it is reached
    assert max(ratios(extreme(policy))) > 1e6


@pytest.mark.parametrize("policy", POLICIES)
def test_a_temperature_flattens(policy):
    """Of the same weights, the logarithms of ratios of probabilities are divided by it."""
    controllers = [started(policy, FLAT, learning_rate=0.05, batch_size=1, temperature=t) for t in (1.0, 5.0)]
    run(controllers[0], lambda a: float(sum(a)), 30)
    controllers[1].load_state_dict(controllers[0].state_dict())
    sharp, flat = (np.log(controller.probabilities((1,))) for controller in controllers)
    assert np.ptp(sharp) > 0.3
    np.testing.assert_allclose(np.diff(flat), np.diff(sharp) / 5, atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_where_nothing_is_rewarded_skips_have_the_probability_of_their_prior(policy):
    controller = started(policy, MACRO, learning_rate=0.05, entropy_weight=0.0, skip_prior=0.4)
    run(controller, lambda _: 1.0, 250)
    for proposal in controller.ask(3):
        architecture = proposal.architecture
        for i in range(len(architecture)):
            p = controller.probabilities(architecture[:i])
            if i in MACRO.skip_decisions:
                assert p[1] == pytest.approx(0.4, abs=0.02)
            elif policy == "softmax":
                assert p == pytest.approx([1 / 6] * 6)


def test_decisions_that_are_skips():
    assert sorted(MACRO.skip_decisions) == [2, 4, 5, 7, 8, 9]
    for space in (MACRO, ENASMacro(), NASRL(4), NASRL(4, force_direct=True), GeneticCNN()):
        assert space.arities is not None
        labels = [space.label((0,) * i) for i in range(len(space.arities))]
        assert space.skip_decisions == {i for i, label in enumerate(labels) if "from layer" in label}
        assert {space.arities[i] for i in space.skip_decisions} == {2}


@pytest.mark.parametrize("space", [NASBench201(), ENASMacro(layers=1), Tree()])
def test_a_prior_needs_skips(space):
    with pytest.raises(MissingAbility, match=r"Reinforce: skip_prior: expected a space with decisions about skip conn"):
        Reinforce(skip_prior=0.4).start(space, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"bound": 0.0}, "bound"),
        ({"bound": 1e9}, "bound"),
        ({"skip_prior": 1.0}, "skip_prior"),
        ({"skip_weight": -1.0}, "skip_weight"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UsageError, match=f"Reinforce: {message}: expected"):
        Reinforce(**settings)
