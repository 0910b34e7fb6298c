"""Different cells of one space trained as one, by a union of operations with groups per architecture: what is gained.

    python benchmarks/union.py [--channels 8 16] [--cells 8] [--rounds 7]

A prototype, of NASBench201 alone. What all networks have in common (stem, reductions, head) stands side by side as
repeats do (``archsearch.stacked``). In a cell, all convolutions of one kind that begin at a node, of whatever network
and whichever edge, are one convolution with a group for each; so are poolings; what comes out is added to the nodes
where the edges end. That is the fewest calls that such a union can have. First the outputs and the weights after an
update are compared with those apart. Then updates are timed, together and one after the other, in turns: processor
time; forward pass, loss, backward pass and the optimiser's step, no validation. Next to it the same number of networks
of one cell, as ``Training(repeats=N)`` has them: what a union could reach at most.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from archsearch.evaluators import Training
from archsearch.spaces import NASBench201
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS
from archsearch.spaces.networks.nasbench201 import Cell
from archsearch.stacked.side_by_side import SideBySide
from archsearch.training.loop import Run, update
from archsearch.training.optimizer import make_optimizer
from archsearch.trial import Architecture

CONVOLUTIONS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
UPDATES = 10


class Empty(nn.Module):
    """Stands where a cell was."""


class Kind(nn.Module):
    """All operations of one kind that begin at one node, of all networks.

    Args:
        found: Of each its network, the node where it ends, and its module.
        channels: Of a network.
    """

    def __init__(self, name: str, found: Sequence[tuple[int, int, nn.Module]], channels: int) -> None:
        super().__init__()
        self.name = name
        self.register_buffer("take", torch.tensor([k for k, _, _ in found]))
        if name in CONVOLUTIONS:
            modules = [module for _, _, module in found]
            self.weight = nn.Parameter(torch.cat([m[1].weight.detach() for m in modules]))
            for each in ("weight", "bias"):
                value = torch.cat([getattr(m[2], each).detach() for m in modules])
                self.register_parameter(f"norm_{each}", nn.Parameter(value))
            for each in ("running_mean", "running_var"):
                self.register_buffer(each, torch.cat([getattr(m[2], each) for m in modules]))
            self.groups, self.padding = len(found), CONVOLUTIONS[name] // 2

    def forward(self, x: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """Blocks in, channels out (see ``UnionCell``); ``positive``: x after the ReLU."""
        x = channels_of((positive if self.name in CONVOLUTIONS else x).index_select(3, self.take))
        if self.name in CONVOLUTIONS:
            x = functional.conv2d(x, self.weight, padding=self.padding, groups=self.groups)
            norm = (self.running_mean, self.running_var, self.norm_weight, self.norm_bias)
            return functional.batch_norm(x, *norm, training=self.training)
        return x if self.name == "skip_connect" else functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class UnionCell(nn.Module):
    """The cells of all networks at one place."""

    def __init__(self, cells: Sequence[Cell], options: Sequence[Sequence[dict[int, float]]], channels: int) -> None:
        super().__init__()
        self.count, self.channels = len(cells), channels
        self.kinds, self.places = nn.ModuleList(), []
        for source in range(3):
            kinds, place = nn.ModuleList(), []
            for name in OPERATIONS[1:]:
                found = [
                    (k, target, cells[k].edges[f"{source}-{target}"][name] if name in CONVOLUTIONS else Empty())
                    for e, (begin, target) in enumerate(EDGES)
                    if begin == source
                    for k in range(self.count)
                    if OPERATIONS.index(name) in options[k][e]
                ]
                if found:
                    kinds.append(Kind(name, found, channels))
                    place += [(target, k) for k, target, _ in found]
            self.kinds.append(kinds)
            self.register_buffer(f"put{source}", torch.tensor([(target - 1) * self.count + k for target, k in place]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, networks x channels, height, width)."""
        x = self.blocks(x)
        nodes = x.new_zeros(*x.shape[:3], 3 * self.count, self.channels)
        for source in range(3):
            if len(self.kinds[source]):
                value = x if source == 0 else nodes[:, :, :, (source - 1) * self.count : source * self.count]
                positive = value.relu()
                terms = [self.blocks(kind(value, positive)) for kind in self.kinds[source]]
                whole = terms[0] if len(terms) == 1 else torch.cat(terms, 3)
                nodes = nodes.index_add_(3, getattr(self, f"put{source}"), whole)
        return channels_of(nodes[:, :, :, 2 * self.count :].contiguous())

    def blocks(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, height, width, networks or operations, channels): no copy of what is laid out so."""
        return x.permute(0, 2, 3, 1).reshape(len(x), *x.shape[2:], -1, self.channels)


def channels_of(x: torch.Tensor) -> torch.Tensor:
    """Shape (batch, all channels, height, width)."""
    return x.flatten(3).permute(0, 3, 1, 2)


def union(networks: Sequence[nn.Module], cells: Sequence[Architecture]) -> SideBySide:
    """Networks of different cells as one."""
    whole, bare = [list(network.layers) for network in networks], []
    for network in networks:
        network.layers = nn.ModuleList([Empty() if isinstance(each, Cell) else each for each in network.layers])
    stack = SideBySide(networks, "plain")
    for network, layers in zip(networks, whole, strict=True):
        network.layers = nn.ModuleList(layers)
    options = [networks[0].running([{option: 1.0} for option in cell]) for cell in cells]
    for i, first in enumerate(whole[0]):
        if isinstance(first, Cell):
            channels = networks[0].stem[0].out_channels * 2 ** len([1 for j in bare if j])
            stack.network.layers[i] = UnionCell([layers[i] for layers in whole], options, channels)
        else:
            bare.append(True)
    stack.network.train()
    return stack


def forward(stack: SideBySide, images: torch.Tensor) -> torch.Tensor:
    """Logits of shape (batch, networks x classes)."""
    x = stack.network.stem(images)
    for layer in stack.network.layers:
        x = layer(x)
    return stack.network.head(x)


def together(training: Training, cells: Sequence[Architecture], make: Callable[..., SideBySide], whole: bool) -> tuple:
    """A function that makes one update of all, and the stack."""
    runs = [training.trainer.begin(cell, k) for k, cell in enumerate(cells)]
    stack = make([run.network for run in runs], cells)
    optimizer = make_optimizer(stack.network, training.recipe, training.trainer.where)

    def step(batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        images = stack.together([batch] * len(cells))
        outputs = stack.network(images, cells[0]) if whole else forward(stack, images)
        losses = [functional.cross_entropy(each, targets) for each in stack.apart(outputs)]
        values = torch.stack(losses).tolist()
        sum(losses).backward()
        update(optimizer, 0.1)
        return outputs, values

    return step, stack


def apart(run: Run) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A function that makes an update of one network."""

    def step(batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        for weight in run.network.parameters():
            weight.grad = None
        outputs = run.network(batch)
        loss = functional.cross_entropy(outputs, targets)
        loss.item()
        loss.backward()
        update(run.optimizer, 0.1)
        return outputs

    return step


def seconds(step: Callable, batch: torch.Tensor, targets: torch.Tensor) -> float:
    """Processor seconds of an update."""
    begun = time.process_time()
    for _ in range(UPDATES):
        step(batch, targets)
    return (time.process_time() - begun) / UPDATES


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--cells", type=int, default=8, help="networks that are trained together")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| channels | networks | apart, ms | union, ms | apart / union, min / median / max | apart / one cell's |")
    print("|---|---|---|---|---|---|", flush=True)
    for channels in arguments.channels:
        training = Training("digits", skeleton={"channels": channels})
        training.start(NASBench201())
        rng, ratios, others, times = np.random.default_rng(0), [], [], []
        inputs, labels = training.trainer.data.part("train", training.trainer.where)
        batch, targets = inputs[:32].contiguous(memory_format=torch.channels_last), labels[:32]
        for number in range(arguments.rounds):
            cells = [NASBench201().sample(rng) for _ in range(arguments.cells)]
            alone = [apart(training.trainer.begin(cell, k)) for k, cell in enumerate(cells)]
            step, stack = together(training, cells, union, False)
            same, _ = together(training, [(3, 2, 1, 3, 4, 2)] * len(cells), lambda n, _: SideBySide(n, "plain"), True)
            for _ in range(3):  # the third pass sees weights after two updates
                a = torch.stack([each(batch, targets) for each in alone])
                b = torch.stack(list(stack.apart(step(batch, targets)[0])))
                same(batch, targets)
                if number == 0:
                    worst = ((a - b).abs().max() / a.abs().max()).item()
                    assert worst < 1e-3, worst
            one = [seconds(each, batch, targets) for each in alone]
            both, plain = seconds(step, batch, targets), seconds(same, batch, targets)
            like = [apart(training.trainer.begin((3, 2, 1, 3, 4, 2), k)) for k in range(2)]
            reference = sum(seconds(each, batch, targets) for each in like) / 2 * len(cells)
            times.append((1e3 * sum(one), 1e3 * both))
            ratios.append(sum(one) / both)
            others.append(reference / plain)
        ratios.sort()
        ms = [statistics.median(each) for each in zip(*times, strict=True)]
        print(
            f"| {channels} | {arguments.cells} | {ms[0]:.1f} | {ms[1]:.1f} | {ratios[0]:.2f} / "
            f"**{statistics.median(ratios):.2f}** / {ratios[-1]:.2f} | {statistics.median(others):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
