"""Architectures as numbers, for models that learn from them; all vectorised, for any space.

Rows of numbers (``encode``) are: ``one_hot`` of the decisions; and, of the graph of operations that the architecture
stands for, with the operations that cannot matter left out, the ``operations`` at each place, ``adjacency`` (operations
and edges), ``paths`` (White, Neiswanger & Savani, "BANANAS", AAAI 2021: how often each sequence of operations leads
from input to output; ``path_bits``: whether it does), ``counts`` of operations, and ``facts`` for each set of kinds of
operations: counts, shortest and richest paths, degrees (as in Kadlecová et al., "Surprisingly strong performance
prediction with neural graph features", ICML 2024). ``tokens`` are the decisions one by one, for models that read
sequences; ``OperationGraphs`` are for models that read graphs.

Paths, counts and facts do not depend on how an architecture's nodes are numbered.

What is in order (``Space.positions``), such as a learning rate, has one column in ``numbers``, where near options are
near; ``categories`` are ``one_hot`` of all other decisions, and of those in order that have few options: where a size
must be just right, its options differ in more than what the order says.

A space that says nothing of graphs (it has the ``operation_graphs`` of ``Space``) has decisions, not operations:
``operations``, ``adjacency`` and ``facts`` are ``one_hot`` then, and ``counts`` say how often decisions of a kind take
each option, where kinds are names without their numbers (``op.1`` and ``op.2`` are of one kind). In a conditional
space decisions are known by name, wherever they stand, and to be absent is an option.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.decisions import ABSENT, columns_of, kinds_of_names, options_of, scales
from archsearch.basics.operation_graphs import PATH_COLUMNS, OperationGraphs
from archsearch.errors import UsageError
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.space import Space


__all__ = ["Encoding", "checked_encodings", "encode"]

Encoding = Literal[
    "one_hot", "operations", "adjacency", "paths", "path_bits", "counts", "facts", "numbers", "categories"
]

DEFAULT: list[Encoding] = ["operations", "paths", "counts"]
"""What models see unless told otherwise: of the encodings tried on NAS-Bench-201, these ranked best together."""

WITHOUT_GRAPHS: list[Encoding] = ["one_hot", "counts"]
"""The same for spaces that say nothing of graphs."""

IN_ORDER: list[Encoding] = ["numbers", "categories", "counts"]
"""The same for those of them that have decisions in order; without any other decisions the first one only."""

FEW = 8
"""Options that a decision in order has at most to be a category, too."""


def has_graphs(space: Space) -> bool:
    """Whether a space says which graphs its architectures stand for."""
    from archsearch.space import Space

    return type(space).operation_graphs is not Space.operation_graphs


def default_encodings(space: Space) -> list[Encoding]:
    """What models see of a space unless told otherwise."""
    if has_graphs(space):
        return DEFAULT
    names, _, orders = columns_of(space)
    found = WITHOUT_GRAPHS
    if space.in_order:
        found = IN_ORDER if None in orders else IN_ORDER[:1]
    kinds = kinds_of_names([name for name, scale in zip(names, orders, strict=True) if scale is None])
    # Where no kind comes twice, counts are the options once more, and would weigh them double.
    return found if len(set(kinds)) < len(kinds) else [each for each in found if each != "counts"]


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
    by_decision = {"one_hot", *SPLIT}
    if not has_graphs(space):
        by_decision |= {"operations", "adjacency", "facts", "counts"}
    _check_split(space, encodings)
    if set(encodings) - by_decision:
        graphs = space.operation_graphs(architectures).pruned()
        hot = graphs.one_hot()

    def compute(encoding: Encoding) -> npt.NDArray[np.float32]:
        if encoding in SPLIT:
            return SPLIT[encoding](space, architectures)
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


Architectures = Sequence[Architecture] | npt.NDArray[np.int64]


def numbers(space: Space, architectures: Architectures) -> npt.NDArray[np.float32]:
    """Of each decision in order where its option lies, 0 to 1; if it can be absent, also whether it is there."""
    table, columns = options_of(space, architectures), []
    for column, scale in enumerate(scales(space)):
        if scale is not None:
            options = table[:, column]
            there = options != ABSENT
            columns.append(np.where(there, np.asarray(scale)[options], 0.5))
            columns += [there] if space.arities is None else []
    return np.stack(columns, axis=1).astype(np.float32)


def categories(space: Space, architectures: Architectures) -> npt.NDArray[np.float32]:
    """One-hot of each decision that is in no order, or of few options; if it can be absent, that is an option."""
    table, (_, counts, orders) = options_of(space, architectures), columns_of(space)
    first, found = ABSENT if space.arities is None else 0, []
    for column, (scale, count) in enumerate(zip(orders, counts.tolist(), strict=True)):
        if scale is None or count <= FEW:
            found.append(table[:, [column]] == np.arange(first, count))
    return np.concatenate(found, axis=1).astype(np.float32)


SPLIT = {"numbers": numbers, "categories": categories}
"""Encodings of the decisions in order, and of all others."""


def _check_split(space: Space, encodings: Sequence[Encoding]) -> None:
    """Raises ``UsageError`` if an encoding is of decisions that the space has none of."""
    wanted = [encoding for encoding in encodings if encoding in SPLIT]
    for encoding in wanted:
        if not any((scale is not None) == (encoding == "numbers") for scale in scales(space)):
            order = "in order" if encoding == "numbers" else "in no order"
            raise UsageError(
                f"encodings: {encoding}: expected a space with decisions whose options are {order}, "
                f"{type(space).__name__} has none; use one_hot"
            )


def counts_by_kind(space: Space, architectures: Architectures) -> npt.NDArray[np.float32]:
    """How often decisions of each kind, but for those in order, take each option: shape (n, options of all kinds)."""
    names, lengths, orders = columns_of(space)
    free = [column for column, scale in enumerate(orders) if scale is None]
    kinds, options = kinds_of_names([names[column] for column in free]), options_of(space, architectures)[:, free]
    widths = np.zeros(max(kinds, default=-1) + 1, np.int64)
    np.maximum.at(widths, kinds, lengths[free])
    starts = (np.cumsum(widths) - widths)[kinds]
    n, total = len(options), int(widths.sum())
    rows, columns = np.nonzero(options != ABSENT)
    places = rows * total + starts[columns] + options[rows, columns]
    return np.bincount(places, minlength=n * total).reshape(n, total).astype(np.float32)
