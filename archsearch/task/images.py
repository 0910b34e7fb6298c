"""Images and labels as arrays: checked, brought to one layout, and split at random."""

from __future__ import annotations

import numbers
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import is_finite
from archsearch.basics.seeding import stream
from archsearch.basics.texts import shown
from archsearch.errors import TaskError
from archsearch.task.stored import Stored

Layout = Literal["auto", "channels_first", "channels_last"]
Arrays = tuple[Any, npt.NDArray[Any]]
"""Images, an array or ``Stored``, and what belongs to each."""


def checked(arrays: Any, where: str, layout: Layout = "auto") -> tuple[Any, npt.NDArray[np.int64]]:
    """Images as (n, channels, height, width) and labels as integers."""
    images, labels = checked_images(arrays, where, layout)
    if labels.shape != (len(images),):
        raise TaskError(f"{where}: {len(images)} images need labels of the shape ({len(images)},), got {labels.shape}")
    return images, checked_labels(labels, where)


def checked_images(arrays: Any, where: str, layout: Layout) -> Arrays:
    """Images as (n, channels, height, width), and what belongs to them as it is."""
    try:
        images, targets = arrays
        images = images if isinstance(images, Stored) else np.asarray(images)
        targets = np.asarray(targets)
    except (TypeError, ValueError):
        raise TaskError(f"{where}: expected a pair (images, labels) of arrays, got {type(arrays).__name__}") from None
    if images.ndim == 3:
        images = images.ordered(-1, 0, 1) if isinstance(images, Stored) else images[:, None]
    elif images.ndim == 4 and 0 not in images.shape:
        images = _channels_first(images, where, layout)
    if images.ndim != 4 or images.dtype.kind not in "buif":
        raise TaskError(
            f"{where}: expected images of the shape (n, height, width), (n, channels, height, width) or "
            f"(n, height, width, channels), all numbers, got shape {np.shape(arrays[0])} and type {images.dtype}"
        )
    if len(images) == 0 or 0 in images.shape:
        raise TaskError(f"{where}: there are no images (shape {np.shape(arrays[0])}); every part needs at least one")
    if images.dtype.kind == "f" and not isinstance(images, Stored) and not np.isfinite(images).all():
        first = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0])
        raise TaskError(f"{where}: image {first} has a pixel that is NaN or infinite; mend or leave it out")
    return images, targets


def checked_labels(labels: npt.NDArray[Any], where: str) -> npt.NDArray[np.int64]:
    """Labels as integers; of any shape, not empty.

    Raises:
        TaskError: If they are no whole numbers from 0.
    """
    if labels.dtype.kind not in "ui" and not (labels.dtype.kind == "f" and np.all(labels == np.floor(labels))):
        raise TaskError(f"{where}: expected whole numbers as labels, got {labels.dtype}")
    if labels.min() < 0:
        raise TaskError(f"{where}: label {labels.min()} is out of range: labels count from 0")
    return labels.astype(np.int64)


FEW_CHANNELS = 4


def _channels_first(images: Any, where: str, layout: Layout) -> Any:
    """Images of four dimensions as (n, channels, height, width).

    Raises:
        TaskError: If their shape could be either, and it was not said which.
    """
    if layout == "auto":
        layout = _layout_of(images.shape[1], images.shape[2], images.shape[3], where)
    if layout != "channels_last":
        return images
    return images.ordered(2, 0, 1) if isinstance(images, Stored) else images.transpose(0, 3, 1, 2)


def _layout_of(first: int, middle: int, last: int, where: str) -> Layout:
    """Where the channels are, told by how few there are and which sides are alike."""
    few = first <= FEW_CHANNELS, last <= FEW_CHANNELS
    square = middle == last, first == middle  # the images, read with the channels first, and last
    if few == (True, False) or (few == (False, False) and square != (False, True) and square != (True, True)):
        return "channels_first"
    if few == (False, True) and middle > FEW_CHANNELS:
        return "channels_last"
    if few == (True, True) and square == (True, False):
        return "channels_first"
    raise TaskError(
        f"{where}: images of the shape (n, {first}, {middle}, {last}) could have {first} channels first, or {last} "
        "last; say which: layout=channels_first or channels_last, as an argument of Task or option of a .npz file's "
        "name"
    )


def statistics(images: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation per channel, shape (channels, 1, 1); a constant channel is left unscaled."""
    if images.dtype == np.uint8:  # exactly, and in little memory: by how often each value is there
        some = images.chunks() if isinstance(images, Stored) else np.array_split(images, 64)
        counts = np.sum([_counted(each) for each in some], axis=0)
        values, n = np.arange(256.0), counts[0].sum()
        mean = (counts @ values)[:, None, None] / n
        deviation = np.sqrt((counts * (values - mean[:, :, 0]) ** 2).sum(axis=1) / n)[:, None, None]
    elif isinstance(images, Stored):  # some at a time: means, then deviations from them
        size = len(images) * images.shape[2] * images.shape[3]
        sums = [each.sum(axis=(0, 2, 3), dtype=np.float64) for each in images.chunks()]
        mean = (np.sum(sums, axis=0) / size)[:, None, None]
        squares = [np.square(each - mean).sum(axis=(0, 2, 3)) for each in images.chunks()]
        deviation = np.sqrt(np.sum(squares, axis=0) / size)[:, None, None]
    else:
        mean = images.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)[0]
        deviation = images.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)[0]
    return mean, np.where(deviation > 0, deviation, 1.0)


def _counted(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each value is in each channel, shape (channels, 256)."""
    return np.stack([np.bincount(images[:, i].ravel(), minlength=256) for i in range(images.shape[1])])


def split(
    images: Any, labels: npt.NDArray[Any], size: float, seed: int = 0, where: str = "split", what: str = "images"
) -> tuple[Arrays, Arrays]:
    """Draws images at random, of every class the same share, as far as it divides.

    Args:
        images: Shape (n, ...).
        labels: Shape (n,); of another shape, such as masks, they are no classes: all are drawn alike.
        size: How many: a whole number >= 1, or a share of all, a float up to 1.0.
        seed: The only source of randomness, >= 0.
        where: For messages.
        what: What they are called, in the plural.

    Returns:
        What was drawn, and the rest.

    Raises:
        TaskError: If nothing would be drawn, or there are not enough images.
    """
    count = count_of(size, len(labels), where, what)
    # Images of each class in random order, dealt out evenly: any leading part has all classes in proportion.
    rng = stream(seed, "split")
    order = rng.permutation(len(labels))
    position = np.empty(len(labels))
    classes = labels if np.ndim(labels) == 1 else np.zeros(len(labels), np.int64)
    for label in np.unique(classes):
        members = order[classes[order] == label]
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    dealt = np.argsort(position, kind="stable")
    drawn, rest = dealt[:count], dealt[count:]
    return (images[drawn], labels[drawn]), (images[rest], labels[rest])


def count_of(size: float, n: int, where: str, what: str = "images") -> int:
    """How many of ``n`` images, or whatever they are called, a number or a share is.

    Raises:
        TaskError: If it is neither, or none, or more than there are.
    """
    if not is_finite(size) or (size > 1 and size != int(size)):
        raise TaskError(f"{where}: expected a whole number of {what}, or a share up to 1, got {shown(size)}")
    count = round(size * n) if not isinstance(size, numbers.Integral) and size <= 1 else int(size)
    if count > n:
        raise TaskError(f"{where}: {size} of {n} {what} were asked for; there are no more than {n}")
    if count < 1:
        raise TaskError(f"{where}: {size} of {n} {what} were asked for; every part needs at least one {what[:-1]}")
    return count
