"""The networks of ``NASRLCell``: all cells have the linear maps of the leaves, and nothing else to learn."""

from __future__ import annotations

import torch
from torch import nn

from archsearch.networks.network import InputShape
from archsearch.networks.recurrent import ACTIVATIONS, RecurrentCell, RecurrentNetwork, States
from archsearch.spaces.nasrl_cell import NASRLCell, Step, Tree
from archsearch.trial import Architecture


class NASRLCellNetwork(RecurrentNetwork):
    """A recurrent network with such a cell.

    Args:
        space: Which cells.
        architecture: The cell, or None for the super-network.
        task: See ``RecurrentNetwork``.
        width: See ``RecurrentNetwork``.
    """

    def __init__(self, space: NASRLCell, architecture: Architecture | None, task: InputShape, width: int) -> None:
        super().__init__(architecture, task, TreeOfSteps(space, width), width, space.tied)
        self.space = space

    def chosen(self, architecture: Architecture) -> Tree:
        """The tree."""
        return self.space.decode(architecture)


class TreeOfSteps(RecurrentCell):
    """The cell; its hidden states are the root's output and the memory."""

    hidden = 2

    def __init__(self, space: NASRLCell, width: int) -> None:
        super().__init__()
        self.leaves = space.base
        self.children_of = [space.children(node) for node in range(2 * space.base - 1)]
        self.input = nn.Linear(width, space.base * width, bias=False)
        self.hidden_state = nn.Linear(width, space.base * width, bias=False)

    def projected(self, x: torch.Tensor, choice: Tree) -> torch.Tensor:
        """The leaves' linear maps of the inputs."""
        found: torch.Tensor = self.input(x)
        return found

    def step(self, x: torch.Tensor, states: States, choice: Tree) -> States:
        """See the class."""
        hidden, memory = states
        ours, theirs = x.chunk(self.leaves, -1), self.hidden_state(hidden).chunk(self.leaves, -1)
        values: list[torch.Tensor] = []
        after = memory
        for node, step in enumerate(choice.nodes):
            below = self.children_of[node]
            pair = (ours[node], theirs[node]) if below is None else (values[below[0]], values[below[1]])
            combined = _combined(step, *pair)
            value = ACTIVATIONS[step.activation](combined)
            if node == choice.into:
                value = ACTIVATIONS[choice.inject.activation](_combined(choice.inject, value, memory))
            if node == choice.memory:
                after = combined
            values.append(value)
        return values[-1], after


def _combined(step: Step, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one + other if step.combination == "add" else one * other
