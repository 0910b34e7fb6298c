"""Random wiring: stages that are random graphs; what is searched is the generator, its parameters and its seeds.

Reference: Xie, Kirillov, Girshick & He, "Exploring randomly wired neural networks for image recognition", ICCV 2019.
The paper draws networks at random and compares the generators; grids of parameters are ours around its best.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.spaces.choices import Choices
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

PROBABILITIES = [0.1, 0.2, 0.4, 0.6, 0.8]
"""Of an edge between any two nodes, in graphs of Erdos and Renyi; the paper's best is 0.2."""
ATTACHED = [1, 2, 3, 4, 5, 6, 7]
"""Edges with which a node joins, in graphs of Barabasi and Albert; the paper's best is 5."""
NEIGHBOURS = [2, 4, 6, 8]
"""Neighbours of a node on the ring, in graphs of Watts and Strogatz; the paper's best is 4."""
REWIRED = [0.0, 0.25, 0.5, 0.75, 1.0]
"""Probability that an edge of the ring is led elsewhere, in graphs of Watts and Strogatz; the paper's best is 0.75."""

Edges = tuple[tuple[int, int], ...]


class RandWire(Choices):
    """Randomly wired networks: the generator of graphs, its parameters, and a seed for each stage.

    Decisions are the generator, ``er`` (Erdos and Renyi), ``ba`` (Barabasi and Albert) or ``ws`` (Watts and Strogatz),
    its parameters (``p``; ``m``; ``k`` and ``q``), and ``seed.1``, ``seed.2``, ... of the stages. Graphs come from
    networkx, whose nodes are numbered, in a ring for ``ws``, in the order of joining for ``ba``; each edge leads from
    the lower number to the higher, so there is no circle. A node without inputs reads the input of its stage, at half
    the height and width; the output of a stage is the mean of the nodes that no other reads. A node is a sum of its
    inputs with weights between 0 and 1 that are learned (sigmoids), ReLU, a separable 3x3 convolution and batch
    normalisation. Channels double from stage to stage.

    Architectures with the same edges are one (``canonical``). The graphs of a seed are those of the networkx that is
    installed. There is no super-network.

    Args:
        nodes: Of a stage, above 8, so that all parameters are possible. The paper has 32.
        stages: With a graph each, >= 1. The paper has 3 of one size.
        seeds: How many there are to choose from, >= 1.
        channels: Of the first stage, >= 1. The paper's small networks have 78.
        stem_stride: Of the two convolutions before the stages, 1 or 2, the paper's; 1 suits small images.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self, nodes: int = 32, stages: int = 3, seeds: int = 100, channels: int = 78, stem_stride: int = 2
    ) -> None:
        self.nodes = whole_number("RandWire", "nodes", nodes, max(NEIGHBOURS) + 1)
        self.stages = at_least_one("RandWire", "stages", stages)
        self.seeds = at_least_one("RandWire", "seeds", seeds)
        self.channels = at_least_one("RandWire", "channels", channels)
        self.stem_stride = whole_number("RandWire", "stem_stride", stem_stride, 1, 2)
        super().__init__(
            {
                "generator": ["er", "ba", "ws"],
                "p": {"options": PROBABILITIES, "when": {"generator": "er"}},
                "m": {"options": ATTACHED, "when": {"generator": "ba"}},
                "k": {"options": NEIGHBOURS, "when": {"generator": "ws"}},
                "q": {"options": REWIRED, "when": {"generator": "ws"}},
                **{f"seed.{stage + 1}": list(range(self.seeds)) for stage in range(self.stages)},
            }
        )

    def edges(self, architecture: Architecture) -> tuple[Edges, ...]:
        """The edges of each stage, from a lower to a higher node, counted from 0; sorted."""
        values = self.decode(architecture)
        return tuple(self._edges(values, values[f"seed.{stage + 1}"]) for stage in range(self.stages))

    def _edges(self, values: dict[str, Any], seed: int) -> Edges:
        import networkx

        if values["generator"] == "er":
            graph = networkx.gnp_random_graph(self.nodes, values["p"], seed=seed)
        elif values["generator"] == "ba":
            graph = networkx.barabasi_albert_graph(self.nodes, values["m"], seed=seed)
        else:
            graph = networkx.watts_strogatz_graph(self.nodes, values["k"], values["q"], seed=seed)
        return tuple(sorted((min(edge), max(edge)) for edge in graph.edges))

    def canonical(self, architecture: Architecture) -> Hashable:
        """The edges of each stage."""
        return self.edges(architecture)

    def wiring(self, architecture: Architecture) -> Iterator[tuple[int, list[list[int]], list[int]]]:
        """Of each stage its number, the sources of each node (none: the stage's input), and the nodes not read."""
        for stage, edges in enumerate(self.edges(architecture)):
            sources: list[list[int]] = [[] for _ in range(self.nodes)]
            for source, target in edges:
                sources[target].append(source)
            read = {source for source, _ in edges}
            yield stage, sources, [node for node in range(self.nodes) if node not in read]

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """All nodes of all stages, between the input and the outputs of the stages."""
        import networkx

        graph = networkx.MultiDiGraph()
        graph.add_node("input", label="input")
        begin = "input"
        for stage, sources, loose in self.wiring(architecture):
            for node, read in enumerate(sources):
                graph.add_node((stage, node), label=f"sep_conv {stage + 1}.{node}")
                for source in read:
                    graph.add_edge((stage, source), (stage, node))
                if not read:
                    graph.add_edge(begin, (stage, node))
            end = f"mean {stage + 1}"
            graph.add_node(end, label=end)
            for node in loose:
                graph.add_edge((stage, node), end)
            begin = end
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The nodes of all stages and, behind each but the last, a mean; two kinds of operations."""
        from archsearch.basics.operation_graphs import OperationGraphs

        size = self.nodes + 1
        places = self.stages * size + 1
        labels = np.zeros((len(architectures), places), np.int64)
        labels[:, size:-1:size] = 1
        labels[:, 0] = labels[:, -1] = -1
        adjacency = np.zeros((len(architectures), places, places), bool)
        for row, options in enumerate(np.asarray(architectures, object).tolist()):
            for stage, sources, loose in self.wiring(tuple(options)):
                first = stage * size + 1
                for node, read in enumerate(sources):
                    adjacency[row, [first + source for source in read] or [first - 1], first + node] = True
                adjacency[row, [first + node for node in loose], first + self.nodes] = True
        return OperationGraphs(2, labels, adjacency, places - 2)

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The network of an architecture; ``channels`` instead of the space's own."""
        from archsearch.spaces.networks.randwire import RandWireNetwork

        channels = at_least_one("RandWire", "channels", self.channels if channels is None else channels)
        return RandWireNetwork(self, self.validate(architecture), task, channels)
