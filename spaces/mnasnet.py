"""MnasNet: seven blocks of layers, each with an operation, a kernel, a shortcut, a width and a depth of its own.

Reference: Tan et al., "MnasNet: platform-aware neural architecture search for mobile", CVPR 2019, section 4.1; block
strings and the networks A1 and B1 are those of the authors' code.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from archsearch.chain.blocks import Bottleneck
from archsearch.chain.planned import PlannedChain
from archsearch.chain.rules import Plan, Rules, Stage
from archsearch.errors import InvalidArchitecture
from archsearch.trial import Architecture

OPERATIONS: Mapping[str, int | None] = {"conv": None, "e1": 1, "e3": 3, "e6": 6}
"""A convolution, a depthwise separable one, inverted bottlenecks: name to expansion."""

KERNELS, SQUEEZES = (3, 5), (0.0, 0.25)
SHORTCUTS = ("", "pool", "noskip")
"""The layer's input as it is, or averaged over 3x3, is added to its output; or nothing is."""

BLOCKS = (
    ((12, 16, 20), 1, 1),
    ((18, 24, 30), 2, 2),
    ((24, 32, 40), 3, 2),
    ((48, 64, 80), 4, 2),
    ((72, 96, 112), 3, 1),
    ((120, 160, 192), 3, 2),
    ((240, 320, 400), 1, 1),
)
"""Of each block the widths, and the layers and stride that MobileNetV2 has. Widths are 0.75, 1 and 1.25 times
MobileNetV2's; but for 120 and 200 there are 112 and 192, which A1 and B1 have."""

NAMES: Mapping[str, str] = {
    "MnasNet-A1": (
        "r1_k3_s11_e1_i32_o16_noskip r2_k3_s22_e6_i16_o24 r3_k5_s22_e3_i24_o40_se0.25 r4_k3_s22_e6_i40_o80 "
        "r2_k3_s11_e6_i80_o112_se0.25 r3_k5_s22_e6_i112_o160_se0.25 r1_k3_s11_e6_i160_o320"
    ),
    "MnasNet-B1": (
        "r1_k3_s11_e1_i32_o16_noskip r3_k3_s22_e3_i16_o24 r3_k5_s22_e3_i24_o40 r3_k5_s22_e6_i40_o80 "
        "r2_k3_s11_e6_i80_o96 r4_k5_s22_e6_i96_o192 r1_k3_s11_e6_i192_o320_noskip"
    ),
}

DECISIONS = ("operation", "kernel", "squeeze", "shortcut", "width", "layers")


