"""How far two graphs are apart: their layers are matched by optimal transport.

Reference: Kandasamy et al., "Neural architecture search with Bayesian optimisation and optimal transport", NeurIPS
2018: OTMANN. Every layer has a mass, that of a convolution being what it connects; mass of one graph is carried to that
of the other at a cost by operations and by places in the graph, or is left over at a cost of 1. What is left over is
carried to a place that belongs to no layer; so this is optimal transport between equal masses under a metric, and
keeps the triangle inequality. Constants are our own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from archsearch.graphs.graph import Graph
from archsearch.graphs.shapes import channels_of, merged_channels

Array = npt.NDArray[np.float64]

UNIT = 1_000.0
"""Connections that make a mass of 1."""

SHARE = 0.1
"""Of the mass of all convolutions: what all other layers have together, and the input, and the output."""

MOST = 2.0
"""Cost of carrying a mass between layers that have nothing in common; that of leaving both over is as much."""

PLACES = 0.1
"""Cost of a step more or less on the way from the input or to the output."""


def distance(first: Graph, second: Graph) -> float:
    """A pseudo-metric: >= 0, 0 between equal graphs, symmetric, with the triangle inequality.

    Args:
        first: A graph.
        second: Another one.
    """
    from scipy.optimize import linprog

    masses, labels, places = _layers(first)
    other_masses, other_labels, other_places = _layers(second)
    apart = np.abs(places[:, None] - other_places[None]).mean(-1) * PLACES
    apart += np.array([[_unlike(one, other) for other in other_labels] for one in labels])
    # One row and one column more: mass that is left over. Carrying nothing to nothing is free.
    costs = np.pad(np.minimum(apart, MOST), ((0, 1), (0, 1)), constant_values=1.0)
    costs[-1, -1] = 0.0
    rows, columns = np.append(masses, other_masses.sum()), np.append(other_masses, masses.sum())
    n, m = costs.shape
    sums = np.zeros((n + m, n * m))
    for i in range(n):
        sums[i, i * m : (i + 1) * m] = 1
    for j in range(m):
        sums[n + j, j::m] = 1
    found = linprog(costs.ravel(), A_eq=sums[:-1], b_eq=np.concatenate([rows, columns])[:-1], method="highs")
    return max(0.0, float(found.fun))


def _unlike(one: tuple[str, float], other: tuple[str, float]) -> float:
    """How unlike two operations are: kernels of the same kind by their size, anything else not at all alike."""
    return MOST if one[0] != other[0] else min(MOST, 0.1 * abs(one[1] - other[1]))


def _layers(graph: Graph) -> tuple[Array, list[tuple[str, float]], Array]:
    """Of the input, the nodes and the output: masses, kinds with sizes, and lengths of paths, shape (layers, 4)."""
    channels, last = channels_of(graph), len(graph) + 1
    inputs = {i: graph.node(i).inputs for i in graph.numbers()} | {last: tuple(graph.loose())}
    masses, labels = [0.0], [("input", 0.0)]
    for i in graph.numbers():
        node = graph.node(i)
        masses.append(merged_channels(node, channels) * channels[i] / UNIT if node.has("channels") else 0.0)
        kind = "conv" if node.has("channels") else node.operation.partition("_")[2] or node.operation
        labels.append((kind, float(node.number("kernel", 2 * (node.operation == "avg_pool")))))
    masses.append(0.0)
    labels.append(("output", 0.0))
    whole = sum(masses) or 1.0
    others = [i for i in graph.numbers() if not graph.node(i).has("channels")]
    for i in others:
        masses[i] = SHARE * whole / len(others)
    masses[0] = masses[-1] = SHARE * whole
    places = np.zeros((last + 1, 4))
    for i in range(1, last + 1):
        before = places[list(inputs[i]), :2]
        places[i, :2] = before[:, 0].min() + 1, before[:, 1].max() + 1
    for i in range(last - 1, -1, -1):
        behind = places[[j for j in range(i + 1, last + 1) if i in inputs[j]], 2:]
        places[i, 2:] = behind[:, 0].min() + 1, behind[:, 1].max() + 1
    return np.array(masses), labels, places
