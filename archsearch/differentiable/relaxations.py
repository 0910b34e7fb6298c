"""Relaxations: from architecture parameters to the weights with which the candidates of a choice are mixed.

References: Liu, Simonyan & Yang, "DARTS", ICLR 2019 (softmax); Chu et al., "Fair DARTS", ECCV 2020 (sigmoid and
zero-one loss); Xie et al., "SNAS", ICLR 2019, and Wu et al., "FBNet", CVPR 2019 (Gumbel-softmax); Dong & Yang, "GDAS",
CVPR 2019 (the same, hard: one candidate runs); Cai, Zhu & Han, "ProxylessNAS", ICLR 2019 (two sampled paths with
binary gates); Xu et al., "PC-DARTS", ICLR 2020 (partial channels, edge weights); Nayman et al., "XNAS", NeurIPS 2019
(exponentiated gradient, wipe-out); Stamoulis et al., "Single-Path NAS", ECML PKDD 2019 (thresholds of kernels' norms).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archsearch.basics.checks import number, whole_number
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Part, Pass, Schedule
from archsearch.errors import UsageError
from archsearch.networks.network import Weights


class Relaxation(Part):
    """Base of all relaxations. An author writes ``mix``, and ``strengths`` if they are not a softmax.

    Attributes:
        edges: Whether choices have parameters of their own, by whose softmax over the group they are weighed.
        part: Each candidate sees one of so many channels.
        takes: What its optimiser takes of rate, decay and momentum of the architecture parameters.
        rate_setting: Which setting to lower where the architecture parameters diverge.
        needs_kernels: Whether the network must mix kernels; see ``archsearch.relaxing.MixesKernels``.
    """

    written = ("mix", "weights")
    edges: bool = False
    part: int = 1
    takes: tuple[str, ...] = ("rate", "decay", "momentum")
    rate_setting: str = "architecture_rate"
    needs_kernels: bool = False

    # -- what an author writes -----------------------------------------------------------------

    def mix(self, logits: torch.Tensor, now: Pass) -> Weights:
        """The weights of one choice in one pass of the network; candidates that are not named do not run.

        Args:
            logits: The parameters of its candidates, shape (n,).
            now: Which pass it is.
        """
        raise NotImplementedError

    def strengths(self, logits: torch.Tensor) -> torch.Tensor:
        """How strong the candidates of one choice are, shape (n,), >= 0; a gradient flows through."""
        return torch.softmax(logits, 0)

    def priced(self, parameters: ArchitectureParameters, weights: Sequence[Weights]) -> list[torch.Tensor]:
        """The strengths of which a resource takes the expected cost, after a pass with these weights: all of them."""
        return self.all_strengths(parameters)

    def penalty(self, parameters: ArchitectureParameters) -> torch.Tensor | None:
        """What is added to the loss of the architecture parameters; None: nothing."""
        return None

    def optimizer(
        self, parameters: ArchitectureParameters, rate: float, decay: float, momentum: float
    ) -> torch.optim.Optimizer:
        """What updates the architecture parameters: Adam, as in DARTS."""
        return torch.optim.Adam(parameters.leaves, rate, betas=(momentum, 0.999), weight_decay=decay)

    def about_to_step(self, parameters: ArchitectureParameters) -> None:
        """Called before an update of the architecture parameters; their gradients may be changed."""

    def stepped(self, parameters: ArchitectureParameters, before: torch.Tensor, left: int) -> None:
        """Called after an update; ``before``: the logits as they were, ``left``: updates that are still to come."""

    # -- what a search calls -------------------------------------------------------------------

    def weights(self, parameters: ArchitectureParameters, now: Pass) -> list[Weights]:
        """The weights of all choices in one pass."""
        leaves = [parameters.logits, parameters.edges]
        logits, edges = leaves if now.searching else [leaf.detach() for leaf in leaves]
        factors = self._factors(parameters, edges)
        found: list[Weights] = []
        for i, (own, living) in enumerate(zip(parameters.by_choice(logits), parameters.living(), strict=True)):
            mixed = self.mix(own if len(living) == len(own) else own[living], now)
            if not isinstance(mixed, Mapping) or not all(j in range(len(living)) for j in mixed):
                raise UsageError(
                    f"{type(self).__name__}.mix: expected a mapping from numbers of candidates, 0 to "
                    f"{len(living) - 1}, to weights, got {mixed!r:.80}"
                )
            found.append({living[j]: w if factors is None else w * factors[i] for j, w in mixed.items()})
        return found

    def all_strengths(self, parameters: ArchitectureParameters) -> list[torch.Tensor]:
        """The strengths of the candidates of each choice, those of candidates that are gone being 0."""
        factors, found = self._factors(parameters, parameters.edges), []
        for i, (own, living) in enumerate(
            zip(parameters.by_choice(parameters.logits), parameters.living(), strict=True)
        ):
            strengths = torch.zeros_like(own).index_put(
                (torch.tensor(living, device=own.device),), self.strengths(own[living])
            )
            found.append(strengths if factors is None else strengths * factors[i])
        return found

    @staticmethod
    def _factors(parameters: ArchitectureParameters, edges: torch.Tensor) -> list[torch.Tensor] | None:
        """What each choice's output is multiplied by: a softmax over its group."""
        if not len(edges):
            return None
        factors: dict[int, torch.Tensor] = {}
        for group in parameters.groups():
            factors |= dict(zip(group, torch.softmax(edges[group], 0).unbind(), strict=True))
        return [factors[i] for i in range(len(factors))]


