"""Spaces whose architectures are chains of their own: not only blocks, but depths and widths are decided.

A space says which chain an architecture is, as ``Rules`` with one block a stage, and which one holds them all.
"""

from __future__ import annotations

import abc
import functools
from typing import TYPE_CHECKING

from archsearch.chain.rules import Plan, Rules
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.networks.network import InputShape, Network


class PlannedChain(Space, abc.ABC):
    """Base of such spaces.

    Args:
        base: The skeleton by whose first stage widths are scaled.
        hull: As many layers of each stage as any architecture has, all blocks, the widest of each.
        arities: See ``Space``.
        max_length: See ``Space``.
        max_options: See ``Space``.
    """

    def __init__(
        self,
        base: Rules,
        hull: Rules,
        *,
        arities: list[int] | None = None,
        max_length: int | None = None,
        max_options: int | None = None,
    ) -> None:
        self.base = base
        self.hull = hull
        super().__init__(arities=arities, max_length=max_length, max_options=max_options)

    @abc.abstractmethod
    def plan(self, architecture: Architecture) -> Plan:
        """The chain that an architecture stands for: as many stages as the hull has."""

    def decode(self, architecture: Architecture) -> str:
        """The text of the architecture."""
        return self.format(architecture)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain of layers; labels are such as ``stage 2: k5e6 40``."""
        import networkx

        graph = networkx.MultiDiGraph()
        for i, stage in enumerate(self.plan(architecture).rules.rows):
            for _ in range(stage.layers):
                names = " or ".join(block.name for block in stage.blocks or ())
                graph.add_node(len(graph), label=f"stage {i}: {names} {stage.channels}")
        graph.add_edges_from((i, i + 1) for i in range(len(graph) - 1))
        return graph

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network of an architecture.

        Args:
            architecture: What it stands for.
            task: What has an input shape and a number of classes.
            channels: What the first stage's width in the space's skeleton becomes; all other widths are scaled in
                proportion and rounded to multiples of 4, at least 4. None: the widths as they are.
        """
        return self._network(self.validate(architecture), task, channels)

    def super_network(self, task: InputShape, *, channels: int | None = None) -> Network:
        """The widest and deepest network with all blocks in every layer; architectures have the leading channels."""
        return self._network(None, task, channels)

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int | None) -> Network:
        from archsearch.chain.planned_network import PlannedNetwork

        own = self.base.first_width(type(self).__name__, channels)
        width = functools.partial(self.base.scaled_width, channels=own)
        return PlannedNetwork(architecture, task, self.hull, self.plan, width)
