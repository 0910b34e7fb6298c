"""NAS-Bench-NLP: recurrent cells as recipes, which say of each node what it does with which others.

Reference: Klyuchnikov, Trofimov, Artemova, Salnikov, Fedorov & Burnaev, "NAS-Bench-NLP: neural architecture search
benchmark for natural language processing", 2020.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.basics.kinds import TOKENS
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.networks.network import InputShape, Network

OPERATIONS: Mapping[str, int] = {
    "linear": 2,
    "linear3": 3,
    "blend": 3,
    "prod": 2,
    "sum": 2,
    "tanh": 1,
    "sigmoid": 1,
    "leaky_relu": 1,
}
"""How many inputs each takes. ``blend`` of a, b and c is a * b + (1 - a) * c; only linear maps have weights."""

WEIGHTS = np.array([2.4, 0.6, 1, 1, 1, 1, 1, 1])
"""How likely ``sample`` draws them: linear maps as likely as three others, and of these four in five of two inputs."""

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
"""Known cells that ``parse`` knows by name. The gates of the LSTM are input, forget, cell, output. The GRU is PyTorch's;
that blends with the previous state, which no recipe here may do, so that a second gate, 5, stands for one minus gate 3,
and node 6 for the map of the state alone: with weights that are so, it is the same function."""

_NODE = re.compile(r"(\w+)\((\w+(?:,\w+)*)\)")


class Node(NamedTuple):
    """A node of a recipe.

    Attributes:
        operation: One of ``OPERATIONS``.
        inputs: Numbers of values: 0 is the input, then come the previous hidden states, then the nodes.
    """

    operation: str
    inputs: tuple[int, ...]


class Recipe(NamedTuple):
    """A cell written out.

    Attributes:
        hidden: How many hidden states there are.
        nodes: In an order in which each comes after its inputs.
        new: The node that each new hidden state is.
    """

    hidden: int
    nodes: tuple[Node, ...]
    new: tuple[int, ...]


class NASBenchNLP(Space):
    """Recipes of recurrent cells: of up to 24 nodes and 3 hidden states; some 1e53 in the literature.

    Decisions are the numbers of hidden states and of nodes, then each node's operation and inputs, then which nodes are
    the new hidden states. As in the benchmark, the input and all previous hidden states are used, and no previous
    hidden state is an input of a node that is a new one. Nodes that nothing depends on, which the benchmark draws and
    removes, are never there. The benchmark puts an activation behind each linear map, and nowhere else; here an
    activation is an operation as any other, as it is in its own recipe of an LSTM. ``sample`` draws operations with the
    benchmark's weights. ``canonical`` names the nodes by what they compute, so that neither their order nor that of
    the inputs of sums, products and linear maps matters.

    Args:
        hidden: Hidden states at most, 1 to 3.
        nodes: At most, 2 to 24, and more than hidden states.
        width: Of hidden states and embeddings, >= 1. The benchmark has 600.
        tied: Whether the decoder has the embedding's weights.

    Raises:
        UsageError: If a setting is out of range.
    """

    kinds: ClassVar[tuple[str, ...]] = (TOKENS,)

    def __init__(self, hidden: int = 2, nodes: int = 16, width: int = 600, tied: bool = True) -> None:
        self.hidden = whole_number("NASBenchNLP", "hidden", hidden, 1, 3)
        self.nodes = whole_number("NASBenchNLP", "nodes", nodes, 2 * self.hidden, 24)
        self.width = at_least_one("NASBenchNLP", "width", width)
        if not isinstance(tied, bool):
            raise UsageError(f"NASBenchNLP: tied: expected true or false, got {tied!r}")
        self.tied = tied
        super().__init__(
            max_length=2 + 4 * self.nodes + self.hidden, max_options=max(self.nodes + self.hidden, len(OPERATIONS))
        )

    # -- the tree of decisions -----------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Options that leave a way to a valid recipe; see ``options``."""
        return len(self.options(prefix))

    def options(self, prefix: Architecture) -> tuple[int, ...]:
        """What the next decision chooses from: numbers of hidden states, nodes, operations, or values.

        Raises:
            InvalidArchitecture: If ``prefix`` is none.
        """
        return _state(prefix, self.hidden, self.nodes).options

    def label(self, prefix: Architecture) -> str:
        """What is decided, such as ``node 3: input 0``."""
        state = _state(prefix, self.hidden, self.nodes)
        if len(prefix) < 2:
            return ("hidden states", "nodes")[len(prefix)]
        if len(state.done) == state.total:
            return f"new hidden state {len(state.new)}"
        where = f"node {len(state.done)}"
        return f"{where}: operation" if state.operation is None else f"{where}: input {len(state.inputs)}"

    def size(self) -> int | None:
        """None: they are too many to count."""
        return None

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draws decision by decision: operations by ``WEIGHTS``, all else uniformly."""
        return self._complete((), {}, rng)

    def _draw(self, prefix: Architecture, n: int, rng: np.random.Generator) -> int:
        state = _state(prefix, self.hidden, self.nodes)
        if len(prefix) < 2 or len(state.done) == state.total or state.operation is not None:
            return int(rng.integers(n))
        chances = WEIGHTS[list(state.options)]
        return int(rng.choice(n, p=chances / chances.sum()))

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> Recipe:
        """The recipe."""
        state = _state(architecture, self.hidden, self.nodes)
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
        names = _value_names(recipe)
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
        first, plain = 1 + recipe.hidden, _value_names(recipe)[: 1 + recipe.hidden]
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
        for number, name in enumerate(_value_names(recipe)):
            inner = number - 1 - recipe.hidden
            graph.add_node(number, label=name if inner < 0 else f"{inner}: {recipe.nodes[inner].operation}")
        for number, node in enumerate(recipe.nodes, 1 + recipe.hidden):
            graph.add_edges_from((source, number) for source in node.inputs)
        for state, node in enumerate(recipe.new):
            graph.add_node(f"new {state}", label=f"h{state}[t]")
            graph.add_edge(1 + recipe.hidden + node, f"new {state}")
        return graph

    def network(self, architecture: Architecture, task: InputShape, *, width: int | None = None) -> Network:
        """The stand-alone network of a recipe; there is no super-network.

        Args:
            architecture: The recipe.
            task: What has a vocabulary of ``classes`` tokens.
            width: Instead of the space's own.
        """
        from archsearch.spaces.networks.nasbench_nlp import RecipeNetwork

        width = at_least_one("NASBenchNLP", "width", self.width if width is None else width)
        return RecipeNetwork(self, self.validate(architecture), task, width)


def read_recipe(text: str) -> Recipe:
    """Reads a recipe, which need not be in the space.

    Raises:
        ValueError: If it is none.
    """
    body, semicolon, end = text.partition(";")
    new = tuple(int(word) for word in end.split())
    if not semicolon or not new:
        raise ValueError("there is no semicolon with the new hidden states behind it")
    nodes = []
    for number, word in enumerate(body.split()):
        matched = _NODE.fullmatch(word)
        if matched is None or OPERATIONS.get(matched[1]) != 1 + matched[2].count(","):
            raise ValueError(f"node {number}, {word!r}, is no operation with its inputs")
        known = ["x", *(f"h{i}" for i in range(len(new))), *map(str, range(number))]
        nodes.append(Node(matched[1], tuple(known.index(name) for name in matched[2].split(","))))
    return Recipe(len(new), tuple(nodes), new)


def _value_names(recipe: Recipe) -> list[str]:
    return ["x", *(f"h{i}" for i in range(recipe.hidden)), *map(str, range(len(recipe.nodes)))]


def _ordered(node: Node, names: Sequence[str]) -> list[str]:
    """Names of a node's inputs, sorted where their order does not matter."""
    found = [names[i] for i in node.inputs]
    return found if node.operation == "blend" else sorted(found)


