"""Genetic CNN: stages of equal convolutions, with a bit for each pair of them.

Reference: Xie & Yuille, "Genetic CNN", ICCV 2017, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.checks import number, whole_number
from archsearch.basics.numbering import least_numbering
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.grammar.links import Layer, ScaledLinks
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network


class GeneticCNN(ScaledLinks):
    """Stages of nodes, a bit for each edge: 19 bits, 524,288 encodings with 3, 4 and 5 nodes.

    Nodes are convolutions of one kind. A stage begins with one, which feeds the nodes without predecessor, and ends
    with one, which gets the nodes without successor; nodes without either are left out, and a stage without edges is
    its first convolution alone. What feeds a node is added up. Behind each stage height and width are halved.

    Args:
        stages: Number of nodes of each stage, 1 to 7 each.
        exchange: Probability, 0 to 1, with which ``crossover`` takes a stage from the second parent.
        kernel: Side of the convolutions, an odd number from 1 to 7.
        channels: Channels of the first stage, >= 1; each later stage has twice as many.

    Raises:
        UsageError: If a number is out of range, or the stages are no list.
    """

    def __init__(
        self, stages: Sequence[int] = (3, 4, 5), exchange: float = 0.2, kernel: int = 5, channels: int = 64
    ) -> None:
        if not isinstance(stages, (list, tuple)) or not stages:
            raise UsageError(f"GeneticCNN: stages: expected a list of numbers of nodes such as 3, 4, 5, got {stages!r}")
        self.stages = [whole_number("GeneticCNN", "stages", size, 1, 7) for size in stages]
        if max(self.stages) < 2:
            raise UsageError(f"GeneticCNN: stages: expected one of at least 2 nodes, got {stages!r}")
        self.exchange = number("GeneticCNN", "exchange", exchange, low=0, high=1)
        self.kernel = whole_number("GeneticCNN", "kernel", kernel, 1, 7)
        if self.kernel % 2 == 0:
            raise UsageError(f"GeneticCNN: kernel: expected an odd number from 1 to 7, got {kernel!r}")
        super().__init__(channels, self.stages, {}, ends=True)

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """Exchanges whole stages: each comes from ``second`` with the probability ``exchange``."""
        pairs = zip(self.read(first), self.read(second), strict=True)
        return self.write([two if rng.random() < self.exchange else one for one, two in pairs])

    def format(self, architecture: Architecture) -> str:
        """As in the paper, the bits node by node: ``1-01 | 0-01-100 | ...``."""
        stages = []
        for layers in self.read(architecture):
            nodes = ["".join(str(int(j in layer.sources)) for j in range(i)) for i, layer in enumerate(layers)]
            stages.append("-".join(nodes[1:]) or "-")
        return " | ".join(stages)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no such text.
        """
        wanted = self.format((0,) * self.max_length)
        compact = "".join(text.split())
        if "".join("0" if c == "1" else c for c in compact) != "".join(wanted.split()):
            raise InvalidArchitecture(
                f"{text!r:.200} is no architecture of GeneticCNN: expected bits such as {wanted!r}"
            )
        return self.validate(tuple(int(c) for c in compact if c in "01"))

    def canonical(self, architecture: Architecture) -> Architecture:
        """The least encoding among those that number the nodes of each stage differently.

        All nodes are of one kind and sums have no order, so these are the same function of weights that lie elsewhere;
        numbers of nodes that are left out do not count.
        """
        return self.write([self._least(layers) for layers in self.read(architecture)])

    def _least(self, layers: Sequence[Layer]) -> list[Layer]:
        def written(node: int, new: Mapping[int, int]) -> tuple[bool, ...] | None:
            if not all(source in new for source in layers[node].sources):
                return None
            fed = {new[source] for source in layers[node].sources}
            return tuple(j in fed for j in range(len(new)))

        form = least_numbering(range(len(layers)), {}, written)
        return [Layer((), tuple(j for j, bit in enumerate(bits) if bit)) for bits in form]

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int) -> Network:
        from archsearch.spaces.networks.genetic_cnn import GeneticCNNNetwork

        return GeneticCNNNetwork(self, architecture, task, channels)
