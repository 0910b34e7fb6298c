"""A super-network that is trained together with architecture parameters: its training, its file, and what it learnt.

It is kept and goes on as ``SuperNetwork``'s do. After each epoch it is noted where the search stands: the architecture
parameters, their entropy, how many skip connections there are, the accuracy of the relaxed network and of the path that
would be derived now; guards are told all of that, and may take the search back, end it, or wipe candidates out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from archsearch.abilities import most_probable
from archsearch.differentiable.costs import Mixed, candidate_costs
from archsearch.differentiable.curvature import largest_eigenvalue
from archsearch.differentiable.discretisations import Discretisation
from archsearch.differentiable.guards.stopping import in_first_cell, ranking
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Pass
from archsearch.differentiable.searching import ARCHITECTURE, Costs, Method, Searching
from archsearch.errors import UsageError
from archsearch.evaluators.earlier_states import EarlierStates
from archsearch.evaluators.search_records import expect_strengths, noted_shares, search_table
from archsearch.evaluators.super_network import WATCHED_IMAGES, SuperNetwork
from archsearch.files.parquet import to_parquet
from archsearch.files.writing import write_whole
from archsearch.networks.memory import Activations
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import Network, Weights
from archsearch.networks.undisturbed import Undisturbed
from archsearch.ranking.derived import RECORDS
from archsearch.relaxing import MixesKernels, Relaxable, Relaxed
from archsearch.training.checkpoints import Checkpoint
from archsearch.training.loop import Batch, Run, Step, run_epochs
from archsearch.training.meter import Meter
from archsearch.training.optimizer import share_of_rate
from archsearch.training.paths import Route, UniformPaths
from archsearch.training.trainer import Trainer
from archsearch.trial import Architecture, Cost

_PARAMETERS = 0x2545F491
"""Keeps the initial architecture parameters apart from the initial weights, which are drawn from the same seed."""


class Plan(NamedTuple):
    """How to search.

    Attributes:
        method: The parts of the method.
        discretisation: What becomes of the strengths of candidates.
        frozen: Epochs at the begin, of each stage if there are stages, in which the architecture parameters are left
            alone.
        settings: Learning rate, weight decay and momentum of the architecture parameters.
        held_out: Share of the training images for the architecture parameters, if the method needs any.
    """

    method: Method
    discretisation: Discretisation
    frozen: int
    settings: tuple[float, float, float]
    held_out: float


class RelaxedNetwork(SuperNetwork):
    """Weights and architecture parameters that are trained together.

    Args:
        trainer: Trains it.
        make: Makes the super-network.
        length: Epochs of the schedule.
        seed: Of initial values, the order of the images, and all draws.
        on_epoch: Told after each epoch how many are done, and of how many.
        plan: How to search.
    """

    def __init__(
        self,
        trainer: Trainer,
        make: Callable[..., Network],
        length: int,
        seed: int,
        on_epoch: Callable[[int, int], None],
        plan: Plan,
    ) -> None:
        super().__init__(trainer, make, lambda _: UniformPaths(trainer.space, seed), length, seed, on_epoch)
        self._method, self._discretisation, self._frozen, self._settings, self._held_out = plan
        self._facts |= {"learnt": {}, "strengths": [], "records": [], "retries": [], "stopped": None}
        self._parameters: ArchitectureParameters | None = None
        self._costs: Costs | None = None
        self._cut: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._kept_bytes = 0
        self._earlier = EarlierStates(trainer, max((guard.keeps for guard in plan.method.guards), default=0))

    def __getstate__(self) -> dict[str, Any]:
        """What workers need."""
        return super().__getstate__() | {"_parameters": None, "_costs": None, "_sampler": None}

    # -- what was learnt -----------------------------------------------------------------------

    @property
    def records(self) -> Sequence[dict[str, Any]]:
        """What was noted of each epoch."""
        records: list[dict[str, Any]] = self._facts["records"]
        return records

    @property
    def stopped(self) -> int | None:
        """The epoch after which a guard ended the search; None: none did."""
        return self._facts["stopped"] and int(self._facts["stopped"])

    @property
    def retries(self) -> Sequence[tuple[int, int, float]]:
        """Each time that a guard took it back: the epoch, that to which it went back, and the weight decay then."""
        return [(int(epoch), int(back), float(decay)) for epoch, back, decay in self._facts["retries"]]

    @property
    def _relaxable(self) -> Relaxable:
        space = self._trainer.space
        assert isinstance(space, Relaxable)
        return space

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """See ``Distribution``."""
        if not self._facts["strengths"]:
            raise UsageError("Differentiable: nothing was learnt yet; call prepare() first, as a search does")
        return self._relaxable.relaxed_probabilities(self._facts["strengths"], prefix)

    def network(self) -> Network:
        """The trained super-network; see ``SuperNetwork``."""
        if not self._values:
            raise UsageError("Differentiable: there is no super-network yet; call prepare() first, as a search does")
        return super().network()

    # -- training ------------------------------------------------------------------------------

    def prepare(self, epochs: int, weights: Path | None) -> Cost:
        """See ``SuperNetwork``."""
        cost = super().prepare(epochs, weights)
        self._earlier.clear()
        return cost

    def _begin_run(self, seed: int, make: Callable[[], Network]) -> None:
        super()._begin_run(seed, make)
        assert self._run is not None
        relaxation, network = self._method.relaxation, self._run.network
        choices = self._relaxable.relaxed_choices()
        generator = torch.Generator().manual_seed(seed ^ _PARAMETERS)
        where, shape = self._trainer.where, self._trainer.data.input_shape
        self._parameters = parameters = ArchitectureParameters(choices, relaxation.edges, generator, where)
        parameters.rings = network.rings if isinstance(network, MixesKernels) else None
        self._run.others = {ARCHITECTURE: relaxation.optimizer(parameters, *self._settings)}
        all_of_them: list[Weights] = [dict.fromkeys(range(n), 1.0) for n in parameters.sizes]
        everything = multiply_adds(Mixed(network, all_of_them), shape)
        resource, space = self._method.resource, self._trainer.space
        other = resource is not None and resource.of != "flops"
        self._costs = Costs(
            everything,
            lambda: candidate_costs(network, choices, shape),
            network.running,
            (lambda: resource.costs(space, network, shape)) if resource is not None and other else None,
        )

    def _go_on_from(self, saved: Checkpoint) -> None:
        super()._go_on_from(saved)
        assert self._parameters is not None
        assert self._run is not None
        self._parameters.load(self._facts["learnt"])
        self._set_decay(self._run)

    @property
    def _decay(self) -> float:
        """Weight decay of the network's weights, as it is now."""
        return self.retries[-1][2] if self.retries else self._trainer.recipe.weight_decay

    def _set_decay(self, run: Run) -> None:
        for group in run.optimizer.param_groups:
            group["weight_decay"] = self._decay

    @property
    def _span(self) -> int:
        """Epochs of the schedules of one run."""
        return self._length

    @property
    def _parts(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Numbers of the training images for the weights, and for the architecture parameters; None: the same."""
        if self._cut is None:
            self._cut = self._halves() if self._method.optimisation.holds_out else (self._trainer.chosen, None)
        return self._cut

    def _halves(self) -> tuple[torch.Tensor, torch.Tensor]:
        trainer, n = self._trainer, len(self._trainer.chosen)
        held_out, own = trainer.data.divide(trainer.chosen, min(max(2, round(self._held_out * n)), n - 2))
        return own, held_out

    @property
    def _updates_per_epoch(self) -> int:
        return self._trainer.updates_for(len(self._parts[0]))

    @property
    def moving(self) -> int:
        """Updates of the weights, in a stage, in those epochs in which architecture parameters are not left alone."""
        return (self._span - self._frozen) * self._updates_per_epoch

    @property
    def _ended(self) -> bool:
        return self.stopped is not None

    def _train_epoch(self, run: Run, draw: Callable[[float], Sequence[Route]], meter: Meter) -> None:
        trainer, recipe, per_epoch = self._trainer, self._trainer.recipe, self._updates_per_epoch
        own, held_out = self._parts
        total, rising = self._span * per_epoch, recipe.warm_up * per_epoch
        step = self._searching(
            run,
            meter,
            None if held_out is None else _endless(lambda: trainer.epoch(run, held_out)),
            lambda done: recipe.learning_rate * share_of_rate(done, total, rising),
        )
        memory = Activations(run.network)
        first = _first_within(memory, step)
        run_epochs(run, run.step + per_epoch, total, lambda: trainer.epoch(run, own), first, recipe.drop_path)
        self._kept_bytes = memory.peak

    def _searching(
        self, run: Run, meter: Meter, held_out: Iterator[Batch] | None, rate: Callable[[int], float]
    ) -> Searching:
        assert self._parameters is not None
        assert self._costs is not None
        per_epoch = self._updates_per_epoch
        moves, total = run.step >= self._frozen * per_epoch, self._span * per_epoch
        recipe = self._trainer.recipe
        resource = self._method.resource
        method = self._method._replace(resource=None if resource is None else resource.after(self.records))
        return Searching(run, self._parameters, method, recipe, meter, self._costs, rate, held_out, moves, total)

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, run: Run, epoch: int, meter: Meter) -> None:
        """Notes where the search stands, which changes nothing of the training, and asks the guards."""
        parameters, relaxation = self._parameters, self._method.relaxation
        assert parameters is not None
        with torch.no_grad():
            learnt = relaxation.all_strengths(parameters)
        expect_strengths([some.tolist() for some in learnt], parameters.sizes, f"{type(relaxation).__name__}.strengths")
        record: dict[str, Any] = {"epoch": epoch, "train_loss": run.train_loss, "parameters": parameters.state()}
        record |= {"activation_bytes": self._kept_bytes, **noted_shares(parameters, learnt)}
        record["ranking"] = ranking(parameters) if run.step > self._frozen * self._updates_per_epoch else None
        mixed = [{i: some[i] for i in own} for some, own in zip(learnt, parameters.living(), strict=True)]
        self._learn(learnt)
        self._settle(epoch)
        derived = most_probable(self, self._trainer.space)
        record |= {"derived": list(derived), "skips": len(self._skipping(derived))}
        record["relaxed_accuracy"] = self._accuracy(run, meter, mixed)
        record["derived_accuracy"] = self._accuracy(run, meter, self._relaxable.selected(derived))
        assert self._costs is not None
        record["flops"] = self._costs.of(self._relaxable.selected(derived), parameters.sizes)
        if any(guard.needs_eigenvalue for guard in self._method.guards):
            record["eigenvalue"] = self._eigenvalue(run, meter)
        if any(guard.keeps for guard in self._method.guards):
            record["weight_decay"] = self._decay
        self._facts["records"].append(record)
        self._facts["curve"].append([epoch, run.train_loss, record["derived_accuracy"]])
        if not self._taken_back(run, epoch) and not self._stopped_by_guard(epoch):
            self._prune(run)
        record["alive"] = int(parameters.alive.sum())
        self._facts["learnt"] = (self._parameters or parameters).state()  # others, if a stage has begun

    def _settle(self, epoch: int) -> None:
        """Says the last word about what is derived, at the end of a search."""

    def _learn(self, strengths: Sequence[torch.Tensor]) -> None:
        assert self._parameters is not None
        plain = [some.tolist() for some in strengths]
        found = self._discretisation.strengths(plain, self._parameters.choices)
        expect_strengths(found, self._parameters.sizes, f"{type(self._discretisation).__name__}.strengths")
        self._facts["strengths"] = found

    def _taken_back(self, run: Run, epoch: int) -> bool:
        """Goes back if a guard says so; whether one did."""
        found = next((f for guard in self._method.guards if (f := guard.retry(self.records, self._decay))), None)
        if found is None:
            return False
        back = found.epoch if self._earlier.restore(run, found.epoch) else epoch
        for name in ("records", "curve"):
            self._facts[name] = self._facts[name][:back]
        self._facts["retries"].append([epoch, back, found.decay])
        self._set_decay(run)
        self._relearn(self.records[-1]["parameters"])
        return True

    def _stopped_by_guard(self, epoch: int) -> bool:
        """Ends the search if a guard says so; whether one did."""
        back = next((b for guard in self._method.guards if (b := guard.stop(self.records)) is not None), None)
        if back is None:
            return False
        self._facts["stopped"] = epoch
        self._relearn(self.records[back - 1]["parameters"])
        return True

    def _prune(self, run: Run) -> None:
        """Lets guards wipe candidates out."""
        parameters = self._parameters
        assert parameters is not None
        before, done = parameters.alive.clone(), run.step / (self._span * self._updates_per_epoch)
        now = Pass(False, done, run.generator, parameters.choices)
        for guard in self._method.guards:
            guard.prune(parameters, now, self.records)
            parameters.alive &= before  # what is gone does not return
            if not all(parameters.living()):
                raise UsageError(
                    f"{type(guard).__name__}.prune: expected a candidate of each choice to be left, got none"
                )
        if not torch.equal(parameters.alive, before):
            self._relearn(parameters.state())

    def _relearn(self, state: dict[str, Any]) -> None:
        """Takes architecture parameters, and what follows from them."""
        assert self._parameters is not None
        self._parameters.load(state)
        with torch.no_grad():
            self._learn(self._method.relaxation.all_strengths(self._parameters))

    def _skipping(self, derived: Architecture) -> list[int]:
        """The choices of the first kind of cell that have a skip connection in an architecture."""
        choices = self._relaxable.relaxed_choices()
        first, chosen = in_first_cell([choice.name for choice in choices]), self._relaxable.selected(derived)
        return [
            i for i, choice in enumerate(choices) if first[i] and choice.skip is not None and choice.skip in chosen[i]
        ]

    def _accuracy(self, run: Run, meter: Meter, weights: Sequence[Weights]) -> float:
        """Score on some validation examples, with the statistics of that batch."""
        batch, goal = self._trainer.first("valid", WATCHED_IMAGES), self._trainer.data.goal
        assert isinstance(run.network, Relaxed)
        assert self._costs is not None
        assert self._parameters is not None
        with Undisturbed(run.network, batch=batch.examples > 1), torch.no_grad():
            found = goal.tally(run.network.relaxed(*batch.through(weights)), batch.targets)
        meter.forwarded(batch.examples, self._costs.of(weights, self._parameters.sizes))
        return goal.judged(found).score

    def _eigenvalue(self, run: Run, meter: Meter) -> float:
        """The largest eigenvalue of the loss on one held-out batch over the architecture parameters."""
        own, held_out = self._parts
        batch = self._trainer.batch(own if held_out is None else held_out)
        assert self._parameters is not None
        assert self._costs is not None
        assert isinstance(run.network, Relaxed)
        generator = torch.Generator().manual_seed(self._seed)
        searching = self._searching(run, meter, None, lambda _: 0.0)
        now = searching.now(True)._replace(generator=generator)
        weights = self._method.relaxation.weights(self._parameters, now)
        with Undisturbed(run.network, batch=True):
            loss = self._trainer.data.goal.loss(run.network.relaxed(*batch.through(weights)), batch.targets)
            value, products = largest_eigenvalue(loss, self._parameters.leaves)
        macs = self._costs.of(weights, self._parameters.sizes)
        for _ in range(1 + products):  # a product goes back through a pass and its way back
            meter.forwarded(3 * batch.examples, macs)
        return value

    def _save(self, run: Run) -> None:
        self._earlier.add(run, self._epoch)
        super()._save(run)
        if self._trainer.folder is not None and self.records:
            derived = most_probable(self, self._trainer.space)
            noted = search_table(self.records, self._relaxable.relaxed_choices(), self._trainer.data.name, derived)
            write_whole(self._trainer.folder / RECORDS, to_parquet(noted))


def _first_within(memory: Activations, step: Step) -> Step:
    """The same step, the first of which is made inside of ``memory``: counting takes time, and they are alike."""

    def measured(run: Run, batch: Batch, progress: float) -> Sequence[float]:
        if memory.peak:
            return step(run, batch, progress)
        with memory:
            return step(run, batch, progress)

    return measured


def _endless(epoch: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
    """One epoch after another."""
    while True:
        yield from epoch()
