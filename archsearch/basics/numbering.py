"""The least of all ways to number the nodes of a graph without circles: what canonical forms are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key", bound=tuple[Any, ...])


def least_numbering(
    nodes: Iterable[int], first: Mapping[int, int], written: Callable[[int, dict[int, int]], Key | None]
) -> list[Key]:
    """What is written of each node, in the order of the numbering that makes this least.

    Nodes get their new numbers one by one. Any can follow whose inputs have theirs, and no choice leads into a dead
    end, so the least form takes the least node each time; where several give it, all are followed up.

    Args:
        nodes: Their old numbers.
        first: What has its new numbers already, by old ones.
        written: What a node is, given its old number and the new numbers so far; None if some input has none yet.
    """
    nodes, form, numberings = tuple(nodes), [], [dict(first)]
    for number in range(len(first), len(first) + len(nodes)):
        found: dict[Key, list[dict[int, int]]] = {}
        for new in numberings:
            for node in nodes:
                if node not in new and (key := written(node, new)) is not None:
                    found.setdefault(key, []).append({**new, node: number})
        least = min(found)
        form.append(least)
        numberings = found[least]
    return form
