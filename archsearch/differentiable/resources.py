"""Resources: what candidates cost, and the loss that this adds.

References: Wu et al., "FBNet", CVPR 2019, equation 2, and Cai, Zhu & Han, "ProxylessNAS", ICLR 2019, section 3.3, with
the authors' code (the cross-entropy times a power of the logarithm of the expected cost); Xie et al., "SNAS", ICLR 2019
(the expected cost, added); Bi et al., "GOLD-NAS: gradual, one-level, differentiable", 2020 (a weight that rises).
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import nn

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.part import Part, Record
from archsearch.errors import MissingAbility, UsageError
from archsearch.files.fingerprints import file_fingerprint
from archsearch.limits import LatencyTable
from archsearch.networks.multiply_adds import MultiplyAddCounter
from archsearch.networks.network import Network, Weights
from archsearch.pareto import non_dominated
from archsearch.relaxing import NONE, MixesKernels, Relaxable, Relaxed, RelaxedChoice
from archsearch.space import Space
from archsearch.trial import Architecture

Of = Literal["flops", "params", "latency"]


class CandidateCosts(NamedTuple):
    """What an architecture costs, as a sum: multiply-adds of one image, or what else is counted.

    Attributes:
        fixed: Of what is not chosen.
        candidates: Of each candidate of each choice; of multiply-adds and parameters ``none`` has none.
    """

    fixed: float
    candidates: tuple[tuple[float, ...], ...]

    def of(self, weights: Sequence[Weights]) -> float:
        """Of a pass with these weights: of all candidates that have one.

        Those behind a place that nothing but ``none`` reaches are counted, too, although they need not run.
        """
        return self.fixed + sum(
            costs[option] for costs, some in zip(self.candidates, weights, strict=True) for option in some
        )

    def expected(self, strengths: Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean over architectures that are drawn choice by choice, as strong as each candidate is."""
        total = torch.tensor(float(self.fixed), dtype=torch.float64)
        for costs, some in zip(self.candidates, strengths, strict=True):
            shares = some.double() / some.double().sum()
            total = total.to(shares) + shares @ torch.tensor(costs, dtype=torch.float64, device=shares.device)
        return total


def candidate_costs(
    network: Network,
    choices: Sequence[RelaxedChoice],
    input_shape: tuple[int, int, int],
    of: Literal["flops", "params"] = "flops",
) -> CandidateCosts:
    """What each candidate costs, found by adding it to a pass through one candidate of each choice.

    Args:
        network: A relaxed super-network.
        choices: Of its space.
        input_shape: Channels, height and width of an image.
        of: flops, multiply-adds of one image, or params, trainable parameters of what the pass goes through.
    """
    some: list[int] = [_cheap(choice) for choice in choices]
    base: list[Weights] = [{option: 1.0} for option in some]
    # Mixed kernels cost as much as one: there candidates are counted alone, and by how much more than the cheapest.
    alone_only, found = isinstance(network, MixesKernels), []
    with _counting(network, choices, input_shape, of) as cost:
        alone = cost(base)
        for i, choice in enumerate(choices):
            costs, changed = [], list(base)
            others = [j for j in range(len(choice.candidates)) if j != some[i]]
            for option, name in enumerate(choice.candidates):
                if name == NONE or not others or (alone_only and option == some[i]):
                    costs.append(0)
                elif alone_only:
                    changed[i] = {option: 1.0}
                    costs.append(cost(changed) - alone)
                elif option == some[i]:  # by how much more both cost than the other one alone
                    other = next((j for j in others if j != choice.none), others[0])
                    changed[i] = {other: 1.0}
                    without = cost(changed)
                    changed[i] = {other: 1.0, option: 1.0}
                    costs.append((alone if other == choice.none else cost(changed)) - without)
                else:
                    changed[i] = {some[i]: 1.0, option: 1.0}
                    costs.append(cost(changed) - alone)
            found.append(tuple(costs))
    return CandidateCosts(alone - sum(own[option] for own, option in zip(found, some, strict=True)), tuple(found))


def _cheap(choice: RelaxedChoice) -> int:
    """A candidate through which everything behind it is reached."""
    if choice.skip is not None:
        return choice.skip
    return next(i for i in range(len(choice.candidates)) if i != choice.none or len(choice.candidates) == 1)


@contextlib.contextmanager
def _counting(
    network: Network,
    choices: Sequence[RelaxedChoice],
    input_shape: tuple[int, int, int],
    of: Literal["flops", "params"],
) -> Iterator[Callable[[Sequence[Weights]], int]]:
    """Inside, a function that says what a pass with some weights costs, in evaluation mode.

    Counting multiply-adds looks at each operation, which takes longer than the pass; so it is done once, for all
    candidates, and a pass costs what the modules cost that it calls.
    """
    passes: list[list[Weights]] = [[dict.fromkeys(range(len(choice.candidates)), 1.0) for choice in choices]]
    if isinstance(network, MixesKernels):
        longest = max(len(choice.candidates) for choice in choices)
        passes = [[{min(i, len(choice.candidates) - 1): 1.0} for choice in choices] for i in range(longest)]
    mixed = Mixed(network, passes[0])
    image = torch.empty(1, *input_shape, device=next(network.parameters()).device)
    training = network.training
    network.eval()
    calls: Counter[nn.Module] = Counter()

    def cost(weights: Sequence[Weights]) -> int:
        calls.clear()
        mixed.mixing = weights
        with torch.no_grad():
            mixed(image)
        return sum(own[module] * (n if of == "flops" else 1) for module, n in calls.items())

    hooks: list[Any] = []
    try:
        own = _own_multiply_adds(mixed, image, passes, hooks) if of == "flops" else _own_parameters(mixed)
        hooks += [m.register_forward_pre_hook(lambda module, _: calls.update((module,))) for m in mixed.modules()]
        yield cost
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()


