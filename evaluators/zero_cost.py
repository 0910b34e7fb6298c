"""Scores at initialisation: what a network's weights and one batch of images tell before any training.

References: Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021 (which made scores of networks out of
``grad_norm``, ``snip``, ``grasp``, ``fisher`` and ``synflow``, by adding up what they give each weight or channel), and
those named at each score in ``untrained_scores.py``, ``block_scores.py`` and ``fisher_spectrum.py``. For the published
scores of NAS-Bench-201 see ``Tabular(zero_cost=...)``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from archsearch.abilities import SharedWeights, trainable
from archsearch.basics.checks import at_least_one, whole_number
from archsearch.basics.kinds import IMAGES, kinds_of
from archsearch.basics.seeding import stream
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators.training import BuiltOnTraining, Training
from archsearch.evaluators.untrained_scores import PROXIES, Proxy, Score, proxy_of
from archsearch.networks.layers import parts
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import build, initialise
from archsearch.networks.structure import Structure
from archsearch.space import Space
from archsearch.task import Task
from archsearch.training.meter import Meter
from archsearch.training.repeats import repeat_seed
from archsearch.trial import Architecture, Cost, Evaluation


class ZeroCost(BuiltOnTraining):
    """Scores a network as it is initialised, without training it; higher is meant to be better.

    ``params``: number of parameters; ``flops``: multiply-adds for an image. Neither depends on weights or images. If
    sizes of options add up, as parameters mostly do, no network is built for them, except for some once, as set-up.

    A network whose output is the same for all images, such as one of a NAS-Bench-201 cell without a path to its output,
    has the lowest score that there is: 0 (``grad_norm``, ``snip``, ``fisher``, ``synflow``, ``swap``, ``expressivity``,
    ``vkdnw``), that of images that nothing tells apart (``jacob_cov``, ``naswot``), or, since ``grasp``,
    ``progressivity`` and ``trainability`` have no lowest one, ``UNSCORABLE``.

    ``expressivity``, ``progressivity`` and ``trainability`` are of the network's blocks: its direct parts that put out
    images, or, where there are fewer than two, its layers.

    Reported: ``params`` and ``flops`` of networks that are scored, with ``repeats`` above 1 ``score_deviation``.
    Billed: seconds of the device, examples that went forward and backward, and floating-point operations of all passes
    of the network.

    Args:
        score: Which score; or a function of your own or its import path, such as ``my_lab.score``, which receives the
            network, images and labels and returns a number, and is billed as one forward and one backward pass.
        training: Says which task, skeleton, device and threads to use, and with ``train_examples`` which images; its
            other settings have no effect. None: ``Training(task)``.
        task: A task by name or path, or a ``Task``; short for a ``training`` in which only the task is set.
        batch: Training images in the batch, >= 2, not augmented; drawn by the seed, as the weights are.
        repeats: Number of initialisations, each with its own batch, whose scores are averaged, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        score: Score | Callable[..., Any] | str = "synflow",
        training: Training | None = None,
        task: str | Task | None = None,
        batch: int = 64,
        repeats: int = 1,
    ) -> None:
        super().__init__(task, training)
        self.score = score
        self._proxy = proxy_of(score)
        self.batch = whole_number("ZeroCost", "batch", batch, 2)
        self.repeats = at_least_one("ZeroCost", "repeats", repeats)

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space builds no networks, ``UsageError`` if it lacks a given setting."""
        trainable(space, "ZeroCost")
        self.trainer.check(space, type(self).__name__)
        if self._proxy is not None and IMAGES not in kinds_of(space):
            raise MissingAbility(
                f"ZeroCost: {self.score} is a score of networks for {IMAGES}, those of {type(space).__name__} are for "
                f"{kinds_of(space)[0]}; use the score params or flops, or another evaluator such as Training"
            )

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space, and reads the task."""
        super().start(space)
        self._parts: list[list[int]] | None = None
        self._structure = Structure(self.trainer.network, isinstance(space, SharedWeights), values=True)
        images = len(self.trainer.chosen)
        if self._proxy is not None and self._proxy.uses_images and self.batch > images:
            raise UsageError(
                f"ZeroCost: batch: expected at most {images}, the training images in use, got {self.batch}"
            )

    def fingerprints(self) -> Mapping[str, str]:
        """See ``Evaluator``: the images."""
        return {"task": self.trainer.data.fingerprint}

    def prepare(self) -> Cost:
        """Finds out, for ``params`` and ``flops``, whether options add up to the size of a network."""
        cost = self.training.prepare()
        if self._proxy is not None:
            return cost
        with self.trainer.session() as meter:
            self._parts = parts(self.space, lambda architecture: int(self.measure(architecture)[str(self.score)]))
            return cost + meter.cost()

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores an architecture's network; a score that is not finite makes the trial a failed one."""
        self.space.validate(architecture)
        if self._parts is not None:
            begun = time.process_time()
            size = float(sum(part[option] for part, option in zip(self._parts, architecture, strict=True)))
            return Evaluation(size, {str(self.score): size}, Cost(device_seconds=time.process_time() - begun))
        with self.trainer.session() as meter:
            if self._proxy is None:
                size = float(self.measure(architecture)[str(self.score)])
                return Evaluation(size, {str(self.score): size}, meter.cost())
            found = [self._once(self._proxy, architecture, repeat_seed(seed, i), meter) for i in range(self.repeats)]
            metrics = dict(found[0][1])
            scores = [score for score, _ in found]
            if self.repeats > 1:
                metrics["score_deviation"] = float(np.std(scores, ddof=1))
            return Evaluation(float(np.mean(scores)), metrics, meter.cost())

    def _once(
        self, proxy: Proxy, architecture: Architecture, seed: int, meter: Meter
    ) -> tuple[float, Mapping[str, float]]:
        """The score of one initialisation, and the network's sizes."""
        trainer = self.trainer
        if trainer.where.type == "cpu" and not callable(self.score) and self.score in PROXIES:  # none of a user's own
            network = self._structure.network(architecture)
            initialise(network, torch.Generator().manual_seed(seed))
        else:
            network = build(lambda: trainer.network(architecture), seed, trainer.where)
        # Of the network that is there anyhow: ``measure`` would build another one.
        macs = multiply_adds(network, trainer.data.input_shape)
        score = proxy.score(network, *self._images(seed))
        if proxy.uses_images and proxy.passes > 1:
            meter.trained(self.batch, 0)  # counts the examples; the operations are counted here
        meter.forwarded(proxy.passes * (self.batch if proxy.uses_images else 1), macs)
        return score, {"params": parameter_count(network), "flops": macs}

    def _images(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The images and labels of a batch."""
        images, labels = self.trainer.data.part("train", self.trainer.where)
        chosen = self.trainer.chosen
        drawn = stream(seed, "batch").choice(len(chosen), min(self.batch, len(chosen)), replace=False)
        batch = chosen[torch.from_numpy(drawn)].to(self.trainer.where)
        return images[batch], labels[batch]
