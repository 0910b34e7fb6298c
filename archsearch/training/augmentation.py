"""Augmentation: training images changed at random, each in its own way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from archsearch.task import Augmentation


def augment(images: torch.Tensor, names: Sequence[Augmentation], generator: torch.Generator) -> torch.Tensor:
    """Training images, changed at random, each in its own way.

    ``crop`` moves an image by up to an eighth of its size in each direction (4 pixels of 32), zeros (the mean, once
    normalised) coming in; ``flip`` mirrors half of them left to right; ``cutout`` (DeVries & Taylor 2017) blanks a
    square of half the size, whose centre may lie anywhere.

    Args:
        images: Shape (n, channels, height, width); what has another, such as rows of a table, is left as it is.
        names: What to do, in this order.
        generator: On the CPU.
    """
    if images.ndim != 4:
        return images
    n, _, height, width = images.shape
    device = images.device
    rows, columns = torch.arange(height), torch.arange(width)
    for name in names:
        if name == "flip":
            mirrored = (torch.rand(n, generator=generator) < 0.5).to(device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        elif name == "crop":
            reach = math.ceil(max(height, width) / 8)
            by = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator)
            padded = torch.nn.functional.pad(images, (reach,) * 4)
            y, x = (rows + by[0] + reach).to(device), (columns + by[1] + reach).to(device)
            images = padded[torch.arange(n, device=device)[:, None, None], :, y[:, :, None], x[:, None, :]]
            images = images.permute(0, 3, 1, 2)
        else:
            centre = torch.rand(2, n, 1, generator=generator)
            inside_y = (rows - (centre[0] * height).floor()).abs() <= (height - 1) // 4
            inside_x = (columns - (centre[1] * width).floor()).abs() <= (width - 1) // 4
            hole = (inside_y[:, None, :, None] & inside_x[:, None, None, :]).to(device)
            images = images.masked_fill(hole, 0.0)
    return images.contiguous(memory_format=torch.channels_last)
