"""A super-network that is trained together with architecture parameters: its training, its file, and what it learnt.

It is kept and goes on as ``SuperNetwork``'s do. After each epoch it is noted where the search stands: the architecture
parameters, their entropy, how many skip connections there are, the accuracy of the relaxed network and of the path that
would be derived now; guards are told all of that, and may end the search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch

from archsearch.abilities import most_probable
from archsearch.differentiable.curvature import largest_eigenvalue
from archsearch.differentiable.discretisations import Discretisation
from archsearch.differentiable.guards import skips_in_first_cell
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.resources import Mixed, candidate_costs
from archsearch.differentiable.searching import ARCHITECTURE, Costs, Method, Searching
from archsearch.errors import UsageError
from archsearch.evaluators.inheriting import batch_norms
from archsearch.evaluators.super_network import WATCHED_IMAGES, SuperNetwork
from archsearch.files.parquet import to_parquet
from archsearch.files.writing import write_whole
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import Network, Weights
from archsearch.relaxing import Relaxable, Relaxed
from archsearch.training.checkpoints import Checkpoint
from archsearch.training.loop import Batch, Run, run_epochs
from archsearch.training.meter import Meter
from archsearch.training.optimizer import share_of_rate
from archsearch.training.paths import Route, UniformPaths
from archsearch.training.trainer import Trainer
from archsearch.trial import Architecture

RECORDS = "search.parquet"
"""In the evaluator's folder: a row for each epoch."""

_PARAMETERS = 0x2545F491
"""Keeps the initial architecture parameters apart from the initial weights, which are drawn from the same seed."""


class RelaxedNetwork(SuperNetwork):
    """Weights and architecture parameters that are trained together.

    Args:
        trainer: Trains it.
        make: Makes the super-network.
        length: Epochs of the schedule.
        seed: Of initial values, the order of the images, and all draws.
        on_epoch: Told after each epoch how many are done, and of how many.
        method: The parts of the method.
        discretisation: What becomes of the strengths of candidates.
        frozen: Epochs in which the architecture parameters are left alone.
        settings: Learning rate, weight decay and momentum of the architecture parameters.
        held_out: Share of the training images for the architecture parameters, if the method needs any.
    """

    def __init__(
        self,
        trainer: Trainer,
        make: Callable[[], Network],
        length: int,
        seed: int,
        on_epoch: Callable[[int, int], None],
        method: Method,
        discretisation: Discretisation,
        frozen: int,
        settings: tuple[float, float, float],
        held_out: float,
    ) -> None:
        super().__init__(trainer, make, lambda _: UniformPaths(trainer.space, seed), length, seed, on_epoch)
        self._method = method
        self._discretisation = discretisation
        self._frozen = frozen
        self._settings = settings
        self._held_out = held_out
        self._facts |= {"learnt": {}, "strengths": [], "records": [], "stopped": None}
        self._parameters: ArchitectureParameters | None = None
        self._costs: Costs | None = None
        self._cut: tuple[torch.Tensor, torch.Tensor | None] | None = None

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

    def _fresh(self) -> None:
        super()._fresh()
        assert self._run is not None
        relaxation, network = self._method.relaxation, self._run.network
        choices = self._relaxable.relaxed_choices()
        generator = torch.Generator().manual_seed(self._seed ^ _PARAMETERS)
        where, shape = self._trainer.where, self._trainer.data.input_shape
        self._parameters = parameters = ArchitectureParameters(choices, relaxation.edges, generator, where)
        self._run.others = {ARCHITECTURE: relaxation.optimizer(parameters, *self._settings)}
        all_of_them: list[Weights] = [dict.fromkeys(range(n), 1.0) for n in parameters.sizes]
        everything = multiply_adds(Mixed(network, all_of_them), shape)
        self._costs = Costs(everything, lambda: candidate_costs(network, choices, shape))

    def _go_on_from(self, saved: Checkpoint) -> None:
        super()._go_on_from(saved)
        assert self._parameters is not None
        self._parameters.load(self._facts["learnt"])

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
    def _ended(self) -> bool:
        return self.stopped is not None

    def _train_epoch(self, run: Run, draw: Callable[[float], Sequence[Route]], meter: Meter) -> None:
        trainer, recipe, per_epoch = self._trainer, self._trainer.recipe, self._updates_per_epoch
        own, held_out = self._parts
        total, rising = self._length * per_epoch, recipe.warm_up * per_epoch
        step = self._searching(
            run,
            meter,
            None if held_out is None else _endless(lambda: trainer.epoch(run, held_out)),
            lambda done: recipe.learning_rate * share_of_rate(done, total, rising),
        )
        run_epochs(run, run.step + per_epoch, total, lambda: trainer.epoch(run, own), step, recipe.drop_path)

    def _searching(
        self, run: Run, meter: Meter, held_out: Iterator[Batch] | None, rate: Callable[[int], float]
    ) -> Searching:
        assert self._parameters is not None
        assert self._costs is not None
        per_epoch = self._updates_per_epoch
        moves, total = run.step >= self._frozen * per_epoch, self._length * per_epoch
        recipe = self._trainer.recipe
        return Searching(run, self._parameters, self._method, recipe, meter, self._costs, rate, held_out, moves, total)

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, run: Run, epoch: int, meter: Meter) -> None:
        """Notes where the search stands, and asks the guards; nothing of the training is changed."""
        parameters, relaxation = self._parameters, self._method.relaxation
        assert parameters is not None
        with torch.no_grad():
            learnt = relaxation.all_strengths(parameters)
        _expect_strengths(
            [some.tolist() for some in learnt], parameters.sizes, f"{type(relaxation).__name__}.strengths"
        )
        shares = [some / some.sum() for some in learnt]
        record: dict[str, Any] = {"epoch": epoch, "train_loss": run.train_loss, "parameters": parameters.state()}
        record["entropy"] = sum(float(torch.special.entr(each).sum()) for each in shares) / len(shares)
        skips = [float(p[c.skip]) for p, c in zip(shares, parameters.choices, strict=True) if c.skip is not None]
        record["skip_share"] = sum(skips) / len(skips) if skips else 0.0
        self._learn(learnt)
        derived = most_probable(self, self._trainer.space)
        record |= {"derived": list(derived), "skips": self._skips(derived)}
        record["relaxed_accuracy"] = self._accuracy(run, meter, [dict(enumerate(some)) for some in learnt])
        record["derived_accuracy"] = self._accuracy(run, meter, self._relaxable.selected(derived))
        if any(guard.needs_eigenvalue for guard in self._method.guards):
            record["eigenvalue"] = self._eigenvalue(run, meter)
        self._facts["records"].append(record)
        self._facts["curve"].append([epoch, run.train_loss, record["derived_accuracy"]])
        self._ask_guards(epoch)
        self._facts["learnt"] = parameters.state()

    def _learn(self, strengths: Sequence[torch.Tensor]) -> None:
        assert self._parameters is not None
        plain = [some.tolist() for some in strengths]
        found = self._discretisation.strengths(plain, self._parameters.choices)
        _expect_strengths(found, self._parameters.sizes, f"{type(self._discretisation).__name__}.strengths")
        self._facts["strengths"] = found

    def _ask_guards(self, epoch: int) -> None:
        parameters = self._parameters
        assert parameters is not None
        for guard in self._method.guards:
            back = guard.stop(self.records)
            if back is not None:
                self._facts["stopped"] = epoch
                parameters.load(self.records[back - 1]["parameters"])
                with torch.no_grad():
                    self._learn(self._method.relaxation.all_strengths(parameters))
                return

    def _skips(self, derived: Architecture) -> int:
        """Skip connections of an architecture in the first kind of cell."""
        choices = self._relaxable.relaxed_choices()
        chosen = self._relaxable.selected(derived)
        has = [choice.skip is not None and choice.skip in some for choice, some in zip(choices, chosen, strict=True)]
        return skips_in_first_cell([choice.name for choice in choices], has)

    def _accuracy(self, run: Run, meter: Meter, weights: Sequence[Weights]) -> float:
        """Score on some validation examples, with the statistics of that batch."""
        batch, goal = self._trainer.first("valid", WATCHED_IMAGES), self._trainer.data.goal
        assert isinstance(run.network, Relaxed)
        assert self._costs is not None
        assert self._parameters is not None
        with _Undisturbed(run.network, batch=batch.examples > 1), torch.no_grad():
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
        with _Undisturbed(run.network, batch=True):
            loss = self._trainer.data.goal.loss(run.network.relaxed(*batch.through(weights)), batch.targets)
            value, products = largest_eigenvalue(loss, self._parameters.leaves)
        macs = self._costs.of(weights, self._parameters.sizes)
        for _ in range(1 + products):  # a product goes back through a pass and its way back
            meter.forwarded(3 * batch.examples, macs)
        return value

    def _save(self, run: Run) -> None:
        super()._save(run)
        if self._trainer.folder is not None and self.records:
            columns = [name for name in self.records[0] if name != "parameters"]
            table = {name: [record[name] for record in self.records] for name in columns}
            table["logits"] = [record["parameters"]["logits"] for record in self.records]
            write_whole(self._trainer.folder / RECORDS, to_parquet(pa.table(table)))


