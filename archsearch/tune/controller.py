"""Searchers of Ray Tune as controllers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from archsearch.components import import_object
from archsearch.controller import Answer, Controller
from archsearch.errors import UsageError
from archsearch.trial import Proposal, Trial
from archsearch.tune.searcher import key

# -- Tune's searchers as controllers -----------------------------------------------------------------


class TuneSearch(Controller):
    """A searcher of Ray Tune, such as that of Optuna or HyperOpt, as a controller over a space of fixed length.

    Every decision is one categorical parameter, ``tune.choice`` of its options. Conditional spaces are refused: Tune's
    own search spaces cannot say how many decisions there are.

    Searchers have files of their own, which hold pickles, and these are not read here. A stopped search is instead
    resumed by a new searcher that is asked and told again all that the old one was: the state has a line for each
    trial, and resuming takes as long as all suggestions did. It works for searchers that repeat themselves for a seed;
    for others resuming is a ``UsageError``.

    Args:
        searcher: Its class, or anything else that makes one, or the import path of that, such as
            ``ray.tune.search.optuna.OptunaSearch``. Give it neither space nor metric. Or a searcher that was not used
            yet, of which each search takes a copy; its seed is then its own, and a run folder cannot store it.
        settings: Further arguments for making it; None: none.
        seed_argument: Name of the argument that takes its seed; None: it has none.

    Raises:
        UsageError: If the searcher cannot be made, or has a space already.
    """

    def __init__(
        self,
        searcher: str | Callable[..., Any] | Any,
        settings: dict[str, Any] | None = None,
        seed_argument: str | None = "seed",
    ) -> None:
        self.searcher = searcher
        self.settings = settings
        self.seed_argument = seed_argument
        if isinstance(searcher, Searcher) and settings:
            raise UsageError(
                "TuneSearch: settings are for a class of searchers, but one that is made already was given"
            )
        self._make = import_object(searcher) if isinstance(searcher, str) else searcher
        if not isinstance(searcher, Searcher) and not callable(self._make):
            raise UsageError(f"TuneSearch: expected a class of searchers or its import path, got {searcher!r}")

    @property
    def finished(self) -> bool:
        """Whether the searcher has said so."""
        return getattr(self, "_finished", False)

    def ask(self, n: int = 1) -> list[Proposal]:
        """See ``Controller.ask``; fewer once the searcher says that it has finished."""
        try:
            return super().ask(n)
        except _Finished:
            return []

    def _start(self) -> None:
        if self.space.arities is None:
            raise UsageError(
                f"TuneSearch: {type(self.space).__name__} has decisions that depend on others, which Tune's search "
                "spaces cannot express; expected a space of fixed length, or use another controller"
            )
        self._begin(int(self.rng.integers(2**31)))

    def _begin(self, seed: int) -> None:
        """A searcher that was asked nothing yet."""
        self._seed, self._asked, self._finished = seed, 0, False
        self._told: list[list[Any]] = []  # asked until then, id, score or None
        self._keys = [key(self.space, (0,) * i) for i in range(self.space.max_length)]
        arguments = {**(self.settings or {}), **({self.seed_argument: seed} if self.seed_argument else {})}
        if isinstance(self._make, Searcher):
            self._searcher = copy.deepcopy(self._make)
        else:
            try:
                self._searcher = self._make(**arguments)
            except (TypeError, ImportError, AssertionError) as error:  # Tune asserts that the library is installed
                raise UsageError(f"TuneSearch: {self.searcher!r} cannot be made with {arguments}: {error}") from error
        assert self.space.arities is not None
        config = {key: tune.choice(list(range(n))) for key, n in zip(self._keys, self.space.arities, strict=True)}
        if not self._searcher.set_search_properties("score", "max", config):
            raise UsageError(
                f"TuneSearch: {type(self._searcher).__name__} takes no search space now; give it none, nor a metric"
            )

    def _ask(self) -> Answer:
        suggestion: Any = self._searcher.suggest(str(self._asked))
        if suggestion == Searcher.FINISHED:
            self._finished = True
            raise _Finished
        if suggestion is None:
            raise UsageError(
                f"TuneSearch: {type(self._searcher).__name__} makes no suggestion before it has more results "
                f"({len(self._pending)} are pending); use fewer workers, or let it have more trials at a time"
            )
        self._asked += 1
        return tuple(int(suggestion[key]) for key in self._keys)

    def _ask_many(self, n: int) -> Sequence[Answer]:
        answers: list[Answer] = []
        with contextlib.suppress(_Finished):
            for _ in range(n):
                answers.append(self._ask())
        return answers

    def _tell(self, trial: Trial) -> None:
        self._hand_over(trial.id, trial.score)

    def _hear(self, trial: Trial) -> None:
        """Nothing: a searcher of Tune hears of what it has suggested."""

    def _hand_over(self, id_: int, score: float | None) -> None:
        self._told.append([self._asked, id_, score])
        if score is None:
            self._searcher.on_trial_complete(str(id_), error=True)
        else:
            self._searcher.on_trial_complete(str(id_), {"score": score, "training_iteration": 1})

    # -- state ---------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "asked": self._asked,
            "told": [list(told) for told in self._told],
            "finished": self._finished,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        """Has a new searcher live through it again.

        Raises:
            UsageError: If it then suggests something else than the old one did.
        """
        self._begin(state["seed"])
        proposed: dict[int, Answer] = {}
        with contextlib.suppress(_Finished):
            for asked, id_, score in [*state["told"], [state["asked"], None, None]]:
                while self._asked < asked:
                    id_asked = self._asked
                    proposed[id_asked] = self._ask()
                if id_ is not None:
                    self._hand_over(id_, score)
                    del proposed[id_]
        self._finished = state["finished"]
        if proposed != self._pending or self._asked != state["asked"]:
            raise UsageError(
                f"TuneSearch: {type(self._searcher).__name__} does not repeat itself for a seed, so that a search "
                "with it cannot be resumed; start a new one"
            )


class _Finished(Exception):
    """The searcher has no more to suggest."""
