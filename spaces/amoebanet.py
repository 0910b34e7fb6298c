"""AmoebaNet: the cells of NASNet with sums only, and the mutations of regularised evolution.

Reference: Real, Aggarwal, Huang & Le, "Regularized evolution for image classifier architecture search", AAAI 2019,
section 3.1 and appendix A. The inputs of a node may be one state, and only states that no node reads are concatenated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from archsearch.basics.checks import number
from archsearch.errors import UsageError
from archsearch.grammar.cells import Cells
from archsearch.grammar.rules import INPUTS_FIRST, Rules
from archsearch.grammar.texts import with_published
from archsearch.trial import Architecture

OPERATIONS = (
    "identity",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "bottleneck_1x7_7x1",
)
RELEASED = (*OPERATIONS, "conv_1x1", "bottleneck_3x3", "max_pool_2x2", "dil_conv_5x5")
"""With what the released networks B and D use besides."""

ARCHITECTURES: Mapping[str, str] = {
    "AmoebaNet-A": (
        "normal: avg_pool_3x3(0) max_pool_3x3(0) | sep_conv_3x3(1) identity(1) | identity(0) avg_pool_3x3(1) | "
        "sep_conv_3x3(0) sep_conv_5x5(2) | avg_pool_3x3(5) sep_conv_3x3(0) > 1 3 4 6 ; "
        "reduce: sep_conv_3x3(1) avg_pool_3x3(0) | max_pool_3x3(0) sep_conv_7x7(2) | max_pool_3x3(1) max_pool_3x3(0) | "
        "sep_conv_3x3(4) bottleneck_1x7_7x1(0) | avg_pool_3x3(1) sep_conv_7x7(0) > 2 3 4 5 6"
    ),
    "AmoebaNet-A-DARTS": (
        "normal: avg_pool_3x3(1) max_pool_3x3(0) | sep_conv_3x3(1) sep_conv_5x5(2) | sep_conv_3x3(1) avg_pool_3x3(3) | "
        "sep_conv_3x3(0) identity(0) | identity(1) avg_pool_3x3(0) ; "
        "reduce: avg_pool_3x3(1) sep_conv_3x3(0) | max_pool_3x3(1) sep_conv_7x7(2) | sep_conv_7x7(1) avg_pool_3x3(0) | "
        "max_pool_3x3(1) max_pool_3x3(0) | bottleneck_1x7_7x1(1) sep_conv_3x3(5)"
    ),
    "AmoebaNet-C": (
        "normal: avg_pool_3x3(0) sep_conv_3x3(0) | identity(0) sep_conv_3x3(0) | avg_pool_3x3(2) sep_conv_3x3(1) | "
        "identity(0) sep_conv_3x3(1) | avg_pool_3x3(3) sep_conv_3x3(0) > 1 2 4 5 6 ; "
        "reduce: max_pool_3x3(0) max_pool_3x3(0) | sep_conv_7x7(2) sep_conv_3x3(0) | sep_conv_7x7(0) max_pool_3x3(1) | "
        "sep_conv_5x5(4) sep_conv_5x5(4) | max_pool_3x3(1) sep_conv_3x3(1) > 0 2 3 4 5 6"
    ),
}
WITH_RELEASED: Mapping[str, str] = {
    "AmoebaNet-B": (
        "normal: conv_1x1(1) max_pool_3x3(1) | identity(1) sep_conv_3x3(0) | conv_1x1(1) sep_conv_3x3(0) | "
        "conv_1x1(2) identity(2) | avg_pool_3x3(1) conv_1x1(5) > 0 3 4 6 ; "
        "reduce: max_pool_2x2(0) max_pool_3x3(0) | identity(2) bottleneck_3x3(1) | dil_conv_5x5(2) max_pool_3x3(2) | "
        "identity(3) sep_conv_3x3(1) | avg_pool_3x3(4) conv_1x1(3)"
    ),
    "AmoebaNet-D": (
        "normal: conv_1x1(1) max_pool_3x3(1) | identity(1) bottleneck_1x7_7x1(0) | "
        "conv_1x1(0) bottleneck_1x7_7x1(0) | max_pool_3x3(2) identity(2) | avg_pool_3x3(1) conv_1x1(5) > 0 3 4 6 ; "
        "reduce: max_pool_2x2(0) max_pool_3x3(0) | identity(2) bottleneck_3x3(1) | "
        "bottleneck_1x7_7x1(2) max_pool_3x3(2) | identity(3) max_pool_2x2(1) | avg_pool_3x3(2) conv_1x1(3) > 4 5 6"
    ),
    **ARCHITECTURES,
}
"""Published architectures that ``parse`` knows by name: those of the authors' code (``amoeba_net`` in tensorflow/tpu),
where the states that are concatenated are often not those of the rule, and AmoebaNet-A as transcribed in the code of
DARTS, which differs in the order of the inputs, in one edge, and keeps the rule. The dilated convolution of B is
applied once here; its name in the authors' table says twice, and their code leaves the dilation out."""


