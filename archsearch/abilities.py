"""What a space may be able to do beyond being searched: build networks, share weights, pass them on."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from archsearch.basics.kinds import EXAMPLE, kinds_of
from archsearch.errors import MissingAbility
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import torch

    from archsearch.networks.network import Network


@runtime_checkable
class Trainable(Protocol):
    """A space whose architectures can be built as networks.

    An attribute ``kinds`` says which kinds of networks they are, of ``archsearch.basics.kinds``; without it they
    classify images.

    Keyword-only arguments of ``network`` are settings of the skeleton around the searched part, such as ``channels``
    and ``cells``; evaluators hand them over by name, to train a smaller proxy.
    """

    def network(self, architecture: Architecture, task: Any) -> Network:
        """The stand-alone network of an architecture for what has an ``input_shape`` and a number of ``classes``."""
        ...


@runtime_checkable
class SharedWeights(Protocol):
    """A space that has a super-network."""

    def super_network(self, task: Any) -> Network:
        """One network that holds all candidates; its parameters are named as in the stand-alone networks."""
        ...


@runtime_checkable
class Morphable(Protocol):
    """A space that can turn the trained network of one architecture into that of another."""

    def morph(self, network: Network, child: Network, generator: torch.Generator) -> bool:
        """Gives ``child``, which is initialised, as much of the function of ``network`` as can be.

        Returns:
            Whether the child computes the same function, up to rounding, in evaluation mode.
        """
        ...


class Move(NamedTuple):
    """An edit of an architecture.

    Attributes:
        kind: What is done, such as ``widen``.
        architecture: What it leads to.
        inverse: Kind of a move that leads back; None: there is none.
        preserves: Whether ``morph`` gives the child the function of its parent.
        inherits: Whether a child is to begin with its parent's weights at all.
    """

    kind: str
    architecture: Architecture
    inverse: str | None = None
    preserves: bool = False
    inherits: bool = True


@runtime_checkable
class Moving(Protocol):
    """A space whose architectures grow by moves."""

    @property
    def start(self) -> Architecture:
        """Where a search that grows begins."""
        ...

    def moves(self, architecture: Architecture) -> Sequence[Move]:
        """All moves that are possible."""
        ...

    def move(self, architecture: Architecture, rng: np.random.Generator) -> Move | None:
        """Draws one; None if there is none."""
        ...

    def preserves(self, parent: Architecture, child: Architecture) -> bool:
        """Whether ``morph`` gives a child the function of a parent, however many moves lead from one to the other."""
        ...


@runtime_checkable
class Prescribing(Protocol):
    """A space whose architectures say something of their own training, such as the learning rate."""

    def recipe(self, architecture: Architecture) -> Mapping[str, float]:
        """Values of fields of the training's recipe, of those that say how weights are updated."""
        ...


@runtime_checkable
class Mixing(Protocol):
    """A network whose forward pass can take several options of each decision at once; for spaces of fixed length.

    Bender et al., "Understanding and simplifying one-shot architecture search", ICML 2018, train super-networks so,
    dropping options at random. They add the outputs of the options that are kept. Here the output of a choice is their
    mean, so that a single path has the scale that the weights were trained with, however many options were kept then.
    """

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits, shape (batch, classes); with one option per decision, exactly those of that architecture.

        Parameters and batch statistics of options that are not kept are not touched.

        Args:
            images: Shape (batch, channels, height, width).
            options: For each decision the options that are kept, at least one; in any order, repeats count once.

        Raises:
            UsageError: If the options are none of the space, or this is no super-network and they keep more than its
                architecture.
        """
        ...


@runtime_checkable
class Skipping(Protocol):
    """A space of fixed length, some of whose decisions say whether a skip connection is there: option 1, of two."""

    @property
    def skip_decisions(self) -> frozenset[int]:
        """Their positions, counted from 0."""
        ...


@runtime_checkable
class Elastic(Protocol):
    """A space whose architectures are parts of its largest one, so that one set of weights has them all.

    The options of each decision rise in size: the last ones together are the largest architecture, the first ones the
    smallest.
    """

    def dimension(self, prefix: Architecture) -> str:
        """What the decision that follows ``prefix`` is about, such as kernel, depth or width."""
        ...


@runtime_checkable
class Drifting(Protocol):
    """A space whose architectures have silent decisions, which change nothing until others make them heard."""

    def drift(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Changes silent decisions, perhaps none; the canonical form stays."""
        ...


@runtime_checkable
class Modular(Protocol):
    """A space whose architectures are a blueprint and modules, which could be those of other architectures."""

    @property
    def modules(self) -> int:
        """How many modules an architecture has."""
        ...

    def module_of(self, label: str) -> tuple[int | None, str]:
        """The module that a decision belongs to, counted from 0, or None for the blueprint; and its name there."""
        ...

    def used_modules(self, architecture: Architecture) -> frozenset[int]:
        """The modules that the blueprint makes use of."""
        ...


