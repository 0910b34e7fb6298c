"""The networks of NAS-Bench-101: a stem, three stacks of equal cells with max-pooling between them, a classifier.

Reference: Ying et al., "NAS-Bench-101", ICML 2019, with the details of the authors' ``model_builder.py``. With 128
channels and 3 modules, the parameters of all 2,532 cells of up to 5 vertices equal the recorded ones (EC-NAS).

How wide a vertex is depends on the graph. The super-network therefore holds every layer at its greatest width, and a
cell with narrower vertices computes with the leading slice of each parameter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS, Cell, CellSpace
from archsearch.trial import Architecture

STACKS = 3


class NASBench101Network(Network):
    """A network made of NAS-Bench-101 cells.

    Args:
        space: The space of the cell; says what an architecture stands for, and how many vertices there may be.
        architecture: The cell, or None for the super-network with all operations in every inner vertex.
        task: Input shape and classes.
        channels: Channels of the first stack; each later stack has twice as many.
        modules: Cells per stack.
    """

    def __init__(
        self, space: CellSpace, architecture: Architecture | None, task: InputShape, channels: int, modules: int
    ) -> None:
        super().__init__(architecture)
        self.space = space
        self.task = InputShape(task.input_shape, task.classes)
        self.channels = channels
        self.modules_per_stack = modules
        cell = None if architecture is None else space.wired(architecture)
        self.stem = SlicedConvBnRelu(task.input_shape[0], channels, 3)
        layers: list[nn.Module] = []
        inputs = channels
        for stack in range(STACKS):
            if stack:
                # ceil_mode pads as the original does, so that no image becomes empty.
                layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            for _ in range(modules):
                layers.append(CellModule(cell, inputs, channels * 2**stack, space.most_vertices))
                inputs = channels * 2**stack
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(inputs, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        cell = self.space.wired(self.path(architecture))
        x = self.stem(images, self.channels)
        for layer in self.layers:
            x = layer(x, cell) if isinstance(layer, CellModule) else layer(x)
        logits: torch.Tensor = self.head(x)
        return logits

    def inherit(self, architecture: Architecture) -> NASBench101Network:
        """A stand-alone network with this one's weights: the leading slice of each parameter and buffer of that name.

        In evaluation mode it computes what this network computes for that architecture.

        Raises:
            UsageError: If this network stands for another architecture.
        """
        architecture = self.path(architecture)
        with torch.device("meta"):  # no values: initial ones would be drawn from a global generator
            child = type(self)(self.space, architecture, self.task, self.channels, self.modules_per_stack)
        state = self.state_dict()
        child.to_empty(device=next(self.parameters()).device)
        child.load_state_dict(
            {
                name: state[name][tuple(slice(size) for size in values.shape)]
                for name, values in child.state_dict().items()
            }
        )
        return child.train(self.training)


class CellModule(nn.Module):
    """One cell with its weights; the original calls it a module.

    The channels that go out are shared among the inner vertices that feed the output vertex, which concatenates them.
    Any other inner vertex is as wide as the widest one that it feeds. A vertex sums what comes in: wider values lose
    their last channels, and the module's input passes through a convolution of kernel 1. So it does on its
    way to the output vertex, where it is added to all channels.

    Args:
        cell: The cell, or None for all operations and edges.
        inputs: Channels that come in.
        outputs: Channels that go out.
        most_vertices: Vertices of the largest cell.
    """

    def __init__(self, cell: Cell | None, inputs: int, outputs: int, most_vertices: int) -> None:
        super().__init__()
        self.outputs = outputs
        widths = dict.fromkeys(range(1, most_vertices - 1), outputs) if cell is None else vertex_widths(cell, outputs)
        self.operations = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for vertex, width in widths.items():
            only = None if cell is None else OPERATIONS[cell.operations[vertex - 1]]
            self.operations[str(vertex)] = Choice(_candidates(width), only)
            if cell is None or cell.has_edge(0, vertex):
                self.projections[str(vertex)] = SlicedConvBnRelu(inputs, width, 1)
        if cell is None or cell.has_edge(0, cell.output):
            self.projections["output"] = SlicedConvBnRelu(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, cell: Cell) -> torch.Tensor:
        """The output vertex, of the height and width of ``x``."""
        values: dict[int, torch.Tensor] = {}
        for vertex, width in vertex_widths(cell, self.outputs).items():
            terms = [value[:, :width] for source, value in values.items() if cell.has_edge(source, vertex)]
            if cell.has_edge(0, vertex):
                terms.append(self.projections[str(vertex)](x, width))
            operation = OPERATIONS[cell.operations[vertex - 1]]
            values[vertex] = self.operations[str(vertex)](functools.reduce(torch.add, terms), operation)
        feeding = [value for vertex, value in values.items() if cell.has_edge(vertex, cell.output)]
        terms = [torch.cat(feeding, dim=1)] if feeding else []
        if cell.has_edge(0, cell.output):
            terms.append(self.projections["output"](x, self.outputs))
        return functools.reduce(torch.add, terms)


class SlicedConvBnRelu(nn.Module):
    """Convolution, batch normalisation, ReLU; may compute with the leading channels of its weights alone.

    Args:
        inputs: Most channels that may come in.
        outputs: Most channels that may go out.
        kernel: Height and width of the kernel; odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = SlicedConv(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = SlicedBatchNorm(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor, outputs: int | None = None) -> torch.Tensor:
        """A value of ``outputs`` channels, of the height and width of ``x``; None: as many channels as ``x`` has."""
        result: torch.Tensor = self.relu(self.norm(self.conv(x, x.shape[1] if outputs is None else outputs)))
        return result


class SlicedConv(nn.Conv2d):
    """A convolution without bias that computes ``outputs`` channels from as many as ``x`` has."""

    def forward(self, x: torch.Tensor, outputs: int | None = None) -> torch.Tensor:
        """See the class; None: all channels that it has."""
        outputs = self.out_channels if outputs is None else outputs
        is_whole = (outputs, x.shape[1]) == self.weight.shape[:2]  # a slice costs time, in the backward pass too
        weight = self.weight if is_whole else self.weight[:outputs, : x.shape[1]]
        return functional.conv2d(x, weight, padding=self.padding)


class SlicedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of as many channels as ``x`` has; in training, only their statistics are updated."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        n, momentum = x.shape[1], self.momentum
        if n == self.num_features:
            return super().forward(x)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # to PyTorch, this is the mean over all batches
                momentum = 1 / self.num_batches_tracked.item()
        # Slices of buffers are views, so that they are updated in place.
        return functional.batch_norm(
            x,
            None if self.running_mean is None else self.running_mean[:n],
            None if self.running_var is None else self.running_var[:n],
            self.weight[:n],
            self.bias[:n],
            self.training or self.running_mean is None,
            momentum or 0.0,
            self.eps,
        )


def _candidates(width: int) -> Mapping[str, Callable[[], nn.Module]]:
    return {
        "conv3x3-bn-relu": lambda: SlicedConvBnRelu(width, width, 3),
        "conv1x1-bn-relu": lambda: SlicedConvBnRelu(width, width, 1),
        "maxpool3x3": lambda: nn.MaxPool2d(3, stride=1, padding=1),
    }


def vertex_widths(cell: Cell, outputs: int) -> dict[int, int]:
    """Channels of each inner vertex that lies on a path to the output, in rising order of the vertices.

    Args:
        cell: The cell.
        outputs: Channels of the cell's output, at least as many as vertices feed it.
    """
    inner = range(1, cell.output)
    feeding = [vertex for vertex in inner if cell.has_edge(vertex, cell.output)]
    widths = dict(zip(feeding, shared_out(outputs, len(feeding)), strict=True))
    for vertex in reversed(inner):
        fed = [widths[target] for target in inner if target in widths and cell.has_edge(vertex, target)]
        if vertex not in widths and fed:
            widths[vertex] = max(fed)
    return dict(sorted(widths.items()))


def shared_out(channels: int, vertices: int) -> list[int]:
    """How many channels each of the vertices gets that feed the output; the first ones get what is left over."""
    return [(channels + vertices - 1 - i) // vertices for i in range(vertices)]