class Softmax(Relaxation):
    """All candidates run, weighed by a softmax (DARTS)."""

    def mix(self, logits: torch.Tensor, now: Pass) -> Weights:
        """See ``Relaxation``."""
        return dict(enumerate(torch.softmax(logits, 0).unbind()))


class PartialChannels(Softmax):
    """A softmax over candidates that see one of ``part`` channels, and one over the edges into a node (PC-DARTS).

    Args:
        part: >= 1; it must divide the channels of all cells.
    """

    edges = True

    def __init__(self, part: int = 4) -> None:
        self.part = whole_number("PartialChannels", "part", part, 1)


class Sigmoid(Relaxation):
    """All candidates run, each weighed by its own sigmoid, so that they do not compete (Fair DARTS).

    Args:
        zero_one: Weight of the zero-one loss, >= 0, which pushes sigmoids away from 1/2: minus their mean squared
            distance from it. The default is ours.
    """

    def __init__(self, zero_one: float = 10.0) -> None:
        self.zero_one = number("Sigmoid", "zero_one", zero_one, low=0)

    def mix(self, logits: torch.Tensor, now: Pass) -> Weights:
        """See ``Relaxation``."""
        return dict(enumerate(torch.sigmoid(logits).unbind()))

    def strengths(self, logits: torch.Tensor) -> torch.Tensor:
        """See ``Relaxation``."""
        return torch.sigmoid(logits)

    def penalty(self, parameters: ArchitectureParameters) -> torch.Tensor | None:
        """See ``Relaxation``."""
        if not self.zero_one:
            return None
        living = parameters.logits[parameters.alive.to(parameters.logits.device)]
        return -self.zero_one * (torch.sigmoid(living) - 0.5).square().mean()


