"""One-shot evaluation: all architectures share the weights of one super-network, which is trained once.

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020 (SPOS: one
path, drawn uniformly, per update; batch-norm statistics recomputed before an architecture is scored); Chu, Zhang & Xu,
"FairNAS", ICCV 2021 (strict fairness: per update as many paths as a choice has candidates, each candidate of each
choice in exactly one of them, their gradients added up); Bender et al., "Understanding and simplifying one-shot
architecture search", ICML 2018 (all candidates at once, and more and more of them dropped); Pham et al., "Efficient
neural architecture search via parameter sharing", ICML 2018 (ENAS: paths that the controller proposed, weights and
controller trained in turn); Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI
2019 (scores on a few batches first).

A candidate is scored with inherited weights after ``steps`` updates of its own: 0 is pure weight sharing, and a full
training's worth comes close to individual training. How well that ranks is not assumed: see docs/optimization_gap.md.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from archsearch.checksums import Damaged
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import SharedWeights, Trained
from archsearch.evaluators.chain_scoring import Chain, Statistics, score_chains
from archsearch.evaluators.hyper_network import HyperNetwork
from archsearch.evaluators.training import (
    EVALUATION_BATCH,
    SIZED_PATHS,
    Meter,
    Mixture,
    Route,
    Run,
    Training,
    _TrainingBelow,
)
from archsearch.history import write_whole
from archsearch.network import InputShape, Mixing, Network, build, multiply_adds
from archsearch.notes import read_note, tell_damage, write_note
from archsearch.seeding import generator_state, restore_generator, stream
from archsearch.space import Space, at_least_one, whole_number
from archsearch.task import Task
from archsearch.training.checkpoints import Checkpoint, below, expect_shapes, load_checkpoint, read_checkpoint
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query, Trial

Sampler = Literal["uniform", "fair", "dropout", "controller"]
Source = Literal["shared", "hyper_network"]

FILE = "super-network.safetensors"
BILL = "super-network.json"
"""What the super-network has cost so far, apart from its file, so that it is not forgotten if that one is damaged."""

BILLED = ("prepared", "earlier", "advanced")
ANEW = "the super-network is trained anew"

LENGTH = 10
"""The super-network is trained for this many times the epochs of a training, unless it is told otherwise."""

CURVE = ("epoch", "train_loss", "accuracy")
WATCHED_PATHS = 4
WATCHED_IMAGES = 256
CURVE_POINTS = 20
"""How the training of the super-network is watched: accuracy of some fixed paths on some images, so many times."""

MEMORY = 2**31
"""Bytes of activations that scoring several architectures of a chain space together may hold."""


class OneShot(_TrainingBelow):
    """Scores an architecture with weights inherited from a super-network that is trained once, beforehand.

    Reported: what ``Training`` reports, of the network with inherited weights, without the test accuracy. Set-up: the
    training of the super-network; a run that is resumed goes on from the last finished epoch. A pass of it is billed as
    the mean of 16 random paths. Per architecture: passes over data, and the updates if there are ``steps``. What is
    scored together in chain spaces (``MobileNet``, ``NASBenchMacro``), as by ``search(..., batch=50)``, shares the
    computation of common beginnings.

    Under a controller with budgets, such as ``Finalists``, a budget is a number of batches of validation images; more
    than there are means all of them.

    Args:
        training: How to train, and the skeleton; None: ``Training(task)``.
        task: A task by name or path, or a ``Task``: short for a ``training`` with nothing else.
        epochs: Length of the super-network's training, and of its schedule, >= 1; None: 10 times that of ``training``.
        sampler: Paths of an update: uniform (one random architecture; SPOS), fair (as many as a choice has candidates,
            each candidate of each choice exactly once; FairNAS; all choices must have equally many), dropout (all
            candidates, dropped at random; Bender et al.), controller (one that the controller proposed; ENAS).
        dropout: Of the sampler dropout: probability, 0 < dropout < 1, that all k candidates of a choice are dropped.
            Each is dropped with its k-th root, to which that rises linearly.
        uniform_epochs: Of the sampler controller: epochs before the search, with uniform paths, >= 1.
        trials_per_epoch: Of the sampler controller: after so many trials, >= 1, an epoch with their architectures.
        source: Of the weights: shared, or hyper_network (SMASH): generated from the architecture by a network, which is
            trained in the super-network's place.
        weights: A trained super-network, ``evaluator/super-network.safetensors`` of a run with the same space and
            training; its cost is billed as it was then. None: it is trained.
        statistics: Of batch normalisation in scoring: recomputed from training images, those of the batch that is
            scored (of 512 images; one left over joins the batch before), or inherited as they are.
        statistics_batches: Training batches that statistics are recomputed from, >= 1, the same for all architectures.
        validation_batches: Batches of validation images to score on, >= 1, the same for all architectures; None: all.
            Never fewer than 2 images.
        steps: Updates of the inherited weights before an architecture is scored, >= 0.
        learning_rate: Of these updates, the highest of their schedule; None: that of the training.
        restart: Whether they begin with a mixture of inherited and initial weights, in which the initial ones have the
            share that ``steps`` are of a training; so a whole training's steps give the weights of an individual one.
        seed: Of the super-network: initial weights, paths, order of the images; of the choice of images; >= 0.

    Attributes:
        curve: Of the super-network's training, a row now and then: epoch, mean training loss, mean accuracy of four
            paths with the statistics of the batch; also in the run folder, ``evaluator/super-network.csv``.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        training: Training | None = None,
        task: str | Task | None = None,
        epochs: int | None = None,
        sampler: Sampler = "uniform",
        dropout: float = 0.1,
        uniform_epochs: int = 1,
        trials_per_epoch: int = 20,
        source: Source = "shared",
        weights: str | None = None,
        statistics: Statistics = "recomputed",
        statistics_batches: int = 4,
        validation_batches: int | None = None,
        steps: int = 0,
        learning_rate: float | None = None,
        restart: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(task, training)
        self.epochs = epochs
        self.sampler = sampler
        self.dropout = dropout
        self.uniform_epochs = uniform_epochs
        self.trials_per_epoch = trials_per_epoch
        self.source = source
        self.weights = None if weights is None else str(Path(weights).absolute())
        self.statistics = statistics
        self.statistics_batches = statistics_batches
        self.validation_batches = validation_batches
        self.steps = steps
        self.learning_rate = learning_rate
        self.restart = restart
        self.seed = seed
        self.interval = trials_per_epoch if sampler == "controller" else 0
        self._check_settings()
        self._forget()

    def _check_settings(self) -> None:
        for name in ("epochs", "uniform_epochs", "trials_per_epoch", "statistics_batches", "validation_batches"):
            if getattr(self, name) is not None:
                at_least_one("OneShot", name, getattr(self, name))
        for name in ("steps", "seed"):
            whole_number("OneShot", name, getattr(self, name))
        for name, known in (("sampler", Sampler), ("statistics", Statistics), ("source", Source)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(
                    f"OneShot: {name}: expected one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        if not 0 < self.dropout < 1:
            raise UsageError(f"OneShot: dropout: expected a number, 0 < dropout < 1, got {self.dropout!r}")
        rate = self.learning_rate
        if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate < math.inf):
            raise UsageError(f"OneShot: learning_rate: expected a number, 0 < learning_rate < inf, got {rate!r}")
        if self.sampler == "dropout" and self.source == "hyper_network":
            raise UsageError(
                "OneShot: the sampler dropout mixes candidates, which a hyper_network does not; use uniform"
            )
        if self.sampler == "controller" and self.weights is not None:
            raise UsageError("OneShot: the sampler controller trains weights during the search; leave weights out")

    def _forget(self) -> None:
        self._values: dict[str, npt.NDArray[Any]] = {}
        self._run: Run | None = None  # of the super-network
        self._facts: dict[str, Any] = {"prepared": [], "earlier": [], "advanced": [], "sample": -1, "curve": []}
        self._ready: Network | None = None
        self._images: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What workers need: the weights, of which each makes a network when it needs one."""
        return self.__dict__ | {"_run": None, "_ready": None, "_images": {}}

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space has no super-network, or none that the sampler can train."""
        if not isinstance(space, SharedWeights):
            raise MissingAbility(
                f"OneShot shares weights, and {type(space).__name__} has no super-network; use a space such as "
                "NASBench201, or give your space a method super_network(task)"
            )
        self.training.check(space)
        if self.sampler == "fair" and (space.arities is None or len(set(space.arities)) != 1):
            raise MissingAbility(
                f"OneShot: the sampler fair needs choices with equally many candidates, {type(space).__name__} has "
                "others; use the sampler uniform"
            )
        if self.sampler == "dropout":
            with torch.device("meta"):
                mixes = isinstance(space.super_network(InputShape((3, 32, 32), 10)), Mixing)
            if not mixes or space.arities is None:
                raise MissingAbility(
                    "OneShot: the sampler dropout needs a super-network that computes several candidates at once; that "
                    f"of {type(space).__name__} has no method mixture; use the sampler uniform"
                )

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Any will do: they are numbers of batches of validation images."""

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space; the super-network of another one is forgotten."""
        super().start(space)
        self._forget()
        if self.statistics == "batch" and self.training.data.size("valid") < 2:
            raise UsageError(
                f"OneShot: statistics: a batch of one image has none, and {self.training.data.name} has one validation "
                "image; use recomputed"
            )

    # -- the super-network -------------------------------------------------------------------------

    @property
    def curve(self) -> list[Mapping[str, float]]:
        """See the class."""
        return [dict(zip(CURVE, row, strict=True)) for row in self._facts["curve"]]

    @property
    def _length(self) -> int:
        """Epochs of the super-network."""
        return self.epochs or LENGTH * self.training.recipe.epochs

    def _make(self) -> Network:
        """What is trained for all architectures."""
        if self.source == "shared":
            return self.training.network(None)
        return HyperNetwork(self.space, self.training.network)

    def prepare(self) -> Cost:
        """Trains the super-network, or what is left to train of it; with the sampler controller its first epochs.

        Raises:
            UsageError: If ``weights`` are not those of this super-network.
        """
        self.training.prepare()
        with self.training.session() as meter:
            if self.weights is not None:
                self._load(Path(self.weights))
            elif not self._values:
                self._begin()
                epochs = self.uniform_epochs if self.sampler == "controller" else self._length
                self._train(min(epochs, self._length), self._paths.draw, meter, "prepared")
        return Cost(*self._facts["prepared"])

    def _begin(self) -> None:
        """A super-network that has not begun, or one that goes on from the last finished epoch."""
        self._fresh()
        if self.folder is None:
            return
        saved = read_checkpoint(self.folder / FILE, ANEW)
        if saved is not None:
            try:
                self._go_on_from(saved)
                return
            except (Damaged, LookupError, TypeError, ValueError) as error:  # only of version 0.1.0
                tell_damage(self.folder / FILE, error, ANEW)
                self._fresh()
        bill = read_note(self.folder / BILL, BILLED, "what an earlier super-network cost is not known")
        if bill is not None:  # what was spent on one that is lost was spent
            advanced = Cost(*bill["earlier"]) + Cost(*bill["advanced"])
            self._facts |= {"prepared": bill["prepared"], "earlier": dataclasses.astuple(advanced)}

    def _fresh(self) -> None:
        self._run = run = self.training.begin(None, self.seed, self._make)
        self._paths = self._sampler(run.network)

    def _go_on_from(self, saved: Checkpoint) -> None:
        assert self._run is not None
        facts = {name: saved.facts[name] for name in self._facts}
        costs = [Cost(*facts[name]) for name in BILLED]
        if saved.facts["data"] != self.training.data.fingerprint or not all(map(math.isfinite, _amounts(costs))):
            raise Damaged("its facts are not those of this super-network")
        restore_generator(self._paths.rng, saved.facts["paths"])
        self.training.put_back(self._run, *saved)
        self._facts = facts

    def _sampler(self, network: Network) -> UniformPaths:
        if self.sampler == "fair":
            return FairPaths(self.space, self.seed)
        if self.sampler != "dropout":
            return UniformPaths(self.space, self.seed)
        arities = self.space.arities
        assert arities is not None
        everything = _Mixed(network, [range(arity) for arity in arities])
        macs = self.training.size(None)[0], multiply_adds(everything, self.training.data.input_shape)
        return DroppedPaths(self.space, self.seed, self.dropout, macs)

    def _train(self, epochs: int, draw: Callable[[float], Sequence[Route]], meter: Meter, bill: str) -> None:
        """Trains up to an epoch, one after another; what it costs is added to that part of the bill."""
        run, training, before = self._run, self.training, Cost(*self._facts[bill])
        assert run is not None
        per_epoch = training.updates_per_epoch
        begun = time.perf_counter()
        while run.step < epochs * per_epoch:
            training.train(run, run.step + per_epoch, self._length * per_epoch, meter, paths=draw, macs=self._macs(run))
            self._watch(run, run.step // per_epoch, meter)
            spent = dataclasses.replace(meter.cost(), wall_seconds=time.perf_counter() - begun)
            self._facts[bill] = dataclasses.astuple(before + spent)
            self._save(run)
            if self.on_progress is not None:
                self.on_progress("super-network", run.step // per_epoch, self._length)
        self._values = {name: _stored(value) for name, value in run.network.state_dict().items()}
        self._ready = None
        if not self.interval:
            self._run = None  # with its optimiser it is no longer needed

    def _macs(self, run: Run) -> int:
        """Multiply-adds of a path, for one image; generating weights is done once for a batch."""
        macs = self.training.size(None)[0]
        if isinstance(run.network, HyperNetwork):
            paths = [self.space.sample(stream(i, "size")) for i in range(SIZED_PATHS)]
            each = np.mean([run.network.generation_multiply_adds(path) for path in paths])
            macs += round(float(each) / self.training.recipe.batch_size)
        return macs

    def _save(self, run: Run) -> None:
        if self.folder is None:
            return
        further = {"paths": generator_state(self._paths.rng), "data": self.training.data.fingerprint}
        write_note(self.folder / BILL, {name: self._facts[name] for name in BILLED})
        self.training.write(run, self.folder / FILE, **self._facts, **further)
        lines = [",".join(CURVE), *(",".join(f"{value:.6g}" for value in row) for row in self._facts["curve"])]
        write_whole((self.folder / FILE).with_suffix(".csv"), ("\n".join(lines) + "\n").encode())

    def _watch(self, run: Run, epoch: int, meter: Meter) -> None:
        """Now and then adds to the curve what some fixed paths reach; nothing of the training is changed."""
        if epoch % math.ceil(self._length / CURVE_POINTS) and epoch < self._length:
            return
        network, layers = run.network, batch_norms(run.network)
        tracks, drop_path = [layer.track_running_stats for layer in layers], network.drop_path
        network.drop_path = 0.0
        for layer in layers:
            layer.track_running_stats = False  # running statistics stay as they are
        chosen = torch.arange(min(WATCHED_IMAGES, self.training.data.size("valid")))
        paths = [self.space.sample(stream(i, "watched")) for i in range(WATCHED_PATHS)]
        batch = len(chosen) > 1  # a single image has no statistics
        watched = [dataclasses.replace(run, architecture=path, batch_statistics=batch) for path in paths]
        found = [self.training.accuracy(each, "valid", meter, chosen)[0] for each in watched]
        if isinstance(network, HyperNetwork):
            meter.forwarded(1, sum(map(network.generation_multiply_adds, paths)))
        for layer, track in zip(layers, tracks, strict=True):
            layer.track_running_stats = track
        network.drop_path = drop_path
        self._facts["curve"].append([epoch, run.train_loss, float(np.mean(found))])

    def _load(self, path: Path) -> None:
        expected = f"expected evaluator/{FILE} of a run with OneShot"
        try:
            saved = load_checkpoint(path)
        except FileNotFoundError:
            raise UsageError(f"OneShot: weights: {path} is no super-network; {expected} (no such file)") from None
        except Damaged as error:
            raise UsageError(f"OneShot: weights: {path} is no super-network; {expected} ({error})") from None
        if not {*self._facts, "data"} <= saved[1].keys():
            raise UsageError(f"OneShot: weights: {path} is no super-network; {expected}")
        with torch.device("meta"):
            wanted = self._make().state_dict()
        values = below(saved[0], "network.")
        try:
            expect_shapes(values, wanted)
            other = saved[1]["data"] != self.training.data.fingerprint
        except Damaged:
            other = True
        if other:
            raise UsageError(
                f"OneShot: weights: {path} is the super-network of another space, skeleton or data; give those of "
                "the run that made it"
            )
        self._values = {name: _stored(value) for name, value in values.items()}
        self._facts = {name: saved[1][name] for name in self._facts}
        # All that was spent on it, if it is one that was trained on during a search.
        costs = (Cost(*self._facts[name]) for name in ("prepared", "earlier", "advanced"))
        self._facts |= {"prepared": dataclasses.astuple(sum(costs, NO_COST)), "earlier": [], "advanced": []}

    def advance(self, sample: Sequence[Trial]) -> Cost:
        """With the sampler controller: trains for an epoch, paths drawn from the architectures of ``sample``."""
        if not sample or not self.interval:
            return NO_COST
        if self._facts["sample"] != sample[-1].id:  # else a run that was killed had come so far
            assert self._run is not None
            earlier = Cost(*self._facts["earlier"]) + Cost(*self._facts["advanced"])
            self._facts |= {"sample": sample[-1].id, "earlier": dataclasses.astuple(earlier), "advanced": []}
            self._images = {}
            architectures, rng = [trial.architecture for trial in sample], self._paths.rng
            epoch = self._run.step // self.training.updates_per_epoch
            with self.training.session() as meter:
                self._train(
                    min(epoch + 1, self._length),
                    lambda _: [architectures[rng.integers(len(architectures))]],
                    meter,
                    "advanced",
                )
            if epoch >= self._length:  # nothing was left to train, nor has it been written
                self._save(self._run)
        return Cost(*self._facts["advanced"])

    # -- scoring -----------------------------------------------------------------------------------

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores an architecture with inherited weights; ``seed`` decides the order of images of the updates."""
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        """Scores an architecture with inherited weights; a budget is a number of batches of validation images.

        Raises:
            UsageError: If there is no super-network yet.
        """
        self.space.validate(query.architecture)
        with self.training.session() as meter:
            return self._score(query, self._inherited(query, meter), meter)

    def _score(self, query: Query, run: Run, meter: Meter) -> Evaluation:
        """Scores a network with inherited weights, after what is to be done to these."""
        training = self.training
        if self.steps:
            training.train(run, self.steps, self.steps, meter, self.learning_rate, validate=False)
            run.network.drop_path = 0.0  # of the last epoch: nothing is dropped from here on
        if self.statistics == "recomputed":
            self._recompute_statistics(run, meter)
        run.batch_statistics = self.statistics == "batch"
        score, run.valid_loss = training.accuracy(run, "valid", meter, self._chosen(query))
        run.curve.append(score)
        return training.report(run, meter, test=False)

    def trained(self, query: Query) -> Trained:
        """A stand-alone network with the weights and statistics that were scored, of the super-network as it is now."""
        self.space.validate(query.architecture)
        with self.training.session() as meter:
            run = self._inherited(query, meter, alone=True)
            evaluation = self._score(query, run, meter)
            if self.statistics == "batch":  # in evaluation mode it needs some of its own
                self._recompute_statistics(run, meter)
        if self.source == "hyper_network":
            notes = ["Weights are those that a hyper-network generated for this architecture."]
        else:
            notes = ["Weights are inherited from a super-network."]
        if self.steps:
            notes.append(f"They were trained on for {self.steps} updates.")
        else:
            notes.append("They were not trained on: a training of its own would give better ones.")
        if self.interval:
            notes.append("The super-network learnt during the search; these weights are of its end.")
        if self.statistics == "batch":
            notes.append(
                "It was scored with the statistics of each batch; for evaluation mode they were recomputed from "
                f"{self.statistics_batches} training batches, so that it may score otherwise."
            )
        return self.training.handed_out(run, evaluation, " ".join(notes))

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores several; in chain spaces what they have in common is computed once, and shared out on their bills."""
        alone = len(queries) < 2 or self.steps or self.training.latency
        if alone or not isinstance(self._network(), Chain):
            return super().evaluate_batch(queries)
        for query in queries:
            self.space.validate(query.architecture)
        found: dict[int, Evaluation] = {}
        sizes = [query.budget.stop if query.budget else None for query in queries]
        for size in dict.fromkeys(sizes):
            places = [i for i in range(len(queries)) if sizes[i] == size]
            group = [queries[i] for i in places]
            try:
                evaluations = self._score_chains(group)
            except UsageError:  # even a single one takes more memory
                evaluations = super().evaluate_batch(group)
            found |= dict(zip(places, evaluations, strict=True))
        return [found[i] for i in range(len(queries))]

    def _network(self) -> Network:
        """The trained super-network of this process; parameters are those that all workers of a machine share."""
        if not self._values:
            raise UsageError("OneShot: there is no super-network yet; call prepare() first, as a search does")
        if self._ready is None:
            with torch.device("meta"):
                network = self._make()
            values = {name: _as_tensor(value).to(self.training.where) for name, value in self._values.items()}
            if any(name not in values for name, _ in network.named_buffers()):  # some are not part of the state
                network = build(self._make, self.seed, self.training.where)
            # Buffers will change.
            values |= {name: values[name].clone() for name, _ in network.named_buffers() if name in values}
            network.load_state_dict(values, assign=True)
            self._ready = network.requires_grad_(False)  # now that it is whole: a time limit may strike anywhere
        return self._ready

    def _inherited(self, query: Query, meter: Meter, alone: bool = False) -> Run:
        """A run of an architecture with inherited weights: of a network of its own if that is to be changed.

        Args:
            query: What is scored.
            meter: Adds up what is spent.
            alone: Whether it is a network of its own in any case.
        """
        network = self._network()
        if isinstance(network, HyperNetwork):
            run = self.training.begin(query.architecture, query.seed)
            inherit(run.network, network.weights(query.architecture), self._share)
            meter.forwarded(1, network.generation_multiply_adds(query.architecture))
            return run
        if self.steps or alone:
            run = self.training.begin(query.architecture, query.seed)
            values = {name: _as_tensor(value) for name, value in self._values.items()}
            inherit(run.network, values, self._share)
            return run
        return Run(query.architecture, network, torch.optim.SGD(network.parameters(), 0.0), torch.Generator())

    @property
    def _share(self) -> float:
        """How much of the inherited weights there is at the start."""
        full = self.training.recipe.epochs * self.training.updates_per_epoch
        return max(0.0, 1 - self.steps / full) if self.restart else 1.0

    def _score_chains(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores architectures of a chain space together, on the same images."""
        training, network, architectures = self.training, self._network(), [query.architecture for query in queries]
        assert isinstance(network, Chain)
        images, labels = training.data.part("valid", training.where)
        chosen = self._chosen(queries[0])
        if chosen is not None:
            images, labels = images[chosen], labels[chosen]
        with training.session() as meter:
            found = score_chains(
                network,
                architectures,
                images,
                labels,
                self.statistics,
                self._statistics_images() if self.statistics == "recomputed" else (),
                EVALUATION_BATCH,
                MEMORY,
            )
            sizes = [training.measure(architecture) for architecture in architectures]
            meter.forwarded(1, found.multiply_adds)
            cost = meter.cost() * (1 / len(queries))
        evaluations = []
        for (right, loss), size in zip(found.scores, sizes, strict=True):
            score = 100 * right / len(labels)
            metrics = {"valid_loss": loss / len(labels), **size}
            evaluations.append(Evaluation(score, metrics, cost, (score,)))
        return evaluations

    def _recompute_statistics(self, run: Run, meter: Meter) -> None:
        """Means and variances over some training batches take the place of the inherited ones."""
        layers = batch_norms(run.network)
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
        run.network.train()
        with torch.no_grad():
            for images in self._statistics_images():
                run.network(images, run.architecture)
                meter.forwarded(len(images), self.training.size(run.architecture)[0])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def _statistics_images(self) -> list[torch.Tensor]:
        if "statistics" not in self._images:
            generator = torch.Generator().manual_seed(self.seed)
            self._images["statistics"] = list(self.training.batches(generator, self.statistics_batches))
        batches: list[torch.Tensor] = self._images["statistics"]
        return batches

    def _chosen(self, query: Query) -> torch.Tensor | None:
        """Which validation images to score on; None: all. Other ones after each ``advance``."""
        n, batches = self.training.data.size("valid"), query.budget.stop if query.budget else self.validation_batches
        if batches is None or batches * self.training.recipe.batch_size >= n:
            return None
        images = max(2, batches * self.training.recipe.batch_size)  # one alone has no statistics
        if "order" not in self._images:
            order = stream(self.seed, f"validation {self._facts['sample']}").permutation(n)
            self._images["order"] = torch.from_numpy(order)
        chosen: torch.Tensor = self._images["order"][:images]
        return chosen


def inherit(network: Network, values: Mapping[str, torch.Tensor], share: float = 1.0) -> None:
    """Gives a stand-alone network the super-network's values of the same names, or their leading slices if larger.

    Args:
        network: Has initial values.
        values: Of the super-network.
        share: Of the super-network's values, 0 to 1; the rest is the network's own.
    """
    with torch.no_grad():
        for name, value in network.state_dict().items():
            inherited = values[name][tuple(map(slice, value.shape))]
            if share == 1 or not value.is_floating_point():
                value.copy_(inherited)
            else:
                value.lerp_(inherited.to(value), share)


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """All its layers of batch normalisation."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def _amounts(costs: Sequence[Cost]) -> list[float]:
    return [amount for cost in costs for amount in dataclasses.astuple(cost)]


def _stored(value: torch.Tensor) -> npt.NDArray[Any]:
    """A NumPy array, which Ray gives to all workers of a machine without a copy; of images' weights channels last."""
    array: npt.NDArray[Any] = (
        (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).clone().cpu().contiguous().numpy()
    )
    return array


def _as_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """What ``_stored`` took; it shares the array's memory, and must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        value = torch.from_numpy(array)
    return value.permute(0, 3, 1, 2) if value.ndim == 4 else value


# -- path samplers -----------------------------------------------------------------------------


class UniformPaths:
    """One architecture per update, drawn uniformly (SPOS).

    Args:
        space: Where to draw from.
        seed: Root seed, >= 0.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.rng = stream(seed, "paths")

    def draw(self, progress: float) -> Sequence[Route]:
        """The paths of the next update; ``progress`` is the share of the updates that are done."""
        return [self.space.sample(self.rng)]


class FairPaths(UniformPaths):
    """As many architectures per update as a choice has candidates; each candidate is in exactly one (FairNAS)."""

    def draw(self, progress: float) -> Sequence[Route]:
        """The architectures of the next update: each choice deals out its candidates in random order."""
        assert self.space.arities is not None
        dealt = [self.rng.permutation(arity).tolist() for arity in self.space.arities]
        return list(zip(*dealt, strict=True))


class DroppedPaths(UniformPaths):
    """All candidates of all choices, of which more and more are dropped at random (Bender et al.).

    Where all of a choice would be dropped, one of them, drawn uniformly, stays.

    Args:
        space: Where to draw from.
        seed: Root seed, >= 0.
        dropout: Probability of dropping a whole choice at the end; each of k candidates is dropped with its k-th root.
        macs: Multiply-adds of a single path, and of all candidates at once.
    """

    def __init__(self, space: Space, seed: int, dropout: float, macs: tuple[int, int]) -> None:
        super().__init__(space, seed)
        self.dropout = dropout
        self.macs = macs

    def draw(self, progress: float) -> Sequence[Route]:
        """The candidates of the next update; billed in proportion to how many there are."""
        assert self.space.arities is not None
        options = []
        for arity in self.space.arities:
            kept = np.flatnonzero(self.rng.random(arity) >= progress * self.dropout ** (1 / arity))
            options.append(kept.tolist() or [int(self.rng.integers(arity))])
        choices, everything = len(options), sum(self.space.arities)
        share = (sum(map(len, options)) - choices) / max(everything - choices, 1)
        return [Mixture(options, round(self.macs[0] + share * (self.macs[1] - self.macs[0])))]


class _Mixed(nn.Module):
    """A super-network with a fixed mixture, to count its multiply-adds."""

    def __init__(self, network: Network, options: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        self.options = options

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.network, Mixing)
        return self.network.mixture(images, self.options)
