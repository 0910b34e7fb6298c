"""GPT-2-like language models: how wide, how deep, and in each layer how many heads and how wide a perceptron.

Reference: Sukthanker, Zela, Staffler, Klein, Purucker, Franke & Hutter, "HW-GPT-Bench: hardware-aware architecture
benchmark for language models", NeurIPS 2024 (Datasets and Benchmarks), and the authors' settings: rotary positions on
half of each head's 64 features, attention and perceptron side by side on one residual stream, layer normalisation with
biases throughout, and an output that has the embedding's weights.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, get_args

from archsearch.basics.checks import at_least_one
from archsearch.basics.kinds import TOKENS
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

Scale = Literal["s", "m", "l"]
HEAD = 64
"""Features of a head, however wide the embedding is."""

VOCABULARY = 50_254
"""Tokens of the benchmark."""

RATIOS = (2, 3, 4)
BIASES = (False, True)
FIRST = 3
"""Decisions before those of the layers."""

DIVISORS = (1, 2, 4, 8, 16)
"""By how much networks can be made thinner; a head keeps at least 4 features."""


class Options(NamedTuple):
    """What there is to choose from at a scale, all rising.

    Attributes:
        widths: Of the embedding.
        depths: Numbers of layers.
        heads: Of a layer.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]


SCALES: Mapping[str, Options] = {
    "s": Options((192, 384, 768), (10, 11, 12), (4, 8, 12)),
    "m": Options((256, 512, 1024), (22, 23, 24), (8, 12, 16)),
    "l": Options((320, 640, 1280), (34, 35, 36), (8, 16, 20)),
}


class Layer(NamedTuple):
    """A layer.

    Attributes:
        ratio: Hidden units of the perceptron per feature of the embedding.
        heads: Of attention.
    """

    ratio: int
    heads: int


class Form(NamedTuple):
    """What an architecture stands for.

    Attributes:
        width: Of the embedding.
        bias: Whether the linear layers have biases.
        layers: From the input to the output.
    """

    width: int
    bias: bool
    layers: tuple[Layer, ...]


_TEXT = re.compile(r"e([0-9]+)(b?):((?:r[0-9]+h[0-9]+)(?:-r[0-9]+h[0-9]+)*)")


