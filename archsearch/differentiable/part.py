"""The base of all parts: made with an evaluator, and stored with it as its class and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from archsearch.errors import UsageError
from archsearch.relaxing import RelaxedChoice

Record = Mapping[str, Any]
"""What was noted of an epoch: ``epoch`` (from 1), ``eigenvalue``, ``skips``, ``derived``, ..."""


class Part:
    """Base class. Arguments of ``__init__`` are typed, documented and kept as attributes of the same name.

    Attributes:
        written: Methods of which an author writes at least one; none: all have something that they do by themselves.
    """

    written: tuple[str, ...] = ()

    def expect_written(self) -> None:
        """Raises ``UsageError`` if there are methods that an author must write, and none of them was."""
        if not self.written:
            return
        own = type(self)
        *_, base = (each for each in own.__mro__ if "written" in vars(each) and each is not Part)
        if all(getattr(own, name) is getattr(base, name) for name in own.written):
            raise UsageError(
                f"{own.__name__}: expected a method {' or '.join(own.written)} of its own, got that of the base "
                f"class {base.__name__}, which does nothing; write it (docs/differentiable.md)"
            )


class Pass(NamedTuple):
    """What a part is told of a pass of the relaxed network.

    Attributes:
        searching: Whether the architecture parameters are to get a gradient; if not, the weights of the network are.
        progress: Share of the updates that are done, 0 to 1; with stages, of those of the stage.
        generator: The only source of randomness; on the processor.
        choices: The choices of the space, in the order of the weights.
    """

    searching: bool
    progress: float
    generator: torch.Generator
    choices: tuple[RelaxedChoice, ...] = ()


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A number that changes in the course of a search.

    Attributes:
        first: At the begin.
        last: At the end.
        form: linear, or exponential, in which equal times multiply it by equal factors.
    """

    first: float
    last: float
    form: str = "linear"

    def at(self, progress: float) -> float:
        """The number when that share of the search is done."""
        if self.form == "exponential":
            return float(self.first * (self.last / self.first) ** progress)
        return self.first + (self.last - self.first) * progress
