"""PPO: the clipped objective, several steps a batch, late results, and masks of conditional spaces."""

import json
import math

import numpy as np
import pytest
import torch

from archsearch.controllers import PPO
from archsearch.controllers.lstm_policy import LstmPolicy
from archsearch.controllers.policies import SoftmaxPolicy
from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.controllers.ppo import clipped
from archsearch.errors import UsageError
from archsearch.spaces import Choices, MetaQNN
from archsearch.testing import ConditionalSpace, FixedSpace, VariableLengthSpace
from archsearch.trial import Evaluation, Trial

SPACES = [
    ConditionalSpace(),
    VariableLengthSpace(),
    MetaQNN(layers=4, image=8),
    Choices({"depth": [0, 1, 2], "op": {"options": ["a", "b", "c"], "repeat": "depth"}}),
]


def started(space=None, seed=0, **settings):
    controller = PPO(**settings)
    controller.start(space or FixedSpace(), seed)
    return controller


def ones(architecture):
    return sum(option == 1 for option in architecture) / len(architecture)


def tell(controller, proposals, score=ones):
    controller.tell([Trial(*proposal[:3], Evaluation(score(proposal.architecture))) for proposal in proposals])


# -- the objective -----------------------------------------------------------------------------------


def test_the_slope_is_that_of_the_clipped_objective_by_automatic_differentiation():
    rng = np.random.default_rng(0)
    drawn, advantages = rng.normal(-5, 1, 400), rng.normal(0, 2, 400)
    present = torch.tensor(drawn + rng.normal(0, 0.4, 400), requires_grad=True)
    ratios = torch.exp(present - torch.tensor(drawn))
    gain = torch.tensor(advantages)
    torch.minimum(ratios * gain, torch.clamp(ratios, 0.8, 1.2) * gain).sum().backward()
    np.testing.assert_allclose(clipped(present.detach().numpy(), drawn, advantages, 0.2), present.grad, rtol=1e-12)


def test_what_left_the_bounds_on_its_own_side_is_not_pushed_further():
    drawn = np.zeros(4)
    present = np.log([1.3, 1.3, 0.7, 0.7])
    slope = clipped(present, drawn, np.array([1.0, -1.0, 1.0, -1.0]), 0.2)
    assert slope == pytest.approx([0.0, -1.3, 0.7, 0.0])


@pytest.mark.parametrize("policy", ["lstm", "softmax"])
def test_in_the_first_step_all_ratios_are_one_and_later_few_are_far_out_of_bounds(policy, monkeypatch):
    controller = started(policy=policy, epochs=8, learning_rate=0.01, batch_size=20)
    seen = []

    def spied(present, drawn, advantages, clip):
        seen.append(np.exp(present - drawn))
        return clipped(present, drawn, advantages, clip)

    monkeypatch.setattr("archsearch.controllers.ppo.clipped", spied)
    tell(controller, controller.ask(20))
    assert len(seen) == 8
    np.testing.assert_allclose(seen[0], 1, atol=2e-5)  # the LSTM counts in single precision
    final = np.exp(controller._policy.log_probabilities(list(controller.space.enumerate())[:100]))
    assert np.isfinite(final).all()
    # Unclipped, the same steps go far; clipped, they stop where the bounds are, but for the momentum of Adam.
    free = started(policy=policy, epochs=8, learning_rate=0.01, batch_size=20, clip=0.999)
    monkeypatch.setattr("archsearch.controllers.ppo.clipped", lambda p, d, a, c: np.exp(p - d) * a)
    proposals = free.ask(20)
    before = free.log_probabilities([each.architecture for each in proposals])
    tell(free, proposals)
    far = np.exp(free.log_probabilities([each.architecture for each in proposals]) - before)
    assert np.abs(np.log(seen[-1])).max() < np.abs(np.log(far)).max()


@pytest.mark.parametrize("policy", ["lstm", "softmax"])
def test_a_batch_that_is_all_out_of_bounds_moves_nothing(policy):
    controller = started(policy=policy, batch_size=4, entropy_weight=0.0)
    proposals = controller.ask(4)
    architectures = [proposal.architecture for proposal in proposals]
    before = controller.log_probabilities(architectures)
    controller._odds = dict.fromkeys(controller._odds, -50.0)  # as if all were far less probable when drawn
    controller._advantage = lambda reward: 1.0
    tell(controller, proposals)
    assert controller.log_probabilities(architectures).tolist() == before.tolist()


# -- late results ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["lstm", "softmax"])
@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_proposals_are_remembered_with_the_probability_that_they_were_drawn_with(policy, space):
    controller = started(space, policy=policy)
    for n in (1, 3, 1):
        for proposal in controller.ask(n):
            prefix, log_p = (), 0.0
            for option in proposal.architecture:
                log_p += math.log(controller.probabilities(prefix)[option])
                prefix = (*prefix, option)
            assert controller._odds[proposal.id] == pytest.approx(log_p, abs=1e-5)


def test_the_ratio_corrects_for_a_policy_that_has_moved_since():
    controller = started(learning_rate=0.02, batch_size=10)
    late = controller.ask(10)
    odds = dict(controller._odds)
    for _ in range(3):
        tell(controller, controller.ask(10))
    assert {id_: controller._odds[id_] for id_ in odds} == odds  # unchanged while the policy moved
    now = controller.log_probabilities([each.architecture for each in late])
    assert np.abs(now - np.array([odds[each.id] for each in late])).max() > 0.1
    tell(controller, late)
    assert not controller._odds


def test_failed_trials_leave_nothing_behind():
    controller = started()
    proposals = controller.ask(5)
    controller.tell([Trial(*proposal[:3], failure="exception") for proposal in proposals])
    assert controller._odds == {}
    assert controller._batch == []


# -- learning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_it_learns_in_spaces_with_masks_and_of_any_length(space):
    controller = started(space, batch_size=10, epochs=4, learning_rate=1e-2, hidden_size=24)
    scores = []
    for _ in range(30):
        proposals = controller.ask(5)
        assert all(proposal.architecture in space for proposal in proposals)
        scores += [ones(proposal.architecture) for proposal in proposals]
        tell(controller, proposals)
    assert np.mean(scores[-50:]) > np.mean(scores[:50]) + 0.1
    assert controller.derived() in space


def test_the_policies_take_weights_that_depend_on_the_present_probabilities():
    space, loss = FixedSpace(), PolicyLoss()
    lstm = LstmPolicy(space, 0.1, loss, 8, 1, np.random.default_rng(0))
    softmax = SoftmaxPolicy(space, 0.1, loss)
    architectures = [(0,) * 6, (1,) * 6]
    for policy in (lstm, softmax):
        heard = []
        before = policy.log_probabilities(architectures)
        policy.update(architectures, lambda present, heard=heard: heard.append(present) or np.array([1.0, 0.0]))
        assert heard[0] == pytest.approx(before, abs=1e-6)
        after = policy.log_probabilities(architectures)
        assert after[0] > before[0]


def test_a_search_goes_on_alike_in_the_middle_of_a_batch():
    controller = started(batch_size=8)
    tell(controller, controller.ask(11))
    due = controller.ask(4)
    again = started(batch_size=8, seed=1)
    again.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, again):
        tell(each, due)
    assert again.ask(9) == controller.ask(9)


@pytest.mark.parametrize("settings", [{"clip": 0}, {"clip": 1}, {"epochs": 0}, {"batch_size": 0}, {"policy": "tree"}])
def test_settings_out_of_range_are_named(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"PPO: {name}"):
        PPO(**settings)
