"""Search by gradient: the weights of a super-network and parameters of the architecture are trained together.

References: Liu, Simonyan & Yang, "DARTS: differentiable architecture search", ICLR 2019, and what was built to make it
cheaper or sounder; each method is a choice of parts (``archsearch.differentiable``), and a preset names it. See
docs/differentiable.md.

Where we differ from the papers: batch normalisation has its scale and shift in the search, too, and pooling has none;
the learning rate of the weights falls to 0; what is derived is scored with inherited weights, and training it anew is
for whoever wants to.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch

from archsearch.abilities import most_probable
from archsearch.basics.checks import number, whole_number
from archsearch.differentiable.discretisations import Discretisation
from archsearch.differentiable.guards import Guard
from archsearch.differentiable.optimisations import FirstOrder, OneLevel, Optimisation
from archsearch.differentiable.relaxations import Relaxation, Softmax
from archsearch.differentiable.resources import Resource
from archsearch.differentiable.searching import Method
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Trained
from archsearch.evaluators.chain_scoring import Statistics
from archsearch.evaluators.inherited_scores import InheritedScores
from archsearch.evaluators.relaxed_network import RelaxedNetwork, drop_by_discretisation
from archsearch.evaluators.training import Training
from archsearch.networks.network import Network
from archsearch.relaxing import relaxable
from archsearch.space import Space
from archsearch.task import Task
from archsearch.trial import Architecture, Cost, Query


class Differentiable(InheritedScores):
    """Trains weights and architecture parameters together, then scores architectures with the inherited weights.

    It has a distribution over the space (``archsearch.abilities``), which the controller ``Derived`` proposes by;
    any other controller works, too. Scores and what is billed are as ``OneShot``'s. All passes are billed with the
    candidates that they run; those for the architecture parameters, and for watching, too. A run that is resumed goes
    on from the last finished epoch, to the same result. In the run folder, ``evaluator/search.parquet`` has a row for
    each epoch: the parameters, their entropy, what would be derived, its accuracy and that of the relaxed network.

    Args:
        training: How to train the weights, and the skeleton; None: ``Training(task)``.
        task: A task by name or path, or a ``Task``: short for a ``training`` with nothing else.
        epochs: Length of the search, and of its schedules, >= 1; None: 10 times that of ``training``.
        relaxation: From architecture parameters to the weights of candidates; None: ``Softmax()``.
        optimisation: Which gradient the parameters follow; None: ``FirstOrder()``.
        guards: What may end the search, or perturb it.
        resource: What architectures cost, in the loss of the architecture parameters; None: nothing.
        discretisation: What becomes of the strengths of candidates; None: the space's own rule.
        frozen: Epochs at the begin in which the architecture parameters are left alone, >= 0, and fewer than all.
        architecture_rate: Learning rate of the architecture parameters, > 0; ``ExponentiatedGradient`` has its own.
        architecture_decay: Their weight decay, >= 0; with ``TwoPaths`` and ``ExponentiatedGradient`` there is none.
        architecture_momentum: Adam's first decay rate, 0 to below 1; with these two there is none.
        held_out: Share of the training images, 0 to 1, on which the architecture parameters are trained, and the
            weights are not; at least 2 images of both.
        statistics: See ``OneShot``.
        statistics_batches: See ``OneShot``.
        validation_batches: See ``OneShot``.
        seed: Of initial values, the order of the images, and all draws; >= 0.

    Attributes:
        curve: A row for each epoch: epoch, mean training loss, accuracy of what would be derived.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        training: Training | None = None,
        task: str | Task | None = None,
        epochs: int | None = None,
        relaxation: Relaxation | None = None,
        optimisation: Optimisation | None = None,
        guards: list[Guard] | None = None,
        resource: Resource | None = None,
        discretisation: Discretisation | None = None,
        frozen: int = 0,
        architecture_rate: float = 3e-4,
        architecture_decay: float = 1e-3,
        architecture_momentum: float = 0.5,
        held_out: float = 0.5,
        statistics: Statistics = "recomputed",
        statistics_batches: int = 4,
        validation_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        name = type(self).__name__
        self.relaxation = relaxation
        self.optimisation = optimisation
        self.guards = guards
        self.resource = resource
        self.discretisation = discretisation
        self.frozen = whole_number(name, "frozen", frozen)
        self.architecture_rate = number(name, "architecture_rate", architecture_rate, above=0)
        self.architecture_decay = number(name, "architecture_decay", architecture_decay, low=0)
        self.architecture_momentum = number(name, "architecture_momentum", architecture_momentum, low=0, below=1)
        self.held_out = number(name, "held_out", held_out, above=0, below=1)
        for what, base in (
            ("relaxation", Relaxation),
            ("optimisation", Optimisation),
            ("resource", Resource),
            ("discretisation", Discretisation),
        ):
            if getattr(self, what) is not None and not isinstance(getattr(self, what), base):
                raise UsageError(f"{name}: {what}: expected a {base.__name__}, got {getattr(self, what)!r:.80}")
        if not isinstance(guards or [], (list, tuple)) or not all(isinstance(guard, Guard) for guard in guards or ()):
            raise UsageError(f"{name}: guards: expected a list of Guard, got {guards!r:.80}")
        perturbs = [type(guard).__name__ for guard in guards or () if type(guard).perturbed is not Guard.perturbed]
        if perturbs and isinstance(optimisation, OneLevel):
            raise UsageError(
                f"{name}: guards: {perturbs[0]} perturbs passes that are for the weights alone, and OneLevel has none; "
                "use another optimisation, such as FirstOrder"
            )
        self._method = Method(relaxation or Softmax(), optimisation or FirstOrder(), guards or (), resource)
        super().__init__(training, task, epochs, statistics, statistics_batches, validation_batches, seed)
        self._forget()

    def _forget(self) -> None:
        self._shared: RelaxedNetwork = RelaxedNetwork(
            self.trainer,
            self._make,
            self._length,
            self.seed,
            self._progress,
            self._method,
            self.discretisation or Discretisation(),
            self.frozen,
            (self.architecture_rate, self.architecture_decay, self.architecture_momentum),
            self.held_out,
        )
        super()._forget()

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space has no relaxed super-network, or none with partial channels."""
        name = type(self).__name__
        found = relaxable(space, name)
        self.trainer.check(space, type(self).__name__)
        if self._part > 1 and "part" not in inspect.signature(found.super_network).parameters:
            raise MissingAbility(
                f"{name}: {type(self._method.relaxation).__name__} lets candidates see a part of the channels, which "
                f"the super-network of {type(space).__name__} does not; use a space such as DARTS or NASBench201"
            )

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space; what was learnt in another one is forgotten."""
        super().start(space)
        if self._method.optimisation.holds_out and len(self.trainer.chosen) < 4:
            raise UsageError(
                f"{type(self).__name__}: train_examples: expected at least 4, 2 for the weights and 2 for the "
                f"architecture parameters, got {len(self.trainer.chosen)}"
            )
        if self.frozen >= self._length:
            raise UsageError(
                f"{type(self).__name__}: frozen: expected fewer than the {self._length} epochs of the search, in which "
                f"nothing would be learnt about architectures otherwise, got {self.frozen}; set fewer, or more epochs"
            )
        if self._part > 1:
            with torch.device("meta"):
                self._make()  # says before anything is trained which channels it cannot cut so

    @property
    def _part(self) -> int:
        return self._method.relaxation.part

    def _make(self) -> Network:
        """The relaxed super-network."""
        if self._part == 1:
            return self.trainer.network(None)
        space = relaxable(self.space, type(self).__name__)
        found: Network = space.super_network(self.trainer.data, **self.trainer.skeleton_used, part=self._part)  # type: ignore[call-arg]
        return found

    def prepare(self) -> Cost:
        """Searches, or does what is left of that."""
        self.training.prepare()
        return self._shared.prepare(self._length, None)

    def _progress(self, epoch: int, epochs: int) -> None:
        if self.on_progress is not None:
            self.on_progress("search by gradient", epoch, epochs)

    # -- what was learnt -----------------------------------------------------------------------

    @property
    def records(self) -> Sequence[dict[str, object]]:
        """What was noted of each epoch; see ``evaluator/search.parquet``."""
        return self._shared.records

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """See ``archsearch.abilities.Distribution``."""
        return self._shared.probabilities(prefix)

    def derived(self) -> Architecture:
        """What the method ends with: the most probable option of each decision."""
        return most_probable(self, self.space)

    @property
    def note(self) -> str:
        """What was derived, and what was lost by that."""
        records = self._shared.records
        if not records:
            return ""
        stopped = "" if self._shared.stopped is None else f", stopped after epoch {self._shared.stopped}"
        return (
            f"derived {self.space.format(self.derived())}{stopped}; the relaxed network has "
            f"{records[-1]['relaxed_accuracy']:.1f} % of some validation images right, "
            f"{drop_by_discretisation(records):+.1f} against the path derived then"
        )

    def trained(self, query: Query) -> Trained:
        """A stand-alone network with the weights and statistics that were scored."""
        if self._part > 1:
            raise MissingAbility(
                f"{type(self).__name__}: candidates that saw one of {self._part} channels have no weights for a "
                "network of its own; train the architecture with Training"
            )
        return self._trained(query, "Weights are inherited from a super-network that was searched by gradient.")
