"""Data sets of PyTorch in Python: any ``Dataset``, iterable or ``DataLoader``-like object whose items are pairs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from archsearch.errors import TaskError, UsageError
from archsearch.task.images import Arrays, Layout
from archsearch.task.parts import SHARES, Make, from_parts, three_parts
from archsearch.task.readers.decoding import Decoder, channels_first
from archsearch.task.scenes import SegmentationTask
from archsearch.task.stored import CHUNK, MEMORY, Store
from archsearch.task.tables import TableTask
from archsearch.task.task import ImageTask, Part, Task


def dataset_task(
    train: Iterable[Any],
    valid: Iterable[Any] | None = None,
    test: Iterable[Any] | None = None,
    *,
    batched: bool | None = None,
    layout: Layout = "auto",
    valid_size: float = 0.2,
    test_size: float = 0.2,
    seed: int = 0,
    memory: float = MEMORY,
    name: str = "dataset",
) -> Task:
    """A task from data sets whose items are pairs of an input and a target, of which each is gone through once.

    What inputs and targets are says which task it is: images with a whole number each are classified, images with masks
    are segmented, and rows of numbers are a table, of which a whole number (a class) or a float (a number) is
    predicted.

    Args:
        train: A ``torch.utils.data.Dataset``, an iterable, or what gives batches, such as a ``DataLoader``. Inputs are
            tensors, arrays, or Pillow's pictures.
        valid: The same; None: it is taken from ``train``.
        test: The same.
        batched: Whether items are batches; None: those of a ``DataLoader`` with a ``batch_size`` are, those of a
            ``Dataset`` are not, and other objects are refused.
        layout: Where the channels of images are; auto: where the shape tells. See ``ImageTask``.
        valid_size: Examples of a part that is not given: a whole number, or a share up to 1.0.
        test_size: The same.
        seed: Of that split, >= 0.
        memory: MiB of inputs up to which a part is kept in memory; what is larger is streamed from a temporary file.
        name: For messages and run folders.

    Raises:
        TaskError: If items are no such pairs, or of several shapes; the message says where.
        UsageError: If it cannot be told whether items are batches, or a setting is out of range.
    """
    if layout not in get_args(Layout):
        raise UsageError(f"{name}: layout: expected one of {', '.join(get_args(Layout))}, got {layout!r}")
    given: dict[Part, Iterable[Any] | None] = {"train": train, "valid": valid, "test": test}
    arrays: dict[str, Arrays] = {
        part: _taken(some, batched, memory, f"{name}, {part}") for part, some in given.items() if some is not None
    }
    make = _maker(arrays["train"], layout, name)
    options = {**SHARES, "valid": valid_size, "test": test_size, "seed": seed}
    what = "rows" if arrays["train"][0].ndim == 2 else "images"
    if len(arrays) == 1:
        return three_parts(name, *arrays["train"], options, make, what=what)
    return from_parts(name, arrays, options, make, what=what)


def _maker(arrays: Arrays, layout: Layout, name: str) -> Make:
    """What makes the task that such examples are for."""
    inputs, targets = arrays
    whole = targets.dtype.kind in "uib"
    if inputs.ndim == 2 and targets.ndim == 1:
        return functools.partial(TableTask, predicts="class" if whole else "number", name=name)
    if inputs.ndim in (3, 4) and whole and targets.ndim == 1:
        return functools.partial(ImageTask, name=name, layout=layout)
    if inputs.ndim in (3, 4) and whole and targets.ndim == 3:
        return functools.partial(SegmentationTask, name=name, layout=layout)
    raise TaskError(
        f"{name}: an input of the shape {inputs.shape[1:]} with a target of the shape {targets.shape[1:]} and the type "
        f"{targets.dtype}: expected images with whole numbers or masks, or rows with numbers"
    )


def _taken(some: Iterable[Any], batched: bool | None, memory: float, where: str) -> Arrays:
    """Inputs, in memory or in a file, and targets."""
    if batched is None:
        batched = _gives_batches(some, where)
    store, targets, held = Store(memory), list[npt.NDArray[Any]](), list[npt.NDArray[Any]]()
    decoder, shapes = Decoder("auto", 0), None
    for i, item in enumerate(_items(some)):
        inputs, target = _pair(item, decoder, f"{where}, item {i}", batched)
        shapes = shapes or (inputs.shape[1:], target.shape[1:])
        if (inputs.shape[1:], target.shape[1:]) != shapes or len(target) != len(inputs):
            raise TaskError(
                f"{where}, item {i}: {len(inputs)} inputs of the shape {inputs.shape[1:]} with {len(target)} targets "
                f"of the shape {target.shape[1:]}; expected as many, of the shapes {shapes[0]} and {shapes[1]}"
            )
        targets.append(target)
        held.append(inputs)
        if sum(map(len, held)) >= CHUNK:
            store.append(np.concatenate(held))
            held.clear()
    if held:
        store.append(np.concatenate(held))
    if not targets:
        raise TaskError(f"{where}: there are no examples")
    return store.done(), np.concatenate(targets)


def _gives_batches(some: Any, where: str) -> bool:
    if getattr(some, "batch_size", None) is not None or getattr(some, "batch_sampler", None) is not None:
        return True
    if isinstance(some, (torch.utils.data.Dataset, list, tuple)) or hasattr(some, "batch_size"):
        return False
    raise UsageError(
        f"{where}: expected a Dataset or a DataLoader, got {type(some).__name__}, of which it cannot be told whether "
        "its items are batches; say so: batched=True or batched=False"
    )


def _items(some: Any) -> Iterator[Any]:
    """The items, one after the other; of a ``Dataset`` of fixed length by their numbers, as its sampler has them."""
    if isinstance(some, torch.utils.data.Dataset) and not isinstance(some, torch.utils.data.IterableDataset):
        return (some[i] for i in range(len(some)))  # type: ignore[arg-type]
    return iter(some)


def _pair(item: Any, decoder: Decoder, where: str, batched: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Inputs and targets of an item, of both of which each row is an example."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TaskError(f"{where}: expected a pair (input, target), got {type(item).__name__}")
    found = []
    for each in item:
        if type(each).__module__.startswith("PIL."):
            array: npt.NDArray[Any] = channels_first(decoder.decode(each, where)[None])[0]
        else:
            array = each.detach().cpu().numpy() if isinstance(each, torch.Tensor) else np.asarray(each)
        if array.dtype.kind not in "buif":
            raise TaskError(f"{where}: expected tensors, arrays, pictures or numbers, got {type(each).__name__}")
        found.append(array if batched else array[None])
    inputs, targets = found
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise TaskError(f"{where}: the input has a value that is NaN or infinite; mend or leave it out")
    if not inputs.ndim or not targets.ndim:
        raise TaskError(f"{where}: expected batches, got a single example; say batched=False")
    return inputs, targets
