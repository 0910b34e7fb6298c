"""Building an architecture as a Gymnasium environment: one decision per step, scored at the end.

Any agent written for Gymnasium becomes a searcher of any space, with any evaluator as its reward:

    env = ArchitectureEnv(NASBench201(), Tabular())
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(action)
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluate_safely, prepare
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Query, Trial

__all__ = ["PATIENCE", "ArchitectureEnv"]

PATIENCE = 10
"""An episode is cut off after this many times ``max_length`` steps; without invalid actions it never is."""

Observation = npt.NDArray[np.int64]


class ArchitectureEnv(gymnasium.Env[Observation, np.int64]):
    """An environment in which an agent builds an architecture decision by decision.

    *Observation*: shape (max_length,); 0 where nothing is decided yet, else the option plus 1. *Action*: the option of
    the next decision. *Reward*: 0, and in the last step the evaluator's score. *Info*: ``action_mask``, shape
    (max_options,), True for valid options; in the last step also ``architecture`` and ``evaluation`` or, if that
    failed, ``failure`` (its kind, as in ``Trial.failure``) and ``error`` (its text).

    An invalid action decides nothing and is rewarded with 0. An agent that does not use the mask may waste steps so,
    but not for ever: the episode is truncated after ``PATIENCE`` x max_length steps.

    The seed of an evaluation is drawn from the environment's generator, so the same ``reset(seed=...)`` and the same
    actions give the same result.

    Args:
        space: Where to build.
        evaluator: Who scores. Made ready at the first ``reset``; give each environment its own.
        failure_reward: Reward for an architecture whose evaluation fails or has no finite score.

    Attributes:
        best: The evaluation with the highest score so far (the first of equals) as a trial, its id counted from 0 in
            the order of evaluation; None before the first.
        evaluations: Evaluations done, failed ones included.
        cost: What they cost, with the wall time that they took.
        setup_cost: What making the evaluator ready cost.

    Raises:
        MissingAbility: If the evaluator needs what the space does not offer.
    """

    def __init__(self, space: Space, evaluator: Evaluator, failure_reward: float = 0.0) -> None:
        evaluator.check(space)
        self.space = space
        self.evaluator = evaluator
        self.failure_reward = failure_reward
        options = np.array(space.arities or [space.max_options] * space.max_length)
        self.observation_space = gymnasium.spaces.MultiDiscrete(options + 1)
        self.action_space = gymnasium.spaces.Discrete(space.max_options)
        self.best: Trial | None = None
        self.evaluations = 0
        self.cost: Cost = NO_COST
        self.setup_cost: Cost = NO_COST
        self._ready = False
        self._running = False
        self._decisions: Architecture = ()
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an architecture.

        Args:
            seed: Seed of the evaluations from here on, >= 0. None goes on with the generator as it stands.
            options: Part of Gymnasium's interface; there are none.
        """
        super().reset(seed=seed, options=options)
        if not self._ready:
            self._prepare()
        self._decisions, self._steps, self._running = (), 0, True
        return self._observation(), {"action_mask": self.action_masks()}

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Decides, and scores the architecture if that was the last decision.

        Returns:
            Observation, reward, whether the architecture is complete, whether the episode was cut off, info.

        Raises:
            UsageError: If the episode is over, or the action is no integer from 0 to max_options - 1.
        """
        if not self._running:
            raise UsageError("step: expected an episode under way, but there is none; call reset() first")
        if not self.action_space.contains(action):
            raise UsageError(f"step: expected an action from 0 to {self.space.max_options - 1}, got {action!r}")
        self._steps += 1
        if action < self.space.arity(self._decisions):
            self._decisions = (*self._decisions, int(action))
        reward, info = 0.0, {"action_mask": self.action_masks()}
        terminated = self.space.arity(self._decisions) == 0
        truncated = not terminated and self._steps >= PATIENCE * self.space.max_length
        if terminated:
            reward = self._evaluate(info)
        self._running = not (terminated or truncated)
        return self._observation(), reward, terminated, truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """The options of the next decision, shape (max_options,); all False once the architecture is complete."""
        return np.arange(self.space.max_options) < self.space.arity(self._decisions)

    def _prepare(self) -> None:
        self.evaluator.start(self.space)
        self.setup_cost = prepare(self.evaluator)
        self._ready = True

    def _observation(self) -> Observation:
        observation = np.zeros(self.space.max_length, np.int64)
        observation[: len(self._decisions)] = self._decisions
        observation[: len(self._decisions)] += 1
        return observation

    def _evaluate(self, info: dict[str, Any]) -> float:
        """Scores the decisions, puts what came out into ``info`` and returns the reward."""
        seed = int(self.np_random.integers(2**63))
        outcome = evaluate_safely(self.evaluator, Query(self.evaluations, self._decisions, seed))
        trial = Trial(self.evaluations, self._decisions, None, outcome.evaluation, seed, seconds=outcome.seconds)
        self.evaluations += 1
        self.cost += trial.cost
        info["architecture"] = self._decisions
        if trial.evaluation is None:
            info["failure"], info["error"] = outcome.failure, outcome.error
            return self.failure_reward
        # A copy that can be pickled: vectorised environments send it between processes.
        info["evaluation"] = trial.evaluation._replace(metrics=dict(trial.evaluation.metrics))
        if self.best is None or self.best.evaluation is None or trial.evaluation.score > self.best.evaluation.score:
            self.best = trial
        return float(trial.evaluation.score)
