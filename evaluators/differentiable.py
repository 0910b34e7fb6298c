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

from archsearch.abilities import most_probable, skeleton_settings, trainable
from archsearch.basics.checks import number, whole_number
from archsearch.differentiable.discretisations import Discretisation
from archsearch.differentiable.guards import Guard
from archsearch.differentiable.optimisations import FirstOrder, OneLevel, Optimisation
from archsearch.differentiable.relaxations import Relaxation, Softmax
from archsearch.differentiable.resources import Compromise, Resource, compromises
from archsearch.differentiable.searching import Method
from archsearch.differentiable.stages import Stages
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Trained
from archsearch.evaluators.chain_statistics import Statistics
from archsearch.evaluators.inherited_scores import InheritedScores
from archsearch.evaluators.relaxed_network import Plan, RelaxedNetwork
from archsearch.evaluators.search_records import drop_by_discretisation
from archsearch.evaluators.staged_network import StagedNetwork
from archsearch.evaluators.training import Training
from archsearch.networks.network import Network, structure_of
from archsearch.relaxing import MixesKernels, Relaxable, relaxable
from archsearch.space import Space
from archsearch.task import Task
from archsearch.trial import Architecture, Cost, Query

DEFAULTS = (3e-4, 1e-3, 0.5)
"""Learning rate, weight decay and momentum of the architecture parameters (DARTS)."""


