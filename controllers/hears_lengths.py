"""What a controller is told that proposes inside another one which trains for several lengths, and learns from all.

Most controllers compare scores, which only trainings of equal length allow: ``SuccessiveHalving`` tells them the score
at the shortest length of all, of each of their proposals once. One that knows what a length is has this base, and hears
everything.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

from archsearch.controller import Controller
from archsearch.trial import Architecture, Trial


class HearsLengths(Controller, abc.ABC):
    """A controller that, inside one that trains for several lengths, is told the results of all of them.

    It is told of each of its proposals once, as ever, with the score at the length at which that began
    (``trial.budget.stop``), and of trainings that went on by ``tell_longer``.

    Attributes:
        lengths: Of the trainings, rising; empty: nobody says, and all trainings count as equally long.
        due: What is being trained, its own proposals and what went on, each with the length after which the result will
            come; None: nobody says.
    """

    lengths: tuple[int, ...] = ()
    due: Callable[[], list[tuple[Architecture, int]]] | None = None

    @abc.abstractmethod
    def tell_longer(self, trial: Trial) -> None:
        """Takes the result of a training that went on.

        Args:
            trial: Its id and its parent are those of the controller outside, which this one does not know.
        """
