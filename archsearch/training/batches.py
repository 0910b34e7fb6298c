"""How examples are dealt out in batches.

Images are shuffled, and never one of them is alone, since batch normalisation has no statistics of one image. Tokens
are laid out as a few long streams, which are cut into segments: truncated back-propagation through time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch

from archsearch.networks.network import Network
from archsearch.networks.recurrent import CarriedState
from archsearch.task.goal import Order
from archsearch.task.stored import Inputs

STREAMS = 10
"""Streams of tokens that are scored side by side; each begins with a hidden state of zeros."""

SCORED_SEGMENT = 128
"""Tokens of a stream in one pass of scoring; the hidden state is carried on, so that results do not depend on it."""


T = TypeVar("T")


class Batch(NamedTuple):
    """What a step is given, on the device.

    Attributes:
        inputs: Images, shape (batch, channels, height, width), augmented; rows of a table, shape (batch, columns); or
            tokens, shape (streams, length).
        targets: Labels or numbers, shape (batch,); of each pixel a label, shape (batch, height, width); or the tokens
            that follow, shape (streams, length).
        carried: Of tokens, the hidden state that the segment before has left.
        weight: What its loss counts, where it is one of several shares of a batch: 1 on average.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    carried: CarriedState | None = None
    weight: float = 1.0

    @property
    def examples(self) -> int:
        """Images, rows of a table, or tokens."""
        return self.targets.numel() if self.carried is not None else len(self.targets)

    def parts(self, count: int) -> Iterator[Batch]:
        """The images dealt out evenly, in their order, to ``count`` batches, of which none is empty."""
        if count == 1:
            yield self
            return
        for inputs, targets in zip(self.inputs.tensor_split(count), self.targets.tensor_split(count), strict=True):
            if len(targets):
                yield Batch(inputs, targets)

    def share(self, rank: int, shares: int) -> Batch:
        """One of ``shares`` equal shares of the images, by number from 0."""
        inputs, targets = self.inputs[rank::shares], self.targets[rank::shares]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return Batch(inputs, targets, None, len(targets) * shares / len(self.targets))

    def through(self, choice: T) -> tuple[torch.Tensor, T] | tuple[torch.Tensor, T, CarriedState]:
        """Arguments of a network's pass: the inputs, which path or weights, and the hidden state if there is one."""
        return (self.inputs, choice) if self.carried is None else (self.inputs, choice, self.carried)


def updates_in(order: Order, examples: int, batch_size: int, segment: int) -> int:
    """Batches in an epoch.

    Args:
        order: Of the task's goal.
        examples: >= 1.
        batch_size: Images at most in a batch, or streams of tokens, >= 1.
        segment: Tokens of a stream in a batch, >= 1.
    """
    return batches_of(examples, batch_size) if order == "shuffled" else -(-(examples // batch_size) // segment)


def dealt(
    order: Order, chosen: torch.Tensor, batch_size: int, segment: int, generator: torch.Generator | None
) -> Sequence[torch.Tensor]:
    """The numbers of examples, dealt out to the batches of an epoch; see ``updates_in``.

    Images are in an order that ``generator`` decides. Tokens stay in theirs; a few that fill no stream are left out.
    """
    if order == "segments":
        return torch.split(streams_of(chosen, batch_size), segment, dim=1)
    shuffled = chosen[torch.randperm(len(chosen), generator=generator)]
    return torch.tensor_split(shuffled, batches_of(len(chosen), batch_size))


def streams_of(chosen: torch.Tensor, streams: int) -> torch.Tensor:
    """Tokens as streams of equal length, shape (streams, length)."""
    streams = min(streams, len(chosen))
    length = len(chosen) // streams
    return chosen[: streams * length].view(streams, length)


def to_score(order: Order, inputs: Inputs, targets: torch.Tensor, sizes: int | list[int]) -> Iterator[Batch]:
    """All examples of a part, one batch after the other; ``sizes`` are those of batches of images."""
    if order == "shuffled":
        begin = 0
        for their in torch.split(targets, sizes):
            yield Batch(inputs[begin : begin + len(their)], their)
            begin += len(their)
        return
    carried = CarriedState()
    streams = streams_of(torch.arange(len(targets), device=targets.device), STREAMS)
    for numbers in torch.split(streams, SCORED_SEGMENT, dim=1):
        yield Batch(inputs[numbers], targets[numbers], carried)
        carried.go_on()


def batches_of(images: int, batch_size: int) -> int:
    """Batches in an epoch that deals out its images evenly, none of which holds one image alone if there are more.

    The images of an epoch are dealt out by ``torch.tensor_split``: 899 images in batches of up to 32 make 29 batches of
    31. Batches of up to 2 of an odd number of images would leave one alone: then one of them has 3. A ``batch_size`` of
    1 means what it says.

    Args:
        images: >= 1.
        batch_size: Images in a batch at most, >= 1.
    """
    count = -(-images // batch_size)
    return max(1, images // 2) if batch_size > 1 and images // count < 2 else count


def evaluation_batches(images: int, batch_size: int) -> list[int]:
    """Sizes of batches, one after the other, that are all full but the last; one image left over joins the one before.

    Args:
        images: >= 0.
        batch_size: Images in a batch, >= 1; of the last, one more at most.
    """
    full, left = divmod(images, batch_size)
    sizes = [batch_size] * full
    if left == 1 and full:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return sizes


def normalises_one(network: Network, input_shape: tuple[int, ...]) -> bool:
    """Whether a network can train on one image: all its batch normalisations average over more than one value.

    Args:
        network: On the meta device: nothing is computed.
        input_shape: Channels, height and width of an image.
    """
    network.train()
    try:
        with torch.no_grad():
            network.with_auxiliary(torch.empty(1, *input_shape, device="meta"))
    except ValueError:
        return False
    return True
