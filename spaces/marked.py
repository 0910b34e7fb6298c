"""A network of one's own as a space: what is marked in it may change; see ``docs/own_network.md``.

The super-network's paths are those of Guo et al., "Single path one-shot neural architecture search with uniform
sampling", ECCV 2020; leading channels and blocks those of Cai et al., "Once-for-all", ICLR 2020.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.basics.kinds import IMAGES, TOKENS
from archsearch.components import import_object
from archsearch.errors import UsageError
from archsearch.relaxing import RelaxedDecisions
from archsearch.spaces.choices import Choices
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from torch import nn

    from archsearch.marking.network import MarkedNetwork
    from archsearch.networks.network import InputShape


FILLED: Mapping[str, Callable[[Any], Any]] = {
    "input_shape": lambda task: task.input_shape,
    "in_channels": lambda task: task.input_shape[0],
    "image_size": lambda task: task.input_shape[-1],
    "classes": lambda task: task.classes,
    "num_classes": lambda task: task.classes,
}
"""Parameters of a model that the task fills in."""


class Marked(Choices, RelaxedDecisions):
    """A model of your own, any ``nn.Module``, in which ``choose`` and ``mark`` say what may change.

    Each mark is a decision, named by itself or after its place in the model, such as ``layer1.0.conv2``. A mark inside
    an alternative, or in a block that may be left out, is decided only if that is there. The network of an
    architecture, and the super-network of all of them, are made by your class, with the initial values that it sets.

    Where all marks are widths and depths, architectures are parts of the largest one (``OneShot(sampler="sandwich")``);
    where all are alternatives and depths that are always there, they can be mixed (``Differentiable``).

    Args:
        model: The class, or a function that makes the model, or the import path of either. Those of its parameters that
            are called ``in_channels``, ``image_size``, ``input_shape``, ``classes`` or ``num_classes`` are given what
            the task has, unless they are among ``arguments``.
        arguments: Further arguments of the model, by name.
        training: Further decisions, as for ``Choices``, about how a stand-alone network is trained: ``learning_rate``,
            ``momentum``, ``weight_decay``, ``label_smoothing`` and ``clip_norm``. A super-network does not use them.
        constraints: Constraints on the decisions, as for ``Choices``; names with dots cannot be used in them.
        kind: The kind of network that the model is; networks that predict tokens are not supported.

    Raises:
        UsageError: If the model cannot be made, or nothing is marked in it.
    """

    def __init__(
        self,
        model: str | Callable[..., Any],
        arguments: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        constraints: Sequence[str | Callable[..., Any]] | None = None,
        kind: str = IMAGES,
    ) -> None:
        from archsearch.networks.network import EXAMPLES
        from archsearch.training.recipe import UPDATES

        self.model = model
        self.arguments = arguments
        self.training = training
        self.kind = kind
        known = [each for each in EXAMPLES if each != TOKENS]
        if kind not in known:
            raise UsageError(f"Marked: kind: expected one of {', '.join(known)}, got {kind!r}")
        self.kinds = (kind,)
        self._class = import_object(model) if isinstance(model, str) else model
        if not callable(self._class) or (hasattr(self._class, "state_dict") and not inspect.isclass(self._class)):
            raise UsageError(
                "Marked: model: expected a class or function that makes the model, or its import path, got "
                f"{' '.join(repr(self._class).split()):.80}"
            )
        self.decided = self._read(EXAMPLES[kind])
        if strange := set(training or {}) - set(UPDATES):
            raise UsageError(f"Marked: training: expected any of {', '.join(UPDATES)}, got {', '.join(strange)}")
        super().__init__({**_definition(self.decided), **(training or {})}, constraints)
        kinds = {each.kind for each in self.decided.values()}
        self._mixes = self.arities is not None and "width" not in kinds and not training
        if "choice" not in kinds and not training:
            self.dimension = self._dimension

    def _read(self, task: Any) -> Mapping[str, Any]:
        """The decisions that the model's marks stand for."""
        import torch

        from archsearch.marking.network import built, chance
        from archsearch.marking.reading import Reader
        from archsearch.marking.widths import Calls, counted

        with torch.device("meta"), counted(Calls()), chance(0):
            model = built(functools.partial(self._make, task))
        if not isinstance(model, torch.nn.Module):
            raise UsageError(f"Marked: model: expected what makes an nn.Module, got one that makes {model!r:.80}")
        found = Reader(model, f"Marked: {type(model).__name__}").decisions
        if not found:
            raise UsageError(
                f"Marked: {type(model).__name__}: expected marks, found none; write choose(conv3, conv5) in its "
                '__init__, or mark(model, {"layer*.conv2": lambda module: [module, nn.Identity()]})'
            )
        return found

    def _make(self, task: Any) -> Any:
        """The model for a task."""
        return self._class(**self._filled(task), **(self.arguments or {}))

    def _filled(self, task: Any) -> Mapping[str, Any]:
        try:
            names = inspect.signature(self._class).parameters.keys() - (self.arguments or {}).keys()
        except ValueError:  # of some classes that are not written in Python
            return {}
        return {name: FILLED[name](task) for name in names if name in FILLED}

    # -- decisions -----------------------------------------------------------------------------

    def chosen(self, architecture: Architecture) -> Mapping[str, int]:
        """The option of each decision that is made, by name."""
        return self._by_label(architecture)

    def recipe(self, architecture: Architecture) -> Mapping[str, float]:
        """See ``archsearch.abilities.Prescribing``."""
        return {name: value for name, value in self.decode(architecture).items() if name in (self.training or {})}

    def _dimension(self, prefix: Architecture) -> str:
        """Of a space of widths and depths alone; see ``archsearch.abilities.Elastic``."""
        return str(self.decided[self.label(prefix)].kind)

    def candidate_names(self, decision: int) -> tuple[str, ...]:
        """See ``archsearch.relaxing.RelaxedDecisions``."""
        return tuple(map(str, list(self.decided.values())[decision].options))

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape) -> MarkedNetwork:
        """The model with what an architecture chose."""
        return self._network(self.validate(architecture), task)

    def super_network(self, task: InputShape) -> MarkedNetwork:
        """The model with all that can be chosen; it switches from path to path, so one thread at a time may use it."""
        return self._network(None, task)

    def _network(self, architecture: Architecture | None, task: InputShape) -> MarkedNetwork:
        from archsearch.marking.network import MarkedNetwork, MixedNetwork

        kind = MixedNetwork if self._mixes else MarkedNetwork
        return kind(architecture, functools.partial(self._make, task), self)

    def stand_alone(self, architecture: Architecture, task: InputShape, seed: int = 0) -> nn.Module:
        """The model as if it had been written so: without marks, with initial values of its own class.

        Args:
            architecture: Of this space.
            task: Or anything that has an ``input_shape`` and a number of ``classes``.
            seed: Of the initial values, >= 0.
        """
        from archsearch.networks.network import build

        network: MarkedNetwork = build(lambda: self.network(architecture, task), seed)
        return network.plain()


def _definition(decided: Mapping[str, Any]) -> dict[str, Any]:
    """The decisions as ``Choices`` takes them."""
    return {
        name: {
            "options": list(each.options),
            "ordered": each.kind != "choice",
            "when": {
                other: [decided[other].options[option] for option in sorted(options)]
                for other, options in each.when.items()
            },
        }
        for name, each in decided.items()
    }
