"""No batch of one image anywhere: batch normalisation has no statistics of it."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from archsearch.errors import UsageError
from archsearch.evaluators import Inherit, OneShot, Training, ZeroCost
from archsearch.evaluators.chain_scoring import score_chains
from archsearch.spaces import NASBench201, NASBenchMacro
from archsearch.task import ImageTask, load_task
from archsearch.training.batches import batches_of, evaluation_batches
from archsearch.trial import Query

SPACE = NASBenchMacro()
"""On images of 8 x 8 its last layers see one pixel."""
RNG = np.random.default_rng(0)
ARCHITECTURE, OTHER = SPACE.sample(RNG), SPACE.sample(RNG)


def digits(train, valid):
    """A task with so many images in its parts."""
    images, labels = (tensor.numpy() for tensor in load_task("digits:valid=700").part("train"))
    more, their = (tensor.numpy() for tensor in load_task("digits:valid=700").part("valid"))
    assert len(more) >= valid
    return ImageTask(
        (images[:train], labels[:train]), (more[:valid], their[:valid]), (more[:30], their[:30]), classes=10
    )


@pytest.fixture
def seen(monkeypatch):
    """Sizes of all batches whose statistics are used."""
    sizes, functional = [], nn.functional.batch_norm

    def watched(x, mean, variance, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
        if training and x.device.type != "meta":
            sizes.append(len(x))
        return functional(x, mean, variance, weight, bias, training, momentum, eps)

    monkeypatch.setattr(nn.functional, "batch_norm", watched)
    return sizes


TRAINERS = {
    "Training": lambda training: Training(**training),
    "Inherit": lambda training: Inherit(Training(**training), steps=3),
    "OneShot": lambda training: OneShot(Training(**training), epochs=1),
    "OneShot batch": lambda training: OneShot(Training(**training), epochs=1, statistics="batch"),
    "OneShot few": lambda training: OneShot(
        Training(**training), epochs=1, statistics="batch", validation_batches=1, statistics_batches=3
    ),
    "OneShot hyper": lambda training: OneShot(Training(**training), epochs=1, source="hyper_network"),
    "OneShot steps": lambda training: OneShot(Training(**training), epochs=1, steps=2),
    "ZeroCost": lambda training: ZeroCost("naswot", Training(**training), batch=2),
}


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize(("batch_size", "train"), [(2, 5), (2, 3), (4, 9), (8, 17)])
def test_no_evaluator_that_trains_has_a_batch_of_one(seen, name, batch_size, train):
    assert train % batch_size == 1
    training = {"task": digits(train, 17), "epochs": 1, "batch_size": batch_size, "skeleton": {"channels": 4}}
    evaluator = TRAINERS[name](training)
    evaluator.start(SPACE)
    evaluator.prepare()
    queries = [Query(0, ARCHITECTURE, 1), Query(1, OTHER, 2)]
    for found in [*evaluator.evaluate_batch(queries), evaluator.evaluate_query(queries[0])]:
        assert np.isfinite(found.score)
    assert seen
    assert min(seen) > 1


@pytest.mark.parametrize("valid", [2, 513, 514, 1025])
@pytest.mark.parametrize("space", [SPACE, NASBench201()], ids=["chain", "cells"])
def test_one_image_left_over_is_scored_with_the_batch_before(seen, monkeypatch, valid, space):
    task = digits(16, min(valid, 700))
    if valid > 700:  # twice the same
        images, labels = (tensor.numpy() for tensor in task.part("valid"))
        part = np.concatenate([images, images])[:valid], np.concatenate([labels, labels])[:valid]
        task = ImageTask(tuple(tensor.numpy() for tensor in task.part("train")), part, part, classes=10)
    evaluator = OneShot(
        Training(task=task, epochs=1, batch_size=8, skeleton={"channels": 4}), epochs=1, statistics="batch"
    )
    evaluator.start(space)
    evaluator.prepare()
    rng = np.random.default_rng(1)
    queries = [Query(i, space.sample(rng), i) for i in range(2)]
    seen.clear()
    alone = [evaluator.evaluate_query(query) for query in queries]
    assert set(seen) == set(evaluation_batches(valid, 512))
    seen.clear()
    together = evaluator.evaluate_batch(queries)
    assert set(seen) <= {4, *evaluation_batches(valid, 512)}  # 4: what pieces take is measured
    for one, other in zip(alone, together, strict=True):
        assert one.score == pytest.approx(other.score, abs=100 / valid)


def test_a_chain_is_scored_in_the_same_batches_where_memory_is_short():
    evaluator = OneShot(Training(task=digits(16, 17), epochs=1, skeleton={"channels": 4}), epochs=1)
    evaluator.start(SPACE)
    network = evaluator.trainer.begin(None, 0).network
    images, labels = evaluator.trainer.data.part("valid")
    found = score_chains(network, [ARCHITECTURE, OTHER], images, labels, "batch", batch_size=8)
    short = score_chains(network, [ARCHITECTURE, OTHER], images, labels, "batch", batch_size=8, memory_limit=2**20)
    for (right, loss), (same, other) in zip(found.scores, short.scores, strict=True):
        assert right == same
        assert loss == pytest.approx(other, rel=1e-4)


def test_a_batch_size_of_one_is_refused_where_batch_normalisation_cannot():
    for settings in ({"batch_size": 1}, {"train_examples": 1}):
        evaluator = Training(task="digits", skeleton={"channels": 4}, **settings)
        with pytest.raises(UsageError, match="Training: batch_size: batch normalisation of NASBenchMacro's networks"):
            evaluator.start(SPACE)
        Training(task="digits", **settings).start(NASBench201())  # its layers see several pixels


def test_one_validation_image_has_no_statistics_of_its_own():
    task = digits(16, 1)
    evaluator = OneShot(Training(task=task, epochs=1, skeleton={"channels": 4}), statistics="batch")
    with pytest.raises(UsageError, match="OneShot: statistics: a batch of one image has none"):
        evaluator.start(SPACE)
    evaluator = OneShot(Training(task=task, epochs=1, skeleton={"channels": 4}), epochs=1)
    evaluator.start(SPACE)
    evaluator.prepare()  # also watches the training, on that image
    assert evaluator.evaluate(ARCHITECTURE, 0).score in (0, 100)


def test_batches_are_as_before_but_for_those_of_one():
    for images, size in itertools.product(range(2, 200), range(2, 40)):
        count = batches_of(images, size)
        sizes = [len(part) for part in torch.tensor_split(torch.arange(images), count)]
        assert min(sizes) > 1
        assert count == -(-images // size) or (size == 2 and images % 2 and max(sizes) == 3)
        sizes = evaluation_batches(images, size)
        assert sum(sizes) == images
        assert 1 not in sizes
        assert set(sizes[:-1]) <= {size}
    assert batches_of(3, 1) == 3
    assert evaluation_batches(1, 512) == [1]