class Gumbel(Relaxation):
    """A Gumbel-softmax: a draw of one candidate, made smooth (SNAS, FBNet) or hard (GDAS).

    Args:
        hard: Whether only the candidate with the largest weight runs, with weight 1; the gradient is that of the soft
            weight (straight through), and reaches the parameters of all candidates of the choice.
        first: Temperature at the begin, > 0.
        last: Temperature at the end, > 0.
        form: How it changes: linear or exponential.
    """

    def __init__(self, hard: bool = True, first: float = 10.0, last: float = 0.1, form: str = "linear") -> None:
        self.hard = hard
        self.first = number("Gumbel", "first", first, above=0)
        self.last = number("Gumbel", "last", last, above=0)
        if form not in ("linear", "exponential"):
            raise UsageError(f"Gumbel: form: expected linear or exponential, got {form!r}")
        self.form = form

    def mix(self, logits: torch.Tensor, now: Pass) -> Weights:
        """See ``Relaxation``."""
        temperature = Schedule(self.first, self.last, self.form).at(now.progress)
        noise = gumbel(len(logits), now.generator).to(logits)
        soft = torch.softmax((torch.log_softmax(logits, 0) + noise) / temperature, 0)
        if not self.hard:
            return dict(enumerate(soft.unbind()))
        chosen = int(soft.argmax())
        return {chosen: 1 + soft[chosen] - soft[chosen].detach()} if now.searching else {chosen: 1.0}


class TwoPaths(Relaxation):
    """One drawn candidate runs; for the architecture parameters two do, of which a binary gate lets one through.

    ProxylessNAS, section 3.2 and the authors' code: the parameters of the two are updated as if there were no others,
    and then shifted so that the probabilities of all others stay as they are. For a resource, too, there are only the
    two, as probable as they are beside each other.
    """

    takes = ("rate",)

    def mix(self, logits: torch.Tensor, now: Pass) -> Weights:
        """See ``Relaxation``."""
        p = torch.softmax(logits.detach(), 0).cpu()
        if not now.searching or len(p) == 1:
            return {int(torch.multinomial(p, 1, generator=now.generator)): 1.0}
        pair = torch.multinomial(p, 2, generator=now.generator).tolist()
        soft = torch.softmax(logits[pair], 0)
        active = int(torch.multinomial(soft.detach().cpu(), 1, generator=now.generator))
        return {option: soft[i] - soft[i].detach() + (i == active) for i, option in enumerate(pair)}

    def priced(self, parameters: ArchitectureParameters, weights: Sequence[Weights]) -> list[torch.Tensor]:
        """See ``Relaxation``: of the two that were drawn."""
        found = []
        for own, some in zip(parameters.by_choice(parameters.logits), weights, strict=True):
            pair = torch.tensor(list(some), device=own.device)
            found.append(torch.zeros_like(own).index_put((pair,), torch.softmax(own[pair], 0)))
        return found

    def optimizer(
        self, parameters: ArchitectureParameters, rate: float, decay: float, momentum: float
    ) -> torch.optim.Optimizer:
        """Adam without momentum and decay, which would move the parameters of candidates that did not run."""
        return torch.optim.Adam(parameters.leaves, rate, betas=(0.0, 0.999))

    def stepped(self, parameters: ArchitectureParameters, before: torch.Tensor, left: int) -> None:
        """Shifts the two that were updated."""
        with torch.no_grad():
            for now, then in zip(parameters.by_choice(parameters.logits), parameters.by_choice(before), strict=True):
                moved = now != then
                if moved.any():
                    now[moved] += then[moved].logsumexp(0) - now[moved].logsumexp(0)


