"""Architectures as numbers, for models that learn from them; all vectorised, for any space.

Rows of numbers (``encode``) are: ``one_hot`` of the decisions; and, of the graph of operations that the architecture
stands for, with the operations that cannot matter left out, the ``operations`` at each place, ``adjacency`` (operations
and edges), ``paths`` (White, Neiswanger & Savani, "BANANAS", AAAI 2021: how often each sequence of operations leads
from input to output; ``path_bits``: whether it does) and ``counts`` of operations. ``tokens`` are the decisions one by
one, for models that read sequences; ``OperationGraphs`` are for models that read graphs.

Paths and counts do not depend on how an architecture's nodes are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.operation_graphs import PATH_COLUMNS, OperationGraphs
from archsearch.errors import UsageError
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.space import Space


__all__ = ["Encoding", "checked_encodings", "encode"]

Encoding = Literal["one_hot", "operations", "adjacency", "paths", "path_bits", "counts"]

DEFAULT: list[Encoding] = ["operations", "paths", "counts"]
"""What models see unless told otherwise: of the encodings tried on NAS-Bench-201, these ranked best together."""


def checked_encodings(owner: str, encodings: Sequence[Encoding]) -> list[Encoding]:
    """The encodings, if they are some and known.

    Raises:
        UsageError: If not.
    """
    if isinstance(encodings, str) or not encodings or not set(encodings) <= set(get_args(Encoding)):
        raise UsageError(
            f"{owner}: encodings: expected a list of any of {', '.join(get_args(Encoding))}, got {encodings!r}"
        )
    return list(encodings)


def encode(
    space: Space, architectures: Sequence[Architecture], encodings: Sequence[Encoding], columns: int = PATH_COLUMNS
) -> list[npt.NDArray[np.float32]]:
    """Encodes architectures of a space.

    Args:
        space: Theirs.
        architectures: n of them.
        encodings: Which ones; see the module.
        columns: Most columns of the path encodings.

    Returns:
        For each encoding an array of shape (n, its columns).
    """
    n = len(architectures)
    graphs: OperationGraphs | None = None
    if set(encodings) - {"one_hot"}:
        graphs = space.operation_graphs(architectures).pruned()

        hot = graphs.one_hot()

    def compute(encoding: Encoding) -> npt.NDArray[np.float32]:
        if encoding == "one_hot" or graphs is None:
            return space.one_hot(architectures)
        if encoding == "counts":
            counts: npt.NDArray[np.float32] = hot.sum(1)
            return counts
        if encoding in ("paths", "path_bits"):
            paths = graphs.paths(columns)
            return paths if encoding == "paths" else (paths > 0).astype(np.float32)
        operations = hot[:, 1:-1].reshape(n, (graphs.labels.shape[1] - 2) * graphs.kinds)
        if encoding == "operations":
            return operations
        upper = np.triu_indices(graphs.adjacency.shape[1], 1)
        return np.concatenate([operations, graphs.adjacency[:, upper[0], upper[1]].astype(np.float32)], axis=1)

    return [compute(encoding) for encoding in encodings]
