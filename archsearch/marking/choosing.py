"""The marks: a layer with alternatives, a stack of blocks of which the leading ones are used, and rules by name."""

from __future__ import annotations

import fnmatch
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archsearch.errors import UsageError
from archsearch.marking.widths import width
from archsearch.networks.network import Choice, Weights, weighted_sum

Rule = Callable[[nn.Module], "nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]"]
"""What is put in a module's place: alternatives, or a mark."""


class Options(Choice):
    """A layer with alternatives, of which one is computed, or a weighted sum; made by ``choose``.

    Args:
        alternatives: By name.
        name: Of the decision; None: where it stands in the model.
        texts: What to call the alternatives, in their order; None: by their names.
    """

    def __init__(
        self, alternatives: Mapping[str, nn.Module], name: str | None = None, texts: Sequence[str] | None = None
    ) -> None:
        super().__init__({key: functools.partial(_same, module) for key, module in alternatives.items()})
        self.name = name
        self.keys_in_order = tuple(alternatives)
        self.texts = tuple(texts or alternatives)
        self.chosen = self.keys_in_order[0]
        self.weights: Weights | None = None

    def select(self, option: int, weights: Weights | None = None) -> None:
        """Chooses an alternative, or several with weights, until the next call."""
        self.chosen, self.weights = self.keys_in_order[option], weights

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the chosen alternative makes of the inputs."""
        if self.weights is None:
            return self._modules[self.chosen](*inputs, **named)
        keys = {self.keys_in_order[option]: weight for option, weight in self.weights.items()}
        return self.sum({key: self[key](*inputs, **named) for key in keys}, keys, None)

    def keep(self, option: int) -> None:
        """Forgets all other alternatives."""
        for key in set(self.keys_in_order) - {self.keys_in_order[option]}:
            del self[key]


class Depth(nn.Sequential):
    """Blocks one after another, of which the leading ones are computed; made by ``choose.depth``.

    Args:
        blocks: All of them.
        least: How many are always there, >= 0.
        name: Of the decision; None: where it stands in the model.
    """

    def __init__(self, blocks: Sequence[nn.Module], least: int, name: str | None = None) -> None:
        super().__init__(*blocks)
        self.least = least
        self.name = name
        self.depths = tuple(range(least, len(blocks) + 1))
        self.chosen = len(blocks)
        self.weights: Weights | None = None

    def select(self, option: int, weights: Weights | None = None) -> None:
        """Chooses a depth, or several with weights, until the next call."""
        self.chosen, self.weights = self.depths[option], weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the leading blocks make of an input; with weights, the weighted sum after each of the depths."""
        if self.weights is None:
            for block in list(self._modules.values())[: self.chosen]:
                x = block(x)
            return x
        weights = {self.depths[option]: weight for option, weight in self.weights.items()}
        found = [x] if 0 in weights else []
        for depth in range(1, max(weights) + 1):
            x = self[depth - 1](x)
            found += [x] if depth in weights else []
        return weighted_sum(found, [weights[depth] for depth in sorted(weights)])

    def keep(self, option: int) -> None:
        """Forgets the blocks beyond a depth."""
        del self[self.depths[option] :]