class ExponentiatedGradient(Relaxation):
    """Candidates are experts whose weights grow by the exponential of their reward; hopeless ones are wiped out (XNAS).

    The reward of a candidate is minus the gradient of the loss by its weight. An expert is hopeless if it could not
    catch up with the best one in the updates that are left, even with all the reward that can be had.

    Args:
        rate: Of learning, > 0; for rewards within ``bound``, sqrt(2 log(candidates) / updates) / bound is the one for
            which the regret is bounded.
        bound: Rewards are clipped to plus or minus this, > 0.
    """

    takes = ()
    rate_setting = "rate of ExponentiatedGradient"

    def __init__(self, rate: float = 0.05, bound: float = 1.0) -> None:
        self.rate = number("ExponentiatedGradient", "rate", rate, above=0)
        self.bound = number("ExponentiatedGradient", "bound", bound, above=0)

    def mix(self, logits: torch.Tensor, now: Pass) -> Weights:
        """Weights of a softmax, whose gradient goes to the logits as it is."""
        weights = torch.softmax(logits.detach(), 0)
        return dict(enumerate((weights + (logits - logits.detach())).unbind()))

    def optimizer(
        self, parameters: ArchitectureParameters, rate: float, decay: float, momentum: float
    ) -> torch.optim.Optimizer:
        """The logits of the experts' weights take a plain step: ``rate`` is this part's own."""
        return torch.optim.SGD(parameters.leaves, self.rate)

    def about_to_step(self, parameters: ArchitectureParameters) -> None:
        """Clips the rewards."""
        if parameters.logits.grad is not None:
            parameters.logits.grad.clamp_(-self.bound, self.bound)

    def stepped(self, parameters: ArchitectureParameters, before: torch.Tensor, left: int) -> None:
        """Wipes out those that are hopeless."""
        logits = parameters.logits.detach().cpu()
        for own, alive in zip(parameters.by_choice(logits), parameters.by_choice(parameters.alive), strict=True):
            best = own[alive].max()
            alive &= own >= best - 2 * self.rate * self.bound * left


class KernelThresholds(Relaxation):
    """One path runs: parts of a super-kernel are used where their norms exceed thresholds, which are learnt.

    Single-Path, section 3: a layer is left out unless the inner part of its kernels exceeds its threshold; the outer
    ring of the kernels, and the second half of the channels, are used where theirs do. The gradient of a comparison is
    that of a sigmoid of the difference, and reaches thresholds and kernels. The thresholds are the parameters of
    ``identity``, ``k5e3`` and ``k3e6``; those of the other candidates are not used.
    """

    needs_kernels = True

    def weights(self, parameters: ArchitectureParameters, now: Pass) -> list[Weights]:
        """Weight 1 for one candidate of each layer, with a gradient to all, if the pass is for the architecture."""
        found = self.all_strengths(parameters)
        if now.searching:
            return [dict(enumerate(some.unbind())) for some in found]
        return [{int(some.argmax()): 1.0} for some in found]

    def all_strengths(self, parameters: ArchitectureParameters) -> list[torch.Tensor]:
        """1 for the candidate of each layer that the thresholds say, 0 for the others; a gradient flows through."""
        assert parameters.rings is not None
        return [
            self._candidates(choice.candidates, dict(zip(choice.candidates, logits.unbind(), strict=True)), norms)
            for choice, logits, norms in zip(
                parameters.choices, parameters.by_choice(parameters.logits), parameters.rings(), strict=True
            )
        ]

    @staticmethod
    def _candidates(
        names: Sequence[str], thresholds: Mapping[str, torch.Tensor], norms: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        def exceeds(part: str, threshold: torch.Tensor) -> torch.Tensor:
            soft = torch.sigmoid(norms[part] - threshold)
            return (norms[part] > threshold).to(soft) + (soft - soft.detach())

        outer, second = exceeds("outer", thresholds["k5e3"]), exceeds("second", thresholds["k3e6"])
        there = exceeds("inner", thresholds["identity"]) if "identity" in thresholds else torch.ones_like(outer)
        found = {
            "identity": 1 - there,
            "k3e3": there * (1 - outer) * (1 - second),
            "k3e6": there * (1 - outer) * second,
            "k5e3": there * outer * (1 - second),
            "k5e6": there * outer * second,
        }
        return torch.stack([found[name] for name in names])


def gumbel(n: int, generator: torch.Generator) -> torch.Tensor:
    """``n`` draws from the standard Gumbel distribution."""
    uniform = torch.rand(n, generator=generator, dtype=torch.float64).clamp_min(torch.finfo(torch.float64).tiny)
    noise: Any = -torch.log(-torch.log(uniform))
    return torch.as_tensor(noise.clamp(max=-math.log(2**-53)), dtype=torch.float32)
