"""REINFORCE: exact probabilities and exact gradients."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from common import Tree
from reinforce_lab import MACRO, POLICIES, SPACES, result, run, started
from reinforce_torch import terms
from scipy import stats

from archsearch.controllers.policies import adam_step
from archsearch.space import Space


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", SPACES[1:])
def test_probabilities_sum_to_one(policy: str, make: Callable[[], Space]) -> None:
    space = make()
    controller = started(policy, space, learning_rate=0.05)
    everything = list(space.enumerate())
    for _ in range(2):
        assert np.exp(controller.log_probabilities(everything)).sum() == pytest.approx(1, abs=1e-5)
        run(controller, lambda a: float(sum(a)), 40)
    one_by_one = [controller.log_probabilities([architecture])[0] for architecture in everything]
    assert controller.log_probabilities(everything) == pytest.approx(one_by_one, abs=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", SPACES[1:])
@pytest.mark.parametrize("at_once", [1, 500])
def test_proposals_have_the_probabilities_of_the_policy(policy: str, make: Callable[[], Space], at_once: int) -> None:
    space = make()
    controller = started(policy, space, learning_rate=0.02)
    run(controller, lambda a: float(sum(a)), 40)
    everything = list(space.enumerate())
    n = 1500
    counts = Counter(p.architecture for _ in range(n // at_once) for p in controller.ask(at_once))
    expected = np.exp(controller.log_probabilities(everything)) * n
    observed = np.array([counts[architecture] for architecture in everything])
    assert observed.sum() == n
    rare = expected < 5
    groups = [
        (observed[~rare], expected[~rare]),
        (observed[rare].sum(keepdims=True), expected[rare].sum(keepdims=True)),
    ]
    seen, due = (np.concatenate(each) for each in zip(*groups, strict=True))
    statistic = float(((seen - due) ** 2 / np.maximum(due, 1e-9)).sum())
    assert stats.chi2.sf(statistic, len(seen) - 1) > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"entropy_weight": 0.0},
        {"entropy_weight": 0.3},
        {"entropy_weight": 0.3, "temperature": 0.2, "bound": 1.1},
        {"entropy_weight": 0.1, "temperature": 5.0},
        {"bound": 1.5, "skip_prior": 0.4, "skip_weight": 0.8},
    ],
)
def test_softmax_updates_equal_autograd_and_torch_adam(settings: dict[str, float]) -> None:
    space = MACRO if "skip_prior" in settings else Space(arities=(5, 2, 3, 5))
    assert space.arities is not None
    controller = started("softmax", space, batch_size=3, learning_rate=0.05, scale_advantage=False, **settings)
    controller.ask()  # the rows of the table are made when a decision is first met
    logits = torch.zeros(len(space.arities), max(space.arities), dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.05)
    rows = [(position, logits[position, :n]) for position, n in enumerate(space.arities)]
    weights = np.arange(1, len(space.arities) + 1)
    for _ in range(25):
        loss = torch.zeros((), dtype=torch.float64)
        for proposal in controller.ask(3):
            score = float(np.sin(weights @ proposal.architecture))
            advantage = score - controller.baseline if proposal.id > 1 else 0.0
            controller.tell([result(proposal, score)])
            for (position, row), option in zip(rows, proposal.architecture, strict=True):
                log_p, extra = terms(row, option, position, controller._policy._loss)
                loss = loss - (advantage * log_p + extra) / 3
        adam.zero_grad()
        loss.backward()
        adam.step()
    table = np.array(controller.state_dict()["state"]["policy"]["table"])
    np.testing.assert_allclose(table[0], logits.detach().numpy(), atol=1e-12)


def test_adam_on_tensors_equals_torch_adam() -> None:
    ours, theirs = torch.ones(7), torch.ones(7, requires_grad=True)
    mean, square = torch.zeros(7), torch.zeros(7)
    adam = torch.optim.Adam([theirs], lr=0.01)
    for step in range(1, 30):
        gradient = torch.sin(torch.arange(7.0) * step)
        adam_step(ours, gradient, mean, square, step, 0.01)
        theirs.grad = gradient
        adam.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_a_decision_met_late_starts_as_fast_as_any_other() -> None:
    controller = started("softmax", Tree(), learning_rate=0.01)
    asked = controller.ask(200)
    short = [proposal for proposal in asked if proposal.architecture == (0,)]
    long = [proposal for proposal in asked if len(proposal.architecture) == 3]
    for i, proposal in enumerate(short):
        controller.tell([result(proposal, float(i % 2))])
    controller.tell([result(long[0], 5.0)])
    policy = controller.state_dict()["state"]["policy"]
    shape = np.array(policy["table"])[0, policy["labels"].index("shape")]
    taken = long[0].architecture[2]
    assert shape[taken] == pytest.approx(0.01)
    assert shape[:3].sum() == pytest.approx(-0.01)
    assert shape[3] == 0
