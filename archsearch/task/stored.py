"""Examples that are too many for the memory: kept in a temporary file, of which those that are asked for are read.

The file has no name, so that nothing is left of it when the process ends, however it ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from archsearch.errors import TaskError

MEMORY = 1024
"""MiB of examples that are kept in memory; more of them go to a file."""

CHUNK = 256
"""Examples that are read together where all are wanted, one after the other."""


class Stored:
    """An array in a file: rows are picked like those of NumPy's arrays, and are read only by ``read``.

    Args:
        file: Holds the rows, one after the other.
        shape: Of a row.
        dtype: Of its numbers.
        rows: Which ones, in this order.
        order: Which sides of a row come first in what is read, as of ``transpose``; None: they stay as they are. A -1
            is a new side of length 1.
    """

    def __init__(
        self,
        file: IO[bytes],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        rows: npt.NDArray[np.int64],
        order: tuple[int, ...] | None = None,
    ) -> None:
        self._file = file
        self._row_shape = shape
        self.dtype = dtype
        self._rows = rows
        self._order = order

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and the shape of one."""
        order = self._order or range(len(self._row_shape))
        return (len(self._rows), *(1 if side < 0 else self._row_shape[side] for side in order))

    @property
    def ndim(self) -> int:
        """Number of sides."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> Stored:
        return Stored(self._file, self._row_shape, self.dtype, self._rows[rows], self._order)

    def ordered(self, *order: int) -> Stored:
        """The same rows, whose sides come in another order; see the class."""
        return Stored(self._file, self._row_shape, self.dtype, self._rows, order)

    def read(self) -> npt.NDArray[Any]:
        """The rows as an array."""
        found = np.empty((len(self._rows), *self._row_shape), self.dtype)
        if found.nbytes:
            self._read_into(found)
        return found if self._order is None else found.reshape(self.shape) if -1 in self._order else self._moved(found)

    def _moved(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(found.transpose(0, *(1 + side for side in self._order or ())))

    def _read_into(self, found: npt.NDArray[Any]) -> None:
        size = found[:1].nbytes
        whole = found.reshape(-1).view(np.uint8).data
        if np.array_equal(self._rows, np.arange(self._rows[0], self._rows[0] + len(self._rows))):
            self._fill(whole, int(self._rows[0]) * size)
            return
        for i, row in enumerate(self._rows.tolist()):
            self._fill(whole[i * size : (i + 1) * size], row * size)

    def _fill(self, view: memoryview, offset: int) -> None:
        while len(view):
            count = os.preadv(self._file.fileno(), [view], offset)
            if not count:
                raise TaskError("the temporary file of a streamed task has ended early; is the disk full?")
            view, offset = view[count:], offset + count

    def chunks(self) -> Iterator[npt.NDArray[Any]]:
        """All rows in order, some at a time."""
        for begin in range(0, len(self), CHUNK):
            yield self[begin : begin + CHUNK].read()

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.read()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        store = Store(0)
        store.append(state["rows"])
        self.__dict__.update(store.done().__dict__)


class Store:
    """Takes examples as they come; what is more than the memory that it may use goes to a file.

    Args:
        memory: MiB; 0: everything goes to a file.
    """

    def __init__(self, memory: float = MEMORY) -> None:
        self._most = memory * 2**20
        self._held: list[npt.NDArray[Any]] = []
        self._bytes = 0
        self._count = 0
        self._file: IO[bytes] | None = None
        self._kind: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Takes some more, of the shape and the type of those before."""
        self._kind = self._kind or (rows.shape[1:], rows.dtype)
        rows = np.ascontiguousarray(rows)
        self._count += len(rows)
        self._bytes += rows.nbytes
        self._held.append(rows)
        if self._file is None and self._bytes > self._most:
            self._file = tempfile.TemporaryFile(prefix="archsearch-")  # noqa: SIM115 (it lives as long as what reads it)
        if self._file is not None:
            for each in self._held:
                self._file.write(each.data)
            self._held.clear()

    def done(self) -> npt.NDArray[Any] | Stored:
        """All that came: an array, or what reads it from the file."""
        if self._file is None:
            return np.concatenate(self._held) if self._held else np.empty((0,))
        assert self._kind is not None
        self._file.flush()
        return Stored(self._file, *self._kind, np.arange(self._count))


class Inputs(Protocol):
    """The inputs of a part, of which rows are picked: a tensor, or ``Streamed``."""

    def __len__(self) -> int: ...

    def __getitem__(self, numbers: Any, /) -> torch.Tensor: ...


class Streamed:
    """Images in a file, which are read, normalised and brought to the device as they are asked for.

    Args:
        images: Shape (n, channels, height, width).
        mean: Of each channel, shape (channels, 1, 1) or (1,).
        deviation: The same.
        device: Where batches are to be.
    """

    def __init__(
        self,
        images: Stored,
        mean: npt.NDArray[np.float64],
        deviation: npt.NDArray[np.float64],
        device: torch.device | str,
    ) -> None:
        self.shape = images.shape
        self._images = images
        self._scale = np.float32(mean), np.float32(deviation)
        self._device = device

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, numbers: slice | torch.Tensor) -> torch.Tensor:
        rows = numbers if isinstance(numbers, slice) else numbers.cpu().numpy()
        return pixels(self._images[rows].read(), *self._scale, self._device)


def pixels(images: npt.NDArray[Any], mean: Any, deviation: Any, device: torch.device | str) -> torch.Tensor:
    """Images as networks are given them: 32-bit floats, normalised, channels last in memory."""
    values = images.astype(np.float32)
    values -= np.float32(mean)
    values /= np.float32(deviation)
    return torch.from_numpy(values).to(device, memory_format=torch.channels_last)
