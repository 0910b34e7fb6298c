"""Recipes of ``NASBenchNLP``: how they are written, and which decisions lead to valid ones; needs no PyTorch."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from archsearch.errors import InvalidArchitecture
from archsearch.trial import Architecture

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


def value_names(recipe: Recipe) -> list[str]:
    """What the values are called: the input, the previous hidden states, the nodes."""
    return ["x", *(f"h{i}" for i in range(recipe.hidden)), *map(str, range(len(recipe.nodes)))]


# -- which decisions leave a way to a valid recipe -----------------------------------------------


class State(NamedTuple):
    """Where the decisions so far have led to.

    Attributes:
        hidden: Hidden states; 0 before that is decided.
        total: Nodes; 0 before that is decided.
        done: The nodes so far.
        operation: Of the node at hand; None: it is decided next.
        inputs: Of the node at hand, so far.
        new: Nodes that are new hidden states, so far.
        options: Of the next decision: numbers of hidden states, nodes, operations, values, or nodes.
    """

    hidden: int
    total: int
    done: tuple[Node, ...]
    operation: str | None
    inputs: tuple[int, ...]
    new: tuple[int, ...]
    options: tuple[int, ...]


@functools.lru_cache(maxsize=50_000)
def state_after(prefix: Architecture, most_hidden: int, most_nodes: int) -> State:
    """Where decisions lead to.

    Args:
        prefix: The decisions.
        most_hidden: Hidden states at most.
        most_nodes: Nodes at most.

    Raises:
        InvalidArchitecture: If one of them is no option.
    """
    if not prefix:
        return State(0, 0, (), None, (), (), tuple(range(1, most_hidden + 1)))
    before = state_after(prefix[:-1], most_hidden, most_nodes)
    if not 0 <= prefix[-1] < len(before.options):
        raise InvalidArchitecture(f"decision {len(prefix) - 1}: expected 0 to {len(before.options) - 1}")
    value = before.options[prefix[-1]]
    if len(prefix) == 1:
        return State(value, 0, (), None, (), (), tuple(range(2 * value, most_nodes + 1)))
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


def _options(state: State) -> list[int]:
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


def _kinds(state: State) -> list[int]:
    """What each value is: the input, a previous state, a dirty or a clean node, loose (0 to 3) or not (4, 5, 6, 6)."""
    loose, clean = _loose(state.done, state.hidden), _clean(state.done, state.hidden)
    found = []
    for value in range(1 + state.hidden + len(state.done)):
        node = value - 1 - state.hidden
        kind = 0 if value == 0 else 1 if node < 0 else 3 if node in clean else 2
        found.append(kind if value in loose else min(kind + 4, 6))  # nodes that are read are all alike
    return found


def _hidden_options(state: State) -> list[int]:
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
