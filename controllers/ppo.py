"""Proximal policy optimisation: several steps from each batch, none of them far from the policy that drew it.

References: Zoph, Vasudevan, Shlens & Le, "Learning transferable architectures for scalable image recognition" (NASNet),
CVPR 2018, appendix: an LSTM of one layer with 100 units, trained with PPO on batches of 20 architectures, an
exponential moving average of rewards as baseline. Schulman et al., "Proximal policy optimization algorithms", 2017:
the clipped objective. MnasNet (Tan et al., CVPR 2019) uses the same controller.

An architecture a with advantage A counts in the objective with ``min(r A, clip(r, 1 - c, 1 + c) A)``, where r is the
probability that the present policy gives it over that of the policy which drew it, and c is ``clip``.

Where we differ:

- Results may come late and in any order. Each is remembered with the probability that it was drawn with, so that the
  ratio corrects for a policy that has moved since.
- An architecture is one action: r is the ratio of whole architectures. The paper does not say.
- ``learning_rate``, ``epochs`` and ``scale_advantage`` suit searches of some hundred trials; see there.
- Otherwise as ``Reinforce``: failed trials teach nothing, advantages are scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsearch.basics.checks import at_least_one, number
from archsearch.controllers.policy_gradient import (
    FloatArray,
    PolicyGradient,
    PolicyName,
    Told,
    given,
    policy_named,
)
from archsearch.controllers.policy_loss import PolicyLoss


class PPO(PolicyGradient):
    """PPO: a policy that learns from each batch of results in several clipped steps (NASNet, Zoph et al. 2018).

    The policy is a distribution (``archsearch.abilities``), by which the controller ``Derived`` can propose.

    Args:
        policy: ``lstm`` is the paper's: each decision depends on the earlier ones. ``softmax`` has independent logits
            for each decision.
        learning_rate: Adam's step size, > 0. The paper has 3.5e-4 for 20,000 architectures; ours suits some hundred.
        clip: How far the ratio of probabilities may differ from 1 and still count, 0 < clip < 1. Schulman et al.: 0.2.
        epochs: Gradient steps on each batch, >= 1. The paper does not say.
        batch_size: Completed trials per batch, >= 1.
        entropy_weight: What one nat of the policy's entropy is worth, >= 0, in the units of advantages.
        baseline_decay: Weight, 0 <= decay < 1, that the moving average of the scores gives to its past.
        hidden_size: Units of each layer of the LSTM, >= 1.
        layers: Layers of the LSTM, >= 1.
        scale_advantage: Whether to divide advantages by their running root mean square. The paper does not.
        temperature: Logits are divided by it, >= 0.001.
        bound: 0 < bound <= 1000: logits become bound * tanh(logits / temperature), as in ENAS. None: they stay.

    Attributes:
        baseline: Moving average of the scores of completed trials (after ``start``).

    Raises:
        UsageError: If a setting is out of range.
    """

    remembers_odds: ClassVar[bool] = True

    def __init__(
        self,
        policy: PolicyName = "lstm",
        learning_rate: float = 2e-3,
        clip: float = 0.2,
        epochs: int = 2,
        batch_size: int = 20,
        entropy_weight: float = 1e-5,
        baseline_decay: float = 0.95,
        hidden_size: int = 100,
        layers: int = 1,
        scale_advantage: bool = True,
        temperature: float = 1.0,
        bound: float | None = None,
    ) -> None:
        self.policy: PolicyName = policy_named("PPO", policy)
        self.learning_rate = number("PPO", "learning_rate", learning_rate, above=0)
        self.clip = number("PPO", "clip", clip, above=0, below=1)
        self.epochs = at_least_one("PPO", "epochs", epochs)
        self.batch_size = at_least_one("PPO", "batch_size", batch_size)
        self.entropy_weight = number("PPO", "entropy_weight", entropy_weight, low=0)
        self.baseline_decay = number("PPO", "baseline_decay", baseline_decay, low=0, below=1)
        self.hidden_size = at_least_one("PPO", "hidden_size", hidden_size)
        self.layers = at_least_one("PPO", "layers", layers)
        self.scale_advantage = scale_advantage
        self.temperature = number("PPO", "temperature", temperature, low=1e-3)
        self.bound = given("PPO", "bound", bound, above=0, high=1000)

    def _start(self) -> None:
        loss = PolicyLoss(self.entropy_weight, self.temperature, self.bound)
        size = (self.layers, self.hidden_size)
        self._begin(self.policy, self.learning_rate, loss, size, self.baseline_decay, self.batch_size)

    def _learn(self, batch: Sequence[Told]) -> None:
        architectures = [told.architecture for told in batch]
        advantages = np.array([told.advantage for told in batch])
        drawn = np.array([told.drawn for told in batch])
        for _ in range(self.epochs):
            self._policy.update(architectures, lambda present: clipped(present, drawn, advantages, self.clip))


def clipped(present: FloatArray, drawn: FloatArray, advantages: FloatArray, clip: float) -> FloatArray:
    """What the gradients of the log-probabilities are weighed with: the slope of PPO's objective; all of shape (n,).

    With r the ratio, it is r A, since the slope of r is r times that of its logarithm; and 0 where r has left
    1 - clip ... 1 + clip on the side to which the advantage drives it, where the objective is flat.

    Args:
        present: Log-probabilities by the present policy.
        drawn: Log-probabilities when they were drawn.
        advantages: Of the architectures.
        clip: Between 0 and 1.
    """
    ratios = np.exp(np.minimum(present - drawn, 20.0))  # beyond, all is clipped anyway, or far too large
    outside = np.where(advantages > 0, ratios > 1 + clip, ratios < 1 - clip)
    slope: FloatArray = np.where(outside, 0.0, ratios * advantages)
    return slope
