"""The recurrent cell of NAS-RL: a binary tree that combines input and previous state, and a memory besides.

Reference: Zoph & Le, "Neural architecture search with reinforcement learning", ICLR 2017, section 3.4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.grammar.recurrent import SharedRecurrentSpace
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.networks.network import InputShape, Network

COMBINATIONS = ("add", "mul")
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu")
BASES = (2, 4, 8, 16)

_STEP = re.compile(r"(\w+)-(\w+)")


class Step(NamedTuple):
    """How two values become one.

    Attributes:
        combination: One of ``COMBINATIONS``.
        activation: One of ``ACTIVATIONS``.
    """

    combination: str
    activation: str

    def __str__(self) -> str:
        return f"{self.combination}-{self.activation}"


class Tree(NamedTuple):
    """A cell written out.

    Attributes:
        nodes: The leaves, then the inner nodes level by level; the last one is the root.
        inject: How the previous memory is combined with a node's output.
        into: That node.
        memory: The node whose value before its activation is the new memory.
    """

    nodes: tuple[Step, ...]
    inject: Step
    into: int
    memory: int


class NASRLCell(SharedRecurrentSpace):
    """Recurrent cells of NAS-RL: with 8 leaves 8^16 * 15^2 = 6.3e16 encodings.

    A leaf combines a linear map of the input with one of the previous hidden state, an inner node two nodes; each by
    addition or elementwise product, and then an activation. The root's output is the new hidden state. A further
    step combines the previous memory with one node's output, and one node's value before its activation becomes the
    new memory. The paper gives the rule and an example with two leaves, and about 6e16 for eight; that all nodes may
    take and give the memory is our reading, which gives this number: 15 nodes and a step of 8 choices each, and two
    indices over 15 nodes. ``canonical`` is the tree whose branches have no order.

    Args:
        base: Leaves, 2, 4, 8 or 16.
        width: Of hidden states and embeddings, >= 1.
        tied: Whether the decoder has the embedding's weights.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, base: int = 8, width: int = 300, tied: bool = True) -> None:
        self.base = at_least_one("NASRLCell", "base", base)
        if self.base not in BASES:
            raise UsageError(f"NASRLCell: base: expected one of {', '.join(map(str, BASES))}, got {base!r}")
        self._nodes = 2 * self.base - 1
        arities = [len(COMBINATIONS), len(ACTIVATIONS)] * (self._nodes + 1) + [self._nodes] * 2
        super().__init__(width, tied, arities=arities)

    def label(self, prefix: Architecture) -> str:
        """The node and what is decided, such as ``node 3: activation``."""
        number, what = divmod(len(prefix), 2)
        if number > self._nodes:
            return ("inject: node", "memory: node")[what]
        place = "inject" if number == self._nodes else f"node {number}"
        return f"{place}: {('combination', 'activation')[what]}"

    def children(self, node: int) -> tuple[int, int] | None:
        """The nodes that an inner node combines; None: it is a leaf."""
        return None if node < self.base else (2 * (node - self.base), 2 * (node - self.base) + 1)

    def decode(self, architecture: Architecture) -> Tree:
        """The tree with names."""
        pairs = zip(architecture[:-2:2], architecture[1:-2:2], strict=True)
        *nodes, inject = (Step(COMBINATIONS[one], ACTIVATIONS[other]) for one, other in pairs)
        return Tree(tuple(nodes), inject, *architecture[-2:])

    def format(self, architecture: Architecture) -> str:
        """The nodes, such as ``add-tanh``, then ``inject add-relu 0 memory 1``."""
        tree = self.decode(architecture)
        return f"{' '.join(map(str, tree.nodes))} inject {tree.inject} {tree.into} memory {tree.memory}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is something else.
        """
        words = text.split()
        try:
            *steps, word, inject, into, memory, node = words
            if (word, memory) != ("inject", "memory"):
                raise ValueError(f"{word!r} and {memory!r} are not inject and memory")
            found: list[int] = []
            for step in (*steps, inject):
                matched = _STEP.fullmatch(step)
                if matched is None:
                    raise ValueError(f"{step!r} is no combination with an activation")
                found += [COMBINATIONS.index(matched[1]), ACTIVATIONS.index(matched[2])]
            return self.validate([*found, int(into), int(node)])
        except (ValueError, InvalidArchitecture) as error:
            raise InvalidArchitecture(
                f"{text!r} is no {type(self).__name__} of {self.base} leaves: {error}; expected a text such as "
                f"{self.format((0,) * self.max_length)}"
            ) from None

    def canonical(self, architecture: Architecture) -> str:
        """The tree as a text in which the two branches of a node have no order, since both combinations commute."""
        tree = self.decode(architecture)
        return self._written(tree, self._nodes - 1)

    def _written(self, tree: Tree, node: int) -> str:
        marks = f"<{tree.inject}" * (node == tree.into) + ">" * (node == tree.memory)
        below = self.children(node)
        branches = "" if below is None else ",".join(sorted(self._written(tree, child) for child in below))
        return f"{tree.nodes[node]}{marks}[{branches}]"

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """Inputs, nodes and outputs; nodes carry what they do."""
        import networkx

        tree, graph = self.decode(architecture), networkx.MultiDiGraph()
        for name in ("x[t]", "h[t-1]", "c[t-1]", "h[t]", "c[t]"):
            graph.add_node(name, label=name)
        for number, step in enumerate(tree.nodes):
            graph.add_node(number, label=f"{number}: {step}")
            for source in self.children(number) or ("x[t]", "h[t-1]"):
                graph.add_edge(source, number)
        graph.add_edge("c[t-1]", tree.into, label=str(tree.inject))
        graph.add_edge(self._nodes - 1, "h[t]")
        graph.add_edge(tree.memory, "c[t]")
        return graph

    def _network(self, architecture: Architecture | None, task: InputShape, width: int) -> Network:
        from archsearch.spaces.networks.nasrl_cell import NASRLCellNetwork

        return NASRLCellNetwork(self, architecture, task, width)
