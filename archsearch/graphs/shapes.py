"""What can be known of a graph's activations without a network: channels, and whether they can be negative."""

from __future__ import annotations

from collections.abc import Sequence

from archsearch.graphs.graph import ADD, Graph, Node

IMAGES = 3
"""Channels of the input where the task is not known."""


def merged_channels(node: Node, channels: Sequence[int]) -> int:
    """Channels of a node's inputs, brought together; ``channels``: of all nodes by number."""
    if node.merge == ADD or len(node.inputs) == 1:
        return channels[node.inputs[0]]
    return sum(channels[source] for source in node.inputs)


def channels_of(graph: Graph, images: int = IMAGES) -> list[int]:
    """Channels that each node gives, by number; number 0 is the input, with ``images`` channels."""
    found = [images]
    for node in graph.nodes:
        inputs = merged_channels(node, found)
        found.append(node.number("channels", inputs))
    return found


def signs_of(graph: Graph) -> list[bool]:
    """Of each node, by number, whether its output is never negative, whatever the weights."""
    found = [False]
    for node in graph.nodes:
        found.append(_rectifies(node) or (not node.has("channels") and all(found[source] for source in node.inputs)))
    return found


def _rectifies(node: Node) -> bool:
    """Whether a node ends with a ReLU: all that have filters, but for those that are linear."""
    return node.has("channels") and not (node.has("activation") and node["activation"] == "none")


def clips(node: Node, signs: Sequence[bool]) -> bool:
    """Whether a sum of inputs is clipped at 0: where none can be negative, which a learned number could change."""
    return node.merge == ADD and len(node.inputs) > 1 and all(signs[source] for source in node.inputs)
