"""NAS-Bench-NLP: recurrent cells as recipes, which say of each node what it does with which others.

Reference: Klyuchnikov, Trofimov, Artemova, Salnikov, Fedorov & Burnaev, "NAS-Bench-NLP: neural architecture search
benchmark for natural language processing", 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.checks import whole_number
from archsearch.errors import InvalidArchitecture
from archsearch.grammar.recurrent import RecurrentSpace
from archsearch.spaces.networks.nasbench_nlp_recipe import (
    OPERATIONS,
    Node,
    Recipe,
    read_recipe,
    state_after,
    value_names,
)
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.networks.network import InputShape, Network

WEIGHTS = np.array([2.4, 0.6, 1, 1, 1, 1, 1, 1])
"""How likely ``sample`` draws operations. Those of the benchmark: linear maps 3 (of two inputs 4 times as often as of
three), blend, product and sum 1 each. Ours: each activation 1."""

RECIPES: Mapping[str, str] = {
    "RNN": "linear(x,h0) tanh(0) ; 1",
    "LSTM": (
        "linear(x,h0) sigmoid(0) linear(x,h0) sigmoid(2) linear(x,h0) tanh(4) linear(x,h0) sigmoid(6) "
        "prod(3,h1) prod(1,5) sum(8,9) tanh(10) prod(7,11) ; 12 10"
    ),
    "GRU": (
        "linear(x,h0) sigmoid(0) linear(x,h0) sigmoid(2) linear(x,h0) sigmoid(4) linear(x,h0) prod(1,6) "
        "linear(x,h0) sum(7,8) tanh(9) prod(3,h0) prod(5,10) sum(11,12) ; 13"
    ),
}
"""Cells that ``parse`` knows by name. The gates of the LSTM are input, forget, cell, output. The GRU is PyTorch's;
that blends with the previous state, which no recipe here may do; so a second gate, 5, stands for one minus gate 3, and
node 6 for the map of the state alone: with weights that are so, it is the same function."""


class NASBenchNLP(RecurrentSpace):
    """Recipes of recurrent cells: of up to 24 nodes and 3 hidden states; some 1e53 in the literature.

    Decisions are the numbers of hidden states and of nodes, then each node's operation and inputs, then which nodes are
    the new hidden states. As in the benchmark, the input and all previous hidden states are used, and no previous
    hidden state is an input of a node that is a new one. Nodes that nothing depends on, which the benchmark draws and
    removes, are never there. The benchmark puts an activation behind each linear map, and nowhere else; here an
    activation is an operation as any other, as it is in its own recipe of an LSTM. ``sample`` draws operations with
    ``WEIGHTS``. ``canonical`` names the nodes by what they compute, so that neither their order nor that of
    the inputs of sums, products and linear maps matters.

    Args:
        hidden: The most hidden states, 1 to 3.
        nodes: The most nodes, up to 24, and at least twice as many as hidden states.
        width: Width of hidden states and embeddings, >= 1. The benchmark has 600.
        tied: Whether the decoder has the embedding's weights.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, hidden: int = 2, nodes: int = 16, width: int = 600, tied: bool = True) -> None:
        self.hidden = whole_number("NASBenchNLP", "hidden", hidden, 1, 3)
        self.nodes = whole_number("NASBenchNLP", "nodes", nodes, 2 * self.hidden, 24)
        longest, options = 2 + 4 * self.nodes + self.hidden, max(self.nodes + self.hidden, len(OPERATIONS))
        super().__init__(width, tied, max_length=longest, max_options=options)

    # -- the tree of decisions -----------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Options that leave a way to a valid recipe; see ``options``."""
        return len(self.options(prefix))

    def options(self, prefix: Architecture) -> tuple[int, ...]:
        """What the next decision chooses from: numbers of hidden states, nodes, operations, or values.

        Raises:
            InvalidArchitecture: If ``prefix`` is none.
        """
        return state_after(prefix, self.hidden, self.nodes).options

    def label(self, prefix: Architecture) -> str:
        """What is decided, such as ``node 3: input 0``."""
        state = state_after(prefix, self.hidden, self.nodes)
        if len(prefix) < 2:
            return ("hidden states", "nodes")[len(prefix)]
        if len(state.done) == state.total:
            return f"new hidden state {len(state.new)}"
        where = f"node {len(state.done)}"
        return f"{where}: operation" if state.operation is None else f"{where}: input {len(state.inputs)}"

    def size(self) -> int | None:
        """None: they are too many to count."""
        return None

    def _draw(self, prefix: Architecture, n: int, rng: np.random.Generator) -> int:
        """Operations by ``WEIGHTS``, all else uniformly."""
        state = state_after(prefix, self.hidden, self.nodes)
        if len(prefix) < 2 or len(state.done) == state.total or state.operation is not None:
            return int(rng.integers(n))
        chances = WEIGHTS[list(state.options)]
        return int(rng.choice(n, p=chances / chances.sum()))

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> Recipe:
        """The recipe."""
        state = state_after(architecture, self.hidden, self.nodes)
        return Recipe(state.hidden, state.done, state.new)

    def encode(self, recipe: Recipe) -> Architecture:
        """The architecture that is a recipe.

        Raises:
            InvalidArchitecture: If it is not in the space; the message says which decision.
        """
        wanted = [recipe.hidden, len(recipe.nodes)]
        for node in recipe.nodes:
            wanted += [list(OPERATIONS).index(node.operation), *node.inputs]
        wanted += recipe.new
        prefix: Architecture = ()
        for value in wanted:
            options = self.options(prefix)
            if value not in options:
                names = _option_names(self.label(prefix), recipe)
                known = ", ".join(names(option) for option in options)
                raise InvalidArchitecture(f"{self.label(prefix)}: expected one of {known}, got {names(value)}")
            prefix = (*prefix, options.index(value))
        return self.validate(prefix)

    def format(self, architecture: Architecture) -> str:
        """The nodes, such as ``linear(x,h0) tanh(0)``, and behind a semicolon those that are the new hidden states."""
        recipe = self.decode(architecture)
        names = value_names(recipe)
        nodes = [f"{node.operation}({','.join(names[i] for i in node.inputs)})" for node in recipe.nodes]
        return f"{' '.join(nodes)} ; {' '.join(map(str, recipe.new))}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, or a name: LSTM, GRU, RNN.

        Raises:
            InvalidArchitecture: If ``text`` is neither, or a recipe that is not in the space.
        """
        try:
            return self.encode(read_recipe(RECIPES.get(text.strip(), text)))
        except (ValueError, KeyError, InvalidArchitecture) as error:
            raise InvalidArchitecture(
                f"{text!r} is no {type(self).__name__} with up to {self.hidden} hidden states and {self.nodes} nodes: "
                f"{error}; expected a text such as {RECIPES['RNN']!r}, or a name: {', '.join(RECIPES)}"
            ) from None

    def canonical(self, architecture: Architecture) -> str:
        """The new hidden states as expressions of the inputs, in which each linear map has a number of its own.

        Recipes of equal form are the same family of functions; some that are so, but draw on several maps in turned
        order, have different forms.
        """
        recipe = self.decode(architecture)
        first, plain = 1 + recipe.hidden, value_names(recipe)[: 1 + recipe.hidden]
        for node in recipe.nodes:
            plain.append(f"{node.operation}({','.join(_ordered(node, plain))})")
        numbers: dict[int, int] = {}

        def written(value: int) -> str:
            if value < first:
                return plain[value]
            node = recipe.nodes[value - first]
            if value in numbers:
                return f"#{numbers[value]}"
            if node.operation.startswith("linear"):
                numbers[value] = len(numbers)
            mark = f"#{numbers[value]}=" if value in numbers else ""
            inputs = sorted(node.inputs, key=lambda i: plain[i]) if node.operation != "blend" else node.inputs
            return f"{mark}{node.operation}({','.join(map(written, inputs))})"

        return " ; ".join(written(first + node) for node in recipe.new)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """Inputs, nodes and new hidden states."""
        import networkx

        recipe, graph = self.decode(architecture), networkx.MultiDiGraph()
        for number, name in enumerate(value_names(recipe)):
            inner = number - 1 - recipe.hidden
            graph.add_node(number, label=name if inner < 0 else f"{inner}: {recipe.nodes[inner].operation}")
        for number, node in enumerate(recipe.nodes, 1 + recipe.hidden):
            graph.add_edges_from((source, number) for source in node.inputs)
        for state, new in enumerate(recipe.new):
            graph.add_node(f"new {state}", label=f"h{state}[t]")
            graph.add_edge(1 + recipe.hidden + new, f"new {state}")
        return graph

    def _network(self, architecture: Architecture | None, task: InputShape, width: int) -> Network:
        from archsearch.spaces.networks.nasbench_nlp import RecipeNetwork

        return RecipeNetwork(self, self.validate(architecture), task, width)


def _ordered(node: Node, names: Sequence[str]) -> list[str]:
    """Names of a node's inputs, sorted where their order does not matter."""
    found = [names[i] for i in node.inputs]
    return found if node.operation == "blend" else sorted(found)


def _option_names(label: str, recipe: Recipe) -> Callable[[int], str]:
    """What the options of a decision are called."""
    if label.endswith("operation"):
        return lambda option: list(OPERATIONS)[option]
    return (lambda option: value_names(recipe)[option]) if "input" in label else str
