"""REINFORCE's LSTM policy: what PyTorch computes, its weights, its gradients and its optimiser."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from common import Tree
from reinforce_lab import FLAT, MACRO, SPACES, run, started
from reinforce_torch import terms

from archsearch.controllers import lstm_policy
from archsearch.controllers.lstm_policy import INITIAL_RANGE, LstmPolicy
from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.space import Space
from archsearch.spaces import DARTS, NASBench101

HIDDEN, LAYERS = 7, 2
PLAIN, BONUS = PolicyLoss(), PolicyLoss(0.3)
SQUASHED = PolicyLoss(0.3, 5.0, 2.5)
SKIPS = PolicyLoss(0.1, 1.0, 1.5, 0.4, 0.8, MACRO.skip_decisions)


class Theirs:
    """The policy in PyTorch, with 64 bits, from the weights of ours."""

    def __init__(self, policy: LstmPolicy, space: Space) -> None:
        self.space, self.settings = space, policy._loss
        self.lstm = torch.nn.LSTM(HIDDEN, HIDDEN, LAYERS, batch_first=True, dtype=torch.float64)
        positions, options = space.max_length, space.max_options
        shapes = [(1 + (positions - 1) * options, HIDDEN), (positions, HIDDEN, options), (positions, options)]
        others = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
        self.embeddings, self.heads, self.biases = others
        self.weights = [*self.lstm.parameters(), *others]
        for weight, values in zip(self.weights, policy.state()["weights"], strict=True):
            weight.data.copy_(torch.tensor(values, dtype=torch.float64).view_as(weight))

    def evaluate(self, architecture: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability, and what else the loss rewards."""
        before = [1 + i * self.space.max_options + option for i, option in enumerate(architecture[:-1])]
        hidden = self.lstm(self.embeddings[[0, *before]][None])[0][0]
        total = extra = torch.zeros((), dtype=torch.float64)
        for i, option in enumerate(architecture):
            arity = self.space.arity(architecture[:i])
            raw = (hidden[i] @ self.heads[i] + self.biases[i])[:arity]
            log_p, more = terms(raw, option, i, self.settings)
            total, extra = total + log_p, extra + more
        return total, extra

    def loss(self, architectures, advantages) -> torch.Tensor:
        found = [
            advantage * logs + extra
            for advantage, (logs, extra) in zip(advantages, map(self.evaluate, architectures), strict=True)
        ]
        return -torch.stack(found).mean()


def policy_of(space: Space, loss: PolicyLoss = PLAIN, rate: float = 0.01) -> LstmPolicy:
    return LstmPolicy(space, rate, loss, HIDDEN, LAYERS, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("make", "loss"),
    [(make, loss) for make in (*SPACES, DARTS, NASBench101) for loss in (PLAIN, BONUS)]
    + [(make, loss) for make in (*SPACES, NASBench101) for loss in (SQUASHED, SQUASHED._replace(bound=None))]
    + [(lambda: MACRO, loss) for loss in (SKIPS, SKIPS._replace(bound=None))],
)
def test_gradients_are_those_of_autograd(make: Callable[[], Space], loss: PolicyLoss) -> None:
    space, rng = make(), np.random.default_rng(0)
    policy = policy_of(space, loss)
    policy._vector[:] = rng.normal(scale=0.5, size=len(policy._vector))  # far from where all is linear
    theirs = Theirs(policy, space)
    architectures = [space.sample(rng) for _ in range(9)]
    advantages = rng.normal(size=9)
    expected = torch.autograd.grad(theirs.loss(architectures, advantages), theirs.weights)
    got = policy.gradient(architectures, advantages)
    np.testing.assert_allclose(got, torch.cat([each.flatten() for each in expected]).numpy(), rtol=1e-5, atol=1e-6)
    logs = [float(theirs.evaluate(architecture)[0].detach()) for architecture in architectures]
    np.testing.assert_allclose(policy.log_probabilities(architectures), logs, rtol=1e-5, atol=1e-5)


def test_updates_are_those_of_torch_adam() -> None:
    rng, policy = np.random.default_rng(0), policy_of(FLAT, PolicyLoss(0.1))
    theirs = Theirs(policy, FLAT)
    adam = torch.optim.Adam(theirs.weights, lr=0.01)
    for _ in range(20):
        architectures, advantages = policy.sample(8, rng), rng.normal(size=8)
        policy.update(architectures, advantages)
        adam.zero_grad()
        theirs.loss(architectures, advantages).backward()
        adam.step()
    for values, weight in zip(policy.state()["weights"], theirs.weights, strict=True):
        np.testing.assert_allclose(values, weight.detach().flatten().numpy(), atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 2])
def test_initial_weights_are_drawn_as_torch_draws_them(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    theirs = [torch.empty(n).uniform_(-INITIAL_RANGE, INITIAL_RANGE, generator=generator) for n in (4900, 7, 30)]
    assert lstm_policy._uniform(4937, seed).tolist() == torch.cat(theirs).tolist()


@pytest.mark.parametrize("make", [Tree, NASBench101])
def test_probabilities_are_those_that_are_drawn_from(make: Callable[[], Space]) -> None:
    space = make()
    controller = started("lstm", space, learning_rate=0.02)
    run(controller, lambda a: float(sum(a)), 40)
    policy = controller._policy
    for architecture in [proposal.architecture for proposal in controller.ask(5)]:
        steps = [policy.probabilities(architecture[:i]) for i in range(len(architecture))]
        assert [len(step) for step in steps] == [space.arity(architecture[:i]) for i in range(len(architecture))]
        logs = sum(np.log(step[option]) for step, option in zip(steps, architecture, strict=True))
        assert controller.log_probabilities([architecture])[0] == pytest.approx(logs, abs=1e-5)


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, forgetful = policy_of(FLAT), policy_of(FLAT)
    drawn = [[], []]
    for policy, found, limit in zip((kept, forgetful), drawn, (10_000, 3), strict=True):
        monkeypatch.setattr(lstm_policy, "REMEMBERED", limit)
        rng = np.random.default_rng(0)
        for _ in range(50):
            found += policy.sample(1, rng)
            assert len(policy._known) <= limit
    assert drawn[0] == drawn[1]
    assert len(kept._known) > 100
