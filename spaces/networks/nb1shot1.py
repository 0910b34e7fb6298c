"""The networks of NAS-Bench-1Shot1: those of NAS-Bench-101, whose parents and operations can be mixed.

Reference: Zela, Siems & Hutter, "NAS-Bench-1Shot1", ICLR 2020, section 3.

Where we differ: a vertex of NAS-Bench-101 is as wide as the output's channels divided by the inner vertices that feed
it. The paper's super-network gives every vertex one width and concatenates them all. Here the output is a sum over the
sets of parents that it may have, each computed as wide as in a cell: with one set left, it is that cell. Since the
input is added to the output instead of being concatenated, there are two widths: with and without it. So vertices are
computed twice, if sets of both kinds have weights.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch

from archsearch.networks.network import Choice, Weights, weighted_sum
from archsearch.spaces.nb1shot1 import NB1Shot1
from archsearch.spaces.networks.nasbench101 import CellModule, NASBench101Network, shared_out
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS

Weight = float | torch.Tensor


class Wiring(NamedTuple):
    """What feeds the vertices of a relaxed cell, and what they do.

    Attributes:
        parents: Of each vertex, from 1 to the output: each earlier vertex that has a weight, to that.
        operations: Of each inner vertex: each operation that has a weight, to that.
        fed_by: How many parents the output has in a cell.
    """

    parents: Mapping[int, Mapping[int, Weight]]
    operations: Mapping[int, Mapping[str, Weight]]
    fed_by: int


class NB1Shot1Network(NASBench101Network):
    """A network made of NAS-Bench-101 cells, which can also compute a mixture; arguments are those of its base."""

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with weighted sums of parents and operations; see ``archsearch.relaxing.Relaxed``."""
        wiring = self._wiring(weights)
        x = self.stem(images, self.channels)
        for layer in self.layers:
            x = _mixed_cell(layer, x, wiring) if isinstance(layer, CellModule) else layer(x)
        logits: torch.Tensor = self.head(x)
        return logits

    def _wiring(self, weights: Sequence[Weights]) -> Wiring:
        space = cast(NB1Shot1, self.space)
        choices = space.relaxed_choices()
        weights = self.weighed(weights, [len(choice.candidates) for choice in choices])
        # Where a vertex has all earlier ones as parents, there is nothing to choose.
        parents: dict[int, Mapping[int, Weight]] = {
            vertex: dict.fromkeys(range(vertex), 1.0) for vertex in range(1, space.inner + 2)
        }
        split = len(choices) - space.inner
        for choice, some in zip(choices[:split], weights[:split], strict=True):
            vertex = len(choice.candidates)
            parents[vertex] = {vertex - 1 - nearness: some[nearness] for nearness in sorted(some, reverse=True)}
        operations = {
            vertex: {OPERATIONS[option]: weight for option, weight in some.items()}
            for vertex, some in enumerate(weights[split:], start=1)
        }
        return Wiring(parents, operations, space.parents[-1])


def _mixed_cell(cell: CellModule, x: torch.Tensor, wiring: Wiring) -> torch.Tensor:
    """The output vertex: a sum over the sets of its parents, by the product of their weights."""
    feeding = wiring.parents[len(wiring.parents)]
    size = min(wiring.fed_by, len(feeding))
    terms = []
    for with_input in (False, True):
        sets = [some for some in itertools.combinations(feeding, size) if some and (0 in some) == with_input]
        if sets:
            weights = [functools.reduce(operator.mul, (feeding[source] for source in some)) for some in sets]
            terms.append(_output(cell, x, wiring, sets, weights))
    if terms:
        return functools.reduce(torch.add, terms)
    return x.new_zeros(len(x), cell.outputs, *x.shape[2:])


def _output(
    cell: CellModule, x: torch.Tensor, wiring: Wiring, sets: Sequence[tuple[int, ...]], weights: Sequence[Weight]
) -> torch.Tensor:
    """The sum over some sets of parents, of which all have the input or none has it."""
    with_input = 0 in sets[0]
    slots = shared_out(cell.outputs, wiring.fed_by - with_input)
    # What is at each place of the concatenation: inner vertices to their weights.
    places: list[dict[int, Weight]] = [{} for _ in slots]
    for some, weight in zip(sets, weights, strict=True):
        for place, source in zip(places, sorted(set(some) - {0}), strict=False):
            place[source] = place[source] + weight if source in place else weight
    values = _values(cell, x, wiring, _widths(wiring, places, slots))
    parts = []
    for place, width in zip(places, slots, strict=True):
        there = [source for source in place if source in values]
        terms = [values[source][:, :width] for source in there]
        zero = x.new_zeros(len(x), width, *x.shape[2:])
        parts.append(weighted_sum(terms, [place[source] for source in there]) if terms else zero)
    output = torch.cat(parts, dim=1)
    if not with_input:
        return output
    total = functools.reduce(operator.add, weights)
    return output + weighted_sum([cell.projections["output"](x, cell.outputs)], [total])


def _widths(wiring: Wiring, places: Sequence[Mapping[int, Weight]], slots: Sequence[int]) -> dict[int, int]:
    """Channels of each vertex, in rising order: those of the widest that it feeds, as in a cell."""
    widths: dict[int, int] = {}
    for place, width in zip(places, slots, strict=True):
        for vertex in place:
            widths.setdefault(vertex, width)  # places become narrower
    inner = range(1, len(wiring.parents))
    for vertex in reversed(inner):
        targets = [target for target in inner if vertex in wiring.parents[target]]
        # What feeds nothing runs nevertheless, so that each candidate costs what it costs, whatever the others are. It
        # is as narrow as any, since it may be fed by any.
        widths.setdefault(vertex, max((widths[target] for target in targets), default=slots[-1]))
    return dict(sorted(widths.items()))


def _values(cell: CellModule, x: torch.Tensor, wiring: Wiring, widths: Mapping[int, int]) -> dict[int, torch.Tensor]:
    """Outputs of the inner vertices; one that has no parent or no operation has none."""
    values: dict[int, torch.Tensor] = {}
    for vertex, width in widths.items():
        parents, operations = wiring.parents[vertex], wiring.operations[vertex]
        sources = [source for source in sorted(parents) if source in values]
        if not operations or not (sources or 0 in parents):
            continue
        terms = [values[source][:, :width] for source in sources]
        if 0 in parents:  # last, as in a cell
            sources.append(0)
            terms.append(cell.projections[str(vertex)](x, width))
        choice = cell.operations[str(vertex)]
        assert isinstance(choice, Choice)
        values[vertex] = choice.mixed(weighted_sum(terms, [parents[source] for source in sources]), operations)
    return values
