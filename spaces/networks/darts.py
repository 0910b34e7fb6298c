"""The networks of DARTS: a stem, a row of cells of which two reduce, global average pooling, a classifier.

Reference: Liu, Simonyan & Yang, "DARTS: differentiable architecture search", ICLR 2019, section 3 and appendix A.2
(the networks that are trained to the end on CIFAR-10). With 36 channels and 20 layers, the second-order cells have
3,349,342 parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network, Weights, show_only
from archsearch.networks.partial import choice_of
from archsearch.spaces.darts import (
    CELLS,
    DARTS,
    NODES,
    OPERATIONS,
    PAIRS,
    RELAXED_EDGES,
    Edge,
    Genotype,
    Node,
    genotype,
)
from archsearch.trial import Architecture

STEM_MULTIPLIER = 3
"""The stem has this many times the channels of the first cells' nodes."""

ARITIES = DARTS().arities or ()
"""Options of the 24 decisions."""

RELAXED_ARITIES = [1 + len(OPERATIONS)] * len(RELAXED_EDGES) * len(CELLS)
"""Candidates of the 28 edges of both cells, ``none`` included."""

Shares = Mapping[Edge, float | torch.Tensor]
"""What feeds a node in a mixture: each edge that occurs, to its factor in the sum."""


class Mixture(NamedTuple):
    """Several architectures in one, written as a ``Genotype`` is.

    Attributes:
        normal: Nodes 2 to 5 of the cell that keeps height and width.
        reduce: Nodes 2 to 5 of the cell that halves them.
    """

    normal: tuple[Shares, ...]
    reduce: tuple[Shares, ...]


