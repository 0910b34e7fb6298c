"""A policy over moves: sequences of edits of a network, trained by policy gradient.

References: Cai, Chen, Zhang, Yu & Wang, "Efficient architecture search by network transformation" (EAS), AAAI 2018:
actors choose layers to widen and places to deepen, one after another, and REINFORCE trains them; Cai, Yang, Zhang, Han
& Yu, "Path-level network transformation for efficient architecture search", ICML 2018: the same for branches. With the
evaluator ``Inherit`` a child begins as the network that was edited, and is trained for a few epochs.

Where we differ: the actor is a softmax over the kinds of moves, and for each kind one over its places in order, instead
of an LSTM that reads the layers; it is the policy of ``Reinforce``, with its moving average as baseline. A network is
edited again and again; a better child takes its place, and results of edits of earlier ones teach nothing. Rewards are
scores as they are (EAS: the tangent of the accuracy). Proposals never wait for results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archsearch.abilities import Moving
from archsearch.basics.checks import at_least_one, number
from archsearch.controller import Controller
from archsearch.controllers.moved import begun, known
from archsearch.controllers.policies import SoftmaxPolicy
from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.space import Space
from archsearch.trial import Architecture, Trial

PLACES = 32
"""Moves of a kind that a decision is over; of more, so many that are evenly spread."""


REMEMBERED = 1_000
"""Architectures whose moves are remembered."""

DECAY = 0.9
"""Weight that the moving averages of rewards and of squared advantages give to their past."""


class MovePolicy(Controller):
    """A policy that edits a network move by move, trained by REINFORCE (EAS, path-level transformation).

    In spaces without moves an edit changes one decision.

    Args:
        steps: Moves from the network that is edited to a child, >= 1; fewer if none is left.
        episodes: Results after which the best child, if it is better, replaces that network, >= 1.
        learning_rate: Adam's step size, > 0.
        entropy_weight: What one nat of the policy's entropy is worth, >= 0, in units of the root mean square advantage.

    Attributes:
        base: The network that is edited.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self, steps: int = 3, episodes: int = 10, learning_rate: float = 0.05, entropy_weight: float = 0.01
    ) -> None:
        self.steps = at_least_one("MovePolicy", "steps", steps)
        self.episodes = at_least_one("MovePolicy", "episodes", episodes)
        self.learning_rate = number("MovePolicy", "learning_rate", learning_rate, above=0)
        self.entropy_weight = number("MovePolicy", "entropy_weight", entropy_weight, low=0)

    def _start(self) -> None:
        self._episodes = Episodes(self.space, begun(self.space, self.rng), self.steps)
        self._policy = SoftmaxPolicy(self._episodes, self.learning_rate, PolicyLoss(self.entropy_weight))
        self._asked = 0
        self._score: float | None = None  # of the base
        self._id: int | None = None
        self._stage = 0  # bases so far
        self._running: dict[int, tuple[int, Architecture]] = {}  # of each proposal its stage and its moves
        self._told = 0  # results since the base was last judged
        self._best: tuple[float, Architecture, int] | None = None
        self._rewards, self._baseline, self._spread = 0, 0.0, 0.0

    @property
    def base(self) -> Architecture:
        """See the class."""
        return self._episodes.base

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        id_ = self._asked
        self._asked += 1
        if id_ == 0:
            return self.base
        episode = self._policy.sample(1, self.rng)[0]
        ways, claimed = self._episodes.ways(episode)
        if claimed and isinstance(self.space, Moving):
            moves = known(self.space, self.base, ways)
            episode, ways = episode[: 2 * moves], ways[:moves]
        self._running[id_] = (self._stage, episode)
        return ways[-1] if ways else self.base, self._id

    def _tell(self, trial: Trial) -> None:
        stage, episode = self._running.pop(trial.id, (-1, ()))
        if trial.evaluation is not None:
            score = trial.evaluation.score
            if stage == self._stage and episode:
                self._learn(episode, score)
            if self._score is None and trial.architecture == self.base:
                self._score, self._id = score, trial.id
                return
            if self._best is None or score > self._best[0]:
                self._best = (score, trial.architecture, trial.id)
        self._told += 1
        if self._told >= self.episodes:
            if self._best is not None and (self._score is None or self._best[0] > self._score):
                self._score, self._episodes.base, self._id = self._best
                self._stage += 1
            self._told, self._best = 0, None

    def _learn(self, episode: Architecture, reward: float) -> None:
        """One step of REINFORCE; averages are corrected for their start as in ``Reinforce``."""
        advantage = reward - self._baseline if self._rewards else 0.0
        self._rewards += 1
        weight = (1 - DECAY) / (1 - DECAY**self._rewards)
        self._baseline = self._baseline + weight * advantage if self._rewards > 1 else reward
        self._spread = math.hypot(math.sqrt(1 - weight) * self._spread, math.sqrt(weight) * advantage)
        if self._spread > 0:
            self._policy.update([episode], np.array([advantage / self._spread]))

    def _state_dict(self) -> dict[str, Any]:
        return {
            "base": list(self.base),
            "policy": self._policy.state(),
            "running": [[id_, stage, list(episode)] for id_, (stage, episode) in self._running.items()],
            "best": None if self._best is None else [self._best[0], list(self._best[1]), self._best[2]],
            **{name: getattr(self, f"_{name}") for name in PLAIN},
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._episodes.base = tuple(state["base"])
        self._policy.load(state["policy"])
        self._running = {id_: (stage, tuple(episode)) for id_, stage, episode in state["running"]}
        best = state["best"]
        self._best = None if best is None else (best[0], tuple(best[1]), best[2])
        for name in PLAIN:
            setattr(self, f"_{name}", state[name])


PLAIN = ("asked", "score", "id", "stage", "told", "rewards", "baseline", "spread")
"""Parts of the state that are JSON data as they are."""


class Episodes(Space):
    """Sequences of moves as architectures: of each step the kind, then which move of that kind.

    Args:
        space: Whose architectures are edited.
        base: Where all sequences begin; it may be changed.
        steps: How many moves; fewer where none is left.
    """

    def __init__(self, space: Space, base: Architecture, steps: int) -> None:
        self.space, self.base, self.steps = space, base, steps
        self._moves: dict[Architecture, Mapping[str, Sequence[Architecture]]] = {}
        self._claiming: set[str] = set()  # kinds that do
        super().__init__(max_length=2 * steps, max_options=PLACES)

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        return self._follow(prefix)[1]

    def label(self, prefix: Architecture) -> str:
        """The kinds that are decided on, or the kind whose moves are; the policy has learnt something of each."""
        return self._follow(prefix)[0]

    def ways(self, episode: Architecture) -> tuple[list[Architecture], bool]:
        """What each move of a whole sequence leads to, and whether all claim to keep the function."""
        found, claimed = [self.base], bool(episode)
        for kind, which in zip(episode[::2], episode[1::2], strict=True):
            name, children = list(self._of(found[-1]).items())[kind]
            found.append(children[which])
            claimed = claimed and name in self._claiming
        return found[1:], claimed

    def _follow(self, prefix: Architecture) -> tuple[str, int]:
        """Label and arity of what comes next; arity 0 at the end."""
        architecture = self.base
        for step in range(self.steps):
            moves = self._of(architecture)
            decided = prefix[2 * step : 2 * step + 2]
            if not moves:
                break
            if not decided:
                return " | ".join(moves), len(moves)
            kind = list(moves)[decided[0]]
            if len(decided) == 1:
                return kind, len(moves[kind])
            architecture = moves[kind][decided[1]]
        return "", 0

    def _of(self, architecture: Architecture) -> Mapping[str, Sequence[Architecture]]:
        """What each kind of move that is possible leads to: of at most ``PLACES`` kinds as many, evenly spread."""
        if architecture not in self._moves:
            if len(self._moves) >= REMEMBERED:
                self._moves.clear()
            found: dict[str, list[Architecture]] = {}
            for kind, child in self._every(architecture):
                if child != architecture:
                    found.setdefault(kind, []).append(child)
            spread = {kind: each[:: -(-len(each) // PLACES)] for kind, each in found.items()}
            self._moves[architecture] = dict(list(spread.items())[:PLACES])
        return self._moves[architecture]

    def _every(self, architecture: Architecture) -> Iterator[tuple[str, Architecture]]:
        if isinstance(self.space, Moving):
            for move in self.space.moves(architecture):
                if move.preserves:
                    self._claiming.add(move.kind)
                yield move.kind, move.architecture
            return
        for i, option in enumerate(architecture):
            for other in range(self.space.arity(architecture[:i])):
                changed = (*architecture[:i], other, *architecture[i + 1 :])
                if other != option and changed in self.space:
                    yield self.space.label(architecture[:i]), changed
