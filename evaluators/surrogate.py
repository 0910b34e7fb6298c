"""Published models of measurements: what they predict, in place of what was measured.

Perplexity of GPT-2-like language models on OpenWebText: Sukthanker, Zela, Staffler, Klein, Purucker, Franke & Hutter,
"HW-GPT-Bench: hardware-aware architecture benchmark for language models", NeurIPS 2024 (Datasets and Benchmarks), whose
surrogates were fitted to measurements of parts of a super-network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, MissingAbility
from archsearch.evaluator import Evaluator
from archsearch.files.embedded import embedded_tensors
from archsearch.files.fingerprints import embedded_fingerprint
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation

OPTIONS = 3
"""Of each decision but biases."""

LAYERS = 5
"""Linear layers of a surrogate, with ReLU between them."""

SAMPLES = {
    "s": "e192b:" + "-".join(["r2h4"] * 9 + ["r4h12"]),
    "m": "e256b:" + "-".join(["r2h8"] * 21 + ["r4h16"]),
    "l": "e320b:" + "-".join(["r2h8"] * 33 + ["r4h20"]),
}
"""An architecture of each scale, which a space must read as the surrogate does."""


@runtime_checkable
class LanguageModels(Protocol):
    """A space that says what its language models cost, such as ``GPT``."""

    scale: str

    def sizes(self, architecture: Architecture, context: int = ..., value_bytes: int = ...) -> Mapping[str, int]:
        """``params``, ``flops``, ``weight_bytes`` and ``cache_bytes``."""
        ...


class Surrogate(Evaluator):
    """Perplexity of ``GPT``'s language models as HW-GPT-Bench's model predicts it: **a surrogate, no measurement**.

    The score is the predicted perplexity with a minus, ``surrogate_perplexity`` the perplexity itself. What it was
    fitted to are parts of one super-network of each scale, on OpenWebText, not models that were trained on their own.
    How wrong it is was not measured here. Nothing is billed.

    ``params``, ``flops`` (multiply-adds of a token at the end of a full context), ``weight_bytes`` and ``cache_bytes``
    (keys and values of one context) are exact, by formula, and can be limited and be objectives.

    Args:
        context: Tokens of a full context, >= 1.
        value_bytes: Bytes of a weight, a key or a value: 4, or 2 for half precision.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, context: int = 1024, value_bytes: int = 2) -> None:
        self.context = at_least_one("Surrogate", "context", context)
        self.value_bytes = at_least_one("Surrogate", "value_bytes", value_bytes)

    @property
    def note(self) -> str:
        """That these are no measurements."""
        return "scores are a surrogate's (HW-GPT-Bench): a model of measured perplexities, not measurements"

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if there is no surrogate for that space."""
        scale = getattr(space, "scale", None)
        if isinstance(space, LanguageModels) and scale in SAMPLES and _reads(space, SAMPLES[str(scale)]):
            return
        raise MissingAbility(
            f"Surrogate predicts the perplexity of HW-GPT-Bench's language models, which {type(space).__name__} does "
            "not describe; use the space GPT, with scale s, m or l"
        )

    def start(self, space: Space) -> None:
        """Reads the surrogate of the space's scale."""
        super().start(space)
        self._models: Any = space
        tensors = embedded_tensors(self._file)
        self._layers = [(tensors[f"fc{i}.weight"], tensors[f"fc{i}.bias"]) for i in range(1, LAYERS + 1)]

    @property
    def _file(self) -> str:
        return f"hwgpt_perplexity_{self._models.scale}"

    def fingerprints(self) -> Mapping[str, str]:
        """See ``Evaluator``: all three surrogates."""
        return {"embedded": embedded_fingerprint(*(f"hwgpt_perplexity_{scale}" for scale in SAMPLES))}

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """``params``, ``flops``, ``weight_bytes`` and ``cache_bytes``."""
        found: Mapping[str, float] = self._models.sizes(architecture, self.context, self.value_bytes)
        return found

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Predicts; ``seed`` does not matter."""
        x = features(self.space.validate(architecture), self._layers[0][0].shape[1])
        for i, (weight, bias) in enumerate(self._layers):
            x = weight @ (np.maximum(x, 0) if i else x) + bias
        perplexity = float(x[0])
        return Evaluation(-perplexity, {"surrogate_perplexity": perplexity, **self.measure(architecture)})


def features(architecture: Architecture, inputs: int) -> npt.NDArray[np.float32]:
    """What a surrogate is given: the options one-hot, as many zeros where a layer is not there.

    Width, number of layers, then the ratios of all possible layers, then their heads, then biases (yes, no).

    Args:
        architecture: Of ``GPT``: width, layers, biases, and two decisions for each layer.
        inputs: How many there are.
    """
    width, depth, bias, *layers = architecture
    absent = [-1] * ((inputs - 2 * OPTIONS - 2) // (2 * OPTIONS) - len(layers) // 2)
    chosen = np.array([width, depth, *layers[::2], *absent, *layers[1::2], *absent])
    one_hot = chosen[:, None] == np.arange(OPTIONS)
    return np.concatenate([one_hot.ravel(), [bias == 1, bias == 0]]).astype(np.float32)


def _reads(space: Space, text: str) -> bool:
    """Whether a space's options are those that the surrogate was fitted to, in the same order."""
    try:
        first, _, _, *layers = space.parse(text)
    except (InvalidArchitecture, ValueError):
        return False
    return first == 0 and set(layers[:-2]) == {0} and layers[-2:] == [2, 2]
