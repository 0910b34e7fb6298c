"""Encoded pictures to arrays: of one mode and one size, or refused."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archsearch.errors import TaskError
from archsearch.task.parts import need

if TYPE_CHECKING:
    from PIL import Image

MODES = ("auto", "rgb", "grey")
PICTURES = {"mode": "auto", "size": 0, "memory": 1024.0}
"""Options of whatever holds encoded pictures, with their defaults."""


class Decoder:
    """Decodes pictures; all must come out in the shape of the first one.

    Args:
        mode: ``rgb`` or ``grey`` converts whatever comes; ``auto`` takes pictures that are the one or the other.
        size: Height and width to which pictures are resized; 0: they are taken as they are.

    Attributes:
        shape: Of a picture, (height, width) or (height, width, 3); None: not known yet.
    """

    def __init__(self, mode: str, size: int) -> None:
        self.mode = mode
        self.size = size
        self.shape: tuple[int, ...] | None = None
        self._first = ""

    def decode(self, source: str | bytes | Image.Image, where: str) -> npt.NDArray[np.uint8]:
        """The pixels.

        Args:
            source: A file, its contents, or a picture that is open.
            where: It comes from, for messages.

        Raises:
            TaskError: If it is damaged, of another mode than is wanted, or of another size than the first.
        """
        from PIL import Image

        try:
            if isinstance(source, Image.Image):
                found = self._converted(source, where)
            else:
                with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
                    found = self._converted(picture, where)
        except TaskError:
            raise
        except FileNotFoundError:
            raise TaskError(f"{where}: no such file") from None
        except Exception as error:  # decoders of damaged files raise whatever they stumble over
            said = " ".join(str(error).split()) or type(error).__name__
            if type(error).__name__ == "UnidentifiedImageError":
                said = "it is no picture that Pillow knows"
            raise TaskError(f"{where}: the picture cannot be read: {said}; mend or remove it") from None
        if self.shape is None:
            self.shape, self._first = found.shape, where
        if found.shape != self.shape:
            raise TaskError(
                f"{where}: pixels of the shape {found.shape}, {self._first} has {self.shape}; say size=N to resize "
                "all to N x N, mode=rgb or mode=grey to have one mode"
            )
        return found

    def _converted(self, picture: Image.Image, where: str) -> npt.NDArray[np.uint8]:
        mode = picture.mode
        if self.mode != "auto":
            wanted = {"rgb": "RGB", "grey": "L"}[self.mode]
            if mode.startswith("I;16") or mode in ("I", "F"):
                raise TaskError(f"{where}: pixels of mode {mode}, which do not fit in 8 bits; convert the pictures")
            picture = picture if mode == wanted else picture.convert(wanted)
        elif mode == "1" or (mode == "P" and "transparency" not in picture.info):  # nothing is lost
            picture = picture.convert("L" if mode == "1" else "RGB")
        elif mode not in ("L", "RGB"):
            raise TaskError(
                f"{where}: pixels of mode {mode}, expected RGB or L (grey); say mode=rgb or mode=grey to convert all"
            )
        if self.size and picture.size != (self.size, self.size):
            from PIL import Image

            picture = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(picture)


def channels_first(pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pictures of the shape (n, height, width) or (n, height, width, 3) as (n, channels, height, width)."""
    return pictures[:, None] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)


def need_pillow(what: str) -> None:
    """Raises ``TaskError`` if Pillow is not installed."""
    need("PIL", what, "images")