class GPT(Space):
    """GPT-2-like language models of HW-GPT-Bench at one of three scales: 1.90e12 (s), 5.38e23 or 1.52e35 encodings.

    Decisions, in order: width of the embedding, number of layers, whether linear layers have biases, and for each layer
    the hidden units of its perceptron, as a multiple of that width, and its heads of 64 features. Layers that are not
    there have no decisions. Texts are such as ``e384b:r3h8-r3h8-r2h4-...``: the width, a ``b`` for biases, and the
    layers.

    ``sizes`` counts parameters, multiply-adds and bytes exactly, by formula. ``network`` builds the language models for
    a task of tokens, thinner ones too.

    Args:
        scale: ``s`` (up to 12 layers), ``m`` (24) or ``l`` (36); the largest networks of each are GPT-2's small, medium
            and large.

    Raises:
        UsageError: If there is no such scale.
    """

    kinds: ClassVar[tuple[str, ...]] = (TOKENS,)

    def __init__(self, scale: Scale = "s") -> None:
        if scale not in get_args(Scale):
            raise UsageError(f"GPT: scale: expected one of {', '.join(get_args(Scale))}, got {scale!r}")
        self.scale = scale
        self.options = SCALES[scale]
        super().__init__(max_length=FIRST + 2 * max(self.options.depths), max_options=len(self.options.widths))

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Options of the next decision."""
        n = len(prefix)
        if n < FIRST:
            return (len(self.options.widths), len(self.options.depths), len(BIASES))[n]
        if n >= FIRST + 2 * self.options.depths[prefix[1]]:
            return 0
        return len(self.options.heads if (n - FIRST) % 2 else RATIOS)

    def label(self, prefix: Architecture) -> str:
        """What is decided, such as ``width`` or ``heads.3``."""
        n = len(prefix)
        if n < FIRST:
            return ("width", "layers", "bias")[n]
        layer, second = divmod(n - FIRST, 2)
        return f"{('ratio', 'heads')[second]}.{layer + 1}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """How far it is, and of how many layers."""
        return len(prefix), prefix[1] if len(prefix) > 1 else None

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> Form:
        """``width``, ``bias``, and ``layers``: of each the ``ratio`` and the ``heads``."""
        width, _, bias, *rest = architecture
        options = self.options
        layers = [Layer(RATIOS[r], options.heads[h]) for r, h in zip(rest[::2], rest[1::2], strict=True)]
        return Form(options.widths[width], BIASES[bias], tuple(layers))

    def encode(self, form: Form) -> Architecture:
        """The architecture of a form.

        Raises:
            InvalidArchitecture: If it is not in the space; the message says what is not.
        """
        options = self.options
        chosen = [
            _position("width", form.width, options.widths),
            _position("layers", len(form.layers), options.depths),
            BIASES.index(form.bias),
        ]
        for number, layer in enumerate(form.layers, 1):
            chosen.append(_position(f"ratio of layer {number}", layer.ratio, RATIOS))
            chosen.append(_position(f"heads of layer {number}", layer.heads, options.heads))
        return tuple(chosen)

    def format(self, architecture: Architecture) -> str:
        """Such as ``e384b:r3h8-r3h8-...``."""
        form = self.decode(architecture)
        layers = "-".join(f"r{layer.ratio}h{layer.heads}" for layer in form.layers)
        return f"e{form.width}{'b' * form.bias}:{layers}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no architecture of this scale.
        """
        found = _TEXT.fullmatch(text.strip())
        try:
            if found is None:
                raise InvalidArchitecture("it has another form")
            layers = [tuple(map(int, re.findall("[0-9]+", layer))) for layer in found[3].split("-")]
            return self.encode(Form(int(found[1]), bool(found[2]), tuple(Layer(*layer) for layer in layers)))
        except InvalidArchitecture as error:
            example = "-".join(["r4h8"] * self.options.depths[0])
            raise InvalidArchitecture(
                f"{text!r:.80} is no GPT of scale {self.scale}: {error}; expected a text such as "
                f"e{self.options.widths[0]}b:{example}"
            ) from None

    # -- what it costs -------------------------------------------------------------------------

    def sizes(self, architecture: Architecture, context: int = 1024, value_bytes: int = 2) -> dict[str, int]:
        """Parameters, multiply-adds and bytes, with the benchmark's vocabulary of 50,254 tokens.

        ``params``: all weights, the embedding once. ``flops``: multiply-adds of the token at the end of a full context,
        whose predecessors' keys and values are kept: those of linear layers with their biases, of the output, and both
        products of attention. A pass over a whole context that does not skip what is masked has as many for each of its
        tokens. ``weight_bytes``: of all parameters. ``cache_bytes``: of the keys and values of one full context.

        Args:
            architecture: A member of the space.
            context: Tokens of a full context, >= 1.
            value_bytes: Bytes of a weight, a key or a value, >= 1: 2 for half precision.

        Raises:
            UsageError: If a setting is out of range.
        """
        context = at_least_one("GPT", "context", context)
        value_bytes = at_least_one("GPT", "value_bytes", value_bytes)
        form = self.decode(architecture)
        width = form.width
        embedding, cached = VOCABULARY * width, 0
        normalised, linear = 2 * width, 0
        for layer in form.layers:
            inner, hidden = layer.heads * HEAD, layer.ratio * width
            linear += 4 * width * inner + 2 * width * hidden
            linear += form.bias * (3 * inner + width + hidden + width)
            normalised += 4 * width
            cached += 2 * inner
        params = embedding + normalised + linear
        return {
            "params": params,
            "flops": embedding + linear + cached * context,
            "weight_bytes": params * value_bytes,
            "cache_bytes": cached * context * value_bytes,
        }

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, divisor: int = 1, memory: int = 128) -> Network:
        """The stand-alone network of an architecture.

        Args:
            architecture: A member of the space.
            task: What has a vocabulary of ``classes`` tokens.
            divisor: By how much the embedding and each head are thinner than in the benchmark: 1, 2, 4, 8 or 16.

            memory: How many tokens before a segment of a text are still seen, >= 1.

        Raises:
            UsageError: If there is no such divisor, or the memory is out of range.
        """
        from archsearch.spaces.networks.gpt import GPTNetwork

        if divisor not in DIVISORS:
            raise UsageError(f"GPT: divisor: expected one of {', '.join(map(str, DIVISORS))}, got {divisor!r}")
        architecture = self.validate(architecture)
        form = self.decode(architecture)
        layers = [(layer.ratio, layer.heads) for layer in form.layers]
        memory = at_least_one("GPT", "memory", memory)
        return GPTNetwork(architecture, task, form.width // divisor, HEAD // divisor, form.bias, layers, memory)


def _position(name: str, value: int, options: tuple[int, ...]) -> int:
    if value not in options:
        raise InvalidArchitecture(f"{name}: expected one of {', '.join(map(str, options))}, got {value}")
    return options.index(value)