class DARTSNetwork(Network):
    """A network made of DARTS cells. Batch normalisation is affine everywhere; pooling has none.

    Args:
        architecture: The two cells, or None for the super-network with all operations on all edges.
        task: Input shape and classes.
        channels: Channels of a node in the first cells; each reduction doubles them.
        layers: Number of cells.
        auxiliary: Whether there is an auxiliary classifier.
        part: Of a super-network: each operation sees one of so many channels (PC-DARTS).
    """

    def __init__(
        self,
        architecture: Architecture | None,
        task: InputShape,
        channels: int,
        layers: int,
        auxiliary: bool,
        part: int = 1,
    ) -> None:
        super().__init__(architecture)
        cells = None if architecture is None else genotype(architecture)
        before = last = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(nn.Conv2d(task.input_shape[0], last, 3, padding=1, bias=False), nn.BatchNorm2d(last))
        self.cells = nn.ModuleList()
        self.auxiliary_after = 2 * layers // 3
        self.auxiliary_head: nn.Module | None = None
        reductions = reduction_layers(layers)
        for layer in range(layers):
            reduces = layer in reductions
            channels *= 2 if reduces else 1
            self.cells.append(Cell(cells, before, last, channels, reduces, layer - 1 in reductions, part))
            before, last = last, len(NODES) * channels
            if auxiliary and layer == self.auxiliary_after:
                self.auxiliary_head = AuxiliaryHead(last, task.classes)
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(last, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        return self._compute(images, genotype(self.path(architecture)), None)[0]

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits with several pairs of inputs and operations of each node; see ``archsearch.abilities.Mixing``.

        A node is the mean over its kept pairs; a pair is the mean of the first operations on its lower input plus the
        mean of the second operations on its higher input. The auxiliary head is left out.
        """
        return self._compute(images, mixed_cells(self.kept(options, ARITIES)), None)[0]

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with a weighted sum of operations on each of the 14 edges of a cell; see ``archsearch.relaxing``.

        A node is the sum of all edges that end in it; ``none`` is zero. The auxiliary head is left out.
        """
        return self._compute(images, relaxed_cells(self.weighed(weights, RELAXED_ARITIES)), None)[0]

    def with_auxiliary(
        self, images: torch.Tensor, architecture: Architecture | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, and those of the auxiliary head, if there is one; both of shape (batch, classes)."""
        return self._compute(images, genotype(self.path(architecture)), self.auxiliary_head)

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network``."""
        self.architecture = architecture
        cells = None if architecture is None else genotype(architecture)
        for cell in self.cells:
            assert isinstance(cell, Cell)
            cell.show(cells)
        return True

    def _compute(
        self, images: torch.Tensor, cells: Genotype | Mixture, auxiliary_head: nn.Module | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        auxiliary = None
        before = last = self.stem(images)
        for layer, cell in enumerate(self.cells):
            before, last = last, cell(before, last, cells, self.drop)
            if auxiliary_head is not None and layer == self.auxiliary_after:
                auxiliary = auxiliary_head(last)
        return self.head(last), auxiliary


def relaxed_cells(weights: Sequence[Weights]) -> Mixture:
    """The two cells whose edges have these operations; ``none``, the first candidate, is left out."""
    nodes: dict[tuple[int, int], dict[Edge, float | torch.Tensor]] = {}
    for number, some in enumerate(weights):
        cell, edge = divmod(number, len(RELAXED_EDGES))
        source, target = RELAXED_EDGES[edge]
        into = nodes.setdefault((cell, target), {})
        into |= {Edge(source, OPERATIONS[option - 1]): weight for option, weight in some.items() if option}
    both = [tuple(nodes[cell, target] for target in NODES) for cell in range(len(CELLS))]
    return Mixture(*both)


def mixed_cells(kept: Sequence[tuple[int, ...]]) -> Mixture:
    """The two cells in which each decision keeps these options."""
    nodes = [_shares(*kept[i : i + 3]) for i in range(0, len(kept), 3)]
    return Mixture(tuple(nodes[: len(NODES)]), tuple(nodes[len(NODES) :]))


def _shares(pairs: tuple[int, ...], lower: tuple[int, ...], higher: tuple[int, ...]) -> Shares:
    """A node as one weighted sum, so that an edge that several pairs share is computed once."""
    shares: dict[Edge, float] = {}
    for pair in pairs:
        for source, options in zip(PAIRS[pair], (lower, higher), strict=True):
            for option in options:
                edge = Edge(source, OPERATIONS[option])
                shares[edge] = shares.get(edge, 0.0) + 1 / (len(pairs) * len(options))
    return shares


def reduction_layers(layers: int) -> set[int]:
    """Which cells, counted from 0, are reductions: those at one and two thirds of the network, as in the paper.

    That rule would leave networks of one or two layers without a normal cell. Here a single layer is a normal cell,
    and of two the second is a reduction, so that both cells are used from two layers on.
    """
    return {layers // 3, 2 * layers // 3} if layers >= 3 else set(range(1, layers))


class Cell(nn.Module):
    """Two inputs, four nodes that are each the sum of two operations on earlier nodes, and their concatenation.

    Args:
        cells: The architecture's cells, or None for all operations on all edges.
        before: Channels of the output of the cell before the previous one.
        last: Channels of the output of the previous cell.
        channels: Channels of every node.
        reduces: Whether this is a reduction cell: the operations on its two inputs have stride 2.
        follows_reduction: Whether the previous cell is one, so that the cell before it gave twice the height and width.
        part: Each operation sees one of so many channels.
    """

    def __init__(
        self,
        cells: Genotype | None,
        before: int,
        last: int,
        channels: int,
        reduces: bool,
        follows_reduction: bool,
        part: int = 1,
    ) -> None:
        super().__init__()
        self.reduces = reduces
        adapt = FactorisedReduction if follows_reduction else relu_conv_bn
        self.inputs = nn.ModuleList([adapt(before, channels), relu_conv_bn(last, channels)])
        self.edges = nn.ModuleDict()
        for (source, target), only in _edges(None if cells is None else self.nodes(cells)).items():
            self.edges[f"{source}-{target}"] = choice_of(_candidates, channels, self.stride(source), part, only)

    def show(self, cells: Genotype | None) -> None:
        """Hides all operations but those of an architecture's cells; None: none."""
        edges = _edges(None if cells is None else self.nodes(cells))
        shown = {f"{source}-{target}": only for (source, target), only in edges.items()}
        show_only(self.edges, shown)
        for name, choice in self.edges.items():
            only = shown[name]
            show_only(choice, None if only is None else (only,))

    def nodes(self, cells: Genotype | Mixture) -> tuple[Node | Shares, ...]:
        """Those of the two cells that this one is made of."""
        return cells.reduce if self.reduces else cells.normal

    def stride(self, source: int) -> int:
        """Stride of the operations that start at a node."""
        return 2 if self.reduces and source < 2 else 1

    def forward(
        self,
        before: torch.Tensor,
        last: torch.Tensor,
        cells: Genotype | Mixture,
        drop: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """The four nodes, concatenated: shape (batch, 4 * channels, height, width), halved in a reduction.

        Args:
            before: Output of the cell before the previous one.
            last: Output of the previous cell.
            cells: What to compute.
            drop: Drop-path; as in the paper, identities are not dropped.
        """
        states = [self.inputs[0](before), self.inputs[1](last)]
        for target, edges in zip(NODES, self.nodes(cells), strict=True):
            by_source: dict[int, dict[str, float | torch.Tensor]] = {}
            for edge in edges:
                share = edges[edge] if isinstance(edges, Mapping) else 1.0
                by_source.setdefault(edge.source, {})[edge.operation] = share
            terms = []
            for source, weights in by_source.items():
                choice = self.edges[f"{source}-{target}"]
                assert isinstance(choice, Choice)
                terms.append(choice.mixed(states[source], weights, self._dropping(drop, source)))
            states.append(functools.reduce(torch.add, terms) if terms else self._nothing(states[0]))
        return torch.cat(states[2:], dim=1)

    def _dropping(
        self, drop: Callable[[torch.Tensor], torch.Tensor], source: int
    ) -> Callable[[str, torch.Tensor], torch.Tensor]:
        """Drop-path for the operations that start at a node, of which identities are not dropped."""
        identity = "skip_connect" if self.stride(source) == 1 else None
        return lambda operation, term: term if operation == identity else drop(term)

    def _nothing(self, x: torch.Tensor) -> torch.Tensor:
        """A node that nothing feeds, given an input of the cell."""
        return torch.zeros_like(x[:, :, :: self.stride(0), :: self.stride(0)])


def _edges(nodes: tuple[Node | Shares, ...] | None) -> dict[tuple[int, int], str | None]:
    """Source and target of the edges of a cell to the only operation that is needed; None: all."""
    if nodes is None:
        return {(source, target): None for target in NODES for source in range(target)}
    return {(edge.source, target): edge.operation for target, node in zip(NODES, nodes, strict=True) for edge in node}


def _candidates(channels: int, stride: int) -> Mapping[str, Callable[[], nn.Module]]:
    return {
        "max_pool_3x3": lambda: nn.MaxPool2d(3, stride, padding=1),
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False),
        "skip_connect": lambda: nn.Identity() if stride == 1 else FactorisedReduction(channels, channels),
        "sep_conv_3x3": lambda: _separable(channels, 3, stride),
        "sep_conv_5x5": lambda: _separable(channels, 5, stride),
        "dil_conv_3x3": lambda: nn.Sequential(*_depthwise(channels, 3, stride, dilation=2)),
        "dil_conv_5x5": lambda: nn.Sequential(*_depthwise(channels, 5, stride, dilation=2)),
    }


def _separable(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """The separable convolution, which is applied twice; the stride is in the first."""
    return nn.Sequential(*_depthwise(channels, kernel, stride), *_depthwise(channels, kernel, 1))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise convolution, 1x1 convolution, batch normalisation; size n becomes n / stride, rounded up."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def relu_conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    """ReLU, 1x1 convolution, batch normalisation."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class FactorisedReduction(nn.Module):
    """Halves height and width without losing pixels: half of the channels see the even pixels, half the odd ones.

    An odd height or width n becomes (n + 1) / 2, as with the other operations; the pixel that the odd half lacks is 0.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output, >= 2.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / 2, width / 2), rounded up."""
        x = functional.relu(x)
        shifted = functional.pad(x, (-1, x.shape[3] % 2, -1, x.shape[2] % 2))  # -1 cuts the first row and column off
        output: torch.Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return output


class AuxiliaryHead(nn.Module):
    """The auxiliary classifier for CIFAR, which is made for maps of 8x8 pixels.

    Maps that its average pooling does not turn into 2x2 (sides other than 8 to 10) are averaged to 2x2 adaptively, so
    that it fits images of any size with the same parameters.

    Args:
        inputs: Channels of the maps.
        classes: Number of classes.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(inputs, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps, shape (batch, inputs, height, width), to logits, shape (batch, classes)."""
        x = functional.relu(x)
        if all(8 <= side <= 10 for side in x.shape[2:]):
            x = functional.avg_pool2d(x, 5, stride=3)
        else:
            x = functional.adaptive_avg_pool2d(x, 2)
        logits: torch.Tensor = self.classifier(self.features(x).flatten(1))
        return logits