@runtime_checkable
class Complex(Protocol):
    """A space that ascribes a complexity to its architectures, such as a bound of learning theory does."""

    def complexity(self, architecture: Architecture) -> float:
        """>= 0, in units of the space's own."""
        ...


# -- asking a space ----------------------------------------------------------------------------


def trainable(space: Space, who: str) -> Trainable:
    """The space, if it can build networks.

    Args:
        space: Any space.
        who: Name of the evaluator that asks.

    Raises:
        MissingAbility: If it cannot.
    """
    if not isinstance(space, Trainable):
        raise MissingAbility(
            f"{who} trains networks, which {type(space).__name__} does not build; use a trainable space such as "
            "NASBench201, or give your space a method network(architecture, task)"
        )
    return space


def expect_kind(space: Space, kind: str, task: object, who: str) -> None:
    """Checks that the networks of a space can do what a task wants, before anything is spent.

    Args:
        space: A trainable space.
        kind: Of network that is wanted.
        task: The task, or its name, for the message.
        who: Name of the evaluator that asks.

    Raises:
        MissingAbility: If they cannot.
    """
    if kind not in kinds_of(space):
        raise MissingAbility(
            f"{who}: task {task} is for networks of the kind {kind}, those of {type(space).__name__} are for "
            f"{' or '.join(kinds_of(space))}; use a task of that kind, such as "
            f"{EXAMPLE[kinds_of(space)[0]]}, or another space"
        )


def skip_decisions(space: Space, who: str) -> frozenset[int]:
    """Positions of the decisions of the space that are skip connections.

    Args:
        space: Any space.
        who: Setting that needs them, for the message.

    Raises:
        MissingAbility: If there are none.
    """
    found = space.skip_decisions if isinstance(space, Skipping) else frozenset()
    if not found:
        raise MissingAbility(
            f"{who}: expected a space with decisions about skip connections, such as ENASMacro(), got "
            f"{type(space).__name__}, which has none; leave it out, or give your space a property skip_decisions"
        )
    return found


def skeleton_settings(space: Trainable) -> tuple[str, ...]:
    """Names of the settings that the space's ``network`` takes, such as channels and cells."""
    parameters = inspect.signature(space.network).parameters.values()
    return tuple(p.name for p in parameters if p.kind == p.KEYWORD_ONLY)


# -- what an evaluator or a policy has learnt ---------------------------------------------------


@runtime_checkable
class Distribution(Protocol):
    """What knows how probable the architectures of its space are.

    An evaluator does so after ``prepare``, a controller with a policy after ``start``.
    """

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """Of the options of the decision that follows ``prefix``; >= 0, with the sum 1.

        Raises:
            UsageError: If it has not learnt anything yet.
        """
        ...

    def derived(self) -> Architecture:
        """The architecture that the method itself ends with.

        Raises:
            UsageError: If it has not learnt anything yet.
        """
        ...


def distribution_of(evaluator: object, who: str) -> Distribution:
    """The evaluator, if it has a distribution.

    Args:
        evaluator: Any evaluator; one that was prepared for several searches has that of its ``known_by``.
        who: Name of the controller that asks.

    Raises:
        MissingAbility: If it has none.
    """
    evaluator = getattr(evaluator, "known_by", evaluator)
    if not isinstance(evaluator, Distribution):
        raise MissingAbility(
            f"{who} proposes what an evaluator's distribution says is best, and {type(evaluator).__name__} has none; "
            "use an evaluator that learns one, such as Differentiable, or search the scores of this one by another "
            f"controller, such as RegularizedEvolution; {who} can also end that of a policy: controller=Reinforce()"
        )
    return evaluator


class Probable(Protocol):
    """What gives probabilities, without being learnt."""

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """See ``Distribution``."""
        ...


def draw(distribution: Probable, space: Space, rng: np.random.Generator) -> tuple[float, Architecture]:
    """Draws an architecture, decision by decision; with the logarithm of its probability."""
    prefix: Architecture = ()
    log_probability = 0.0
    while space.arity(prefix):
        p = np.asarray(distribution.probabilities(prefix), float)
        cumulative = p.cumsum()
        # A draw at the very end must not fall on an option that has probability 0.
        option = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        option = min(option, int(p.nonzero()[0][-1]))
        log_probability += math.log(p[option])
        prefix = (*prefix, option)
    return log_probability, prefix


def most_probable(distribution: Probable, space: Space) -> Architecture:
    """The most probable option of each decision, one after another; of equal ones the first."""
    prefix: Architecture = ()
    while space.arity(prefix):
        prefix = (*prefix, int(np.argmax(distribution.probabilities(prefix))))
    return prefix
