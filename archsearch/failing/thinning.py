"""Thinning: most of the proposals that are likely to fail are refused, never all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archsearch.basics.seeding import stream
from archsearch.failing.forecast import Forecast
from archsearch.trial import Trial

if TYPE_CHECKING:
    from archsearch.space import Space


class Thinning:
    """Says which proposals are refused since they are likely to fail.

    A proposal that is likely to fail is refused with probability ``share``, by its own random number; and at no time
    have more than that share of all proposals been refused. So every architecture stays within reach, however wrong
    the model is, and what is evaluated in spite of it goes on judging it. Without a model that is better than the plain
    rate of failures nothing is refused.

    Args:
        space: What is searched.
        seed: Root seed of the search.
        share: Above 0 and below 1.

    Attributes:
        refused: How many were.
    """

    def __init__(self, space: Space, seed: int, share: float) -> None:
        self._seed = seed
        self._share = share
        self._forecast = Forecast(space)
        self._proposed = 0
        self.refused = 0

    def why(self, id_: int, architecture: tuple[int, ...]) -> str:
        """Why a proposal is refused; empty: it is not. Each proposal is asked about once.

        Args:
            id_: Of the proposal.
            architecture: What it proposes.
        """
        self._proposed += 1
        forecast = self._forecast
        if self.refused + 1 > self._share * self._proposed or not forecast.is_believed:
            return ""
        probability = forecast.probability(architecture)
        if probability < forecast.likely or stream(self._seed, f"thinning {id_}").random() >= self._share:
            return ""
        self.refused += 1
        return f"likely to fail: probability {probability:.2f}, where {forecast.rate:.2f} of the newest trials failed"

    def learn(self, trial: Trial) -> None:
        """Hears of a trial that was evaluated."""
        if trial.attempts:
            self._forecast.learn(trial.architecture, trial.failure)

    def state(self) -> dict[str, Any]:
        """What ``load`` needs, as JSON data."""
        return {"refused": self.refused, "proposed": self._proposed, "forecast": self._forecast.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave."""
        self.refused, self._proposed = state["refused"], state["proposed"]
        self._forecast.load(state["forecast"])
