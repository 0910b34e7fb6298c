"""Chains of layers, and the moves to larger ones whose networks can have the same function.

References: Cai et al., "Efficient architecture search by network transformation" (EAS), AAAI 2018; Elsken, Metzen &
Hutter, "Simple and efficient architecture search for convolutional neural networks" (NASH), 2017. Why each move keeps
the function, and where it cannot, ``ConvChain.morphisms`` says; the weights are moved in ``networks/conv_chain.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Layer(NamedTuple):
    """A layer: convolution, batch normalisation, ReLU.

    Attributes:
        width: Channels that go out.
        kernel: Size of the convolution.
        skip: Whether its input, times a learned number, is added to its output.
    """

    width: int
    kernel: int
    skip: bool = False


Chain = tuple[tuple[Layer, ...], ...]
"""The layers of each stage."""


# -- moves, each to all chains that are one of its kind away -----------------------------------


def deepened(chain: Chain, max_layers: int, kernels: Sequence[int]) -> Iterator[Chain]:
    """One layer more, in a stage of fewer than ``max_layers``, as wide as its input, where that cannot be negative."""
    before: Layer | None = None
    for i, stage in enumerate(chain):
        for j in range(len(stage) + 1):
            if j:
                before = stage[j - 1]
            if before is None or before.skip or len(stage) == max_layers:
                continue
            for kernel in kernels:
                longer = (*stage[:j], Layer(before.width, kernel), *stage[j:])
                yield (*chain[:i], longer, *chain[i + 1 :])


def widened(chain: Chain, widths: list[int]) -> Iterator[Chain]:
    """A layer of the next larger width, with all behind it whose skips tie them to it."""
    places = _places(chain)
    for start, (i, j) in enumerate(places):
        layer = chain[i][j]
        if layer.skip or layer.width == widths[-1]:
            continue
        width = widths[widths.index(layer.width) + 1]
        wider = _replaced(chain, i, j, layer._replace(width=width))
        for i, j in places[start + 1 :]:
            if not chain[i][j].skip:
                break
            wider = _replaced(wider, i, j, chain[i][j]._replace(width=width))
        yield wider


def enlarged(chain: Chain, kernels: Sequence[int]) -> Iterator[Chain]:
    """A layer of the next larger kernel."""
    for i, j in _places(chain):
        larger = [kernel for kernel in kernels if kernel > chain[i][j].kernel]
        if larger:
            yield _replaced(chain, i, j, chain[i][j]._replace(kernel=larger[0]))


def skipped(chain: Chain) -> Iterator[Chain]:
    """One skip more, where widths agree."""
    inputs = 0
    for i, j in _places(chain):
        layer = chain[i][j]
        if layer.width == inputs and not layer.skip:
            yield _replaced(chain, i, j, layer._replace(skip=True))
        inputs = layer.width


def _places(chain: Chain) -> list[tuple[int, int]]:
    """Stage and number of each layer, in order."""
    return [(i, j) for i, stage in enumerate(chain) for j in range(len(stage))]


def _replaced(chain: Chain, i: int, j: int, layer: Layer) -> Chain:
    stage = (*chain[i][:j], layer, *chain[i][j + 1 :])
    return (*chain[:i], stage, *chain[i + 1 :])
