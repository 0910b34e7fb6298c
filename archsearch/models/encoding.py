"""Architectures as numbers, for models that learn from them; all vectorised, for any space.

Rows of numbers (``encode``) are: ``one_hot`` of the decisions; and, of the graph of operations that the architecture
stands for, with the operations that cannot matter left out, the ``operations`` at each place, ``adjacency`` (operations
and edges), ``paths`` (White, Neiswanger & Savani, "BANANAS", AAAI 2021: how often each sequence of operations leads
from input to output; ``path_bits``: whether it does), ``counts`` of operations, and ``facts`` for each set of kinds of
operations: counts, shortest and richest paths, degrees (as in Kadlecová et al., "Surprisingly strong performance
prediction with neural graph features", ICML 2024). ``tokens`` are the decisions one by one, for models that read
sequences; ``OperationGraphs`` are for models that read graphs.

Paths, counts and facts do not depend on how an architecture's nodes are numbered.

A space that says nothing of graphs (it has the ``operation_graphs`` of ``Space``) has decisions, not operations.
``operations``, ``adjacency`` and ``facts`` are ``one_hot`` then, and ``counts`` say how often decisions of a kind take
each option, where kinds are names without their numbers (``op.1`` and ``op.2`` are of one kind). In a conditional
space decisions are known by name, wherever they stand, and to be absent is an option.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.decisions import ABSENT, as_tuples, kinds_of_names
from archsearch.basics.operation_graphs import PATH_COLUMNS, OperationGraphs
from archsearch.errors import UsageError
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.space import Space


__all__ = ["Encoding", "checked_encodings", "encode"]

Encoding = Literal["one_hot", "operations", "adjacency", "paths", "path_bits", "counts", "facts"]

DEFAULT: list[Encoding] = ["operations", "paths", "counts"]
"""What models see unless told otherwise: of the encodings tried on NAS-Bench-201, these ranked best together."""

WITHOUT_GRAPHS: list[Encoding] = ["one_hot", "counts"]
"""The same for spaces that say nothing of graphs."""


def has_graphs(space: Space) -> bool:
    """Whether a space says which graphs its architectures stand for."""
    from archsearch.space import Space

    return type(space).operation_graphs is not Space.operation_graphs


def default_encodings(space: Space) -> list[Encoding]:
    """What models see of a space unless told otherwise."""
    return DEFAULT if has_graphs(space) else WITHOUT_GRAPHS


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
        columns: Most columns of paths, and of facts.

    Returns:
        For each encoding an array of shape (n, its columns).
    """
    n = len(architectures)
    graphs: OperationGraphs | None = None
    by_decision = {"one_hot"} if has_graphs(space) else {"one_hot", "operations", "adjacency", "facts", "counts"}
    if set(encodings) - by_decision:
        graphs = space.operation_graphs(architectures).pruned()
        hot = graphs.one_hot()

    def compute(encoding: Encoding) -> npt.NDArray[np.float32]:
        if encoding in by_decision or graphs is None:
            return counts_by_kind(space, architectures) if encoding == "counts" else space.one_hot(architectures)
        if encoding == "counts":
            counts: npt.NDArray[np.float32] = hot.sum(1)
            return counts
        if encoding == "facts":
            return graphs.facts(columns)
        if encoding in ("paths", "path_bits"):
            paths = graphs.paths(columns)
            return paths if encoding == "paths" else (paths > 0).astype(np.float32)
        operations = hot[:, 1:-1].reshape(n, (graphs.labels.shape[1] - 2) * graphs.kinds)
        if encoding == "operations":
            return operations
        upper = np.triu_indices(graphs.adjacency.shape[1], 1)
        return np.concatenate([operations, graphs.adjacency[:, upper[0], upper[1]].astype(np.float32)], axis=1)

    return [compute(encoding) for encoding in encodings]


def counts_by_kind(
    space: Space, architectures: Sequence[Architecture] | npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """How often decisions of each kind take each option: shape (n, options of all kinds)."""
    if space.arities is None:
        kinds, options = kinds_of_names(space.by_name.names), space.by_name.options
        table = space.by_name.table(as_tuples(architectures))
    else:
        places = range(space.max_length)
        kinds = kinds_of_names([space.label((0,) * place) for place in places])
        options, table = np.array(space.arities), np.asarray(architectures, np.int64).reshape(-1, space.max_length)
    widths = np.zeros(max(kinds) + 1, np.int64)
    np.maximum.at(widths, kinds, options)
    starts = (np.cumsum(widths) - widths)[kinds]
    counts = np.zeros((len(table), int(widths.sum())), np.float32)
    rows, columns = np.nonzero(table != ABSENT)
    np.add.at(counts, (rows, starts[columns] + table[rows, columns]), 1.0)
    return counts
