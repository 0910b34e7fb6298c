"""The networks of spaces of cells: a stem, a row of cells of which two reduce, global average pooling, a classifier.

Reference: Zoph et al., "Learning transferable architectures for scalable image recognition", CVPR 2018, figure 2; the
details are those of Liu, Simonyan & Yang, "DARTS", ICLR 2019, appendix A.2. Where architectures differ in the states
that a cell concatenates, each state has a part of its own in the weights of the layers that read the cell.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from archsearch.grammar.layers import (
    AuxiliaryHead,
    Carried,
    FactorisedReduction,
    Noise,
    StateLinear,
    adapter,
    candidates,
    relu_conv_bn,
    through,
)
from archsearch.grammar.rules import CellPlan, NodePlan, Rules
from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network, show_only
from archsearch.networks.partial import choice_of
from archsearch.trial import Architecture

STEM_MULTIPLIER = 3
"""The stem has this many times the channels of the first cells' nodes."""

IDENTITIES = ("skip_connect", "identity")
"""Operations that are not dropped where they keep height and width."""

Drop = Callable[[torch.Tensor], torch.Tensor]


class CellNetwork(Network):
    """A network made of cells.

    Args:
        rules: The facts of the space.
        architecture: The cells, or None for the super-network with all operations in all places.
        task: Input shape and classes.
        channels: Channels of a node in the first cells; each reduction doubles them.
        layers: Number of cells.
        auxiliary: Whether there is an auxiliary classifier.
        part: Of a super-network: each operation sees one of so many channels (PC-DARTS).
    """

    def __init__(
        self,
        rules: Rules,
        architecture: Architecture | None,
        task: InputShape,
        channels: int,
        layers: int,
        auxiliary: bool,
        part: int = 1,
    ) -> None:
        super().__init__(architecture)
        self.rules = rules
        plans = None if architecture is None else rules.plans(architecture)
        before = last = Carried(STEM_MULTIPLIER * channels)
        stem = nn.Conv2d(task.input_shape[0], last.channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(last.channels))
        self.cells = nn.ModuleList()
        self.auxiliary_after = 2 * layers // 3
        self.auxiliary_head: nn.Module | None = None
        reductions = reduction_layers(layers)
        for layer in range(layers):
            reduces = layer in reductions
            channels *= 2 if reduces else 1
            kind = layer if rules.separate else len(rules.cells) - 1 if reduces else 0
            plan = None if plans is None else plans[kind]
            cell = Cell(rules, kind, plan, before, last, channels, reduces, layer - 1 in reductions, part)
            self.cells.append(cell)
            before, last = last, cell.carried
            if auxiliary and layer == self.auxiliary_after:
                self.auxiliary_head = AuxiliaryHead(last, task.classes)
        self.head = nn.Sequential(
            GlobalAveragePool(),
            nn.Linear(last.channels, task.classes) if last.states is None else StateLinear(last, task.classes),
        )
        self.noises = [module for module in self.modules() if isinstance(module, Noise)]

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        return self.compute(images, self.rules.plans(self.path(architecture)), None)[0]

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network``; where the states differ that cells concatenate, so do the weights of what reads them."""
        if self.rules.output != "all" or self.rules.several or self.rules.fewest is not None:
            return False
        self.architecture = architecture
        plans = None if architecture is None else self.rules.plans(architecture)
        for cell in self.cells:
            assert isinstance(cell, Cell)
            cell.show(None if plans is None else plans[cell.kind])
        return True

    def with_auxiliary(
        self, images: torch.Tensor, architecture: Architecture | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, and those of the auxiliary head, if there is one; both of shape (batch, classes)."""
        return self.compute(images, self.rules.plans(self.path(architecture)), self.auxiliary_head)

    def compute(
        self, images: torch.Tensor, plans: Sequence[CellPlan], auxiliary_head: nn.Module | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As ``with_auxiliary``, of whatever is planned for each kind of cell."""
        for noise in self.noises:
            noise.generator = self.generator
        auxiliary = None
        x = self.stem(images)
        before: tuple[torch.Tensor, Sequence[int] | None] = (x, None)
        last = before
        for layer, cell in enumerate(self.cells):
            assert isinstance(cell, Cell)
            plan = plans[cell.kind]
            states = None if cell.carried.states is None else plan.outputs
            before, last = last, (cell(before, last, plan, self.drop), states)
            if auxiliary_head is not None and layer == self.auxiliary_after:
                auxiliary = through(auxiliary_head, *last)
        x = last[0].relu() if self.rules.last_relu else last[0]
        return through(self.head[1], self.head[0](x), last[1]), auxiliary


def reduction_layers(layers: int) -> set[int]:
    """Which cells, counted from 0, are reductions: those at one and two thirds of the network, as in DARTS.

    With 3N + 2 layers, N normal cells lie before, between and behind them, as in NASNet. That rule would leave networks
    of one or two layers without a normal cell. Here a single layer is a normal cell, and of two the second is a
    reduction, so that both cells are used from two layers on.
    """
    return {layers // 3, 2 * layers // 3} if layers >= 3 else set(range(1, layers))


class Cell(nn.Module):
    """Two inputs, nodes that each join operations on earlier states, and the concatenation of some states.

    Args:
        rules: The facts of the space.
        kind: Which of the kinds of cells this is.
        plan: What it is to compute, or None for all operations in all places.
        before: The output of the cell before the previous one.
        last: The output of the previous cell.
        channels: Channels of every state.
        reduces: Whether the operations on its two inputs have stride 2.
        follows_reduction: Whether the previous cell does so: the cell before it gave twice the height and width.
        part: Each operation sees one of so many channels.
    """

    def __init__(
        self,
        rules: Rules,
        kind: int,
        plan: CellPlan | None,
        before: Carried,
        last: Carried,
        channels: int,
        reduces: bool,
        follows_reduction: bool,
        part: int = 1,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.reduces = reduces
        self.latest_first = rules.states[0] == "c[k-1]"
        self.inputs = nn.ModuleList([adapter(before, channels, follows_reduction), adapter(last, channels, False)])
        self.edges = nn.ModuleDict()
        only = None if plan is None else plan.operations()
        for slot, source, target in rules.slots():
            if only is None or slot in only:
                names = rules.operations_of(kind, source, target) if only is None else only[slot]
                self.edges[slot] = choice_of(candidates(names), channels, self.stride(source), part)
        outputs = tuple(range(2 + rules.nodes)) if plan is None else plan.outputs
        if rules.output == "all" and rules.fewest is None:
            self.carried = Carried(rules.nodes * channels)
        else:
            self.carried = Carried(channels, outputs)
            halved = [state for state in outputs if reduces and state < 2]
            self.halved = nn.ModuleDict({str(s): FactorisedReduction(channels, channels) for s in halved})
        if len(rules.combiners) > 1:  # concatenated edges, brought back to the channels of a state
            joined = [t for i, t in enumerate(rules.targets) if plan is None or plan.nodes[i].combiner == "concat"]
            self.joins = nn.ModuleDict({str(target): relu_conv_bn(2 * channels, channels) for target in joined})

    def show(self, plan: CellPlan | None) -> None:
        """Hides all operations but those of a plan; None: none."""
        only = None if plan is None else plan.operations()
        show_only(self.edges, only)
        for slot, choice in self.edges.items():
            show_only(choice, None if only is None else only[slot])

    def stride(self, source: int) -> int:
        """Stride of the operations that start at a state."""
        return 2 if self.reduces and source < 2 else 1

    def forward(
        self,
        before: tuple[torch.Tensor, Sequence[int] | None],
        last: tuple[torch.Tensor, Sequence[int] | None],
        plan: CellPlan,
        drop: Drop,
    ) -> torch.Tensor:
        """States, concatenated: shape (batch, states * channels, height, width), halved in a reduction.

        Args:
            before: Output of the cell before the previous one, and the states in it if they differ.
            last: Output of the previous cell.
            plan: What to compute.
            drop: Drop-path; identities are not dropped.
        """
        states = [through(self.inputs[0], *before), through(self.inputs[1], *last)]
        if self.latest_first:
            states.reverse()
        for target, node in enumerate(plan.nodes, 2):
            states.append(self._node(states, target, node, drop))
        return torch.cat([self._output(state, states[state]) for state in plan.outputs], dim=1)

    def _node(self, states: Sequence[torch.Tensor], target: int, node: NodePlan, drop: Drop) -> torch.Tensor:
        terms = []
        for slot, source, weights in node.terms:
            choice = self.edges[slot]
            assert isinstance(choice, Choice)
            terms.append(choice.mixed(states[source], weights, self._dropping(drop, source)))
        if node.combiner == "concat":
            joined: torch.Tensor = self.joins[str(target)](torch.cat(terms, dim=1))
            return joined
        if not terms:  # nothing feeds it
            return torch.zeros_like(states[0][:, :, :: self.stride(0), :: self.stride(0)])
        return functools.reduce(torch.add, terms)

    def _output(self, state: int, x: torch.Tensor) -> torch.Tensor:
        if self.reduces and state < 2:
            x = self.halved[str(state)](x)
        return x

    def _dropping(self, drop: Drop, source: int) -> Callable[[str, torch.Tensor], torch.Tensor]:
        """Drop-path for the operations that start at a state, of which identities are not dropped."""
        spared = IDENTITIES if self.stride(source) == 1 else ()
        return lambda operation, term: term if operation in spared else drop(term)