def _rules(operations: tuple[str, ...], names: Mapping[str, str]) -> Rules:
    states = ("c[k-1]", "c[k-2]")
    others = dict.fromkeys(set(WITH_RELEASED) - set(names), "operations released")
    rules = Rules(operations, 5, INPUTS_FIRST, "unused", states=states, last_relu=True, names=names, elsewhere=others)
    return with_published(rules)


RULES = {"paper": _rules(OPERATIONS, ARCHITECTURES), "released": _rules(RELEASED, WITH_RELEASED)}
"""The first 8 operations are the same, so cells of ``paper`` are the same decisions in ``released``."""

_SITES = 2 * 2 * 5  # ends of nodes, in both cells


class AmoebaNet(Cells):
    """Pairs of cells of sums: 5.57e14 encodings of a cell, 3.1e29 of both, with the mutations of AmoebaNet.

    Each node has four decisions: two inputs out of all earlier states (0 is the output of the previous cell, 1 that of
    the cell before it), and an operation on each (8 options). ``canonical`` says which architectures count as equal.
    Identities of stride 2 are factorised reductions.

    As in the authors' code, convolutions of 1x7 and 7x1, and of 3x3, see a quarter of the channels. In that of DARTS
    they see all.

    Args:
        operations: ``paper``: the 8 of the paper; ``released``: also four that the released networks B and D use.
        identity: Share of mutations that change nothing, 0 up to, but not including, 1.
        layers: Cells of the network, >= 1; 3N + 2 are N normal cells before, between and behind two reductions.
        channels: Channels of the first cells' states, >= 1. The paper's networks for CIFAR have N = 6 and 32 or 36.
        auxiliary: Whether networks have an auxiliary classifier, behind the second reduction; its parameters are
            counted.

    Raises:
        UsageError: If a number is out of range, ``operations`` is neither, or ``auxiliary`` neither true nor false.
    """

    def __init__(
        self,
        operations: Literal["paper", "released"] = "paper",
        identity: float = 0.05,
        layers: int = 20,
        channels: int = 32,
        auxiliary: bool = False,
    ) -> None:
        if operations not in RULES:
            raise UsageError(f"AmoebaNet: operations: expected paper or released, got {operations!r}")
        self.operations = operations
        self.identity = number("AmoebaNet", "identity", identity, low=0, below=1)
        self.idle_mutations = self.identity > 0
        super().__init__(RULES[operations], layers, channels, auxiliary)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Changes nothing, one input, or one operation.

        Nothing with the probability ``identity``, else an input or an operation with equal probabilities: of a cell,
        node and end that are drawn uniformly. The new input is another earlier state, so that there are no loops; the
        new operation is another one. (The paper's text leaves open whether the same one may be drawn again.)
        """
        kind, where, what = rng.random(3).tolist()
        if kind < self.identity:
            return architecture
        node, end = divmod(int(where * _SITES), 2)
        of_operation = kind - self.identity >= (1 - self.identity) / 2
        position = 4 * node + 2 * of_operation + end
        assert self.arities is not None
        option = int(what * (self.arities[position] - 1))
        option += option >= architecture[position]
        return (*architecture[:position], option, *architecture[position + 1 :])
