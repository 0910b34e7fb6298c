"""The contract of models that predict scores: fitted to labelled architectures, asked for others.

An author writes ``_fit`` and ``_predict``. The base class keeps the labels, brings their scores to a scale that
suits learning, brings predictions back to the scale of the scores, and writes files.

Scores are replaced by the normal scores of their ranks (a Gaussian copula, as Salinas, Shen & Perrone, ICML 2020, use
it for tuning): accuracies of architectures are far from normal, a few hopeless ones lie far below all others, and it is
the order that counts.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.descriptions import Described
from archsearch.errors import ArchsearchError, UsageError
from archsearch.files.checksums import ENTRY, Damaged, checksum, tensors_checksum
from archsearch.files.writing import write_whole
from archsearch.space import Space
from archsearch.trial import Architecture

__all__ = ["Features", "Model", "Prediction", "load_model", "normal_scores"]

Features = npt.NDArray[np.float64]
"""Further figures of architectures, such as zero-cost scores: shape (n, figures)."""


class Prediction(NamedTuple):
    """What a model expects of n architectures.

    Attributes:
        mean: Expected score of each, shape (n,).
        spread: How unsure it is of each: a standard deviation >= 0, shape (n,).
    """

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


class Model(Described):
    """Base class of all models.

    Arguments of ``__init__`` are typed, documented and kept as attributes of the same name. Equal seeds, labels and
    settings give equal predictions on one machine.

    Attributes:
        takes_features: Whether further figures of the architectures can be learned from.
        rounds_alike: Whether what it predicts of an architecture is the same to the last bit whatever others it is
            asked for at once. Matrix products are not: how they round depends on their sizes.
        space: The space of the labelled architectures (after ``fit``).
        architectures: The labelled architectures (after ``fit``).
        scores: Their scores, shape (labels,).
        targets: What the model learns: normal scores of the ranks of the scores, mean 0, shape (labels,).
        notes: JSON data that are kept with it in its file.
        quick: Whether it may round otherwise in other company (``rounds_alike`` or not), where that saves time.
        ranks_features: Whether features become normal scores of their ranks, as scores do; else they stay as they are.
    """

    takes_features: ClassVar[bool] = False
    rounds_alike: ClassVar[bool] = False

    space: Space
    architectures: list[Architecture]
    scores: npt.NDArray[np.float64]
    targets: npt.NDArray[np.float64]
    notes: Mapping[str, Any] = MappingProxyType({})
    _features: Features | None = None
    _raw_features: Features | None = None
    _seed: int = 0
    _given: tuple[float, ...] = ()
    quick: bool = False
    ranks_features: bool = True
    _label_curve: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]
    """Targets of the labels in rising order, their scores, and the mean slope from one to the other."""

    # -- what an author writes -----------------------------------------------------------------

    def _fit(self, rng: np.random.Generator) -> None:
        """Learns ``self.targets`` of ``self.architectures``, and of ``self._features`` if it takes and has them.

        Features are normal scores here and in ``_predict``, unless they are to stay as they are.
        """
        raise NotImplementedError

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        """Mean and spread of the targets of others, after ``_fit``."""
        raise NotImplementedError

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        """What ``_fit`` has learned, as arrays; left out (empty), the model is fitted again when it is read."""
        return {}

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Puts back what ``_state`` gave; space, labels and targets are there already."""

    def fingerprints(self) -> Mapping[str, str]:
        """What this model reads from outside: the setting that names a file to the fingerprint of its content.

        See ``archsearch.files.fingerprints``. A run is not resumed where one has changed. By default nothing.
        """
        return {}

    @property
    def learnt(self) -> list[float]:
        """What a fit to slightly other labels may keep, such as lengths, which saves most of the time.

        By default nothing. ``_fit`` finds it in ``self._given``.
        """
        return []

    @property
    def features(self) -> Features | None:
        """Further figures of the labelled architectures, if it was fitted with some."""
        return self._raw_features

    # -- what others call ------------------------------------------------------------------------

    def fit(
        self,
        space: Space,
        architectures: Sequence[Architecture],
        scores: npt.ArrayLike,
        seed: int = 0,
        features: npt.ArrayLike | None = None,
        learnt: Sequence[float] = (),
    ) -> None:
        """Learns from labelled architectures; a second call forgets what was learned before.

        Args:
            space: Theirs.
            architectures: At least two.
            scores: One finite score for each.
            seed: The only source of randomness, >= 0.
            features: Further figures of each, shape (labels, figures), for models that take them.
            learnt: What an earlier fit has ``learnt``, to be kept; none: that is learnt anew.

        Raises:
            UsageError: If there are fewer than two, lengths differ, a value is not finite, or the model takes no
                features.
        """
        self._take(space, architectures, scores, seed, features)
        self._given = tuple(learnt)
        self._fit(np.random.default_rng(seed))

    def predict(self, architectures: Sequence[Architecture], features: npt.ArrayLike | None = None) -> Prediction:
        """Predicts scores, on the scale of the labels' scores.

        Args:
            architectures: Members of the space; there may be none.
            features: As in ``fit``.

        Raises:
            UsageError: If the model was not fitted, or features are not those that it was fitted with.
        """
        return self.in_units(self.predict_targets(architectures, features))

    def in_units(self, prediction: Prediction) -> Prediction:
        """What ``predict_targets`` gave, on the scale of the labels' scores."""
        mean, spread = prediction
        lower, middle, upper = self._to_scores(np.array([mean - spread, mean, mean + spread]))
        return Prediction(middle, (upper - lower) / 2)

    def predict_targets(
        self, architectures: Sequence[Architecture], features: npt.ArrayLike | None = None
    ) -> Prediction:
        """As ``predict``, on the scale of ``targets``, where spreads are comparable; for choosing what to try next."""
        if not hasattr(self, "targets"):
            raise UsageError(f"{type(self).__name__}: call fit before predict")
        wanted = None if self._raw_features is None else self._raw_features.shape[1]
        given = self._checked_features(features, len(architectures))
        got = None if given is None else given.shape[1]
        if got != wanted:
            raise UsageError(
                f"{type(self).__name__}: it was fitted with {wanted or 'no'} features, expected as many, "
                f"got {got or 'none'}"
            )
        if not len(architectures):
            return Prediction(np.zeros(0), np.zeros(0))
        mean, spread = self._predict(architectures, self._ranked(given))
        return Prediction(np.asarray(mean, np.float64), np.asarray(spread, np.float64))

    def shortlist(self, architectures: Sequence[Architecture], n: int) -> list[int]:
        """Places of those worth predicting: the ``n`` of the greatest mean and spread, by a rough prediction, or all.

        A search asks it, after ``fit``, where it has many candidates and will take the best few.
        """
        rough = None if len(architectures) <= n else self.rough(architectures)
        if rough is None:
            return list(range(len(architectures)))
        hopes = rough.mean + 2 * rough.spread
        listed: list[int] = np.argsort(-hopes, kind="stable")[:n].tolist()
        return listed

    def rough(self, architectures: Sequence[Architecture]) -> Prediction | None:
        """As ``predict_targets``, in less time, and with spreads that are rather too large; None: that is quick enough.

        By default None. A search with several objectives asks it, after ``fit``, to leave out most candidates.
        """
        return None

    def clone(self) -> Model:
        """A model with the same settings that was not fitted."""
        other = copy.copy(self)
        for name in ("space", "architectures", "scores", "targets"):
            other.__dict__.pop(name, None)
        return other

    # -- files -----------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Writes the fitted model, labels included, as safetensors; whole or not at all."""
        from safetensors.numpy import save

        from archsearch.components import describe

        arrays = {f"state.{name}": np.ascontiguousarray(array) for name, array in self._state().items()}
        arrays["scores"] = self.scores
        if self._raw_features is not None:
            arrays["features"] = self._raw_features
        facts = {"model": describe(self), "architectures": self.architectures, "seed": self._seed}
        facts["notes"] = dict(self.notes)
        text = json.dumps(facts)
        write_whole(Path(path), save(arrays, {"json": text, ENTRY: _seal(arrays, text)}))

    def _take(
        self,
        space: Space,
        architectures: Sequence[Architecture],
        scores: npt.ArrayLike,
        seed: int,
        features: npt.ArrayLike | None,
    ) -> None:
        owner = type(self).__name__
        found = np.array(scores, np.float64)
        if found.shape != (len(architectures),) or len(found) < 2 or not np.isfinite(found).all():
            raise UsageError(
                f"{owner}: expected a finite score for each of two or more architectures, got "
                f"{len(architectures)} architectures and scores of shape {found.shape}"
            )
        self.space, self.architectures, self.scores, self._seed = space, list(architectures), found, seed
        self._raw_features = self._checked_features(features, len(found))
        self._features = self._ranked(self._raw_features)
        self.targets = normal_scores(found)
        order = np.argsort(self.targets, kind="stable")
        at, score = self.targets[order], found[order]
        slope = (score[-1] - score[0]) / (at[-1] - at[0]) if at[-1] > at[0] else 1.0
        self._label_curve = at, score, float(slope)

    def _checked_features(self, features: npt.ArrayLike | None, n: int) -> Features | None:
        if features is None:
            return None
        if not self.takes_features:
            raise UsageError(f"{type(self).__name__} learns from architectures alone; use a model that takes features")
        found = np.array(features, np.float64)
        if found.ndim != 2 or len(found) != n or not found.shape[1] or not np.isfinite(found).all():
            raise UsageError(
                f"{type(self).__name__}: features: expected finite numbers of shape ({n}, figures), "
                f"got shape {found.shape}"
            )
        return found

    def _ranked(self, features: Features | None) -> Features | None:
        """Each feature as the normal score of its rank among those of the labels, if they are to be ranked."""
        if features is None or self._raw_features is None:
            return None
        if not self.ranks_features:
            return features
        columns = []
        for known, asked in zip(self._raw_features.T, features.T, strict=True):
            at, first = np.unique(known, return_index=True)
            columns.append(np.interp(asked, at, normal_scores(known)[first]))
        return np.stack(columns, axis=1)

    def _to_scores(self, targets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Strictly increasing: straight lines between the labels, and beyond them the mean slope."""
        at, score, slope = self._label_curve
        beyond = np.maximum(targets - at[-1], 0) + np.minimum(targets - at[0], 0)
        # The little tilt keeps the order where labels are equal.
        between: npt.NDArray[np.float64] = np.interp(targets, at, score) + slope * (beyond + 1e-6 * targets)
        return between


def load_model(path: Path | str, space: Space, model: Model | None = None) -> Model:
    """Reads a model that ``Model.save`` wrote.

    Args:
        path: The file; it can be anyone's: nothing is unpickled, and only installed models are made.
        space: The space of its labels.
        model: A model with the settings of the one that was saved, where that is of a class of your own.

    Raises:
        UsageError: If the file cannot be read, its labels are not in the space, or its model is neither installed nor
            given.
    """
    from safetensors import SafetensorError, safe_open

    from archsearch.components import build, describe

    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            notes = file.metadata() or {}
        if notes.keys() != {"json"} and notes.get(ENTRY) != _seal(arrays, notes["json"]):  # version 0.1.0 had none
            raise Damaged("its checksum does not fit")
        facts = json.loads(notes["json"])
        same = model is not None and describe(model) == facts["model"]
        model = model.clone() if same and model is not None else build(facts["model"], "models", where=str(path))
        labelled = [space.validate(architecture) for architecture in facts["architectures"]]
        seed, scores, model_notes = facts["seed"], arrays["scores"], facts["notes"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, ArchsearchError) as error:
        raise UsageError(f"{path}: expected a model of {type(space).__name__}, saved by Model.save; {error}") from None
    if not isinstance(model, Model):
        raise UsageError(f"{path}: expected a model, saved by Model.save, got {type(model).__name__}")
    features = arrays.get("features")
    state = {name.removeprefix("state."): array for name, array in arrays.items() if name.startswith("state.")}
    if state:
        model._take(space, labelled, scores, seed, features)
        model._load_state(state)
    else:
        model.fit(space, labelled, scores, seed, features)
    model.notes = model_notes
    return model


def _seal(arrays: Mapping[str, npt.NDArray[Any]], text: str) -> str:
    """The checksum of arrays and of the facts' text."""
    described = (
        (name, str(array.dtype), array.shape, np.ascontiguousarray(array).tobytes()) for name, array in arrays.items()
    )
    return checksum(tensors_checksum(described).encode(), text.encode())


def one_thread() -> contextlib.AbstractContextManager[object]:
    """Inside, the libraries loaded so far compute on one thread: for work in pieces too small for several.

    Where other processes use the cores, such pieces were seen to take 10 times as long with threads.
    """
    limits: contextlib.AbstractContextManager[object] = _thread_pools(len(sys.modules)).limit(limits=1)
    return limits


@functools.lru_cache(maxsize=1)
def _thread_pools(modules: int) -> Any:  # noqa: ARG001  # the key of the cache
    """The libraries with threads that are loaded; looked for again, which takes a millisecond, once there are others.

    Args:
        modules: How many modules Python has loaded: only new ones bring new libraries.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def normal_scores(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores, shape (n,), as a normal distribution has them: the r-th of n is given the quantile of (r - 1/2) / n.

    Equal scores share the mean rank.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    found: npt.NDArray[np.float64] = ndtri((rankdata(scores) - 0.5) / len(scores))
    return found
