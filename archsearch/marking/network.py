"""Networks made of a model with marks: of one architecture, with what it chose; or of all, to switch between them."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from archsearch.errors import UsageError
from archsearch.marking.choosing import Depth, Options
from archsearch.marking.reading import Decided, Reader, widths_by_call
from archsearch.marking.widths import Calls, counted, make_elastic, make_plain
from archsearch.networks.network import Network, Weights, equal_weights, show_only
from archsearch.trial import Architecture


class Marking(Protocol):
    """What is asked of a space of marks."""

    decided: Mapping[str, Decided]
    arities: tuple[int, ...] | None

    def chosen(self, architecture: Architecture) -> Mapping[str, int]:
        """The option of each decision that is made, by name."""
        ...


class MarkedNetwork(Network):
    """A model with marks.

    Args:
        architecture: The one to make; None: all.
        make: Makes the model.
        space: What was read from its marks.

    Raises:
        UsageError: If the model has other marks than the space.
    """

    def __init__(self, architecture: Architecture | None, make: Callable[[], nn.Module], space: Marking) -> None:
        super().__init__(architecture)
        self.space = space
        self.make = make
        self._marks: Mapping[str, Sequence[Any]] = {}
        self._now: Architecture | None = None
        self.model = self._made(architecture)

    def _made(self, architecture: Architecture | None) -> nn.Module:
        """The model, with all candidates or with those of an architecture."""
        chosen = None if architecture is None else self._chosen(architecture)
        sizes = None if chosen is None else widths_by_call(self.space.decided, chosen)
        with counted(Calls(sizes)):
            model = built(self.make)
        found = Reader(model, type(model).__name__)
        if found.decisions != self.space.decided:
            raise UsageError(
                f"{type(model).__name__}: its marks differ from those that it had when the space was made: expected "
                f"{', '.join(self.space.decided)}, got {', '.join(found.decisions) or 'none'}; they must not depend on "
                "the task or a width"
            )
        if chosen is None:
            self._marks = found.marks
            make_elastic(model)
            return model
        for name, option in chosen.items():
            for mark in found.marks[name]:
                if isinstance(mark, (Options, Depth)):
                    mark.select(option)
                    mark.keep(option)
        make_plain(model)
        return model

    def _chosen(self, architecture: Architecture) -> Mapping[str, int]:
        """The option of each decision about the network that is made."""
        chosen = self.space.chosen(architecture)
        return {name: option for name, option in chosen.items() if name in self.space.decided}

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """The model's outputs on an architecture's path."""
        path = self.path(architecture)
        if self.architecture is None and path != self._now:
            for name, option in self._chosen(path).items():
                for mark in self._marks[name]:
                    mark.select(option)
            self._now = path
        return self._computed(images)

    def _computed(self, images: torch.Tensor) -> torch.Tensor:
        """The model's outputs; what falls out in training is drawn from ``generator``, if there is one."""
        if not self.training or self.generator is None:
            outputs: torch.Tensor = self.model(images)
            return outputs
        drawn = _global_generator(images.device)  # which PyTorch's layers draw from
        before = drawn.get_state()
        drawn.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
        try:
            outputs = self.model(images)
        finally:
            drawn.set_state(before)
        return outputs

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network.show``; not where there are widths."""
        if any(each.kind == "width" for each in self.space.decided.values()):
            return False
        self.architecture, self._now = architecture, None
        chosen = {} if architecture is None else self._chosen(architecture)
        for name, marks in self._marks.items():
            for mark in marks:
                keys = None
                if name in chosen:
                    mark.select(chosen[name])
                    depths = range(mark.chosen) if isinstance(mark, Depth) else (mark.chosen,)
                    keys = [str(key) for key in depths]
                show_only(mark, keys)
        return True

    def own_values(self, generator: torch.Generator) -> Mapping[str, torch.Tensor]:
        """Initial values as the model's own class gives them, whatever device it is to be on."""
        with chance(int(torch.randint(2**62, (), generator=generator))), torch.device("cpu"):
            model = MarkedNetwork(self.architecture, self.make, self.space)
        return {**dict(model.named_parameters()), **dict(model.named_buffers())}

    def plain(self) -> nn.Module:
        """A copy of the model of an architecture as if it had been written so: without marks, with these weights.

        Raises:
            UsageError: If this is a super-network.
        """
        if self.architecture is None:
            raise UsageError("plain: a super-network stands for all architectures; make one's own: space.network(...)")
        return _plain(copy.deepcopy(self.model)).train(self.training)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """As ever; parameters that several modules share stay shared, which moving off the meta device would end."""
        shared: dict[int, list[tuple[nn.Module, str]]] = {}
        for module in self.modules():
            for name, value in module._parameters.items():
                if value is not None:
                    shared.setdefault(id(value), []).append((module, name))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for (first, own), *others in shared.values():
            for module, name in others:
                module._parameters[name] = first._parameters[own]
        return self


class MixedNetwork(MarkedNetwork):
    """A super-network whose alternatives can be mixed: of a space of fixed length, without widths."""

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """See ``archsearch.abilities.Mixing``."""
        kept = self.kept(options, self.space.arities or ())
        return self._mixed(images, [equal_weights(some) for some in kept])

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """See ``archsearch.relaxing.Relaxed``."""
        return self._mixed(images, self.weighed(weights, self.space.arities or ()))

    def _mixed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        if self.architecture is not None:
            return self(images)  # type: ignore[no-any-return]
        self._now = None
        for marks, some in zip(self._marks.values(), weights, strict=True):
            for mark in marks:
                mark.select(0, some)
        try:
            return self._computed(images)
        finally:
            for marks in self._marks.values():
                for mark in marks:
                    mark.select(0)


def _global_generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        generator: torch.Generator = torch.cuda.default_generators[device.index or 0]
        return generator
    return torch.default_generator


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """The model, on the device that is asked for; made on the processor where its class cannot do without values."""
    try:
        return make()
    except (RuntimeError, NotImplementedError):  # such as torch.linspace(...).tolist() on the meta device
        device = torch.empty(()).device
        if device.type != "meta":
            raise
        with chance(0), torch.device("cpu"):
            return make().to(device)


@contextlib.contextmanager
def chance(seed: int) -> Iterator[None]:
    """Inside, the global generators are seeded, for a class that draws from them; then they are what they were."""
    python, numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(of_torch)


def _plain(module: nn.Module) -> nn.Module:
    """A module with, in the place of each mark, what is left of it."""
    if isinstance(module, Options):
        return _plain(next(iter(module.values())))
    for name, child in module.named_children():
        module._modules[name] = _plain(child)
    return nn.Sequential(*module) if isinstance(module, Depth) else module
