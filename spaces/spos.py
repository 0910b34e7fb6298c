"""Single Path One-Shot: a chain of 20 units of ShuffleNetV2, and how wide each is inside.

Reference: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020, section 4 and
its appendix; widths and the architecture are those of the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence

from archsearch.basics.checks import number
from archsearch.chain.blocks import Shuffle
from archsearch.chain.chain import Chain
from archsearch.chain.rules import Rules, checked_list, one_of

UNITS = ("shuffle3", "shuffle5", "shuffle7", "xception")

SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
"""Channels inside a unit that the paper searches, in units of half of those that go out."""

NAMES = {
    "SPOS": (
        "shuffle7-shuffle5-shuffle3-shuffle5-shuffle7-shuffle3-shuffle7-shuffle3-shuffle7-shuffle3-shuffle7-xception-"
        "shuffle3-shuffle3-shuffle3-shuffle3-xception-shuffle7-xception-xception"
    )
}


class SPOS(Chain):
    """Chains of 20 units, 4^20 = 1,099,511,627,776 encodings: a kernel of 3, 5 or 7, or the Xception unit.

    The search for channels gives every unit several widths inside: ``SPOS(units=["shuffle3"], scales=SCALES)`` has
    10^20 encodings, ``SPOS(scales=SCALES)`` 40^20. Options are then such as ``shuffle5x0.6``, a unit's widths one after
    another. A unit has weights of its own for each of them. ``parse`` knows ``SPOS``, which the authors trained.

    Args:
        units: Of shuffle3, shuffle5, shuffle7 and xception those that a layer can be, in that order; None: all.
        scales: Channels inside a unit, > 0, in units of half of those that go out; None: 1.
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first stage has a stride, and a
            stage has at most two layers. Published names are not read then.

    Raises:
        UsageError: If a setting is none of these; the message names it.
    """

    def __init__(
        self, units: Sequence[str] | None = None, scales: Sequence[float] | None = None, small: bool = False
    ) -> None:
        given = UNITS if units is None else checked_list("SPOS", "units", units)
        self.units = [str(one_of("SPOS", "units", unit, UNITS)) for unit in dict.fromkeys(given)]
        widths = [1.0] if scales is None else checked_list("SPOS", "scales", scales)
        self.scales = [number("SPOS", "scales", scale, above=0) for scale in dict.fromkeys(widths)]
        self.small = small
        rules = Rules(
            ((64, 4, 2), (160, 4, 2), (320, 8, 2), (640, 4, 2)),
            [
                Shuffle(3 if unit == "xception" else int(unit[-1]), unit == "xception", scale)
                for unit in self.units
                for scale in self.scales
            ],
            stem_channels=16,
            stem_stride=2,
            head_channels=1024,
            activation="relu",
            names=NAMES if self.units == list(UNITS) and 1 in self.scales else {},
        )
        super().__init__(rules.shrunk("SPOS", small))