class _Undisturbed:
    """Inside, passes leave a network's statistics, dropping and mode as they are.

    Args:
        network: In training mode.
        batch: Whether batch normalisation uses the statistics of the batch.
    """

    def __init__(self, network: Network, batch: bool) -> None:
        self.network = network
        self.batch = batch

    def __enter__(self) -> None:
        self.dropped, self.training = (self.network.drop_path, self.network.dropout), self.network.training
        self.layers = [(layer, layer.track_running_stats) for layer in batch_norms(self.network)]
        self.network.drop_path = self.network.dropout = 0.0
        self.network.train(self.batch)
        for layer, _ in self.layers:
            layer.track_running_stats = not self.batch

    def __exit__(self, *_: object) -> None:
        self.network.drop_path, self.network.dropout = self.dropped
        self.network.train(self.training)
        for layer, tracks in self.layers:
            layer.track_running_stats = tracks


def _endless(epoch: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
    """One epoch after another."""
    while True:
        yield from epoch()


def _expect_strengths(strengths: Sequence[Sequence[float]], sizes: Sequence[int], where: str) -> None:
    """Refuses what no distribution can be made of."""
    for some, size in zip(strengths, sizes, strict=True):
        if len(some) != size or not all(0 <= strength < math.inf for strength in some) or not any(some):
            raise UsageError(
                f"{where}: expected {size} finite numbers >= 0 for the candidates of a choice, one of them above 0, "
                f"got {some!r:.80}"
            )


def drop_by_discretisation(records: Sequence[dict[str, Any]]) -> float:
    """Accuracy that is lost when the relaxed network of the last epoch becomes the derived path, in percent."""
    return float(records[-1]["relaxed_accuracy"] - records[-1]["derived_accuracy"]) if records else math.nan
