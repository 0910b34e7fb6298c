"""A network that writes the weights of networks: from the encoding of an architecture, in one forward pass.

Reference: Brock, Lim, Ritchie & Weston, "SMASH: one-shot model architecture search through hypernetworks", ICLR 2018.
A new architecture is scored without any update: one pass of the hyper-network, one evaluation with what it wrote.

What differs from SMASH, as its authors' code has it: there a convolutional, DenseNet-like hyper-network with weight
normalisation reads the whole network as one map (layers along one side) and writes the 1x1 convolutions of the
memory-bank blocks; stem, other convolutions, transitions, batch normalisation and classifier are plain parameters, and
the hyper-network has no weight decay. Here any space will do: a perceptron reads the space's one-hot encoding, every
convolution has a linear map of its own, and all is trained alike, as the training's recipe says.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from archsearch.basics.checks import at_least_one
from archsearch.basics.seeding import stream
from archsearch.errors import UsageError
from archsearch.networks.network import Network
from archsearch.space import Space
from archsearch.trial import Architecture

REMEMBERED = 1024
"""Architectures of which it is remembered which weights they need; finding out means building their network."""

SAMPLES = 256
"""Random architectures over which codes are centred."""


class HyperNetwork(Network):
    """Maps an architecture to the weights of its network; trained and used like a super-network.

    A perceptron turns the one-hot encoding of an architecture a into an embedding z(a) of length 1. The weight of each
    convolution that a uses is ``sqrt(1 - written) * base + sqrt(written) * map @ z(a)``; those that it does not use are
    not computed. ``base`` and ``map`` are parameters of the layer, drawn by the rule for ordinary weights: uniform, the
    bound by the fan-in. As z has length 1, a weight has the mean and variance of an ordinary one at first, and a step
    of gradient descent changes it by as much as it would an ordinary one (but for what the step does to z). The weights
    of an architecture b follow by the share ``1 - written + written * z(a) @ z(b)``: in a super-network it is 1.

    Batch normalisation (with its running statistics), the classifier and all other parameters are not written: they
    are plain parameters that the architectures share. ``shared`` is a super-network that holds them and the bases, by
    their usual names. Where a network has narrower layers than the super-network, the leading slice is written.

    Convolutions have ``embedding + 1`` times as many parameters as in the super-network.

    Args:
        space: Encodes architectures.
        make: Makes the network of an architecture, and for None the super-network, such as ``Training.network``.
        embedding: Length of the embedding, >= 1.
        hidden: Units of the perceptron's hidden layer, >= 1.
        written: Share of the initial variance of a weight that depends on the architecture, 0 < written <= 1. The more,
            the less the training of one architecture does for the others.

    Raises:
        UsageError: If a number is out of range, or the super-network has no convolutions, or has one in two places.
    """

    def __init__(
        self,
        space: Space,
        make: Callable[[Architecture | None], Network],
        embedding: int = 32,
        hidden: int = 64,
        written: float = 0.1,
    ) -> None:
        super().__init__(None)
        self.space = space
        self.make = make
        self.embedding = at_least_one("HyperNetwork", "embedding", embedding)
        self.hidden = at_least_one("HyperNetwork", "hidden", hidden)
        self.written = written
        if isinstance(written, bool) or not isinstance(written, (int, float)) or not 0 < written <= 1:
            raise UsageError(f"HyperNetwork: written: expected a number, 0 < written <= 1, got {written!r}")
        self.shared = make(None)
        self._convolutions = _convolutions(self.shared)
        self.encoder = Encoder(space, embedding, hidden)
        self.maps = Maps({name: module.weight.shape for name, module in self._convolutions.items()}, embedding)
        self._needs: OrderedDict[Architecture, dict[str, torch.Size]] = OrderedDict()

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        architecture = self.path(architecture)
        weights = self._write(architecture)
        # No weight has two names (see _convolutions), and to look for such ones takes time.
        logits: torch.Tensor = functional_call(self._ready(), weights, (images, architecture), tie_weights=False)
        return logits

    def with_auxiliary(
        self, images: torch.Tensor, architecture: Architecture | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, and those of the auxiliary head; None where the network has none."""
        architecture = self.path(architecture)
        weights = {f"network.{name}": weight for name, weight in self._write(architecture).items()}
        both: tuple[torch.Tensor, torch.Tensor | None] = functional_call(
            _WithAuxiliary(self._ready()), weights, (images, architecture), tie_weights=False
        )
        return both

    def embed(self, architecture: Architecture) -> torch.Tensor:
        """The embedding of an architecture, shape (embedding,), of length 1."""
        z: torch.Tensor = self.encoder(architecture)
        return z

    def weights(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """The state (parameters and buffers) of the stand-alone network, without gradient.

        With it, ``make(architecture)`` computes in evaluation mode what this network does for the architecture.
        """
        with torch.no_grad():
            written, shared = self._write(architecture), self.shared.state_dict()
            return {
                name: (written[name] if name in written else shared[name][_leading(value.shape)]).clone()
                for name, value in self._stand_alone(architecture).state_dict().items()
            }

    def generation_multiply_adds(self, architecture: Architecture) -> int:
        """Multiply-adds of writing an architecture's weights once, bases counted like biases; backward costs twice it.

        ``archsearch.networks.multiply_adds`` does not count them: they do not depend on the number of images.
        """
        encoder = sum(parameter.numel() for parameter in self.encoder.parameters())
        written = sum(shape.numel() for shape in self._needed(architecture).values())
        return encoder + written * (self.embedding + 1)

    # -- writing weights -----------------------------------------------------------------------------

    def _write(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """The weights of the convolutions that an architecture uses, by name."""
        z = math.sqrt(self.written) * self.embed(architecture)
        return {name: self._weight(name, shape, z) for name, shape in self._needed(architecture).items()}

    def _weight(self, name: str, shape: torch.Size, z: torch.Tensor) -> torch.Tensor:
        base, matrix = self._convolutions[name].weight, self.maps.of(name)
        if shape != base.shape:
            matrix = matrix.view(*base.shape, self.embedding)[_leading(shape)].reshape(-1, self.embedding)
            base = base[_leading(shape)]
        # In this order the sum is laid out in memory as the base is, which convolutions take better.
        return math.sqrt(1 - self.written) * base + torch.mv(matrix, z).view(shape)

    def _needed(self, architecture: Architecture) -> dict[str, torch.Size]:
        """Names and shapes of the weights that an architecture needs."""
        needed = self._needs.pop(architecture, None)
        if needed is None:
            values = self._stand_alone(architecture).named_parameters()
            needed = {name: value.shape for name, value in values if name in self._convolutions}
            if len(self._needs) >= REMEMBERED:
                self._needs.popitem(last=False)
        self._needs[architecture] = needed  # the one that was used last comes last
        return needed

    def _stand_alone(self, architecture: Architecture) -> Network:
        """The network of an architecture, without values."""
        with torch.device("meta"):
            return self.make(architecture)

    def _ready(self) -> Network:
        """The super-network, with drop-path as it is set here."""
        self.shared.drop_path = self.drop_path
        self.shared.generator = self.generator
        return self.shared


class Encoder(nn.Module):
    """From an architecture to its embedding: a perceptron with one hidden layer, tanh, and normalisation to length 1.

    One-hot codes are centred and scaled by their mean over ``SAMPLES`` random architectures, and there are no biases:
    so the embeddings of random architectures are nearly orthogonal at first, and those of neighbours are near.

    Args:
        space: Encodes architectures.
        embedding: Length of the embedding.
        hidden: Units of the hidden layer.
    """

    def __init__(self, space: Space, embedding: int, hidden: int) -> None:
        super().__init__()
        rng = stream(0, "HyperNetwork")
        codes = space.one_hot([space.sample(rng, "architectures") for _ in range(SAMPLES)])
        self.space = space
        self.mean = codes.mean(axis=0)
        # Unit variance of what the hidden units sum up, given weights of variance 1 / (3 * inputs).
        inputs = codes.shape[1]
        spread = float(np.square(codes - self.mean).sum(axis=1).mean())
        self.scale = math.sqrt(3 * inputs / spread) if spread else 1.0
        self.first = nn.Linear(inputs, hidden, bias=False)
        self.second = nn.Linear(hidden, embedding, bias=False)

    def forward(self, architecture: Architecture) -> torch.Tensor:
        """The embedding, shape (embedding,)."""
        code = self.scale * (self.space.one_hot([architecture])[0] - self.mean)
        # Products of matrix and vector: ``multiply_adds`` of an image does not count them, as it should not.
        hidden = torch.tanh(torch.mv(self.first.weight, torch.from_numpy(code).to(self.first.weight)))
        return functional.normalize(torch.mv(self.second.weight, hidden), dim=0)


class Maps(nn.ParameterDict):
    """For each convolution the matrix that takes the embedding to its weight, shape (numbers in it, embedding).

    Args:
        shapes: Shapes of the weights, by name.
        embedding: Length of the embedding.
    """

    def __init__(self, shapes: dict[str, torch.Size], embedding: int) -> None:
        super().__init__({_key(name): torch.empty(shape.numel(), embedding) for name, shape in shapes.items()})
        self.fan_in = {_key(name): shape[1:].numel() for name, shape in shapes.items()}

    def of(self, name: str) -> torch.Tensor:
        """The matrix for the weight of that name."""
        matrix: torch.Tensor = self[_key(name)]
        return matrix

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``: as for the weights themselves, by their fan-in."""
        for key, matrix in self.items():
            bound = 1 / math.sqrt(self.fan_in[key])
            nn.init.uniform_(matrix, -bound, bound, generator=generator)


class _WithAuxiliary(nn.Module):
    """Makes ``with_auxiliary`` a forward pass, the only thing that ``functional_call`` calls."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor, architecture: Architecture) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.network.with_auxiliary(images, architecture)


def _key(name: str) -> str:
    """``name`` without dots, which PyTorch does not allow in the name of a parameter."""
    return name.replace(".", "/")


def _leading(shape: torch.Size) -> tuple[slice, ...]:
    return tuple(slice(size) for size in shape)


def _convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions of a network, by the names of their weights.

    Modules and not parameters, since moving a network to another device may put other parameters in their place.
    """
    modules = network.named_modules(remove_duplicate=False)
    found = {f"{name}.weight": module for name, module in modules if isinstance(module, nn.Conv2d)}
    if not found or len({id(module.weight) for module in found.values()}) < len(found):
        what = "uses one in several places" if found else "has none"
        raise UsageError(f"HyperNetwork writes convolutions, each for one place; {type(network).__name__} {what}")
    return found
