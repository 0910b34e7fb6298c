"""Dense prediction: images of which each pixel has a class, and small scenes that are drawn with a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from archsearch.errors import TaskError
from archsearch.task.goal import Segmentation
from archsearch.task.images import Arrays, Layout, checked_images, checked_labels, split, statistics
from archsearch.task.stored import Inputs, Stored, Streamed, pixels
from archsearch.task.task import ArrayTask, Part, classes_of, expect_alike, images_are, scale_facts


class SegmentationTask(ArrayTask):
    """An image segmentation problem: each pixel is told a class.

    Args:
        train: Images and masks to train on, at least two. Images as of ``ImageTask``; masks have the shape (n, height,
            width), whole numbers from 0.
        valid: What the search is scored on.
        test: Reported, never used by a search.
        classes: Number of classes; None: the largest label plus one.
        name: For messages and run folders.
        layout: Where the channels of images with four dimensions are; see ``ImageTask``.

    Raises:
        TaskError: If images or masks cannot be used; the message says where.
    """

    examples = "images"

    def __init__(
        self,
        train: Arrays,
        valid: Arrays,
        test: Arrays,
        *,
        classes: int | None = None,
        name: str = "scenes",
        layout: Layout = "auto",
    ) -> None:
        given: dict[Part, Arrays] = {"train": train, "valid": valid, "test": test}
        parts = {part: _checked(arrays, f"{name}, {part}", layout) for part, arrays in given.items()}
        expect_alike(parts, name, self.examples)
        self.name = name
        self.goal = Segmentation()
        self.input_shape = parts["train"][0].shape[1:]
        self.classes = classes_of(parts, classes, name)
        self.mean, self.deviation = statistics(parts["train"][0])
        self._arrays, self._tensors = parts, {}
        self._facts = (self.mean, self.deviation, self.classes)

    def _inputs(self, inputs: Any, device: torch.device | str) -> Inputs:
        if isinstance(inputs, Stored):
            return Streamed(inputs, self.mean, self.deviation, device)
        return pixels(inputs, self.mean, self.deviation, device)

    def divide(self, numbers: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Task``; at random."""
        (drawn, _), (rest, _) = split(numbers.numpy(), np.zeros(len(numbers), np.int64), count)
        return torch.from_numpy(drawn), torch.from_numpy(rest)

    @property
    def described(self) -> tuple[str, str, Mapping[str, Any]]:
        """See ``Task``."""
        facts = scale_facts(self.mean, self.deviation)
        use = images_are(self.input_shape, facts)
        use += f"The output, (batch, {self.classes}, height, width), are\nlogits of each pixel."
        return f"it tells each pixel of an image one of {self.classes} classes", use, facts

    @property
    def _says(self) -> str:
        return f"images {self.input_shape}, {self.classes} classes of pixels"


def _checked(arrays: Any, where: str, layout: Layout) -> tuple[Any, npt.NDArray[np.int64]]:
    images, masks = checked_images(arrays, where, layout)
    wanted = (len(images), *images.shape[2:])
    if masks.shape != wanted:
        raise TaskError(
            f"{where}: images of the shape {images.shape} need masks of the shape {wanted}, got {masks.shape}"
        )
    return images, checked_labels(masks, where)


SHAPES = ("background", "disc", "square", "cross")
"""Classes of the pixels of a scene."""


def draw_scenes(
    n: int, size: int, noise: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Scenes of two to four shapes of any colour on a background of any colour; later ones hide earlier ones.

    Colours say nothing of the class, so that a network has to see shapes.

    Args:
        n: How many.
        size: Height and width, >= 8.
        noise: Standard deviation of what is added to each value; colours are uniform from 0 to 1.
        rng: The only source of randomness.

    Returns:
        Images, shape (n, 3, size, size), and masks, shape (n, size, size), of the classes ``SHAPES``.
    """
    y, x = np.mgrid[:size, :size]
    images = np.empty((n, 3, size, size), np.float32)
    masks = np.zeros((n, size, size), np.int64)
    for image, mask in zip(images, masks, strict=True):
        image[:] = rng.random(3)[:, None, None]
        for _ in range(int(rng.integers(2, 5))):
            label, radius = int(rng.integers(1, len(SHAPES))), float(rng.uniform(size / 8, size / 4))
            centre = rng.uniform(0, size, 2)
            across, down = np.abs(x - centre[0]), np.abs(y - centre[1])
            inside = {
                "disc": across**2 + down**2 <= radius**2,
                "square": np.maximum(across, down) <= radius * 0.85,
                "cross": (np.minimum(across, down) <= radius / 3) & (np.maximum(across, down) <= radius),
            }[SHAPES[label]]
            mask[inside] = label
            image[:, inside] = rng.random(3)[:, None]
    return images + np.float32(noise) * rng.standard_normal(images.shape, np.float32), masks
