"""Q-learning: an agent that learns from a table how good each option of a decision is, in the state where it stands.

References: Baker, Gupta, Naik & Raskar, "Designing neural network architectures using reinforcement learning"
(MetaQNN), ICLR 2017, and the authors' code: epsilon-greedy walks with an epsilon that falls as models are trained, and
updates from a replay memory. Zhong, Yan, Wu, Shao & Liu, "Practical block-wise neural network architecture generation"
(BlockQNN), CVPR 2018: rewards of stopped trainings are corrected by the cost and the density of the network, and are
spread over the decisions. Workers share one table: the search asks and tells one controller, wherever trials run.

Where we differ:

- Any space is searched. The state is what the space says of the continuations (``Space.subtree``), or else the name of
  the next decision, and the last ``remembered`` options.
- Proposals never wait: an update is made for each result, whenever it comes. A walk that ends in an architecture that
  was proposed before is repeated, up to ``WALKS`` times, as only new ones count in the schedule; in the authors' code
  the agent is rewarded for such a walk with what is known.
- Failed trials teach nothing.
- Scores that are no shares are brought to a scale of 0 to 1, between the least and the greatest so far, since the
  table starts at ``initial`` and the learning rate is for such rewards.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, NamedTuple

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.controller import Controller
from archsearch.controllers.possible import DRAWS, is_possible
from archsearch.controllers.proposed import Proposed
from archsearch.trial import Architecture, Trial

SCHEDULE = (
    (1.0, 1500),
    (0.9, 100),
    (0.8, 100),
    (0.7, 100),
    (0.6, 150),
    (0.5, 150),
    (0.4, 150),
    (0.3, 150),
    (0.2, 150),
    (0.1, 150),
)
"""Epsilon, and for how many new models it holds; 2,700 models. The last epsilon stays."""

WALKS = 5
"""Walks at most for one proposal."""


class QLearning(Controller):
    """Tabular Q-learning: epsilon-greedy walks through the decisions, learnt from a replay memory (Baker et al. 2017).

    Set ``models`` to the trials of the search: the agent explores at random for the first 56 % of them. By default that
    is 1,500 trials. Each result is remembered, and so is each state: see ``state_per_trial``.

    Args:
        models: New architectures over which the schedule of epsilon is spread, >= 1. The paper has 2,700: 1.0 for
            1,500, then 0.9, 0.8 and 0.7 for 100 each, and 0.6 to 0.1 for 150 each.
        learning_rate: Learning rate of the table, 0 < learning_rate <= 1.
        discount: Discount of later rewards, 0 <= discount <= 1.
        replay: Results drawn from the memory, with replacement, for each new one, >= 0; the new one is learnt, too.
        initial: Initial value of the table, in units of the reward (0 to 1). The authors advise a value below that of
            an average model.
        remembered: How many of the last options belong to the state, >= 0. Both papers: the last layer, which is one
            decision in ``MetaQNN`` and up to 3 in ``BlockQNN``.
        shaped: Whether each decision gets its share of the reward, as in BlockQNN, instead of only the last one getting
            it.
        flops_weight: What one nat of multiply-adds costs, >= 0, in units of the score (mu in BlockQNN). The evaluator
            must have a metric ``flops``, as ``Training`` has.
        density_weight: What one nat of density costs, >= 0 (rho in BlockQNN). Density is edges over nodes of the
            architecture's graph.

    Raises:
        UsageError: If a setting is out of range.
    """

    state_per_trial: ClassVar[int] = 400

    def __init__(
        self,
        models: int = 2_700,
        learning_rate: float = 0.01,
        discount: float = 1.0,
        replay: int = 128,
        initial: float = 0.5,
        remembered: int = 1,
        shaped: bool = False,
        flops_weight: float = 0.0,
        density_weight: float = 0.0,
    ) -> None:
        self.models = at_least_one("QLearning", "models", models)
        self.learning_rate = number("QLearning", "learning_rate", learning_rate, above=0, high=1)
        self.discount = number("QLearning", "discount", discount, low=0, high=1)
        self.replay = whole_number("QLearning", "replay", replay)
        self.initial = number("QLearning", "initial", initial)
        self.remembered = whole_number("QLearning", "remembered", remembered)
        self.shaped = bool(shaped)
        self.flops_weight = number("QLearning", "flops_weight", flops_weight, low=0)
        self.density_weight = number("QLearning", "density_weight", density_weight, low=0)
        total = sum(models for _, models in SCHEDULE)
        self._ends, end = [], 0
        for _, share in SCHEDULE:
            end += share
            self._ends.append(end * self.models / total)

    def _start(self) -> None:
        self._rows: dict[str, int] = {}  # state to its row of the table
        self._table: list[list[float]] = []
        self._memory: list[_Result] = []
        self._least, self._most = 0.0, 1.0
        self._proposed = Proposed()
        self._new = 0

    # -- walking ---------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """Probability that a decision is made at random, at this point of the schedule."""
        place = bisect.bisect_right(self._ends, self._new)
        return SCHEDULE[min(place, len(SCHEDULE) - 1)][0]

    def _ask(self) -> Architecture:
        epsilon, known = self.epsilon, 0
        for _ in range(DRAWS):
            architecture = self._walked(epsilon)
            if not is_possible(self, architecture):
                continue
            if self._proposed.add(self.space.canonical(architecture)):
                self._new += 1
                break
            known += 1
            if known == WALKS:
                break
        return architecture

    def _walked(self, epsilon: float) -> Architecture:
        prefix: Architecture = ()
        while n := self.space.arity(prefix):
            greedy = self.rng.random() >= epsilon
            row = self._rows.get(self._key(prefix)) if greedy else None
            if row is None:
                options: Sequence[int] = range(n)
            else:
                values = [*self._table[row], *[self.initial] * n][:n]
                options = [option for option, value in enumerate(values) if value == max(values)]
            prefix = (*prefix, options[int(self.rng.integers(len(options)))])
        return prefix

    def _key(self, prefix: Architecture) -> str:
        """The state after a prefix."""
        what: Hashable = self.space.subtree(prefix)
        if what == prefix:  # the space says nothing
            what = self.space.label(prefix)
        return repr((what, prefix[len(prefix) - self.remembered :] if self.remembered < len(prefix) else prefix))

    # -- learning --------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is None:
            return
        reward = self._reward(trial)
        self._least, self._most = min(self._least, reward), max(self._most, reward)
        self._memory.append(_Result(trial.architecture, self._visited(trial.architecture), reward))
        drawn = self.rng.integers(len(self._memory), size=self.replay).tolist() if self.replay else []
        for place in [len(self._memory) - 1, *drawn]:
            self._learn(self._memory[place])

    def _reward(self, trial: Trial) -> float:
        """The score, with BlockQNN's corrections for a training that was stopped early."""
        assert trial.evaluation is not None
        reward = trial.evaluation.score
        if self.flops_weight and (flops := trial.metrics.get("flops", 0)) > 0:
            reward -= self.flops_weight * math.log(flops)
        if self.density_weight:
            graph = self.space.graph(trial.architecture)
            reward -= self.density_weight * math.log(max(1, graph.number_of_edges()) / graph.number_of_nodes())
        return reward

    def _visited(self, architecture: Architecture) -> list[int]:
        """Rows of the states on the way; made where they are new."""
        visited = []
        for i in range(len(architecture)):
            prefix = architecture[:i]
            row = self._rows.setdefault(self._key(prefix), len(self._table))
            if row == len(self._table):
                self._table.append([])
            values = self._table[row]
            values += [self.initial] * (self.space.arity(prefix) - len(values))
            visited.append(row)
        return visited

    def _learn(self, result: _Result) -> None:
        """Moves what the table has for the decisions on the way, the last one first, as the authors do."""
        architecture, rows, reward = result
        reward = (reward - self._least) / (self._most - self._least)
        share = reward / len(architecture) if self.shaped else 0.0
        target = share if self.shaped else reward
        for row, option in zip(reversed(rows), reversed(architecture), strict=True):
            values = self._table[row]
            values[option] += self.learning_rate * (target - values[option])
            target = share + self.discount * max(values)

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "states": [[key, list(values)] for key, values in zip(self._rows, self._table, strict=True)],
            "memory": [[list(options), list(rows), reward] for options, rows, reward in self._memory],
            "bounds": [self._least, self._most],
            "proposed": self._proposed.state(),
            "new": self._new,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._rows = {key: row for row, (key, _) in enumerate(state["states"])}
        self._table = [list(values) for _, values in state["states"]]
        self._memory = [_Result(tuple(options), list(rows), reward) for options, rows, reward in state["memory"]]
        self._least, self._most = state["bounds"]
        self._proposed = Proposed(**state["proposed"])
        self._new = state["new"]


class _Result(NamedTuple):
    """What a walk has led to.

    Attributes:
        architecture: The options that were taken.
        rows: Of the table, where they were.
        reward: As it came.
    """

    architecture: Architecture
    rows: list[int]
    reward: float
