"""What a space needs for search by gradient: a super-network whose choices are mixed with weights.

The relaxed network is the super-network itself. Its *choices* are the places where candidates compete: one for each
decision in chains and in NAS-Bench-201, one for each edge in ``DARTS``, where a decision also says which edges there
are. A choice's output is the weighted sum of its candidates; those without a weight are not computed. So one network
serves all that the papers do: all candidates at once, one that was drawn, two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from archsearch.errors import MissingAbility
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import torch

    from archsearch.networks.network import Network, Weights

NONE = "none"
"""Name of a candidate that gives zero."""

SKIPS = ("skip_connect", "identity")
"""Names of candidates that pass their input on."""


class RelaxedChoice(NamedTuple):
    """A place where candidates compete.

    Attributes:
        name: Such as ``normal 0->2``; its first word is the kind of cell, where there are several.
        candidates: Their names; ``none`` gives zero.
        group: Equal for choices whose outputs are added up, such as the edges that end in one node.
    """

    name: str
    candidates: tuple[str, ...]
    group: str

    @property
    def none(self) -> int | None:
        """The candidate that gives zero."""
        return self.candidates.index(NONE) if NONE in self.candidates else None

    @property
    def skip(self) -> int | None:
        """The candidate that passes its input on."""
        return next((i for i, name in enumerate(self.candidates) if name in SKIPS), None)

    @property
    def learnable(self) -> tuple[int, ...]:
        """The candidates with weights to learn: not ``none``, skip connections, or what has ``pool`` in its name."""
        return tuple(i for i, name in enumerate(self.candidates) if name not in (NONE, *SKIPS) and "pool" not in name)


@runtime_checkable
class Relaxed(Protocol):
    """A super-network that mixes the candidates of its choices with weights."""

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits, shape (batch, classes); with weight 1 for one architecture's candidates, exactly those of it.

        Parameters and batch statistics of candidates without a weight are not touched. Networks that read tokens take
        a third argument, the hidden state that is carried on; see ``RecurrentNetwork``.

        Args:
            images: Shape (batch, channels, height, width).
            weights: Of each choice of the space's ``relaxed_choices``.

        Raises:
            UsageError: If the weights are not those of these choices.
        """
        ...


@runtime_checkable
class MixesKernels(Protocol):
    """A relaxed network that mixes the kernels of a layer in place of its candidates' outputs (Single-Path).

    Its choices are its layers; candidates are called ``identity``, ``k3e3``, ``k3e6``, ``k5e3`` and ``k5e6``.
    """

    def rings(self) -> Sequence[Mapping[str, torch.Tensor]]:
        """Mean squares of parts of each layer's kernels, in units of what they are at the begin; with gradients.

        ``inner``: the 3x3 in the middle of the first half of the channels, ``outer``: what is around it in all
        channels, ``second``: the second half of the channels.
        """
        ...


@runtime_checkable
class Relaxable(Protocol):
    """A space that has a relaxed super-network."""

    def super_network(self, task: Any) -> Network:
        """The super-network, which is ``Relaxed``."""
        ...

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """The choices, in the order in which their weights are given."""
        ...

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """The weights with which the relaxed network computes an architecture: 1 for its candidates."""
        ...

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """Probabilities of the options of the decision that follows ``prefix``.

        The most probable option at each decision is the space's rule of discretisation.

        Args:
            strengths: Of the candidates of each choice, >= 0, with a sum above 0.
            prefix: The decisions so far.
        """
        ...


class RelaxedDecisions:
    """For spaces of fixed length whose decisions are the choices: each candidate is as probable as it is strong."""

    arities: tuple[int, ...] | None

    def label(self, prefix: Architecture) -> str:
        """See ``Space``."""
        raise NotImplementedError

    def candidate_names(self, decision: int) -> tuple[str, ...]:
        """Names of the options of a decision."""
        raise NotImplementedError

    def choice_group(self, decision: int) -> str:
        """See ``RelaxedChoice``; by default each decision stands alone."""
        return self.label((0,) * decision)

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """See ``Relaxable``."""
        decisions = range(len(self.arities or ()))
        return tuple(
            RelaxedChoice(self.label((0,) * i), self.candidate_names(i), self.choice_group(i)) for i in decisions
        )

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """See ``Relaxable``."""
        return tuple({option: 1.0} for option in architecture)

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """See ``Relaxable``."""
        return shares(strengths[len(prefix)])


def shares(strengths: Sequence[float]) -> list[float]:
    """Strengths divided by their sum; where all are 0, as after pruning, none is preferred."""
    total = sum(strengths)
    return [strength / total for strength in strengths] if total > 0 else [1 / len(strengths)] * len(strengths)


def relaxable(space: object, who: str) -> Relaxable:
    """The space, if it has a relaxed super-network.

    Args:
        space: Any space.
        who: Name of the evaluator that asks.

    Raises:
        MissingAbility: If it has none.
    """
    if isinstance(space, Relaxable):
        from archsearch.networks.network import structure_of

        if isinstance(structure_of(space), Relaxed):
            return space
    raise MissingAbility(
        f"{who} mixes candidates with weights, and {type(space).__name__} has no super-network that does; use a space "
        "such as NASBench201, or give your space the methods of archsearch.relaxing.Relaxable"
    )
