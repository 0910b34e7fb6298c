"""What an export consists of: the names of its files, and the record of what was chosen."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archsearch.evaluator import Trained
from archsearch.showing.rows import number_text
from archsearch.showing.verified import Verified
from archsearch.trial import Architecture, Cost, Trial

if TYPE_CHECKING:
    pass


GENOTYPE, TEXT, WEIGHTS, CARD = "genotype.json", "genotype.txt", "weights.safetensors", "README.md"
ONNX, QUANTIZED, PROGRAM = "network.onnx", "network-int8.onnx", "network.pt2"
FILES = frozenset((GENOTYPE, TEXT, WEIGHTS, CARD, ONNX, QUANTIZED, PROGRAM))
SAID_OF = {
    ONNX: "has the input `images` and the output `logits`",
    QUANTIZED: "has these, too, and computes in 8-bit whole numbers",
    PROGRAM: "is read by `torch.export.load`",
}
"""Of files for other runtimes: what the card says."""

FORMAT = 1

OWN_TASK = re.compile(r"\w*Task (?P<fingerprint>.+)")
"""How a run folder notes a ``Task`` that was made of arrays, which it does not store."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """An architecture that is exported.

    Attributes:
        place: Number of its folder: its rank, from 1.
        row: Its trial in the run's history.
        verified: What the newest verification says of it.
    """

    place: int
    row: Mapping[str, Any]
    verified: Verified | None

    @property
    def trial(self) -> int:
        """Id of its trial."""
        return int(self.row["id"])

    @property
    def architecture(self) -> Architecture:
        """One option per decision."""
        return tuple(self.row["architecture"])


@dataclasses.dataclass(frozen=True)
class Forms:
    """As what else a network leaves.

    Attributes:
        onnx: As ONNX.
        quantize: As ONNX in 8-bit whole numbers.
        program: As ``torch.export`` makes it.
    """

    onnx: bool = False
    quantize: bool = False
    program: bool = False

    @property
    def any(self) -> bool:
        """Whether it does at all."""
        return self.onnx or self.quantize or self.program

    @property
    def first(self) -> str:
        """What is asked for, for a message."""
        return "onnx" if self.onnx else "pt2"

    @property
    def options(self) -> str:
        """As on the command line."""
        given = {"--onnx": self.onnx, "--quantize": self.quantize, "--pt2": self.program}
        return "".join(f" {name}" for name, asked in given.items() if asked)


@dataclasses.dataclass(frozen=True)
class Weights:
    """A network with where it comes from.

    Attributes:
        trained: The network.
        evaluator: Who trained it, as ``describe`` says it.
        origin: Whose trial that was, in words.
        seed: Of the training.
        recorded: The trial whose weights these are; None: it is a training of its own.
        set_up: Cost of the evaluator's one-off work, if it was done for this.
        predicted: Whether the recorded score is not that of these weights, but what was expected of them.
    """

    trained: Trained
    evaluator: Mapping[str, Any]
    origin: str
    seed: int
    recorded: Trial | None
    set_up: Cost
    predicted: bool = False

    @property
    def comparison(self) -> str:
        """How the network's score compares with the recorded one."""
        score = number_text(self.trained.evaluation.score)
        if self.recorded is None:
            return f"{score} in a training of its own"
        if self.trained.evaluation.score == self.recorded.score:
            return f"{score}, as recorded"
        if self.predicted:
            return f"{score}, where {number_text(self.recorded.score)} was predicted"
        return (
            f"{score}, while {number_text(self.recorded.score)} was recorded: other versions, another device, or "
            "weights that changed since"
        )
