"""The networks of ``NASBenchNLP``: a linear node adds up a linear map of each of its inputs, and a bias."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import InputShape
from archsearch.networks.recurrent import RecurrentCell, RecurrentNetwork, States
from archsearch.spaces.nasbench_nlp import NASBenchNLP
from archsearch.spaces.networks.nasbench_nlp_recipe import Recipe
from archsearch.trial import Architecture


class RecipeNetwork(RecurrentNetwork):
    """A recurrent network whose cell is a recipe.

    Args:
        space: Which recipes.
        architecture: The recipe.
        task: See ``RecurrentNetwork``.
        width: See ``RecurrentNetwork``.
    """

    def __init__(self, space: NASBenchNLP, architecture: Architecture, task: InputShape, width: int) -> None:
        super().__init__(architecture, task, RecipeCell(space.decode(architecture), width), width, space.tied)


class RecipeCell(RecurrentCell):
    """The cell; for all positions at once, the maps of the input are computed first.

    Args:
        recipe: Any, in the space or not.
        width: Of all values.
    """

    def __init__(self, recipe: Recipe, width: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.hidden = recipe.hidden
        self.width = width
        linear = [(i, node) for i, node in enumerate(recipe.nodes) if node.operation.startswith("linear")]
        self.of_input = [number for number, node in linear if 0 in node.inputs]
        self.input = nn.Linear(width, max(1, len(self.of_input)) * width)
        self.maps = nn.ModuleDict(
            {
                f"{number}-{value}": nn.Linear(width, width, bias=0 not in node.inputs and place == 0)
                for number, node in linear
                for place, value in enumerate(node.inputs)
                if value
            }
        )

    def projected(self, x: torch.Tensor, choice: Architecture) -> torch.Tensor:
        """The input itself, and its maps."""
        return torch.cat([x, self.input(x)], dim=-1)

    def step(self, x: torch.Tensor, states: States, choice: Architecture) -> States:
        """See the class."""
        plain, *maps = torch.split(x, self.width, dim=-1)
        mapped = dict(zip(self.of_input, maps, strict=False))
        values = [plain, *states]
        for number, node in enumerate(self.recipe.nodes):
            if node.operation.startswith("linear"):
                terms = [mapped[number] if value == 0 else self._map(number, value, values) for value in node.inputs]
                values.append(sum(terms[1:], terms[0]))
            else:
                values.append(_applied(node.operation, [values[value] for value in node.inputs]))
        return tuple(values[1 + self.hidden + node] for node in self.recipe.new)

    def _map(self, number: int, value: int, values: list[torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = self.maps[f"{number}-{value}"](values[value])
        return found


def _applied(operation: str, inputs: list[torch.Tensor]) -> torch.Tensor:
    """What an operation without weights gives."""
    if operation == "blend":
        return torch.lerp(inputs[2], inputs[1], inputs[0])
    if operation == "prod":
        return inputs[0] * inputs[1]
    if operation == "sum":
        return inputs[0] + inputs[1]
    if operation == "leaky_relu":
        return functional.leaky_relu(inputs[0])
    return torch.tanh(inputs[0]) if operation == "tanh" else torch.sigmoid(inputs[0])
