"""AdaNet: an ensemble that grows by one subnetwork a step, as deep as the latest or one layer deeper.

Reference: Cortes, Gonzalvo, Kuznetsov, Mohri & Yang, "AdaNet: adaptive structural learning of artificial neural
networks", ICML 2017. The controller ``GreedyGrowth`` is the paper's. Sizes are our own: small enough for 8x8 images.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx
    import torch

    from archsearch.networks.network import InputShape, Network

STOP, SAME, DEEPER = 0, 1, 2


class AdaNet(Space):
    """Growing ensembles of subnetworks: each has as many layers as the one before, or one more; the first has one.

    A decision is whether the ensemble ends (option 0), or has another member, as deep (1) or one layer deeper (2). So
    each ensemble can grow in two ways, by one member. Texts are the depths, such as ``1 1 2 3``. A layer is a 3x3
    convolution, batch normalisation and ReLU; it reads the layer before it, in its own member and in the one before.
    Logits are the sum of those of the members, linear in their maps of 4x4 places, each times a learned weight.

    ``morph`` hands the weights of an ensemble to one that has more members. The new members start with the weight 0, so
    the function is kept. ``complexity`` is the sum of the square roots of the depths. There is no super-network.

    Args:
        members: The most members, >= 1.
        depth: The most layers of a member, >= 1.
        channels: Channels of all layers, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, members: int = 8, depth: int = 5, channels: int = 16) -> None:
        self.members = at_least_one("AdaNet", "members", members)
        self.depth = at_least_one("AdaNet", "depth", depth)
        self.channels = at_least_one("AdaNet", "channels", channels)
        super().__init__(max_length=self.members + 1, max_options=3)

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``; there is a first member, and an end after the last: so each member is one decision."""
        if not prefix or (len(prefix) == self.members and (prefix[-1] != STOP or self.members == 1)):
            return 1
        if prefix[-1] == STOP and len(prefix) > 1:
            return 0
        return 3 if self._depths(prefix)[-1] < self.depth else 2

    def label(self, prefix: Architecture) -> str:
        """Such as ``member 2``."""
        return f"member {len(prefix) + 1}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """How many members there are, how deep the latest is, and whether the ensemble has ended."""
        ended = len(prefix) > 1 and prefix[-1] == STOP
        return ended or (len(prefix), self._depths(prefix)[-1:])

    def _depths(self, prefix: Architecture) -> tuple[int, ...]:
        depths = [1] * bool(prefix)
        for option in prefix[1:]:
            if option != STOP:
                depths.append(depths[-1] + (option == DEEPER))
        return tuple(depths)

    def decode(self, architecture: Architecture) -> tuple[int, ...]:
        """The depths of the members."""
        return self._depths(self.validate(architecture))

    def complexity(self, architecture: Architecture) -> float:
        """The sum of the square roots of the depths; see ``archsearch.abilities.Complex``."""
        return sum(math.sqrt(depth) for depth in self.decode(architecture))

    # -- texts and graphs --------------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """The depths, such as ``1 1 2 3``."""
        return " ".join(map(str, self.decode(architecture)))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no ensemble of this space.
        """
        words = text.split()
        depths = [int(word) if word.isascii() and word.isdigit() else 0 for word in words]
        steps = [later - sooner for sooner, later in itertools.pairwise(depths)]
        fine = depths[:1] == [1] and set(steps) <= {0, 1} and len(depths) <= self.members and depths[-1] <= self.depth
        if not fine or text.strip() != " ".join(map(str, depths)):
            raise InvalidArchitecture(
                f"{text!r:.200} is no architecture of AdaNet: expected the depths of 1 to {self.members} members, the "
                f"first 1, each as that before or one more, up to {self.depth}, such as '1 1 2'"
            )
        return (0, *(SAME + step for step in steps), STOP)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """All layers, from ``input`` to ``output``."""
        import networkx

        graph = networkx.MultiDiGraph()
        graph.add_node("input", label="input")
        graph.add_node("output", label="output")
        depths = self.decode(architecture)
        for member, depth in enumerate(depths):
            for layer in range(depth):
                graph.add_node((member, layer), label=f"conv {member + 1}.{layer + 1}")
                graph.add_edge((member, layer - 1) if layer else "input", (member, layer))
                if layer and member and layer <= depths[member - 1]:
                    graph.add_edge((member - 1, layer - 1), (member, layer))
            graph.add_edge((member, depth - 1), "output")
        return graph

    # -- networks ----------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The ensemble; ``channels`` instead of the space's own."""
        from archsearch.spaces.networks.adanet import AdaNetNetwork

        channels = at_least_one("AdaNet", "channels", self.channels if channels is None else channels)
        return AdaNetNetwork(self.validate(architecture), self.decode(architecture), task, channels)

    def morph(self, network: Network, child: Network, generator: torch.Generator) -> bool:
        """Gives ``child`` the members that it has in common with ``network``, from the first one on.

        Args:
            network: The trained parent, a network of this space.
            child: Another one, with initial weights; changed in place.
            generator: Not needed.

        Returns:
            Whether the child has all members of the parent: then it computes the same function in evaluation mode.

        Raises:
            UsageError: If one of them is no network of this space.
        """
        from archsearch.networks.network import two_to_morph
        from archsearch.spaces.networks.adanet import AdaNetNetwork, morph

        return morph(*two_to_morph(self, network, child, AdaNetNetwork))
