"""A super-network that is trained once for all architectures: its training, its file, and what it costs.

It is written after each epoch, with its bill beside it, and goes on from there; while it is trained, some fixed paths
are watched. ``OneShot`` scores architectures with its weights.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from archsearch.basics.seeding import generator_state, restore_generator, stream
from archsearch.elastic import sort_units
from archsearch.errors import UsageError
from archsearch.evaluators.hyper_network import HyperNetwork
from archsearch.evaluators.inheriting import as_tensor, stored
from archsearch.files.checksums import Damaged
from archsearch.files.notes import read_note, tell_damage, write_note
from archsearch.files.writing import write_whole
from archsearch.networks.network import Network, build
from archsearch.networks.undisturbed import batch_norms
from archsearch.training.checkpoints import (
    Checkpoint,
    below,
    expect_shapes,
    load_checkpoint,
    put_back,
    read_checkpoint,
    write_run,
)
from archsearch.training.loop import Run
from archsearch.training.meter import SIZED_PATHS, Meter
from archsearch.training.optimizer import PathUpdates
from archsearch.training.paths import Route, UniformPaths
from archsearch.training.trainer import Trainer
from archsearch.trial import NO_COST, Cost, Trial

FILE = "super-network.safetensors"
BILL = "super-network.json"
"""What the super-network has cost so far, apart from its file, so that it is not forgotten if that one is damaged."""

CANDIDATES = "candidates.csv"
"""How often, and with which gradients, each candidate was trained, where that is noted."""

BILLED = ("prepared", "earlier", "advanced")
NOTED = "noted"
ANEW = "the super-network is trained anew"

CURVE = ("epoch", "train_loss", "accuracy")  # the last one is the score, whatever the task's is
WATCHED_PATHS = 4
WATCHED_IMAGES = 256
CURVE_POINTS = 20
"""How the training of the super-network is watched: accuracy of some fixed paths on some images, so many times."""


class SuperNetwork:
    """The weights that architectures inherit, and how they come about.

    Args:
        trainer: Trains it.
        make: Makes the network: a super-network, or one that writes weights.
        sampler: Makes what draws the paths of its updates.
        length: Epochs of its schedule.
        seed: Of its initial weights, and the order of the images.
        on_epoch: Told after each epoch how many are done, and of how many.
        keeps: Whether it will be trained on after ``prepare``.
        distillation: As of ``archsearch.training.loop.supervised``.
        updates: Makes what in its updates depends on their paths, for a run that has not begun; None: nothing does.
    """

    def __init__(
        self,
        trainer: Trainer,
        make: Callable[..., Network],
        sampler: Callable[[Network], UniformPaths],
        length: int,
        seed: int,
        on_epoch: Callable[[int, int], None],
        keeps: bool = False,
        distillation: float = 0.0,
        updates: Callable[[Run], PathUpdates] | None = None,
    ) -> None:
        self._trainer = trainer
        self._make = make
        self._sampler = sampler
        self._length = length
        self._seed = seed
        self._on_epoch = on_epoch
        self._keeps = keeps
        self._distillation = distillation
        self._make_updates = updates
        self._updates: PathUpdates | None = None
        self._values: dict[str, npt.NDArray[Any]] = {}
        self._run: Run | None = None
        self._facts: dict[str, Any] = {"prepared": [], "earlier": [], "advanced": [], "sample": -1, "curve": []}
        if updates is not None:
            self._facts[NOTED] = {}
        self._ready: Network | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What workers need: the weights, of which each makes a network when it needs one."""
        return self.__dict__ | {"_run": None, "_ready": None, "_updates": None}

    @property
    def curve(self) -> list[Mapping[str, float]]:
        """How its training went, a row now and then."""
        return [dict(zip(CURVE, row, strict=True)) for row in self._facts["curve"]]

    @property
    def noted(self) -> Mapping[str, Sequence[float]]:
        """Of each candidate in how many updates it had gradients, and the sum of their norms; see ``PathUpdates``."""
        noted: dict[str, list[float]] = self._facts.get(NOTED, {})
        return noted

    @property
    def sample(self) -> int:
        """Id of the newest trial that it learnt from; -1: none."""
        return int(self._facts["sample"])

    def prepare(self, epochs: int, weights: Path | None) -> Cost:
        """Trains it for so many epochs, or what is left of them; or takes its weights from a file.

        Raises:
            UsageError: If ``weights`` are not those of this super-network.
        """
        with self._trainer.session() as meter:
            if weights is not None:
                self._load(weights)
            elif not self._values:
                self._begin()
                self._train(min(epochs, self._length), self._paths.draw, meter, "prepared")
        return Cost(*self._facts["prepared"])

    def _begin(self) -> None:
        """A super-network that has not begun, or one that goes on from the last finished epoch."""
        self._fresh()
        if self._trainer.folder is None:
            return
        saved = read_checkpoint(self._trainer.folder / FILE, ANEW)
        if saved is not None:
            try:
                self._go_on_from(saved)
                return
            except (Damaged, LookupError, TypeError, ValueError) as error:  # only of version 0.1.0
                tell_damage(self._trainer.folder / FILE, error, ANEW)
                self._fresh()
        bill = read_note(self._trainer.folder / BILL, BILLED, "what an earlier super-network cost is not known")
        if bill is not None:  # what was spent on one that is lost was spent
            advanced = Cost(*bill["earlier"]) + Cost(*bill["advanced"])
            self._facts |= {"prepared": bill["prepared"], "earlier": dataclasses.astuple(advanced)}

    def _fresh(self) -> None:
        self._begin_run(self._seed, self._make)

    def _begin_run(self, seed: int, make: Callable[[], Network]) -> None:
        self._run = run = self._trainer.begin(None, seed, make)
        self._paths = self._sampler(run.network)
        self._updates = None if self._make_updates is None else self._make_updates(run)

    def _go_on_from(self, saved: Checkpoint) -> None:
        assert self._run is not None
        facts = {name: saved.facts[name] for name in self._facts}
        costs = [Cost(*facts[name]) for name in BILLED]
        if saved.facts["data"] != self._trainer.data.fingerprint or not all(map(math.isfinite, _amounts(costs))):
            raise Damaged("its facts are not those of this super-network")
        restore_generator(self._paths.rng, saved.facts["paths"])
        put_back(self._run, *saved)
        self._facts = facts
        if self._updates is not None:
            self._updates.noted = facts[NOTED]

    def _train(self, epochs: int, draw: Callable[[float], Sequence[Route]], meter: Meter, bill: str) -> None:
        """Trains up to an epoch, one after another; what it costs is added to that part of the bill."""
        before = Cost(*self._facts[bill])
        assert self._run is not None
        begun = time.perf_counter()
        while self._epoch < epochs and not self._ended:
            self._train_epoch(self._run, draw, meter)
            if self._updates is not None:
                self._facts[NOTED] = self._updates.noted
            self._watch(self._run, self._epoch, meter)  # may take it back, or begin another one
            spent = dataclasses.replace(meter.cost(), wall_seconds=time.perf_counter() - begun)
            self._facts[bill] = dataclasses.astuple(before + spent)
            self._save(self._run)
            self._on_epoch(self._epoch, self._length)
        self._values = {name: stored(value) for name, value in self._run.network.state_dict().items()}
        self._ready = None
        if not self._keeps:
            self._run = None  # with its optimiser it is no longer needed

    @property
    def _updates_per_epoch(self) -> int:
        return self._trainer.updates_per_epoch

    @property
    def _epoch(self) -> int:
        """Epochs that are done."""
        assert self._run is not None
        return self._run.step // self._updates_per_epoch

    @property
    def _ended(self) -> bool:
        """Whether the training is over before its time."""
        return False

    def _train_epoch(self, run: Run, draw: Callable[[float], Sequence[Route]], meter: Meter) -> None:
        per_epoch = self._updates_per_epoch
        until, total = run.step + per_epoch, self._length * per_epoch
        for dimension in self._paths.opened(run.step / total):
            sort_units(run.network, dimension, run.optimizer)
        self._trainer.train(
            run,
            until,
            total,
            meter,
            paths=draw,
            macs=self._macs(run, total),
            distillation=self._distillation,
            updates=self._updates,
        )

    def _macs(self, run: Run, total: int) -> int:
        """Multiply-adds of a path, for one image; generating weights is done once for a batch."""
        macs = self._paths.multiply_adds(run.step / total, lambda path: self._trainer.size(path)[0])
        if isinstance(run.network, HyperNetwork):
            paths = [self._trainer.space.sample(stream(i, "size"), "architectures") for i in range(SIZED_PATHS)]
            each = np.mean([run.network.generation_multiply_adds(path) for path in paths])
            macs += round(float(each) / self._trainer.recipe.batch_size)
        return macs

    def _save(self, run: Run) -> None:
        folder = self._trainer.folder
        if folder is None:
            return
        further = {"paths": generator_state(self._paths.rng), "data": self._trainer.data.fingerprint}
        write_note(folder / BILL, {name: self._facts[name] for name in BILLED})
        write_run(run, folder / FILE, **self._facts, **further)
        _write_table((folder / FILE).with_suffix(".csv"), CURVE, self._facts["curve"])
        if self.noted:
            _write_table(folder / CANDIDATES, ("candidate", "updates", "gradient_norm"), _means(self.noted))

    def _watch(self, run: Run, epoch: int, meter: Meter) -> None:
        """Now and then adds to the curve what some fixed paths reach; nothing of the training is changed."""
        if epoch % math.ceil(self._length / CURVE_POINTS) and epoch < self._length:
            return
        network, layers = run.network, batch_norms(run.network)
        tracks, dropped = [layer.track_running_stats for layer in layers], (network.drop_path, network.dropout)
        network.drop_path = network.dropout = 0.0
        for layer in layers:
            layer.track_running_stats = False  # running statistics stay as they are
        chosen = torch.arange(min(WATCHED_IMAGES, self._trainer.data.size("valid")))
        paths = [self._trainer.space.sample(stream(i, "watched"), "architectures") for i in range(WATCHED_PATHS)]
        batch = len(chosen) > 1  # a single image has no statistics
        watched = [dataclasses.replace(run, architecture=path, batch_statistics=batch) for path in paths]
        found = [self._trainer.judge(each, "valid", meter, chosen).score for each in watched]
        if isinstance(network, HyperNetwork):
            meter.forwarded(1, sum(map(network.generation_multiply_adds, paths)))
        for layer, track in zip(layers, tracks, strict=True):
            layer.track_running_stats = track
        network.drop_path, network.dropout = dropped
        self._facts["curve"].append([epoch, run.train_loss, float(np.mean(found))])

    def _load(self, path: Path) -> None:
        expected = f"expected evaluator/{FILE} of a run with OneShot"
        try:
            saved = load_checkpoint(path)
        except FileNotFoundError:
            raise UsageError(f"OneShot: weights: {path} is no super-network; {expected} (no such file)") from None
        except Damaged as error:
            raise UsageError(f"OneShot: weights: {path} is no super-network; {expected} ({error})") from None
        self._facts.pop(NOTED, None)  # that of a super-network which is not trained here
        if not {*self._facts, "data"} <= saved[1].keys():
            raise UsageError(f"OneShot: weights: {path} is no super-network; {expected}")
        with torch.device("meta"):
            wanted = self._make().state_dict()
        values = below(saved[0], "network.")
        try:
            expect_shapes(values, wanted)
            other = saved[1]["data"] != self._trainer.data.fingerprint
        except Damaged:
            other = True
        if other:
            raise UsageError(
                f"OneShot: weights: {path} is the super-network of another space, skeleton or data; give those of "
                "the run that made it"
            )
        self._values = {name: stored(value) for name, value in values.items()}
        self._facts = {name: saved[1][name] for name in self._facts}
        # All that was spent on it, if it is one that was trained on during a search.
        costs = (Cost(*self._facts[name]) for name in ("prepared", "earlier", "advanced"))
        self._facts |= {"prepared": dataclasses.astuple(sum(costs, NO_COST)), "earlier": [], "advanced": []}

    def advance(self, sample: Sequence[Trial]) -> tuple[Cost, bool]:
        """Trains for an epoch on architectures of ``sample``; what that cost, and whether it was due."""
        due = self.sample != sample[-1].id  # else a run that was killed had come so far
        if due:
            assert self._run is not None
            earlier = Cost(*self._facts["earlier"]) + Cost(*self._facts["advanced"])
            self._facts |= {"sample": sample[-1].id, "earlier": dataclasses.astuple(earlier), "advanced": []}
            architectures, rng = [trial.architecture for trial in sample], self._paths.rng
            epoch = self._run.step // self._trainer.updates_per_epoch
            with self._trainer.session() as meter:
                self._train(
                    min(epoch + 1, self._length),
                    lambda _: [architectures[rng.integers(len(architectures))]],
                    meter,
                    "advanced",
                )
            if epoch >= self._length:  # nothing was left to train, nor has it been written
                self._save(self._run)
        return Cost(*self._facts["advanced"]), due

    def network(self) -> Network:
        """The trained super-network of this process; parameters are those that all workers of a machine share."""
        if not self._values:
            raise UsageError("OneShot: there is no super-network yet; call prepare() first, as a search does")
        if self._ready is None:
            with torch.device("meta"):
                network = self._make()
            values = {name: as_tensor(value).to(self._trainer.where) for name, value in self._values.items()}
            if any(name not in values for name, _ in network.named_buffers()):  # some are not part of the state
                network = build(self._make, self._seed, self._trainer.where)
            # Buffers will change.
            values |= {name: values[name].clone() for name, _ in network.named_buffers() if name in values}
            network.load_state_dict(values, assign=True)
            self._ready = network.requires_grad_(False)  # now that it is whole: a time limit may strike anywhere
        return self._ready

    def values(self) -> dict[str, torch.Tensor]:
        """Its weights by name, which must not be written to."""
        return {name: as_tensor(value) for name, value in self._values.items()}


def _write_table(path: Path, names: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """A CSV file, whole."""
    cells = [[each if isinstance(each, str) else f"{each:.6g}" for each in row] for row in (names, *rows)]
    write_whole(path, "".join(f"{','.join(row)}\n" for row in cells).encode())


def _means(noted: Mapping[str, Sequence[float]]) -> list[tuple[str, float, float]]:
    """Of each candidate, how many updates had gradients of it, and the mean of their norms."""
    return [(name, updates, norms / updates) for name, (updates, norms) in noted.items()]


def _amounts(costs: Sequence[Cost]) -> list[float]:
    return [amount for cost in costs for amount in dataclasses.astuple(cost)]
