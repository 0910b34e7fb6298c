"""Every task keeps its contract, and the suite of tasks finds what it is there to find."""

import broken_tasks
import numpy as np
import pytest
import torch

from archsearch import testing
from archsearch.errors import UsageError
from archsearch.task import ImageTask, SegmentationTask, TokenTask
from archsearch.task.reading import _load
from archsearch.task.stored import Store

NAMES = ("digits:train=100", "diabetes", "breast_cancer", "wine", "scenes:train=20,valid=10,test=10", "grammar")


def streamed(kind):
    rng = np.random.default_rng(0)
    arrays = []
    for n in (40, 20, 20):
        store = Store(0)
        store.append(rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8))
        masks = rng.integers(0, 3, (n, 8, 8))
        arrays.append((store.done(), np.arange(n) % 4 if kind is ImageTask else masks))
    return kind(*arrays)


MAKERS = {
    **{name: lambda name=name: _load.__wrapped__(name) for name in NAMES},
    "streamed images": lambda: streamed(ImageTask),
    "streamed scenes": lambda: streamed(SegmentationTask),
    "number": broken_tasks.number,
    "tokens": lambda: TokenTask(*[np.arange(99) % 5] * 3),
}


@pytest.mark.parametrize("name", MAKERS)
def test_tasks_keep_their_contract(name):
    testing.check_task(MAKERS[name])


def test_a_right_task_passes():
    testing.check_task(broken_tasks.Right)


def test_every_check_has_a_task_that_it_finds():
    assert {case.check for case in broken_tasks.TASKS} == set(testing.TASK_CHECKS)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.check}-{case.make.__name__}") for case in broken_tasks.TASKS]
)
def test_broken_task_fails_its_own_check_and_only_related_ones(case):
    with pytest.raises(testing.ContractError) as caught:
        testing.check_task(case.make)
    assert set(caught.value.failures) == {case.check, *case.related}, str(caught.value)


def test_one_task_for_all_calls_is_refused():
    one = broken_tasks.Right()
    with pytest.raises(UsageError, match="expected a new object at each call"):
        testing.check_task(lambda: one)


def test_streamed_parts_are_those_in_memory():
    lazy = streamed(ImageTask)
    eager = ImageTask(*[(images.read(), labels) for images, labels in lazy._arrays.values()])
    for part in ("train", "valid", "test"):
        assert torch.equal(lazy.part(part)[0][:], eager.part(part)[0])
    assert lazy.fingerprint == eager.fingerprint
    np.testing.assert_array_equal(lazy.mean, eager.mean)
