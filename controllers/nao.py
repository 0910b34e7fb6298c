"""Neural architecture optimization: architectures become points, which climb what a predictor says, and are read back.

Reference: Luo, Tian, Qin, Chen & Liu, "Neural architecture optimization", NeurIPS 2018, Algorithm 1, and the authors'
code. A search goes in rounds. Each trains an encoder, a predictor and a decoder together on the results that are there,
moves the encodings of the best along the gradient of what is predicted, by several step sizes, and proposes what the
decoder makes of them. See ``nao_network.py`` for the networks.

Where we differ:

- Proposals never wait: a round begins with the results that are there. Until ``initial`` results are there they are
  random, and so they are where a round has found too few that are new.
- Step sizes are ``STEPS``, all of them, and of what they give those are proposed that the predictor, asked again, says
  are best. The authors take 10, 20 and 30, or go on until there are enough.
- Scores are replaced by their ranks, between 0 and 1. Encodings are disturbed by a little noise in training, instead
  of dropout. A decoder only chooses among the options that a decision has, so all that it gives is valid.
- Networks are smaller, and trained for shorter: the paper has a width of 96, and 1,000 epochs.
- Time and memory are bounded: at most ``labels`` results are learnt from, the newest half and the best of all others.
- A trained network is no part of the state, but the proposals of the round are: a resumed search goes on exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.controller import Answer, Controller
from archsearch.controllers.bayesian_optimization import Candidate, Label, labels_of
from archsearch.controllers.proposed import Proposed
from archsearch.trial import Architecture, Trial

if TYPE_CHECKING:
    from archsearch.controllers.nao_network import Autoencoder

STEPS = (1, 3, 10, 20, 30)
"""By which the encodings are moved along the gradient."""

NOISE = 0.1
"""Standard deviation of what is added to encodings, which have the length 1, in training."""


class NAO(Controller):
    """Neural architecture optimization: gradient steps in the space of an autoencoder (Luo et al. 2018).

    The parent named in a proposal is the architecture whose encoding was moved. Each round trains networks, which takes
    a second or more. The state has a constant 171 KiB for the proposals that are remembered.

    Args:
        initial: Results of random proposals to wait for before the networks are first trained, >= 2. The paper has 600.
        batch: Proposals per round, >= 1. The paper has 200.
        seeds: How many of the best architectures are moved, >= 1.
        width: Width of embeddings, recurrent networks and hidden layers, >= 1.
        epochs: Passes over the results in each round, >= 1. Long architectures need more: those with 50 decisions some
            300.
        predictor_weight: Weight of the predictor's loss, from 0 to 1; the decoder has the rest.
        labels: The most results that are learnt from, at least ``initial``.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        initial: int = 100,
        batch: int = 100,
        seeds: int = 100,
        width: int = 32,
        epochs: int = 100,
        predictor_weight: float = 0.8,
        labels: int = 300,
    ) -> None:
        self.initial = whole_number("NAO", "initial", initial, 2)
        self.batch = at_least_one("NAO", "batch", batch)
        self.seeds = at_least_one("NAO", "seeds", seeds)
        self.width = at_least_one("NAO", "width", width)
        self.epochs = at_least_one("NAO", "epochs", epochs)
        self.predictor_weight = number("NAO", "predictor_weight", predictor_weight, low=0, high=1)
        self.labels = whole_number("NAO", "labels", labels, self.initial)

    def _start(self) -> None:
        self._labels: list[Label] = []
        self._round: list[Candidate] = []  # what is left of it
        self._proposed = Proposed()

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Answer:
        if len(self._labels) < self.initial:
            return self._random()
        if not self._round:
            self._round = self._chosen()
        return self._round.pop(0)

    def _random(self) -> Architecture:
        return self._proposed.sample(lambda: self.space.sample(self.rng), self.space.canonical)

    def _chosen(self) -> list[Candidate]:
        """What the networks find, the most promising first; random architectures if too few are new."""
        from archsearch.controllers import nao_network as networks

        network = self.trained(int(self.rng.integers(2**62)))
        best: dict[Architecture, int] = {}
        for label in sorted(self._labels, key=lambda label: (-label.score, label.id)):
            best.setdefault(label.architecture, label.id)
        parents = list(best.items())[: self.seeds]
        given = networks.read(self.space, [architecture for architecture, _ in parents])
        found: dict[Architecture, int] = {}
        for step in STEPS:
            decoded = networks.decoded(network, self.space, networks.moved(network, given, step))
            for architecture, (_, parent) in zip(decoded, parents, strict=True):
                if architecture not in best:
                    found.setdefault(architecture, parent)
        chosen: list[Candidate] = []
        worth = networks.predicted(network, self.space, list(found)) if found else np.zeros(0)
        candidates = [Candidate(architecture, parent) for architecture, parent in found.items()]
        for place in np.argsort(-worth, kind="stable").tolist():
            if len(chosen) < self.batch and self._proposed.add(self.space.canonical(candidates[place].architecture)):
                chosen.append(candidates[place])
        return chosen + [Candidate(self._random()) for _ in range(self.batch - len(chosen))]

    def trained(self, seed: int) -> Autoencoder:
        """The networks, trained on the results that are there, of which there must be some.

        Args:
            seed: Decides initial weights, noise and batches, 0 <= seed < 2**63.
        """
        from scipy.stats import rankdata

        from archsearch.controllers import nao_network as networks

        ranks = (rankdata([label.score for label in self._labels]) - 0.5) / len(self._labels)
        return networks.fitted(
            self.space,
            [label.architecture for label in self._labels],
            ranks.tolist(),
            width=self.width,
            epochs=self.epochs,
            weight=self.predictor_weight,
            noise=NOISE,
            seed=seed,
        )

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is None:
            return
        self._labels.append(Label(trial.id, trial.evaluation.score, trial.architecture))
        if len(self._labels) > self.labels:
            older = self._labels[: -math.ceil(self.labels / 2)]
            self._labels.remove(min(older, key=lambda label: label.score))

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {"labels": list(self._labels), "round": list(self._round), "proposed": self._proposed.state()}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._labels = labels_of(state["labels"])
        self._round = [Candidate(tuple(options), parent) for options, parent in state["round"]]
        self._proposed = Proposed(**state["proposed"])
