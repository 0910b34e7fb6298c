"""REINFORCE: a policy over architectures, trained by policy gradient.

References: Zoph & Le, "Neural architecture search with reinforcement learning", ICLR 2017 (arXiv 1611.01578): an
LSTM makes one decision per step; trained with REINFORCE, a moving-average baseline and Adam. Dong & Yang,
"NAS-Bench-201", ICLR 2020 (arXiv 2001.00326): the same with one independent softmax per decision and no network.
The entropy bonus, the bound of logits and the prior of skips are those of Pham et al., "Efficient neural architecture
search via parameter sharing", ICML 2018 (arXiv 1802.03268).

Where we differ:

- Results may come late and in any order. Log-probabilities are recomputed under the present policy when a batch
  is learned from; nothing corrects for the policy having moved since the proposal was drawn.
- Failed trials teach nothing; they are not taken for bad rewards.
- Rewards are the scores as they are (Zoph & Le cube an accuracy). The advantage, reward minus baseline, is divided
  by its running root mean square, so that one entropy weight fits any scale; ``scale_advantage`` turns that off.
- A reward enters the baseline after it was compared with it, and the average is corrected for its start at 0 as
  Adam's moments are. The first reward has no baseline, hence an advantage of 0.
- The entropy is summed over the decisions on the way to each architecture of the batch; its gradient leaves out
  that earlier decisions choose the way, as in ENAS. So does that of the divergence of skips from their prior, which
  is taken from the probabilities of the softmax; the authors' code averages it over layers instead of adding it up,
  and takes it from a sigmoid of each of a skip's two logits.
- Skip connections are decisions like any other (Zoph & Le: anchor points with attention).
- The softmax policy starts exactly uniform (NAS-Bench-201: normal noise of 1e-3).

With the learning rate of NAS-Bench-201, 0.01, the softmax policy is hardly better than random search for 300 trials:
a step of Adam moves a logit by about that. So what is left out goes by the trials that the search is to have, where
that is known when it begins: the rate is ``TRAVEL`` divided by them, so that a logit can go as far in any search, at
most ``FASTEST`` and at least the published one. A bonus for entropy, which falls with the rate to nothing, keeps such a
fast policy from ending at its first good architecture. Measured in ``docs/benchmarks.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from archsearch.abilities import skip_decisions
from archsearch.basics.checks import at_least_one, number
from archsearch.controllers.policy_gradient import PolicyGradient, PolicyName, Told, given, policy_named
from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.errors import UsageError


class _Defaults(NamedTuple):
    """Settings whose default depends on the policy."""

    learning_rate: float
    entropy_weight: float
    baseline_decay: float
    batch_size: int


DEFAULTS = {"lstm": _Defaults(1.5e-3, 0.1, 0.95, 8), "softmax": _Defaults(0.01, 0.0, 0.9, 1)}
Defaults = Literal["trials", "paper"]

TRAVEL, FASTEST, BONUS = 45.0, 0.15, 0.3
"""Of the softmax policy, by trials: learning rate times trials, the greatest rate, its entropy weight."""


class Reinforce(PolicyGradient):
    """REINFORCE: a policy that is trained to propose what scores above average (Zoph & Le 2017).

    The policy is a distribution (``archsearch.abilities``), by which the controller ``Derived`` can propose.

    Args:
        policy: ``lstm`` is the paper's: each decision depends on the earlier ones. ``softmax`` is that of
            NAS-Bench-201's REINFORCE baseline: independent logits for each decision; it is several times faster. For
            few trials take ``softmax``: the other is no better than random search up to some 300.
        learning_rate: Adam's step size, > 0. None: 1.5e-3 for ``lstm``; for ``softmax`` see ``defaults``. The
            paper uses 6e-4 for 12,800 architectures; ours suits searches of a few thousand.
        entropy_weight: What one nat of the policy's entropy is worth, >= 0, in root mean square advantages (in
            units of the score, if ``scale_advantage`` is off). None: 0.1 for ``lstm``; for ``softmax`` see
            ``defaults``. Neither paper has the bonus; ENAS uses 1e-4, in units of the score.
        baseline_decay: Weight, 0 <= decay < 1, that the moving average of the scores gives to its past. None: 0.95
            for ``lstm`` (from NASNet, as the paper gives none), 0.9 (NAS-Bench-201's) for ``softmax``.
        batch_size: Completed trials per update, >= 1. None: 8 for ``lstm`` (the paper's), 1 for ``softmax``.
        hidden_size: Units of each layer of the LSTM, >= 1. The paper uses 35.
        layers: Layers of the LSTM, >= 1. The paper uses 2.
        scale_advantage: Whether to divide advantages by their running root mean square. The papers do not.
        temperature: Logits are divided by it, >= 0.001. ENAS: 5 for recurrent cells, none (1) for images.
        bound: 0 < bound <= 1000: logits become bound * tanh(logits / temperature), so that no option is more than
            e^(2 bound) times as likely as another: 148.4 times with 2.5. ENAS: 2.5 or 2.25 for recurrent cells, 1.5
            for chains, 1.1 for cells. None: they stay as they are.
        skip_prior: Probability, 0 < skip_prior < 1, that the policy is to give each skip connection; what the loss has
            of it is the divergence of Kullback and Leibler, summed over the skips, of the policy's from this. Only in
            spaces that have such decisions (``ENASMacro``, ``NASRL``, ``GeneticCNN``). ENAS: 0.4. None: no such term.
        skip_weight: What one nat of that divergence costs, >= 0, in the units of ``entropy_weight``.
        defaults: What the rate and the entropy weight of ``softmax`` are where they are left out: ``trials``: by the
            number of trials (see the module); ``paper``: 0.01 (NAS-Bench-201's) and 0, as where that is not known.

    Attributes:
        baseline: Moving average of the scores of completed trials (after ``start``).

    Raises:
        UsageError: If a setting is out of range.
        MissingAbility: If there is a ``skip_prior``, and no decision of the space is a skip (at ``start``).
    """

    def __init__(
        self,
        policy: PolicyName = "lstm",
        learning_rate: float | None = None,
        entropy_weight: float | None = None,
        baseline_decay: float | None = None,
        batch_size: int | None = None,
        hidden_size: int = 35,
        layers: int = 2,
        scale_advantage: bool = True,
        temperature: float = 1.0,
        bound: float | None = None,
        skip_prior: float | None = None,
        skip_weight: float = 0.8,
        defaults: Defaults = "trials",
    ) -> None:
        self.policy: PolicyName = policy_named("Reinforce", policy)
        self.learning_rate = given("Reinforce", "learning_rate", learning_rate, above=0)
        self.entropy_weight = given("Reinforce", "entropy_weight", entropy_weight, low=0)
        self.baseline_decay = given("Reinforce", "baseline_decay", baseline_decay, low=0, below=1)
        self.batch_size = None if batch_size is None else at_least_one("Reinforce", "batch_size", batch_size)
        self.hidden_size = at_least_one("Reinforce", "hidden_size", hidden_size)
        self.layers = at_least_one("Reinforce", "layers", layers)
        self.scale_advantage = scale_advantage
        self.temperature = number("Reinforce", "temperature", temperature, low=1e-3)
        self.bound = given("Reinforce", "bound", bound, above=0, high=1000)
        self.skip_prior = given("Reinforce", "skip_prior", skip_prior, above=0, below=1)
        self.skip_weight = number("Reinforce", "skip_weight", skip_weight, low=0)
        if defaults not in get_args(Defaults):
            raise UsageError(f"Reinforce: defaults: expected one of {', '.join(get_args(Defaults))}, got {defaults!r}")
        self.defaults: Defaults = defaults

    def _start(self) -> None:
        rate, entropy, decay, batch = self._settings()
        loss = PolicyLoss(entropy, self.temperature, self.bound)
        if self.skip_prior is not None:
            skips = skip_decisions(self.space, "Reinforce: skip_prior")
            loss = loss._replace(skip_prior=self.skip_prior, skip_weight=self.skip_weight, skips=skips)
        self._begin(self.policy, rate, loss, (self.layers, self.hidden_size), decay, batch)

    def _settings(self) -> _Defaults:
        """As given, and what is left out."""
        usual, trials = DEFAULTS[self.policy], self.plan.trials
        if self.policy == "softmax" and self.defaults == "trials" and trials is not None:
            slowest = usual.learning_rate
            rate = min(max(slowest, TRAVEL / trials), FASTEST)
            bonus = BONUS * (rate - slowest) / (FASTEST - slowest) if self.scale_advantage else 0.0
            usual = usual._replace(learning_rate=rate, entropy_weight=bonus)
        chosen = {name: getattr(self, name) for name in _Defaults._fields if getattr(self, name) is not None}
        return usual._replace(**chosen)

    def _learn(self, batch: Sequence[Told]) -> None:
        self._policy.update([told.architecture for told in batch], np.array([told.advantage for told in batch]))
