"""EfficientNet: one network, made deeper, wider and finer in proportion.

Reference: Tan & Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019, sections 3.3
and 4; the baseline and the rounding are those of the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from archsearch.basics.checks import number
from archsearch.chain.blocks import Bottleneck
from archsearch.chain.planned import PlannedChain
from archsearch.chain.rules import Plan, Rules, Stage, checked_list
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.trial import Architecture

B0 = Rules(
    [
        Stage(channels, layers, stride, (Bottleneck(kernel, expansion, 0.25),))
        for channels, layers, stride, kernel, expansion in (
            (16, 1, 1, 3, 1),
            (24, 2, 2, 3, 6),
            (40, 2, 2, 5, 6),
            (80, 3, 2, 3, 6),
            (112, 3, 1, 5, 6),
            (192, 4, 2, 5, 6),
            (320, 1, 1, 3, 6),
        )
    ],
    stem_channels=32,
    stem_stride=2,
    head_channels=1280,
    activation="swish",
)

GRIDS = {
    "depths": (1.0, 1.1, 1.2, 1.3, 1.4),
    "widths": (1.0, 1.05, 1.1, 1.15, 1.2),
    "resolutions": (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3),
}
"""Ours, around the paper's choice: 1.2, 1.1 and 1.15."""

NAMES = {"EfficientNet": "d1.2-w1.1-r1.15"}
"""What the paper's grid search chose; B1 to B7 are, nearly, its powers."""


class EfficientNet(PlannedChain):
    """How much deeper, wider and finer a network becomes at about twice the multiply-adds: 32 encodings by default.

    Decisions: the factors d of depth, w of width and r of resolution, out of three grids, as far as d * w^2 * r^2 is
    about 2. The network is EfficientNet-B0 with d^n times the layers, w^n times the channels, and images of r^n times
    the height and width, which are scaled inside; n is the ``exponent``, and multiply-adds grow about 2^n-fold. With
    ``exponent=0`` all are B0 itself. Layers are rounded up, channels to multiples of 8, at least 0.9 of what they
    should be. Texts are such as ``d1.2-w1.1-r1.15``, which ``parse`` also knows as ``EfficientNet``.

    In the super-network, an architecture has the first layers of each stage and the leading channels.

    Args:
        exponent: How often multiply-adds are doubled, >= 0; 1 in the paper's grid search.
        depths: Factors of depth, >= 1. None: 1, 1.1, 1.2, 1.3 and 1.4.
        widths: Factors of width, >= 1. None: 1, 1.05, 1.1, 1.15 and 1.2.
        resolutions: Factors of resolution, >= 1. None: 1, 1.05, ..., 1.3.
        tolerance: The share, >= 0, by which d * w^2 * r^2 may differ from 2.
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first stage has a stride, and a
            stage of B0 has at most two layers.

    Raises:
        UsageError: If a setting is out of range, or no factors are near enough to 2.
    """

    def __init__(
        self,
        exponent: float = 1.0,
        depths: Sequence[float] | None = None,
        widths: Sequence[float] | None = None,
        resolutions: Sequence[float] | None = None,
        tolerance: float = 0.05,
        small: bool = False,
    ) -> None:
        self.exponent = number("EfficientNet", "exponent", exponent, low=0)
        self.depths, self.widths, self.resolutions = (
            _factors(name, given)
            for name, given in (("depths", depths), ("widths", widths), ("resolutions", resolutions))
        )
        self.tolerance = number("EfficientNet", "tolerance", tolerance, low=0)
        self.small = small
        self.triples = [
            (d, w, r)
            for d in self.depths
            for w in self.widths
            for r in self.resolutions
            if abs(d * w**2 * r**2 / 2 - 1) <= self.tolerance
        ]
        if not self.triples:
            raise UsageError(
                f"EfficientNet: tolerance: no factors have a product d * w^2 * r^2 within {self.tolerance:g} of 2; "
                "allow more, or other factors"
            )
        base = B0.shrunk("EfficientNet", small)
        most = [max(factors) ** self.exponent for factors in zip(*self.triples, strict=True)]
        sizes = [len({t[: i + 1] for t in self.triples}) for i in range(3)]
        super().__init__(base, scaled(base, most[0], most[1]), max_length=3, max_options=max(sizes))

    # -- the tree ------------------------------------------------------------------------------

    def _next(self, prefix: Architecture) -> tuple[list[tuple[float, ...]], list[float]]:
        """What the decisions so far allow, and the factors of the next one."""
        allowed: list[tuple[float, ...]] = list(self.triples)
        for i, option in enumerate(prefix):
            chosen = list(dict.fromkeys(triple[i] for triple in allowed))[option]
            allowed = [triple for triple in allowed if triple[i] == chosen]
        i = len(prefix)
        return allowed, list(dict.fromkeys(triple[i] for triple in allowed)) if i < 3 else []

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        return len(self._next(prefix)[1])

    def label(self, prefix: Architecture) -> str:
        """What is decided: ``depth``, ``width`` or ``resolution``."""
        return ("depth", "width", "resolution")[len(prefix)]

    def factors(self, architecture: Architecture) -> tuple[float, ...]:
        """Of depth, width and resolution."""
        return self._next(architecture)[0][0]

    def plan(self, architecture: Architecture) -> Plan:
        """The chain that an architecture stands for."""
        depth, width, resolution = (factor**self.exponent for factor in self.factors(architecture))
        return Plan(scaled(self.base, depth, width), resolution)

    # -- texts ---------------------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """The factors, such as ``d1.2-w1.1-r1.15``."""
        return "-".join(f"{name}{factor:g}" for name, factor in zip("dwr", self.factors(architecture), strict=True))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, or ``EfficientNet``.

        Raises:
            InvalidArchitecture: If the space has no such factors.
        """
        wanted = NAMES.get(text.strip(), text.strip())
        for architecture in self.enumerate():
            if self.format(architecture) == wanted:
                return architecture
        raise InvalidArchitecture(
            f"{text!r} is no architecture of EfficientNet: expected one of {self.size()}, such as "
            f"{self.format((0, 0, 0))}"
        )


def scaled(base: Rules, depth: float, width: float) -> Rules:
    """A chain with so many times the layers and channels."""
    stages = [
        stage._replace(channels=rounded(stage.channels * width), layers=math.ceil(stage.layers * depth))
        for stage in base.rows
    ]
    head = None if base.head_channels is None else rounded(base.head_channels * width)
    return base.with_stages(stages, rounded(base.stem_channels * width), head)


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, or the next one if that is less than 0.9 of it."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def _factors(name: str, given: Sequence[float] | None) -> list[float]:
    factors = GRIDS[name] if given is None else checked_list("EfficientNet", name, given)
    return sorted({number("EfficientNet", name, factor, low=1) for factor in factors})