def _own_parameters(network: nn.Module) -> dict[nn.Module, int]:
    """Trainable parameters of each module, without those inside it; some say themselves how many they use."""
    return {
        module: getattr(module, "parameters_used", sum(p.numel() for p in module.parameters(recurse=False)))
        for module in network.modules()
    }


def _own_multiply_adds(
    mixed: Mixed, image: torch.Tensor, passes: Sequence[Sequence[Weights]], hooks: list[Any]
) -> dict[nn.Module, int]:
    """Multiply-adds of a call of each module, without those of modules inside it; removes its hooks from the list.

    Together the passes call all modules.
    """
    totals = dict.fromkeys(mixed.modules(), 0)
    begun: list[int] = []  # of the modules in which the pass is, what was counted when they began
    inside: list[int] = []  # and what was counted in modules inside them

    def enter(*_: object) -> None:
        begun.append(counter.multiply_adds)
        inside.append(0)

    def leave(module: nn.Module, *_: object) -> None:
        whole = counter.multiply_adds - begun.pop()
        totals[module] = whole - inside.pop()
        if inside:
            inside[-1] += whole

    for module in mixed.modules():
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    with torch.no_grad(), MultiplyAddCounter() as counter:
        for mixed.mixing in passes:
            mixed(image)
    while hooks:
        hooks.pop().remove()
    return totals


class Mixed(nn.Module):
    """A relaxed network with fixed weights, to count its multiply-adds."""

    def __init__(self, network: Network, weights: Sequence[Weights]) -> None:
        super().__init__()
        self.network = network
        self.mixing = weights

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        assert isinstance(self.network, Relaxed)
        return self.network.relaxed(images, self.mixing)


def tabled_costs(path: str, space: Space) -> CandidateCosts:
    """Milliseconds of each candidate by a latency table, whose rows are a space's decisions and options.

    Args:
        path: The file; see ``archsearch.limits.LatencyTable``.
        space: A space whose choices are its decisions.

    Raises:
        MissingAbility: If they are not, as in ``DARTS``.
        TableError: If the table cannot be used.
    """
    assert isinstance(space, Relaxable)
    choices = space.relaxed_choices()
    named = [(space.label((0,) * i), n) for i, n in enumerate(space.arities or ())]
    if named != [(choice.name, len(choice.candidates)) for choice in choices]:
        raise MissingAbility(
            f"Resource: of: a latency table has the seconds of decisions, and what {type(space).__name__} mixes are no "
            "decisions of it; use a chain such as MobileNet, or of: flops or params"
        )
    table = LatencyTable(path, space)
    return CandidateCosts(
        1000 * table.fixed, tuple(tuple(1000 * table.option(name, i) for i in range(n)) for name, n in named)
    )


