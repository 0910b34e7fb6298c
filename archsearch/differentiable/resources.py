"""Resources: the loss that is added for what candidates cost.

References: Wu et al., "FBNet", CVPR 2019, equation 2, and Cai, Zhu & Han, "ProxylessNAS", ICLR 2019, section 3.3, with
the authors' code (the cross-entropy times a power of the logarithm of the expected cost); Xie et al., "SNAS", ICLR 2019
(the expected cost, added); Bi et al., "GOLD-NAS: gradual, one-level, differentiable", 2020 (a weight that rises).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.costs import CandidateCosts, candidate_costs, tabled_costs
from archsearch.differentiable.part import Part, Record
from archsearch.errors import UsageError
from archsearch.files.fingerprints import file_fingerprint
from archsearch.networks.network import Network
from archsearch.pareto import non_dominated
from archsearch.relaxing import Relaxable
from archsearch.space import Space
from archsearch.trial import Architecture

Of = Literal["flops", "params", "latency"]


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

    def costs(self, space: Space, network: Network, input_shape: tuple[int, ...]) -> CandidateCosts:
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
