"""The facts of a chain: its stages, what a layer can be, where one can be left out, and what lies around them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from archsearch.basics.checks import at_least_one
from archsearch.chain.blocks import Block, Identity, Layer, MBConv
from archsearch.errors import UsageError

T = TypeVar("T")

IdentityWhere = Literal["never", "residual", "always"]


class Stage(NamedTuple):
    """Layers of one width.

    Attributes:
        channels: Of their outputs.
        layers: How many.
        stride: Of the first one, 1 or 2; that of the others is 1.
        blocks: What they can be, instead of what all layers of the chain can be.
    """

    channels: int
    layers: int
    stride: int
    blocks: tuple[Block, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Rules:
    """The facts of a chain.

    Attributes:
        stages: Of each its channels, layers and stride, and perhaps blocks of its own; see ``Stage``.
        blocks: What each other layer can be.
        identity: Which layers can be left out as well: ``never`` any, only ``residual`` ones, or ``always`` every one.
        stem_channels: Channels after the 3x3 convolution at the start.
        stem_stride: Its stride, 1 or 2.
        first_channels: Channels of a fixed MBConv k3e1 after it, without residual connection; None for none.
        head_channels: Channels of a 1x1 convolution before the global pooling; None for none.
        activation: A key of ``archsearch.chain.layers.ACTIVATIONS``.
        names: Texts of published architectures by name.
    """

    stages: Sequence[Stage | tuple[int, int, int]]
    blocks: Sequence[Block] = ()
    identity: IdentityWhere = "never"
    stem_channels: int = 16
    stem_stride: int = 1
    first_channels: int | None = None
    head_channels: int | None = None
    activation: str = "relu6"
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def rows(self) -> tuple[Stage, ...]:
        """The stages."""
        return tuple(itertools.starmap(Stage, self.stages))

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, with what each can be; an identity comes first."""
        inputs = self.stem_channels if self.first_channels is None else self.first_channels
        layers = []
        for channels, count, first_stride, own in self.rows:
            blocks = tuple(self.blocks if own is None else own)
            for i in range(count):
                stride = 1 if i else first_stride
                residual = stride == 1 and inputs == channels
                skippable = self.identity == "always" or (self.identity == "residual" and residual)
                options = (Identity(), *blocks) if skippable else blocks
                layers.append(Layer(inputs, channels, stride, residual, options, self.activation))
                inputs = channels
        return tuple(layers)

    @functools.cached_property
    def first(self) -> Layer | None:
        """The fixed layer after the stem."""
        if self.first_channels is None:
            return None
        return Layer(self.stem_channels, self.first_channels, 1, False, (MBConv(3, 1),), self.activation)

    def shrunk(self, who: str, small: bool) -> Rules:
        """For small images: without the stride of the stem and the first of a stage, at most two layers a stage.

        Args:
            who: Name of the space, for the message.
            small: False: as they are.

        Raises:
            UsageError: If ``small`` is neither true nor false.
        """
        if not isinstance(small, bool):
            raise UsageError(f"{who}: small: expected true or false, got {small!r}")
        if not small:
            return self
        stages = [stage._replace(layers=min(2, stage.layers)) for stage in self.rows]
        for i, stage in enumerate(stages):
            if stage.stride > 1:
                stages[i] = stage._replace(stride=1)
                break
        return dataclasses.replace(self, stages=stages, stem_stride=1, names={})

    def with_stages(self, stages: Sequence[Stage], stem: int | None = None, head: int | None = None) -> Rules:
        """The same around other stages, perhaps with other widths of stem and head."""
        stem, head = stem or self.stem_channels, head or self.head_channels
        return dataclasses.replace(self, stages=stages, stem_channels=stem, head_channels=head)

    # -- widths --------------------------------------------------------------------------------

    def first_width(self, who: str, channels: int | None) -> int:
        """Channels of the first stage: the chain's own, if none are given."""
        return self.stages[0][0] if channels is None else at_least_one(who, "channels", channels)

    def scaled_width(self, width: int, channels: int) -> int:
        """``width`` in a network whose first stage has ``channels`` channels; equal widths stay equal."""
        own = self.stages[0][0]
        if channels == own:
            return width
        return channels if width == own else max(4, 4 * round(width * channels / (4 * own)))


class Plan(NamedTuple):
    """The chain that an architecture stands for.

    Attributes:
        rules: Its stages, with one block each.
        resolution: Height and width of the images that go in, in units of those that come.
    """

    rules: Rules
    resolution: float = 1.0


# -- checks of settings ------------------------------------------------------------------------


def checked_stages(who: str, stages: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """The stages of a user.

    Args:
        who: Name of the space, for the message.
        stages: (channels, layers, stride) of each.

    Raises:
        UsageError: If there is none, or a number is out of range.
    """
    checked = []
    for i, stage in enumerate(checked_list(who, "stages", stages)):
        channels, layers, stride = checked_numbers(who, f"stages[{i}]", stage, ("channels", "layers", "stride"))
        checked.append((channels, layers, one_of(who, f"stages[{i}]: stride", stride, (1, 2))))
    return checked


def checked_list(who: str, name: str, value: Sequence[T]) -> Sequence[T]:
    """A list that is not empty; else ``UsageError``."""
    if not isinstance(value, (list, tuple)) or not value:
        raise UsageError(f"{who}: {name}: expected a list that is not empty, got {value!r}")
    return value


def checked_numbers(who: str, where: str, value: Sequence[int], names: tuple[str, ...]) -> list[int]:
    """Whole numbers >= 1, one for each name; else ``UsageError``."""
    if not isinstance(value, (list, tuple)) or len(value) != len(names):
        raise UsageError(f"{who}: {where}: expected [{', '.join(names)}], got {value!r}")
    return [at_least_one(who, f"{where}: {name}", number) for name, number in zip(names, value, strict=True)]


def one_of(who: str, name: str, value: Any, known: Sequence[Any]) -> Any:
    """The value, if it is among those that are known; else ``UsageError``."""
    if isinstance(value, bool) or value not in known:
        raise UsageError(f"{who}: {name}: expected one of {', '.join(map(str, known))}, got {value!r}")
    return value
