"""Spaces of cells that follow the grammar: everything but the facts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.errors import UsageError
from archsearch.grammar import texts
from archsearch.grammar.rules import Edge, Rules
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.grammar.network import CellNetwork
    from archsearch.networks.network import InputShape, Network


class Cells(Space):
    """Base of spaces whose networks are rows of cells, two of which halve height and width.

    Args:
        rules: The facts of the space.
        layers: Cells of the network, >= 1.
        channels: Channels of the first cells' nodes, >= 1.
        auxiliary: Whether networks have an auxiliary classifier.

    Raises:
        UsageError: If a number is below 1, or ``auxiliary`` is neither true nor false.
    """

    def __init__(self, rules: Rules, layers: int, channels: int, auxiliary: bool) -> None:
        if rules.fewest is None:
            super().__init__(arities=rules.arities())
        else:
            self._sizes = [rules.arities(nodes) for nodes in rules.sizes]
            super().__init__(max_length=1 + len(self._sizes[-1]), max_options=max(len(self._sizes), *self._sizes[-1]))
        who = type(self).__name__
        self.rules = rules
        self.layers = at_least_one(who, "layers", layers)
        self.channels = at_least_one(who, "channels", channels)
        if not isinstance(auxiliary, bool):
            raise UsageError(f"{who}: auxiliary: expected true or false, got {auxiliary!r}")
        self.auxiliary = auxiliary

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        if self.arities is not None:
            return super().arity(prefix)
        if not prefix:
            return len(self._sizes)
        arities = self._sizes[prefix[0]]
        return arities[len(prefix) - 1] if len(prefix) <= len(arities) else 0

    def subtree(self, prefix: Architecture) -> Hashable:
        """How many decisions there were, and, where it is decided, how many nodes the cells have."""
        return (len(prefix), *prefix[: self.arities is None])

    def label(self, prefix: Architecture) -> str:
        """Cell, node and what is decided, such as ``normal 3: input 1``; ``nodes``, where their number is decided."""
        rules, position, per_cell = self.rules, len(prefix), self.rules.per_cell
        if self.arities is None:
            if not prefix:
                return "nodes"
            position, per_cell = position - 1, len(self._sizes[prefix[0]]) // len(rules.cells)
        cell, position = divmod(position, per_cell)
        node, what = divmod(position, len(rules.decisions))
        return f"{rules.cells[cell]} {rules.targets[node]}: {rules.decisions[what]}"

    # -- reading and writing -------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """The nodes of all cells, each edge as ``operation(input)``; see ``archsearch.grammar.texts``."""
        return texts.write(self.rules, architecture)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, or the name of a published architecture.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        return texts.Reader(self.rules, type(self).__name__).read(text)

    def decode(self, architecture: Architecture) -> Mapping[str, tuple[tuple[Edge, Edge], ...]]:
        """For each kind of cell the two edges of each node, with operation names."""
        rules = self.rules
        cells = enumerate(zip(rules.cells, rules.split(architecture), strict=True))
        return {name: rules.edges(kind, cell) for kind, (name, cell) in cells}

    def canonical(self, architecture: Architecture) -> tuple[object, ...]:
        """The least encoding, in lexicographic order, among those that number the nodes of each cell differently.

        The inputs of a node have no order, and a numbering is allowed if every node comes after its inputs. A new one
        reorders the channels that a cell concatenates: networks of equal form are the same family of functions up to
        the order of channels, which the convolutions of the next cells undo. Their weights lie elsewhere, so trainings
        differ by more than the seed.
        """
        form: tuple[object, ...] = ()
        for kind, cell in enumerate(self.rules.split(architecture)):
            form += self.rules.least(kind, cell)
        return form

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The cells side by side; edges into the nodes carry operations, those into ``output`` concatenate."""
        from archsearch.grammar.graphs import drawing

        return drawing(self.rules, architecture)

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The two inputs and all operations of each cell; see ``archsearch.grammar.graphs``."""
        from archsearch.grammar.graphs import operation_graphs

        if self.arities is not None:
            return operation_graphs(self.rules, np.asarray(architectures, np.int64).reshape(-1, self.max_length))
        # Cells that have fewer nodes than the largest get some that are taken away again.
        nodes = np.array([self.rules.sizes[architecture[0]] for architecture in architectures], np.int64)
        decisions = np.zeros((len(nodes), len(self.rules.cells), self.rules.per_cell), np.int64)
        for some in np.unique(nodes):
            rows = (nodes == some).nonzero()[0]
            cells = np.array([architectures[row][1:] for row in rows], np.int64)
            per_cell = int(some) * len(self.rules.decisions)
            decisions[rows, :, :per_cell] = cells.reshape(len(rows), -1, per_cell)
        flat = decisions.reshape(len(nodes), len(self.rules.cells) * self.rules.per_cell)
        return operation_graphs(self.rules, flat, nodes)

    # -- networks ------------------------------------------------------------------------------

    def network(
        self, architecture: Architecture, task: InputShape, *, channels: int | None = None, layers: int | None = None
    ) -> Network:
        """The stand-alone network of the cells.

        Args:
            architecture: The cells.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
            layers: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, channels, layers)

    def super_network(self, task: InputShape, *, channels: int | None = None, layers: int | None = None) -> Network:
        """The network with all operations in all places of every cell; see ``network``."""
        return self._network(None, task, channels, layers)

    def _network(
        self,
        architecture: Architecture | None,
        task: InputShape,
        channels: int | None,
        layers: int | None,
        part: int = 1,
    ) -> CellNetwork:
        who = type(self).__name__
        channels = at_least_one(who, "channels", self.channels if channels is None else channels)
        layers = at_least_one(who, "layers", self.layers if layers is None else layers)
        return self._network_class()(self.rules, architecture, task, channels, layers, self.auxiliary, part)

    def _network_class(self) -> type[CellNetwork]:
        from archsearch.grammar.network import CellNetwork

        return CellNetwork