class Resource(Part):
    """Makes architectures cheap: the loss of the architecture parameters has the expected cost in it.

    Args:
        weight: How much that counts, > 0.
        form: added: ``loss + weight * expected / reference``; multiplied: ``loss * weight * (log(expected) /
            log(reference)) ** exponent``.
        exponent: Of the form multiplied, > 0.
        reference: A cost in the same unit, > 1, with the form added > 0. None: with the form added, that of an
            architecture in which each candidate of a choice is as probable as the others; with the form multiplied, e,
            whose logarithm is 1.
        of: What is counted: flops, the multiply-adds of one image; params, parameters; latency, milliseconds by the
            table.
        latency_table: File with the columns decision, option and seconds, as ``limits`` reads it; for latency alone,
            and for spaces whose choices are their decisions.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        weight: float = 0.1,
        form: Literal["added", "multiplied"] = "added",
        exponent: float = 0.6,
        reference: float | None = None,
        of: Of = "flops",
        latency_table: str | None = None,
    ) -> None:
        who = type(self).__name__
        self.weight = number(who, "weight", weight, above=0)
        if form not in ("added", "multiplied"):
            raise UsageError(f"{who}: form: expected added or multiplied, got {form!r}")
        self.form: Literal["added", "multiplied"] = form
        self.exponent = number(who, "exponent", exponent, above=0)
        above = 1 if form == "multiplied" else 0
        self.reference = None if reference is None else number(who, "reference", reference, above=above)
        if of not in get_args(Of):
            raise UsageError(f"{who}: of: expected one of {', '.join(get_args(Of))}, got {of!r}")
        self.of: Of = of
        if (latency_table is None) == (of == "latency"):
            wanted = "a file" if of == "latency" else "none"
            raise UsageError(f"{who}: latency_table: expected {wanted} with of: {of}, got {latency_table!r}")
        # A run may be resumed from another directory.
        self.latency_table = None if latency_table is None else str(Path(latency_table).absolute())

    def fingerprints(self) -> Mapping[str, str]:
        """See ``Evaluator``: the latency table."""
        return {} if self.latency_table is None else {"latency_table": file_fingerprint(self.latency_table)}

    def check(self, space: Space) -> None:
        """Refuses what cannot be counted in a space, before anything is spent.

        Raises:
            MissingAbility: If its choices are not those of a latency table.
            TableError: If the table cannot be used.
            UsageError: If a logarithm would be that of less than 1.
        """
        if self.latency_table is None:
            return
        costs = tabled_costs(self.latency_table, space)
        least = costs.fixed + sum(min(own) for own in costs.candidates)
        if self.form == "multiplied" and least <= 1:
            raise UsageError(
                f"{type(self).__name__}: form: multiplied takes the logarithm of milliseconds, which must be above 1, "
                f"and by {self.latency_table} an architecture takes {least:g}; use the form added"
            )

    def after(self, records: Sequence[Record]) -> Resource:
        """The resource of the epoch that follows those of which this was noted; by default always this one."""
        return self

    def costs(self, space: Space, network: Network, input_shape: tuple[int, int, int]) -> CandidateCosts:
        """What is counted of each candidate.

        Args:
            space: What is searched.
            network: Its relaxed super-network.
            input_shape: Channels, height and width of an image.
        """
        if self.latency_table is not None:
            return tabled_costs(self.latency_table, space)
        assert isinstance(space, Relaxable)
        of: Literal["flops", "params"] = "params" if self.of == "params" else "flops"
        return candidate_costs(network, space.relaxed_choices(), input_shape, of)

    def loss(self, loss: torch.Tensor, costs: CandidateCosts, strengths: Sequence[torch.Tensor]) -> torch.Tensor:
        """The loss of the architecture parameters, of which ``strengths`` are functions."""
        expected = costs.expected(strengths)
        if self.form == "multiplied":
            share = torch.log(expected) / math.log(self.reference or math.e)
            return loss * self.weight * share.pow(self.exponent).to(loss)
        equal = float(costs.expected([torch.ones(len(some)) for some in costs.candidates]))
        return loss + self.weight * (expected / (self.reference or equal)).to(loss)


class RisingResource(Resource):
    """A resource that counts more and more while too few operations are pruned (GOLD-NAS).

    The weight of an epoch is ``weight`` times ``growth`` to the power of how many epochs before it wiped out fewer than
    ``enough`` candidates.

    Args:
        weight: In the first epoch; see ``Resource``.
        growth: > 1.
        enough: Candidates that an epoch must wipe out for the weight to stay, >= 1.
        first: The first epoch that is judged so, >= 1; that of the pruning.
        form: See ``Resource``.
        exponent: See ``Resource``.
        reference: See ``Resource``.
        of: See ``Resource``.
        latency_table: See ``Resource``.
    """

    def __init__(
        self,
        weight: float = 0.1,
        growth: float = 1.5,
        enough: int = 4,
        first: int = 1,
        form: Literal["added", "multiplied"] = "added",
        exponent: float = 0.6,
        reference: float | None = None,
        of: Of = "flops",
        latency_table: str | None = None,
    ) -> None:
        super().__init__(weight, form, exponent, reference, of, latency_table)
        self.growth = number("RisingResource", "growth", growth, above=1)
        self.enough = at_least_one("RisingResource", "enough", enough)
        self.first = at_least_one("RisingResource", "first", first)

    def after(self, records: Sequence[Record]) -> Resource:
        """See ``Resource``."""
        pruned = [sum(record["parameters"]["alive"]) - record["alive"] for record in records[self.first - 1 :]]
        risen = copy.copy(self)
        risen.weight = self.weight * self.growth ** sum(count < self.enough for count in pruned)
        return risen


class Compromise(NamedTuple):
    """An architecture that a search passed on its way.

    Attributes:
        epoch: After which it would have been derived, from 1.
        architecture: In the space.
        flops: Multiply-adds of one image.
        accuracy: On some validation images, with the weights of that time, in percent.
    """

    epoch: int
    architecture: Architecture
    flops: int
    accuracy: float


def compromises(records: Sequence[Record]) -> list[Compromise]:
    """What was passed on the way, but for what something else beats in multiply-adds and accuracy; the cheapest first.

    Of an architecture that was passed several times, the last time counts.

    Args:
        records: Of all epochs.
    """
    passed = {
        tuple(r["derived"]): Compromise(r["epoch"], tuple(r["derived"]), r["flops"], r["derived_accuracy"])
        for r in records
    }
    found = list(passed.values())
    kept = non_dominated([(-each.flops, each.accuracy) for each in found])
    return sorted((each for each, best in zip(found, kept, strict=True) if best), key=lambda each: each.flops)
