"""Cells of NAS-Bench-101 by other means, for the tests of the space."""

from __future__ import annotations

import networkx
import numpy as np


def on_paths(matrix: np.ndarray) -> list[int]:
    """The vertices on a path from the first to the last one, by networkx."""
    graph = networkx.from_numpy_array(matrix, create_using=networkx.DiGraph)
    last = len(matrix) - 1
    return sorted(({0} | networkx.descendants(graph, 0)) & ({last} | networkx.ancestors(graph, last)))
