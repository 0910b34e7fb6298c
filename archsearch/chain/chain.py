"""Spaces that are chains of layers: everything but the facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archsearch.chain.blocks import IDENTITY
from archsearch.chain.rules import Rules
from archsearch.errors import InvalidArchitecture
from archsearch.relaxing import RelaxedDecisions
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx
    import torch

    from archsearch.networks.network import InputShape, Network


class Chain(RelaxedDecisions, Space):
    """Base of spaces whose networks are chains of layers, each with a choice of block.

    One decision per layer: its options are ``identity``, where the layer can be left out, then the blocks in their
    order. Texts are their names joined by dashes, or the name of a published architecture.

    ``canonical``: identities inside a run of residual layers (stride 1, equal widths) compute nothing, so only the
    sequence of the other layers of the run counts: 3 such layers with 6 candidates have 1 + 6 + 36 + 216 = 259
    different forms, not 343. An identity that changes width or size is a layer like any other.

    Args:
        rules: The facts of the space.

    Attributes:
        layers: The layers with their widths, strides and options.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.layers = rules.layers
        super().__init__(arities=[len(layer.blocks) for layer in self.layers])

    def names(self, architecture: Architecture) -> tuple[str, ...]:
        """The name of each layer's option, such as ``("identity", "k3e6")``."""
        return tuple(layer.options[option] for layer, option in zip(self.layers, architecture, strict=True))

    def label(self, prefix: Architecture) -> str:
        """The layer, such as ``layer 3``; counted from 0, as in the networks."""
        return f"layer {len(prefix)}"

    def candidate_names(self, decision: int) -> tuple[str, ...]:
        """The options of a layer by name; of a layer without a residual connection, identity is no identity."""
        layer = self.layers[decision]
        return tuple(block.shown(layer) for block in layer.blocks)

    def format(self, architecture: Architecture) -> str:
        """The names of the options joined by dashes, such as ``k3e6-identity-k5e3``."""
        return "-".join(self.names(architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, or the name of a published architecture.

        Raises:
            InvalidArchitecture: If ``text`` has another number of layers, or a layer lacks the option named.
        """
        names = self.rules.names.get(text.strip(), text).strip().split("-")
        if len(names) != len(self.layers):
            known = "".join(f", or {name}" for name in self.rules.names)
            raise InvalidArchitecture(
                f"{text!r} is no architecture of {type(self).__name__}: expected {len(self.layers)} layers joined by "
                f"dashes, such as {self.format((0,) * len(self.layers))}{known}, got {len(names)}"
            )
        for i, (name, layer) in enumerate(zip(names, self.layers, strict=True)):
            if name not in layer.options:
                raise InvalidArchitecture(
                    f"{text!r} is no architecture of {type(self).__name__}: layer {i}: expected one of "
                    f"{', '.join(layer.options)}, got {name!r}"
                )
        return tuple(layer.options.index(name) for name, layer in zip(names, self.layers, strict=True))

    def decode(self, architecture: Architecture) -> str:
        """The text of the architecture."""
        return self.format(architecture)

    def canonical(self, architecture: Architecture) -> str:
        """The names of the layers without the identities of residual layers; ``|`` stands where a run begins or ends.

        A run is a longest sequence of residual layers. The class's docstring says why their identities do not count.
        """
        runs: list[list[str]] = [[]]
        for name, layer in zip(self.names(architecture), self.layers, strict=True):
            if not layer.residual:
                runs += [[name], []]
            elif name != IDENTITY:
                runs[-1].append(name)
        return "|".join("-".join(run) for run in runs)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain of layers; labels are such as ``layer 3: k5e6``."""
        graph = super().graph(architecture)
        for i, name in enumerate(self.names(architecture)):
            graph.nodes[i]["label"] = f"{self.label(architecture[:i])}: {name}"
        return graph

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network of an architecture.

        Args:
            architecture: One option per layer.
            task: What has an input shape and a number of classes.
            channels: Width of the first stage; all other widths are scaled in proportion and rounded to multiples of 4,
                at least 4. None: the space's own widths, exactly.
        """
        return self._network(self.validate(architecture), task, channels)

    def super_network(self, task: InputShape, *, channels: int | None = None) -> Network:
        """The network with all options of every layer; see ``network``."""
        return self._network(None, task, channels)

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int | None) -> Network:
        from archsearch.chain.network import ChainNetwork

        width = self.rules.first_width(type(self).__name__, channels)
        return ChainNetwork(architecture, task, self.rules, width)


class MorphableChain(Chain):
    """A chain of MBConv layers, which trained networks can be handed on in."""

    def morph(self, network: Network, child: Network, generator: torch.Generator) -> bool:
        """Gives ``child`` as much of the function of ``network`` as can be.

        Kept exactly: a residual layer that was left out becomes an MBConv, kernels grow, expansions grow. All other
        changes lose something: what fits is copied, the rest stays as ``child`` was initialised. An expansion of 1 has
        no convolution that could be widened; blocks with groups, several kernels or squeeze-and-excitation begin anew.
        Wider layers replicate hidden channels (Net2Wider, Chen et al. 2016), but the copies of a channel divide its
        outgoing weights unequally, so that they part in training without any noise.

        Args:
            network: The trained parent, a stand-alone network of this space.
            child: Another one, with initial weights; changed in place.
            generator: Draws which hidden channels a wider layer replicates.

        Returns:
            Whether the child computes the same function, up to rounding, in evaluation mode.

        Raises:
            UsageError: If one of them is no stand-alone network of this space.
        """
        from archsearch.chain.morphs import morph
        from archsearch.chain.network import ChainNetwork
        from archsearch.networks.network import two_to_morph

        return morph(*two_to_morph(self, network, child, ChainNetwork), generator)