class Choose:
    """``choose(...)``, ``choose.depth(...)`` and ``choose.width(...)``."""

    width = staticmethod(width)

    def __call__(self, *alternatives: nn.Module, name: str | None = None, **named: nn.Module) -> Options:
        """A layer with alternatives, which take the same input and give outputs of one shape.

        Args:
            alternatives: Two or more modules; called by their classes.
            name: Of the decision; marks of one name are one decision. None: the mark's place in the model.
            named: The same, each with a name to call it by.

        Raises:
            UsageError: If there are fewer than two, or something is no module.
        """
        found = {str(i): module for i, module in enumerate(alternatives)} | named
        wrong = [each for each in found.values() if not isinstance(each, nn.Module)]
        if len(found) < 2 or wrong:
            got = f"{wrong[0]!r:.80}" if wrong else f"{len(found)} of them"
            raise UsageError(
                f"choose: {name or 'alternatives'}: expected two or more modules, such as "
                f"choose(nn.Conv2d(8, 8, 3, padding=1), nn.Identity()), got {got}"
            )
        texts = [*_called([type(module).__name__ for module in alternatives]), *named]
        return Options(found, name, texts)

    def depth(self, *blocks: nn.Module, least: int = 1, name: str | None = None) -> Depth:
        """Blocks one after another, of which the leading ones are used: ``least`` of them, up to all.

        Args:
            blocks: Modules, or one ``nn.Sequential`` or ``nn.ModuleList`` of them; each takes what the last one gives.
            least: How many are always there, >= 0.
            name: Of the decision; marks of one name are one decision. None: the mark's place in the model.

        Raises:
            UsageError: If there are not more blocks than ``least``, or something is no module.
        """
        if len(blocks) == 1 and isinstance(blocks[0], (nn.Sequential, nn.ModuleList)):
            blocks = tuple(blocks[0])
        if type(least) is not int or least < 0 or len(blocks) <= least or not _modules(blocks):
            raise UsageError(
                f"choose.depth: {name or 'blocks'}: expected more modules than least={least!r}, which is a whole "
                f"number >= 0, got {len(blocks)}"
            )
        return Depth(blocks, least, name)


choose = Choose()
"""Marks what may change; see ``Choose``."""


def _same(module: nn.Module) -> nn.Module:
    return module


def _modules(found: Sequence[object]) -> bool:
    return all(isinstance(each, nn.Module) for each in found)


def _called(classes: Sequence[str]) -> list[str]:
    """Names of alternatives: their class, numbered where several have it; what passes its input on is ``identity``."""
    names = ["identity" if name == "Identity" else name for name in classes]
    several, numbers = Counter(names), Counter[str]()
    found = []
    for name in names:
        numbers[name] += 1
        found.append(f"{name}.{numbers[name]}" if several[name] > 1 else name)
    return found


def mark(model: nn.Module, rules: Mapping[str, Rule]) -> nn.Module:
    """Puts marks into a model by the names of its modules, in place; its class is not touched.

    Args:
        model: Any module.
        rules: A pattern of names, such as ``layer*.conv2``, to a function of the module of that name, which gives what
            stands in its place: a list of alternatives, a mapping from names to alternatives, or what ``choose(...)``
            or ``choose.depth(...)`` made. Patterns are those of ``fnmatch``, ``*`` also stands for dots; of several
            rules the first one that fits counts, and inside what it replaces only the others do.

    Returns:
        The model.

    Raises:
        UsageError: If a rule fits nothing, or gives something else.
    """
    used: set[str] = set()
    _mark_inside(model, rules, "", used)
    if missed := [pattern for pattern in rules if pattern not in used]:
        some = [name for name, _ in model.named_modules() if name][:4]
        raise UsageError(
            f"mark: {missed[0]!r}: expected a pattern of names of modules, such as {' or '.join(some) or 'none'}"
        )
    return model


def _mark_inside(module: nn.Module, rules: Mapping[str, Rule], path: str, used: set[str]) -> None:
    for name, child in list(module.named_children()):
        full = f"{path}{name}"
        pattern = next((pattern for pattern in rules if fnmatch.fnmatchcase(full, pattern)), None)
        _mark_inside(child, {each: rule for each, rule in rules.items() if each != pattern}, f"{full}.", used)
        if pattern is not None:
            used.add(pattern)
            module._modules[name] = _marked(rules[pattern](child), full, pattern)


def _marked(given: Any, full: str, pattern: str) -> nn.Module:
    if isinstance(given, (Options, Depth)):
        return given
    if isinstance(given, Mapping):
        return choose(**given)
    if isinstance(given, Sequence):
        return choose(*given)
    raise UsageError(
        f"mark: {pattern!r}: expected a list of alternatives, a mapping to them, or what choose made, for {full}, "
        f"got {given!r:.80}"
    )