def _option_names(label: str, recipe: Recipe) -> Callable[[int], str]:
    """What the options of a decision are called."""
    if label.endswith("operation"):
        return lambda option: list(OPERATIONS)[option]
    return (lambda option: _value_names(recipe)[option]) if "input" in label else str


# -- which decisions leave a way to a valid recipe -----------------------------------------------


class _State(NamedTuple):
    """Where the decisions so far have led to."""

    hidden: int
    total: int
    done: tuple[Node, ...]
    operation: str | None
    inputs: tuple[int, ...]
    new: tuple[int, ...]
    options: tuple[int, ...]


@functools.lru_cache(maxsize=50_000)
def _state(prefix: Architecture, most_hidden: int, most_nodes: int) -> _State:
    if not prefix:
        return _State(0, 0, (), None, (), (), tuple(range(1, most_hidden + 1)))
    before = _state(prefix[:-1], most_hidden, most_nodes)
    if not 0 <= prefix[-1] < len(before.options):
        raise InvalidArchitecture(f"decision {len(prefix) - 1}: expected 0 to {len(before.options) - 1}")
    value = before.options[prefix[-1]]
    if len(prefix) == 1:
        return _State(value, 0, (), None, (), (), tuple(range(2 * value, most_nodes + 1)))
    if len(prefix) == 2:
        state = before._replace(total=value)
    elif len(before.done) == before.total:
        state = before._replace(new=(*before.new, value))
    elif before.operation is None:
        state = before._replace(operation=list(OPERATIONS)[value])
    else:
        state = before._replace(inputs=(*before.inputs, value))
        assert state.operation is not None
        if len(state.inputs) == OPERATIONS[state.operation]:
            done = (*state.done, Node(state.operation, state.inputs))
            state = state._replace(done=done, operation=None, inputs=())
    return state._replace(options=tuple(_options(state)))