class Differentiable(InheritedScores):
    """Trains weights and architecture parameters together, then scores architectures with the inherited weights.

    It has a distribution over the space (``archsearch.abilities``), from which the controller ``Derived`` proposes; any
    other controller works, too. Scores and bills are as for ``OneShot``. All passes are billed for the candidates that
    they run, including those for the architecture parameters and for watching. A run that is resumed continues from the
    last finished epoch, to the same result. In the run folder, ``evaluator/search.parquet`` has a row for each epoch:
    the parameters, their entropy, what would be derived, its accuracy and that of the relaxed network.

    Args:
        training: How to train the weights, and the skeleton; None: ``Training(task)``.
        task: A task by name or path, or a ``Task``; short for a ``training`` in which only the task is set.
        epochs: Length of the search, and of its schedules, >= 1; None: 10 times that of ``training``.
        relaxation: Turns architecture parameters into weights of candidates; None: ``Softmax()``.
        optimisation: The gradient that the architecture parameters follow; None: ``FirstOrder()``.
        guards: Parts that may end the search, take it back, perturb it, or remove candidates.
        resource: The cost of architectures in the loss of the architecture parameters; None: no such cost.
        discretisation: How an architecture is derived from the strengths of candidates; None: the space's own rule.
        stages: Several searches one after another, in deeper networks with fewer candidates; None: one search.
        frozen: Epochs at the start (of each stage, if there are stages) in which the architecture parameters do not
            change, >= 0, and fewer than all.
        architecture_rate: Learning rate of the architecture parameters, > 0; None: 3e-4. ``ExponentiatedGradient`` has
            its own, and takes none here.
        architecture_decay: Weight decay of the architecture parameters, >= 0; None: 1e-3. ``TwoPaths`` and
            ``ExponentiatedGradient`` have none.
        architecture_momentum: Adam's first decay rate, 0 to below 1; None: 0.5. These two have none.
        held_out: Share of the training images, 0 to 1, that train the architecture parameters instead of the weights;
            at least 2 images on both sides.
        statistics: See ``OneShot``.
        statistics_batches: See ``OneShot``.
        validation_batches: See ``OneShot``.
        seed: Seed of initial values, of the order of the images, and of all draws; >= 0.

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
        stages: Stages | None = None,
        frozen: int = 0,
        architecture_rate: float | None = None,
        architecture_decay: float | None = None,
        architecture_momentum: float | None = None,
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
        self.stages = stages
        self.frozen = whole_number(name, "frozen", frozen)
        self.architecture_rate = architecture_rate
        self.architecture_decay = architecture_decay
        self.architecture_momentum = architecture_momentum
        self.held_out = number(name, "held_out", held_out, above=0, below=1)
        for what, base in (
            ("relaxation", Relaxation),
            ("optimisation", Optimisation),
            ("resource", Resource),
            ("discretisation", Discretisation),
            ("stages", Stages),
        ):
            if getattr(self, what) is not None and not isinstance(getattr(self, what), base):
                raise UsageError(f"{name}: {what}: expected a {base.__name__}, got {getattr(self, what)!r:.80}")
        if not isinstance(guards or [], (list, tuple)) or not all(isinstance(guard, Guard) for guard in guards or ()):
            raise UsageError(f"{name}: guards: expected a list of Guard, got {guards!r:.80}")
        self._check_guards(guards or ())
        self._method = Method(relaxation or Softmax(), optimisation or FirstOrder(), guards or (), resource)
        for part in (self._method.relaxation, self._method.optimisation):
            part.expect_written()
        self._settings = self._architecture_settings()
        super().__init__(training, task, epochs, statistics, statistics_batches, validation_batches, seed)
        self._forget()

    def _architecture_settings(self) -> tuple[float, float, float]:
        """Learning rate, weight decay and momentum of the architecture parameters."""
        name, relaxation = type(self).__name__, self._method.relaxation
        for what in ("rate", "decay", "momentum"):
            given = getattr(self, f"architecture_{what}")
            if given is not None and what not in relaxation.takes:
                instead = f", or set the {relaxation.rate_setting}" if what == "rate" else ""
                raise UsageError(
                    f"{name}: architecture_{what}: expected none with {type(relaxation).__name__}, which takes none, "
                    f"got {given!r}; leave it out{instead}"
                )
        rate, decay, momentum = (
            default if given is None else given
            for given, default in zip(
                (self.architecture_rate, self.architecture_decay, self.architecture_momentum), DEFAULTS, strict=True
            )
        )
        return (
            number(name, "architecture_rate", rate, above=0),
            number(name, "architecture_decay", decay, low=0),
            number(name, "architecture_momentum", momentum, low=0, below=1),
        )

    def _check_guards(self, guards: Sequence[Guard]) -> None:
        """Refuses guards that do not go together with the other parts."""
        name = type(self).__name__
        perturbs = [g for g in guards if type(g).perturbed is not Guard.perturbed and not g.perturbs_all]
        if perturbs and isinstance(self.optimisation, OneLevel):
            raise UsageError(
                f"{name}: guards: {type(perturbs[0]).__name__} perturbs passes that are for the weights alone, and "
                "OneLevel has none; use another optimisation, such as FirstOrder"
            )
        ends = [g for g in guards if type(g).stop is not Guard.stop or type(g).retry is not Guard.retry]
        if ends and self.stages is not None:
            raise UsageError(
                f"{name}: guards: {type(ends[0]).__name__} may end the search or take it back, which stages do not go "
                "together with; leave one of them out"
            )

    def _forget(self) -> None:
        plan = Plan(self._method, self.discretisation or Discretisation(), self.frozen, self._settings, self.held_out)
        own = self.trainer, self._make, self._length, self.seed, self._progress, plan
        self._shared: RelaxedNetwork = RelaxedNetwork(*own) if self.stages is None else StagedNetwork(*own, self.stages)
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
        known = skeleton_settings(trainable(space, name))
        for skeleton in self.stages.skeletons if self.stages else ():
            if skeleton and not any(setting in known for setting in skeleton):
                raise UsageError(
                    f"Stages: skeletons: networks of {type(space).__name__} have none of the settings "
                    f"{', '.join(skeleton)}; expected any of {', '.join(known) or 'none'}"
                )
        if self._method.relaxation.needs_kernels and not isinstance(structure_of(space), MixesKernels):
            raise MissingAbility(
                f"{name}: {type(self._method.relaxation).__name__} compares parts of kernels, which the "
                f"super-network of {type(space).__name__} does not mix; use the space SinglePath"
            )

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space; what was learnt in another one is forgotten."""
        super().start(space)
        if self._method.optimisation.holds_out and len(self.trainer.chosen) < 4:
            raise UsageError(
                f"{type(self).__name__}: train_examples: expected at least 4, 2 for the weights and 2 for the "
                f"architecture parameters, got {len(self.trainer.chosen)}"
            )
        if self.resource is not None:
            self.resource.check(space)
        for guard in self.guards or ():
            if guard.keeps and self.trainer.recipe.weight_decay == 0:
                raise UsageError(
                    f"{type(guard).__name__}: expected a training with a weight_decay above 0, which it multiplies, "
                    "got 0; set one"
                )
        stages = self.stages.count if self.stages else 1
        if self._length % stages:
            raise UsageError(
                f"{type(self).__name__}: epochs: expected a multiple of the {stages} stages, got {self._length}"
            )
        if self.frozen >= self._length // stages:
            what = "the search" if stages == 1 else "a stage"
            raise UsageError(
                f"{type(self).__name__}: frozen: expected fewer than the {self._length // stages} epochs of {what}, in "
                f"which nothing would be learnt about architectures otherwise, got {self.frozen}; set fewer, or more "
                "epochs"
            )
        every = self._method.optimisation.every
        if every > self._shared.moving:
            raise UsageError(
                f"{type(self).__name__}: optimisation.every: expected at most the {self._shared.moving} updates of the "
                f"{self._length // stages - self.frozen} epochs in which the architecture parameters may move, got "
                f"{every}; set a smaller one, more epochs, or fewer that are frozen"
            )
        for stage in range(stages if self._part > 1 or stages > 1 else 0):
            with torch.device("meta"):  # says before anything is trained what it cannot make
                self._make(**(self.stages.skeleton(stage) if self.stages else {}))

    @property
    def _part(self) -> int:
        return self._method.relaxation.part

    def _make(self, **skeleton: int) -> Network:
        """The relaxed super-network; ``skeleton``: what is different in it."""
        space = self.space
        assert isinstance(space, Relaxable)
        known = skeleton_settings(trainable(space, type(self).__name__))
        settings = self.trainer.skeleton_used | {what: n for what, n in skeleton.items() if what in known}
        if self._part > 1:
            settings["part"] = self._part
        found: Network = space.super_network(self.trainer.data, **settings)
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

    @property
    def compromises(self) -> list[Compromise]:
        """Architectures that were passed on the way, between multiply-adds and accuracy; the cheapest first."""
        return compromises(self._shared.records)

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
        for epoch, back, decay in self._shared.retries:
            stopped += f", taken back from epoch {epoch} to {back} with weight decay {decay:g}"
        return (
            f"derived {self.space.format(self.derived())}{stopped}; the relaxed network scores "
            f"{records[-1]['relaxed_accuracy']:.4g} on some validation examples, "
            f"{drop_by_discretisation(records):+.2g} against the path derived then"
        )

    def trained(self, query: Query) -> Trained:
        """A stand-alone network with the weights and statistics that were scored."""
        if self._part > 1:
            raise MissingAbility(
                f"{type(self).__name__}: candidates that saw one of {self._part} channels have no weights for a "
                "network of its own; train the architecture with Training"
            )
        return self._trained(query, "Weights are inherited from a super-network that was searched by gradient.")
