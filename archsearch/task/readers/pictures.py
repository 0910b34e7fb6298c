"""Folders of pictures by class, as torchvision's ImageFolder has them: CLASS/picture.png, or PART/CLASS/picture.png."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from archsearch.errors import TaskError
from archsearch.task.parts import PARTS, SHARES, from_parts, one_of, options_of, three_parts
from archsearch.task.readers.decoding import MODES, PICTURES, Decoder, channels_first, need_pillow
from archsearch.task.stored import CHUNK, Store, Stored
from archsearch.task.task import ImageTask, Task

ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

Files = list[tuple[str, int]]
"""Pictures and the numbers of their classes."""


def folder(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """Pictures by class; sub-folders named train, valid and test are those parts, else they are split."""
    need_pillow("pictures")
    options = options_of(text, given, {**SHARES, **PICTURES, "workers": 0})
    mode = one_of(text, options, "mode", MODES)
    parts = _parts(path)
    classes = _names(parts.get("train", path))
    decoder = Decoder(mode, options["size"])
    arrays = {}
    for part, where in parts.items():
        files = _files(where, classes)
        images = read(files, decoder, options["memory"], options["workers"])
        arrays[part] = images, np.array([label for _, label in files])
    make = functools.partial(ImageTask, classes=len(classes), name=text, layout="channels_first")
    if "all" in arrays:
        return three_parts(text, *arrays["all"], options, make)
    return from_parts(text, arrays, options, make)


def holds_pictures(path: Path) -> bool:
    """Whether a folder has sub-folders with pictures in them, as far as the first ones tell."""
    inner = [each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")]
    return any(file.suffix.lower() in ENDINGS for each in inner for file in each.rglob("*"))


def _parts(path: Path) -> dict[str, Path]:
    """The folders of the parts; one called ``all`` if there are none."""
    names = _names(path)
    found: dict[str, Path] = {}
    for name in names:
        part = PARTS.get(name.lower())
        if part in found:
            raise TaskError(f"{path}: both {found[part].name} and {name} are names of the part {part}; keep one")
        if part is not None:
            found[part] = path / name
    if not found:
        return {"all": path}
    if others := [name for name in names if name.lower() not in PARTS]:
        raise TaskError(
            f"{path}: {', '.join(each.name for each in found.values())} could be parts or classes beside {others[0]}; "
            "expected parts only, each with a folder for every class, or classes only: move or rename folders"
        )
    if "train" not in found:
        raise TaskError(f"{path}: no folder is named after the training part; found {', '.join(names)}")
    return found


def _names(path: Path) -> list[str]:
    names = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not names:
        raise TaskError(f"{path}: expected a folder for each class, found none")
    return names


def _files(path: Path, classes: Sequence[str]) -> Files:
    """The pictures of a part, class by class."""
    found: Files = []
    others: list[str] = []
    for name in _names(path):
        if name not in classes:
            raise TaskError(f"{path / name}: the training part has no class {name!r}; expected {', '.join(classes)}")
        pictures: list[str] = []
        for each in _walked(str(path / name)):
            (pictures if os.path.splitext(each)[1].lower() in ENDINGS else others).append(each)
        if not pictures:
            raise TaskError(f"{path / name}: no pictures here; expected files that end in {', '.join(sorted(ENDINGS))}")
        label = classes.index(name)
        found += [(each, label) for each in pictures]
    if others:
        warnings.warn(f"{others[0]}: no picture by its name; {len(others)} such files are passed over", stacklevel=2)
    return found


def _walked(path: str) -> list[str]:
    """All files below a folder, in order, without those whose names begin with a dot."""
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(path, followlinks=True)
        for name in names
        if not name.startswith(".")
    )


def read(files: Files, decoder: Decoder, memory: float, workers: int) -> npt.NDArray[Any] | Stored:
    """The pictures in their order, shape (n, channels, height, width), of 8 bits.

    Args:
        files: At least one.
        decoder: Says how.
        memory: MiB up to which they are kept in memory.
        workers: Processes that decode; 0: this one.
    """
    if decoder.shape is None:
        decoder.decode(files[0][0], files[0][0])
    store = Store(memory)
    chunks = [files[begin : begin + CHUNK] for begin in range(0, len(files), CHUNK)]
    # A generator of its own, since the loader draws from the global one otherwise.
    loader = DataLoader(
        _Chunks(chunks, decoder),
        batch_size=None,
        num_workers=min(workers, len(chunks)),
        collate_fn=_as_it_is,
        generator=torch.Generator(),
    )
    for some in loader:
        if isinstance(some, str):
            raise TaskError(some)
        store.append(some)
    return store.done()


class _Chunks(Dataset[Any]):
    """Some files at a time: arrays, or the text of the error, which would lose its type on the way from a worker."""

    def __init__(self, chunks: list[Files], decoder: Decoder) -> None:
        self._chunks = chunks
        self._decoder = decoder

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, i: int) -> npt.NDArray[Any] | str:
        assert self._decoder.shape is not None
        found = np.empty((len(self._chunks[i]), *self._decoder.shape), np.uint8)
        try:
            for place, (path, _) in zip(found, self._chunks[i], strict=True):
                place[:] = self._decoder.decode(path, path)
        except TaskError as error:
            return str(error)
        return channels_first(found)


def _as_it_is(some: Any) -> Any:
    return some
