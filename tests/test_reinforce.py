"""REINFORCE: learning, and settings."""

import json
import math

import numpy as np
import pytest
from common import Tree
from reinforce_lab import FLAT, POLICIES, Words, run, started

from archsearch.components import build, describe
from archsearch.controllers import RandomSearch
from archsearch.controllers.reinforce import Reinforce
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

VALUES = np.array([np.random.default_rng(i).permutation(5) / 4 for i in range(6)])


def separable(architecture: Architecture) -> float:
    """Mean over the decisions of a value 0, 1/4, 1/2, 3/4 or 1, permuted for each: 0.5 for a random one, at best 1."""
    return float(VALUES[np.arange(6), architecture].mean())


def entropy(controller: Reinforce, space: Space) -> float:
    logs = controller.log_probabilities(list(space.enumerate()))
    return float(-(np.exp(logs) * logs).sum())


# -- learning ---------------------------------------------------------------------------------------------------


def test_softmax_policy_reaches_the_known_figures_on_a_separable_reward() -> None:
    late_entropies, late_rewards = [], []
    for seed in range(20):
        controller = started("softmax", seed=seed, learning_rate=0.01, baseline_decay=0.9)
        if seed == 0:
            assert entropy(controller, FLAT) == pytest.approx(6 * math.log(5), abs=1e-9)
        run(controller, separable, 1000)
        late_entropies.append(entropy(controller, FLAT))
        late_rewards.append(np.mean(run(controller, separable, 500)[-100:]))
    assert np.mean(late_entropies) <= 6.0
    assert np.mean(late_rewards) >= 0.95


@pytest.mark.parametrize("policy", POLICIES)
def test_learns_what_random_search_does_not(policy: str) -> None:
    for seed in range(3):
        learned = run(started(policy, seed=seed), separable, 700)
        baseline = RandomSearch()
        baseline.start(FLAT, seed)
        drawn = run(baseline, separable, 700)
        assert np.mean(learned[-100:]) > np.mean(drawn[-100:]) + 0.25


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("space", [Tree(), Words()], ids=["conditional", "variable length"])
def test_learns_on_spaces_whose_decisions_depend_on_each_other(policy: str, space: Space) -> None:
    best = {Tree: (1, 1, 2), Words: (2, 1, 0)}[type(space)]

    def score(architecture: Architecture) -> float:
        return sum(a == b for a, b in zip(architecture, best, strict=False)) - abs(len(architecture) - len(best))

    controller = started(policy, space, learning_rate=0.02)
    before = controller.log_probabilities([best])[0]
    run(controller, score, 600)
    assert before < math.log(0.1)
    assert controller.log_probabilities([best])[0] > math.log(0.6)


def test_entropy_bonus_pulls_the_lstm_to_uniform_decisions() -> None:
    controller = started("lstm", entropy_weight=1.0, learning_rate=0.01)
    before = entropy(controller, FLAT)
    run(controller, lambda _: 3.0, 160)
    assert before < entropy(controller, FLAT) <= 6 * math.log(5) + 1e-4


def test_an_entropy_bonus_keeps_a_policy_from_collapsing() -> None:
    with_bonus, without = (started(entropy_weight=w, learning_rate=0.1) for w in (0.5, 0.0))
    run(with_bonus, separable, 400)
    run(without, separable, 400)
    assert entropy(with_bonus, FLAT) > entropy(without, FLAT) + 1.0


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.95])
def test_baseline_is_the_moving_average_in_closed_form(decay: float) -> None:
    controller = started(baseline_decay=decay)
    rewards = run(controller, lambda a: float(sum(a)) - 7.0, 40)
    weights = decay ** np.arange(39.0, -1.0, -1.0)
    assert controller.baseline == pytest.approx(float(weights @ rewards / weights.sum()))


def test_equal_scores_teach_nothing() -> None:
    controller = started()
    run(controller, lambda _: 0.1 + 0.2, 50)
    assert controller.baseline == 0.1 + 0.2
    assert not np.any(controller.state_dict()["state"]["policy"]["table"])


@pytest.mark.parametrize("policy", POLICIES)
def test_scale_of_the_scores_does_not_matter(policy: str) -> None:
    small, large = started(policy, entropy_weight=0.1), started(policy, entropy_weight=0.1)
    run(small, separable, 60)
    run(large, lambda a: 2**20 * separable(a), 60)  # a power of two, so that rounding is the same
    assert small.state_dict()["state"]["policy"] == large.state_dict()["state"]["policy"]


def test_scaled_advantages_bound_outliers() -> None:
    controller = started(batch_size=1000, baseline_decay=0.9)
    run(controller, separable, 200)
    run(controller, lambda _: -1e9, 1)
    advantages = [advantage for _, advantage in controller.state_dict()["state"]["batch"]]
    assert advantages[0] == 0
    assert min(advantages) == advantages[-1] == pytest.approx(-1 / math.sqrt(0.1), rel=1e-6)
    assert 0.5 < np.std(advantages[100:200]) < 1.5


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "transformer"},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"entropy_weight": -0.1},
        {"baseline_decay": 1.0},
        {"batch_size": 0},
        {"hidden_size": 0},
        {"layers": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(settings))}.*got"):
        Reinforce(**settings)  # type: ignore[arg-type]


def test_settings_survive_as_plain_data() -> None:
    description = json.loads(json.dumps(describe(Reinforce("softmax", learning_rate=0.1))))
    assert describe(build(description, trust=True)) == description
    assert description["init_args"]["batch_size"] is None


def test_log_probabilities_of_a_stranger_are_refused() -> None:
    with pytest.raises(InvalidArchitecture):
        started().log_probabilities([(5, 0, 0, 0, 0, 0)])
