"""Base of the models that see encodings of an architecture: their two settings, and what they are given."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.basics.operation_graphs import PATH_COLUMNS
from archsearch.model import Features, Model
from archsearch.models.encoding import Encoding, checked_encodings, default_encodings, encode
from archsearch.space import Space
from archsearch.trial import Architecture


class Encoded(Model, abc.ABC):
    """A model that sees an architecture as columns of numbers, and takes features as further ones.

    Args:
        encodings: What it sees; see ``archsearch.models.encoding``. None: operations, paths and counts, or, of a space
            that says nothing of graphs, one-hot and, where a kind of decision comes twice, counts.
        path_columns: Most columns of path encodings, >= 1.
    """

    takes_features: ClassVar[bool] = True

    def __init__(self, encodings: list[Encoding] | None = None, path_columns: int = PATH_COLUMNS) -> None:
        owner = type(self).__name__
        self.encodings = encodings
        self.path_columns = at_least_one(owner, "path_columns", path_columns)
        self._defaults: tuple[Space, list[Encoding]] | None = None
        if encodings is not None:
            checked_encodings(owner, encodings)

    @property
    def _encodings(self) -> list[Encoding]:
        if self.encodings is not None:
            return self.encodings
        # Each prediction asks several times, and looking through a space's names takes as long as small predictions.
        if self._defaults is None or self._defaults[0] is not self.space:
            self._defaults = self.space, default_encodings(self.space)
        return self._defaults[1]

    @abc.abstractmethod
    def _fit(self, rng: np.random.Generator) -> None: ...

    def _groups(
        self, architectures: Sequence[Architecture], features: Features | None
    ) -> list[npt.NDArray[np.float32]]:
        """The columns of each encoding, then the features; each of shape (n, columns)."""
        groups = encode(self.space, architectures, self._encodings, self.path_columns)
        return groups if features is None else [*groups, features.astype(np.float32)]

    def _columns(self, architectures: Sequence[Architecture], features: Features | None) -> npt.NDArray[np.float32]:
        """All of them side by side."""
        return np.concatenate(self._groups(architectures, features), axis=1)