class MnasNet(PlannedChain):
    """Chains of seven blocks with 4 * 2 * 2 * 3 * 3 * 3 = 432 options each, 432^7 = 2.8e18 encodings.

    All layers of a block are alike. Decisions of each, in order: the operation (``conv``, depthwise separable ``e1``,
    inverted bottleneck ``e3`` or ``e6``), the kernel (3 or 5), the ratio of squeeze-and-excitation (0 or 0.25), the
    shortcut (identity, pooled, none), the width (0.75, 1 or 1.25 times MobileNetV2's), and the number of layers (that
    of MobileNetV2, one fewer, or one more; where that is 1: 1, 2 or 3). The paper does not say what pooling is: here it
    is an average over 3x3.

    Texts are the authors' block strings, such as ``r3_k5_s22_e3_i24_o40_se0.25``, with blanks between them: 3 layers,
    kernel 5, stride 2, expansion 3, 24 channels in and 40 out; ``conv`` stands in the place of an expansion, ``pool``
    where ``noskip`` does. ``parse`` knows ``MnasNet-A1`` and ``MnasNet-B1``. ``canonical``: a shortcut does not count
    in a block none of whose layers keeps width and size.

    In the super-network a layer has a module for each operation, kernel and ratio, in the largest width; architectures
    compute with the leading channels.

    Args:
        small: Whether for small images, such as 8x8 or 32x32: neither the stem nor the first block has a stride, and a
            block has at most three layers. Published names are not read then.

    Raises:
        UsageError: If ``small`` is neither true nor false.
    """

    def __init__(self, small: bool = False) -> None:
        self.small = small
        stages = [Stage(widths[1], layers, stride) for widths, layers, stride in BLOCKS]
        base = Rules(
            stages, stem_channels=32, stem_stride=2, head_channels=1280, activation="relu", names=NAMES
        ).shrunk("MnasNet", small)
        self.blocks = [
            (widths, (max(1, stage.layers - 1), max(2, stage.layers), max(3, stage.layers + 1)), stage.stride)
            for (widths, _, _), stage in zip(BLOCKS, base.rows, strict=True)
        ]
        every = tuple(Bottleneck(k, e, se) for e in OPERATIONS.values() for k in KERNELS for se in SQUEEZES)
        hull = [Stage(widths[-1], layers[-1], stride, every) for widths, layers, stride in self.blocks]
        options = [len(OPERATIONS), len(KERNELS), len(SQUEEZES), len(SHORTCUTS), 3, 3]
        super().__init__(base, base.with_stages(hull), arities=options * len(BLOCKS))

    def label(self, prefix: Architecture) -> str:
        """Block and what is decided, such as ``block 2 kernel``; blocks count from 0."""
        block, what = divmod(len(prefix), len(DECISIONS))
        return f"block {block} {DECISIONS[what]}"

    def plan(self, architecture: Architecture) -> Plan:
        """The chain that an architecture stands for."""
        return Plan(self.base.with_stages(self._stages(architecture)))

    def _stages(self, architecture: Architecture) -> list[Stage]:
        stages = []
        for i, (widths, layers, stride) in enumerate(self.blocks):
            operation, kernel, squeeze, shortcut, width, depth = architecture[6 * i : 6 * i + 6]
            block = Bottleneck(
                KERNELS[kernel],
                list(OPERATIONS.values())[operation],
                SQUEEZES[squeeze],
                residual=SHORTCUTS[shortcut] != "noskip",
                pools=SHORTCUTS[shortcut] == "pool",
            )
            stages.append(Stage(widths[width], layers[depth], stride, (block,)))
        return stages

    def canonical(self, architecture: Architecture) -> Hashable:
        """The decisions, without shortcuts that nothing can take."""
        form, inputs = list(architecture), self.base.stem_channels
        for i, (channels, layers, stride, _) in enumerate(self._stages(architecture)):
            if layers == 1 and (stride > 1 or inputs != channels):
                form[6 * i + 3] = -1
            inputs = channels
        return tuple(form)

    # -- texts ---------------------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """The authors' block strings, with blanks between them."""
        texts, inputs = [], self.base.stem_channels
        for i, (channels, layers, stride, _) in enumerate(self._stages(architecture)):
            operation, kernel, squeeze, shortcut, *_ = architecture[6 * i : 6 * i + 6]
            parts = [f"r{layers}", f"k{KERNELS[kernel]}", f"s{stride}{stride}", list(OPERATIONS)[operation]]
            parts += [f"i{inputs}", f"o{channels}", f"se{SQUEEZES[squeeze]:g}" * squeeze, SHORTCUTS[shortcut]]
            texts.append("_".join(filter(None, parts)))
            inputs = channels
        return " ".join(texts)

    def parse(self, text: str) -> Architecture:
        """Reads block strings, or the name of a published architecture.

        Raises:
            InvalidArchitecture: If ``text`` has another number of blocks, or a block that the space lacks.
        """
        strings = self.base.names.get(text.strip(), text).split()
        if len(strings) != len(self.blocks):
            known = "".join(f", or {name}" for name in self.base.names)
            raise InvalidArchitecture(
                f"{text!r} is no architecture of MnasNet: expected {len(self.blocks)} block strings with blanks "
                f"between them, such as {self.format((0,) * self.max_length).split()[0]}{known}, got {len(strings)}"
            )
        found: list[int] = []
        for i, string in enumerate(strings):
            found += self._block(i, string)
        architecture = tuple(found)
        for i, (string, ours) in enumerate(zip(strings, self.format(architecture).split(), strict=True)):
            if string != ours:
                raise InvalidArchitecture(f"{text!r} is no architecture of MnasNet: block {i}: {string} reads {ours}")
        return architecture

    def _block(self, i: int, string: str) -> list[int]:
        """The decisions of a block string; what follows from other blocks is not looked at."""
        widths, layers, _ = self.blocks[i]
        parts = string.split("_")
        options = {
            "operation": list(OPERATIONS),
            "kernel": [f"k{kernel}" for kernel in KERNELS],
            "width": [f"o{width}" for width in widths],
            "layers": [f"r{n}" for n in layers],
        }
        found = {"squeeze": int(f"se{SQUEEZES[1]:g}" in parts), "shortcut": 0}
        found["shortcut"] = next((k for k, name in enumerate(SHORTCUTS) if name in parts), 0)
        for what, known in options.items():
            places = [k for k, name in enumerate(known) if name in parts]
            if len(places) != 1:
                raise InvalidArchitecture(
                    f"{string!r} is no block {i} of MnasNet: {what}: expected one of {', '.join(known)}"
                )
            found[what] = places[0]
        return [found[what] for what in DECISIONS]
