"""What ``Reinforce`` and ``PPO`` share: a policy, the moving average of scores, batches of results to learn from."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.abilities import most_probable
from archsearch.basics.checks import number
from archsearch.controller import Controller
from archsearch.controllers.lstm_policy import LstmPolicy
from archsearch.controllers.policies import SoftmaxPolicy
from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.trial import Architecture, Trial

FloatArray = npt.NDArray[np.float64]
PolicyName = Literal["lstm", "softmax"]


class Told(NamedTuple):
    """A result that is learnt from.

    Attributes:
        architecture: What was proposed.
        advantage: Reward minus baseline, perhaps scaled.
        drawn: Logarithm of the probability with which it was drawn; 0 where nobody asks for that.
    """

    architecture: Architecture
    advantage: float
    drawn: float = 0.0


class PolicyGradient(Controller, abc.ABC):
    """A policy that proposes, and is moved by what its proposals score: an author writes ``_learn``.

    It is a distribution (``archsearch.abilities``), by which the controller ``Derived`` can propose.

    Attributes:
        baseline: Moving average of the scores of completed trials (after ``start``).
        remembers_odds: Whether results come with the probability that they were drawn with.
    """

    remembers_odds: ClassVar[bool] = False
    scale_advantage: bool

    def _begin(
        self,
        policy: PolicyName,
        learning_rate: float,
        loss: PolicyLoss,
        layers: tuple[int, int],
        baseline_decay: float,
        batch_size: int,
    ) -> None:
        """Sets all state to its start; called by ``_start``.

        Args:
            policy: Which one.
            learning_rate: Adam's.
            loss: What is descended.
            layers: Of the LSTM: how many, and units of each.
            baseline_decay: Weight that the moving average gives to its past.
            batch_size: Results that are learnt from at once.
        """
        self._policy: LstmPolicy | SoftmaxPolicy
        if policy == "lstm":
            self._policy = LstmPolicy(self.space, learning_rate, loss, layers[1], layers[0], self.rng)
        else:
            self._policy = SoftmaxPolicy(self.space, learning_rate, loss)
        self._decay, self._full = baseline_decay, batch_size
        self._told = 0
        self.baseline = 0.0
        self._spread = 0.0  # root of the moving average of squared advantages
        self._batch: list[Told] = []
        self._asked = 0
        self._odds: dict[int, float] = {}  # of proposals that are due, if that is remembered

    @abc.abstractmethod
    def _learn(self, batch: Sequence[Told]) -> None:
        """Moves the policy, by one or several steps."""

    # -- proposing and hearing ---------------------------------------------------------------------

    def _ask(self) -> Architecture:
        return self._ask_many(1)[0]

    def _ask_many(self, n: int) -> list[Architecture]:
        if not self.remembers_odds:
            return self._policy.sample(n, self.rng)
        architectures, odds = self._policy.sample_with_odds(n, self.rng)
        self._odds |= dict(enumerate(odds, self._asked))
        self._asked += n
        return architectures

    def _tell(self, trial: Trial) -> None:
        drawn = self._odds.pop(trial.id, 0.0)
        if trial.evaluation is None:
            return
        self._batch.append(Told(trial.architecture, self._advantage(trial.evaluation.score), drawn))
        if len(self._batch) >= self._full:
            self._learn(self._batch)
            self._batch = []

    def _hear(self, trial: Trial) -> None:
        """Nothing: a gradient of the policy is one of what it has drawn itself."""

    def _advantage(self, reward: float) -> float:
        """Reward minus baseline, scaled; the reward then enters the baseline."""
        advantage = reward - self.baseline if self._told else 0.0
        self._told += 1
        # With this weight, sum of decay^(k-i) r_i over sum of decay^(k-i) is updated in place: without rounding
        # errors, which the scaling would blow up, where all scores are equal.
        weight = (1 - self._decay) / (1 - self._decay**self._told)
        self.baseline = self.baseline + weight * advantage if self._told > 1 else reward
        self._spread = math.hypot(math.sqrt(1 - weight) * self._spread, math.sqrt(weight) * advantage)
        # The present advantage is part of the spread: no outlier counts for more than 1 / sqrt(1 - decay).
        return advantage / self._spread if self.scale_advantage and self._spread > 0 else advantage

    def log_probabilities(self, architectures: Sequence[Architecture]) -> FloatArray:
        """How likely the present policy is to propose each of n >= 1 architectures: shape (n,), in nats.

        Raises:
            InvalidArchitecture: If one is not in the space.
        """
        return self._policy.log_probabilities([self.space.validate(each) for each in architectures])

    # -- what was learnt: a ``Distribution`` ----------------------------------------------------

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """What the present policy gives the options of the decision that follows ``prefix``; uniform at the start.

        Raises:
            UsageError: If ``start`` was not called.
            InvalidArchitecture: If no decision follows.
        """
        name = type(self).__name__
        if not hasattr(self, "_policy"):
            raise UsageError(f"{name}: there is no policy yet; call start(space, seed) first, as a search does")
        if not self.space.arity(prefix):
            raise InvalidArchitecture(f"{name}: probabilities: no decision follows {prefix!r}")
        found: list[float] = self._policy.probabilities(prefix).tolist()
        return found

    def derived(self) -> Architecture:
        """The policy's most probable option of each decision, one after another."""
        return most_probable(self, self.space)

    # -- state -------------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        fields = 3 if self.remembers_odds else 2
        state = {
            "policy": self._policy.state(),
            "told": self._told,
            "baseline": self.baseline,
            "spread": self._spread,
            "batch": [[list(told.architecture), *told[1:fields]] for told in self._batch],
        }
        return state | {"asked": self._asked, "odds": list(self._odds.items())} if self.remembers_odds else state

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._policy.load(state["policy"])
        self._told, self.baseline, self._spread = state["told"], state["baseline"], state["spread"]
        self._batch = [Told(tuple(architecture), *rest) for architecture, *rest in state["batch"]]
        self._asked, self._odds = state.get("asked", 0), dict(map(tuple, state.get("odds", ())))


def given(owner: str, name: str, value: float | None, **bounds: float) -> float | None:
    """A setting that may be left out, as ``number`` checks it."""
    return None if value is None else number(owner, name, value, **bounds)


def policy_named(owner: str, policy: PolicyName) -> PolicyName:
    """The policy, if there is one of that name.

    Raises:
        UsageError: If there is none.
    """
    if policy not in ("lstm", "softmax"):
        raise UsageError(f"{owner}: policy: expected 'lstm' or 'softmax', got {policy!r}")
    return policy
