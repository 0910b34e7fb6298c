"""Segmentation: scenes that are drawn, masks that do not fit, mean intersection by union, encoder-decoder networks."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.errors import TaskError, UsageError
from archsearch.evaluators import Differentiable, OneShot, Training
from archsearch.networks.network import InputShape, build
from archsearch.spaces import EncoderDecoder
from archsearch.task import SegmentationTask, kind_of, load_task
from archsearch.task.goal import Segmentation

SMALL = "scenes:train=24,valid=12,test=12,size=12"
TINY = EncoderDecoder(widths=[4, 6], encoder_layers=1)


def test_scenes_depend_on_the_seed_alone_and_have_all_classes():
    one, again, other = load_task(SMALL), load_task(f"{SMALL},seed=0"), load_task(f"{SMALL},seed=1")
    assert torch.equal(one.part("train")[0], again.part("train")[0])
    assert not torch.equal(one.part("train")[1], other.part("train")[1])
    assert not torch.equal(one.part("valid")[1], one.part("test")[1])
    assert kind_of("scenes") == "image segmentation"
    for part in ("train", "valid", "test"):
        assert load_task("scenes").part(part)[1].unique().tolist() == [0, 1, 2, 3]


def test_colours_do_not_tell_the_class():
    """The means of the colours over the pixels of each class differ by no more than chance."""
    images, masks = load_task("scenes:train=800,noise=0").part("train")
    means = torch.stack([images.movedim(1, -1)[masks == label].mean(0) for label in range(4)])
    assert means.std(0).max() < 0.15


def test_mean_iou_is_scikit_learns_over_batches():
    generator = torch.Generator().manual_seed(0)
    outputs, targets = torch.rand(9, 4, 5, 5, generator=generator), torch.randint(3, (9, 5, 5), generator=generator)
    goal = Segmentation()
    tally = sum(goal.tally(*each) for each in zip(outputs.split(2), targets.split(2), strict=True))
    expected = jaccard_score(targets.flatten(), outputs.argmax(1).flatten(), average="macro")
    assert goal.judged(tally).metric == pytest.approx(100 * expected)
    never = outputs.clone()
    never[:, 3] = -9  # a class that is neither there nor predicted does not count
    found = goal.judged(goal.tally(never, targets))
    assert found.metric == pytest.approx(
        100 * jaccard_score(targets.flatten(), never.argmax(1).flatten(), average="macro")
    )
    assert goal.judged(goal.tally(torch.nn.functional.one_hot(targets, 4).movedim(-1, 1) * 9.0, targets)).score == 100


@pytest.mark.parametrize(
    ("images", "masks", "said"),
    [
        ((3, 8, 8), (8, 7), r"need masks of the shape \(20, 8, 8\), got \(20, 8, 7\)"),
        ((3, 8, 8), (), r"need masks of the shape \(20, 8, 8\), got \(20,\)"),
        ((8, 8, 8), (8, 8), "say which: layout=channels_first or channels_last"),
    ],
)
def test_masks_that_do_not_fit_are_refused(images, masks, said):
    part = np.random.default_rng(0).random((20, *images)), np.zeros((20, *masks), np.int64)
    with pytest.raises(TaskError, match=f"scenes, train: .*{said}"):
        SegmentationTask(part, part, part)


def test_labels_of_pixels_are_checked():
    rng = np.random.default_rng(0)
    part = rng.random((20, 3, 8, 8)), rng.integers(0, 3, (20, 8, 8))
    wrong = part[0], part[1] - 1
    with pytest.raises(TaskError, match="scenes, valid: label -1 is out of range"):
        SegmentationTask(part, wrong, part)
    with pytest.raises(TaskError, match="scenes, train: label 2 is out of range: expected 0 to 1"):
        SegmentationTask(part, part, part, classes=2)


@pytest.mark.parametrize("size", [(12, 12), (13, 9), (3, 3)])
def test_networks_give_logits_of_each_pixel_whatever_the_size(size):
    space = EncoderDecoder(widths=[4, 6, 8])
    network = build(lambda: space.network(space.sample(np.random.default_rng(0)), InputShape((3, *size), 5)), 0).eval()
    assert network(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_the_encoder_reaches_the_decoder_on_both_ways():
    """Without what a level gives across, outputs are others; each level of the encoder counts."""
    space = EncoderDecoder(widths=[4, 6, 8], encoder_layers=1)
    assert [space.label((0,) * i) for i in range(5)] == [
        "down 0 layer 0",
        "down 1 layer 0",
        "down 2 layer 0",
        "up 1 layer 0",
        "up 0 layer 0",
    ]
    network = build(lambda: space.network((1,) * 5, InputShape((3, 8, 8), 2)), 0).eval()
    before = network(torch.ones(1, 3, 8, 8))
    for layer in network.layers:
        for values in layer.parameters():
            kept = values.detach().clone()
            values.detach().mul_(1.5)
            assert not torch.allclose(network(torch.ones(1, 3, 8, 8)), before)
            values.detach().copy_(kept)
            break


@pytest.mark.parametrize(
    "settings", [{"widths": [8]}, {"widths": [8, 8]}, {"widths": 8}, {"encoder_layers": 0}, {"decoder_layers": 1.5}]
)
def test_settings_out_of_range(settings):
    with pytest.raises(UsageError, match=f"EncoderDecoder: {next(iter(settings))}: expected"):
        EncoderDecoder(**settings)


def test_scenes_are_searched_alone_shared_and_by_gradient():
    training = {"optimizer": "adamw", "learning_rate": 0.01, "epochs": 2}
    alone = search(TINY, RandomSearch(), Training(SMALL, **training), trials=2, seed=0)
    assert {"test_mean_iou", "valid_loss"} <= alone.best.evaluation.metrics.keys()
    for evaluator in (OneShot, Differentiable):
        shared = evaluator(training=Training(SMALL, **training), epochs=1)
        result = search(TINY, RandomSearch(), shared, trials=2, seed=0)
        assert all(0 <= trial.evaluation.score <= 100 for trial in result.history)


def test_training_learns_shapes():
    """Better than saying background everywhere, whose mean intersection by union is at most 25 %."""
    space = EncoderDecoder(widths=[6, 10])
    training = Training("scenes:train=200,valid=60,test=60,size=16,noise=0.05", preset="scenes", epochs=6)
    training.start(space)
    assert training.evaluate(space.parse("k3e6-k5e6-k3e1-k5e6-k3e3"), 0).score > 23