def _options(state: _State) -> list[int]:
    if len(state.done) == state.total:
        return _hidden_options(state)
    kinds = _kinds(state)
    counts = [sum(kind == k for i, kind in enumerate(kinds) if i not in state.inputs) for k in range(7)]
    clean = min(len(_clean(state.done, state.hidden)), state.hidden)
    dirty = any(kinds[value] in (1, 5) for value in state.inputs)
    after = clean, state.total - len(state.done) - 1, state.hidden
    if state.operation is None:
        sizes = enumerate(OPERATIONS.values())
        return [i for i, size in sizes if size <= len(kinds) and _ends(tuple(counts), size, dirty, *after)]
    left, fine = OPERATIONS[state.operation] - len(state.inputs) - 1, []
    for kind in range(7):
        fewer = (*counts[:kind], counts[kind] - 1, *counts[kind + 1 :])
        fine.append(counts[kind] > 0 and _ends(fewer, left, dirty or kind in (1, 5), *after))
    return [value for value, kind in enumerate(kinds) if value not in state.inputs and fine[kind]]


def _kinds(state: _State) -> list[int]:
    """What each value is: the input, a previous state, a dirty or a clean node, loose (0 to 3) or not (4, 5, 6, 6)."""
    loose, clean = _loose(state.done, state.hidden), _clean(state.done, state.hidden)
    found = []
    for value in range(1 + state.hidden + len(state.done)):
        node = value - 1 - state.hidden
        kind = 0 if value == 0 else 1 if node < 0 else 3 if node in clean else 2
        found.append(kind if value in loose else min(kind + 4, 6))  # nodes that are read are all alike
    return found


def _hidden_options(state: _State) -> list[int]:
    """Nodes that read no previous hidden state; in the end all that nothing depends on must be among them."""
    loose, clean = _loose(state.done, state.hidden), _clean(state.done, state.hidden)
    left = state.hidden - len(state.new)
    first = 1 + state.hidden
    missing = {value - first for value in loose} - set(state.new)
    if not left:
        return []
    return sorted(missing) if len(missing) == left else [node for node in sorted(clean) if node not in state.new]


def _loose(nodes: tuple[Node, ...], hidden: int) -> set[int]:
    """Values that nothing reads."""
    return set(range(1 + hidden + len(nodes))) - {value for node in nodes for value in node.inputs}


def _clean(nodes: tuple[Node, ...], hidden: int) -> set[int]:
    """Nodes that read no previous hidden state."""
    return {i for i, node in enumerate(nodes) if not any(1 <= value <= hidden for value in node.inputs)}


@functools.lru_cache(maxsize=200_000)
def _ends(counts: tuple[int, ...], left: int, dirty: bool, clean: int, nodes_left: int, hidden: int) -> bool:
    """Whether the recipe can be made valid once the node at hand has ``left`` further inputs.

    Args:
        counts: Values that it does not read yet, by kind.
        left: Inputs that it still takes.
        dirty: Whether it reads a previous hidden state already.
        clean: Clean nodes before it, up to ``hidden``.
        nodes_left: Nodes after it.
        hidden: Hidden states.
    """
    if left == 0:
        loose = [*counts[:4]]
        loose[2 if dirty else 3] += 1
        return _needed(*loose, min(clean + (not dirty), hidden), hidden) <= nodes_left
    for kind, count in enumerate(counts):
        if count:
            fewer = (*counts[:kind], count - 1, *counts[kind + 1 :])
            if _ends(fewer, left - 1, dirty or kind in (1, 5), clean, nodes_left, hidden):
                return True
    return False


@functools.lru_cache(maxsize=200_000)
def _needed(x: int, states: int, dirty: int, clean: int, found: int, hidden: int) -> int:
    """Nodes that it takes at least until only clean nodes are loose, no more than hidden states, and as many are there.

    Args:
        x: Whether the input is loose.
        states: Previous hidden states that are loose.
        dirty: Loose nodes that read one of them.
        clean: Loose nodes that read none.
        found: Clean nodes, up to ``hidden``.
        hidden: Hidden states.
    """
    if not x and not states and not dirty and clean <= hidden and found >= hidden:
        return 0
    if states:  # they make a node dirty, whatever else it reads
        read = min(states, 3)
        more = min(dirty, 3 - read)
        return 1 + _needed(x * (read + more >= 3), states - read, dirty - more + 1, clean, found, hidden)
    room = 3 - x
    fewer_dirty = min(dirty, room)
    fewer_clean = min(clean, room - fewer_dirty) if clean > hidden - 1 else 0
    if not x and not fewer_dirty and not fewer_clean:
        fewer_clean = min(clean, 1)
    return 1 + _needed(0, 0, dirty - fewer_dirty, clean - fewer_clean + 1, min(found + 1, hidden), hidden)
