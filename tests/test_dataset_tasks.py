"""Data sets and loaders of PyTorch as tasks."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from archsearch.errors import TaskError, UsageError
from archsearch.task import ImageTask, SegmentationTask, TableTask, dataset_task

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.rand(60, 3, 8, 8, generator=GENERATOR), torch.arange(60) % 3


class Pairs(Dataset):
    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, i):
        return self.inputs[i], self.targets[i]


class Stream(IterableDataset):
    def __iter__(self):
        return zip(IMAGES, LABELS.tolist(), strict=True)


def same(one, other):
    return all(
        torch.allclose(a[:], b[:])
        for part in ("train", "valid", "test")
        for a, b in zip(one.part(part), other.part(part), strict=True)
    )


def test_items_batches_and_streams_are_the_same_task():
    expected = dataset_task(Pairs(IMAGES, LABELS), name="x")
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=7, generator=torch.Generator())
    for other in (loader, Stream(), TensorDataset(IMAGES, LABELS), [(IMAGES[i], int(LABELS[i])) for i in range(60)]):
        assert same(expected, dataset_task(other))
    assert same(expected, dataset_task(Stream(), memory=0))
    assert same(expected, dataset_task(iter([(IMAGES, LABELS)]), batched=True))
    assert isinstance(expected, ImageTask)


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [
        (IMAGES.movedim(1, -1).contiguous(), {}),
        (IMAGES[:, 0], {}),
        (IMAGES[:, :, :4, :4].movedim(1, -1).contiguous(), {"layout": "channels_last"}),
        ((IMAGES * 255).byte().movedim(1, -1).contiguous(), {}),
    ],
)
def test_streamed_images_of_any_layout_are_those_in_memory(inputs, settings):
    one, other = (dataset_task(Pairs(inputs, LABELS), memory=memory, **settings) for memory in (99, 0))
    assert other.input_shape == one.input_shape
    assert same(one, other)


def test_parts_that_are_given_are_taken():
    pairs = [Pairs(IMAGES[:n], LABELS[:n]) for n in (60, 30, 20)]
    assert [dataset_task(*pairs).size(part) for part in ("train", "valid", "test")] == [60, 30, 20]
    assert dataset_task(pairs[0], test=pairs[2], valid_size=10).size("train") == 50


def test_what_inputs_and_targets_are_says_which_task():
    assert isinstance(
        dataset_task(Pairs(IMAGES, torch.zeros(60, 8, 8, dtype=int) + torch.arange(8) % 2)), SegmentationTask
    )
    rows = IMAGES[:, 0, 0]
    assert dataset_task(Pairs(rows, LABELS)).classes == 3
    number = dataset_task(Pairs(rows, rows.sum(1)))
    assert isinstance(number, TableTask)
    assert number.classes == 1
    from PIL import Image

    pictures = [(Image.fromarray(np.full((8, 8, 3), i, np.uint8)), i % 3) for i in range(60)]
    assert dataset_task(pictures).input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (
            iter([]),
            UsageError,
            "train: expected a Dataset or a DataLoader, got .*say so: batched=True or batched=False",
        ),
        ([], TaskError, "train: there are no examples"),
        ([(IMAGES[0],)] * 9, TaskError, r"item 0: expected a pair \(input, target\), got tuple"),
        ([{"image": 1}] * 9, TaskError, "item 0: expected a pair"),
        ([("x", 1)] * 9, TaskError, "item 0: expected tensors, arrays, pictures or numbers, got str"),
        ([(IMAGES[0], 0)] * 5 + [(IMAGES[0, :, 1:], 0)], TaskError, r"item 5: 1 inputs of the shape \(3, 7, 8\)"),
        ([(IMAGES[0], 0)] * 5 + [(IMAGES[0] * np.nan, 0)], TaskError, "item 5: the input has a value that is NaN"),
        ([(IMAGES[0], 0.5)] * 9, TaskError, r"an input of the shape \(3, 8, 8\) with a target of the shape \(\)"),
        ([(torch.rand(8, 4, 4), i % 2) for i in range(60)], TaskError, "say which: layout=channels_first"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(data, error, said):
    with pytest.raises(error, match=said):
        dataset_task(data)


def test_batches_of_unequal_length_are_refused():
    with pytest.raises(TaskError, match=r"item 0: 3 inputs .* with 2 targets"):
        dataset_task([(IMAGES[:3], LABELS[:2])], batched=True)


def test_no_global_generator_is_touched():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dataset_task(Pairs(IMAGES, LABELS))
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
