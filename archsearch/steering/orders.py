"""What others ask of a running search: whether it is to wait or to end, and orders that change its path.

Threads that talk to other processes write here, and the search looks. An order changes the path, so it is on disk
(``control.jsonl``) before whoever gave it hears that it was taken, and so is the proposal before which it is obeyed: a
resume obeys it there again, or, if that never came, next.

    ["o", number, verb, value]     an order was taken
    ["u", number, id]              it was obeyed before the proposal with that trial id
    ["s", name, value]             a setting was changed, which a resume takes up

"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from archsearch.errors import ArchsearchError
from archsearch.files.damage import Notices
from archsearch.steering.answers import Answers
from archsearch.steering.log import SealedLog

FILE = "control.jsonl"
"""In a run folder that was ever given an order."""


class Order(NamedTuple):
    """Something to be obeyed before a proposal.

    Attributes:
        number: Counts from 1.
        verb: ``put`` or ``limits``.
        value: The architecture, or limits by name, None where one is lifted.
    """

    number: int
    verb: str
    value: Any


class Errand:
    """Something that the search itself does, between two results, for a thread that waits.

    Args:
        work: What; gives words for who asked.
    """

    def __init__(self, work: Callable[[], str]) -> None:
        self._work = work
        self._done = threading.Event()
        self.answer = ""
        self.error: ArchsearchError | None = None

    def run(self) -> None:
        """Does it; what is wrong with it is for who asked, not for the search."""
        try:
            self.answer = self._work()
        except ArchsearchError as error:
            self.error = error
        finally:
            self._done.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is done within so many seconds."""
        return self._done.wait(seconds)


class Steering:
    """What others ask of a search. The search has one, whether anybody asks or not.

    Attributes:
        wanted: Whether the search is to look: at errands, or whether it is to wait or end.
        paused: Whether it is to propose nothing for now.
        ending: Whether it is to propose nothing more, and to end when all results are in.
        orders: That were taken and not obeyed yet, in order.
        obeyed: Number of the last one that was.
        settings: That were changed, by name.
        kept: Names of settings that whoever goes on with the run has given anew: these hold.
        cancelled: Trials whose failure is called that, when it comes.
        answers: Of what the search's controller asks outside.
    """

    def __init__(self) -> None:
        self.wanted = self.paused = self.ending = False
        self.orders: deque[Order] = deque()
        self.obeyed = 0
        self.settings: dict[str, Any] = {}
        self.kept: frozenset[str] = frozenset()
        self.cancelled: set[int] = set()
        self.answers = Answers()
        self._taken: list[Order] = []
        self._places: dict[int, int] = {}  # of orders that were obeyed: before which proposal
        self._log: SealedLog | None = None
        self._lock = threading.Lock()
        self._errands: deque[Errand] = deque()
        self._news = threading.Event()

    # -- on disk ---------------------------------------------------------------------------------

    def keep_in(self, folder: Path, notices: Notices) -> None:
        """Keeps orders in a run folder from here on, and takes up those that are there."""
        if self._log is not None:
            return
        self.answers.keep_in(folder, notices)
        self._log = SealedLog(folder / FILE, notices)
        for event in self._log.read():
            match event:
                case ["o", int(number), "put", list(value)] if all(type(option) is int for option in value):
                    self._taken.append(Order(number, "put", value))
                case ["o", int(number), "limits", dict(value)]:
                    self._taken.append(Order(number, "limits", value))
                case ["u", int(number), int(id_)]:
                    self._places[number] = id_
                case ["s", str(name), value] if name not in self.kept:
                    self.settings[name] = value
        self.orders = deque(self._taken)

    def begin_after(self, obeyed: int) -> Iterator[Mapping[str, float | None]]:
        """Counts orders up to a number as obeyed; gives the limits that they set, in order."""
        self.obeyed = obeyed
        while self.orders and self.orders[0].number <= obeyed:
            order = self.orders.popleft()
            if order.verb == "limits":
                yield order.value

    # -- by other threads ------------------------------------------------------------------------

    def take(self, verb: str, value: Any) -> Order:
        """Takes an order, which is on disk when this returns.

        Raises:
            StorageError: If it cannot be written.
        """
        with self._lock:
            order = Order(1 + max((each.number for each in self._taken), default=0), verb, value)
            if self._log is not None:
                self._log.append(["o", *order])
            self._taken.append(order)
            self.orders.append(order)
        self.wake()
        return order

    def send(self, work: Callable[[], str]) -> Errand:
        """Has the search do something soon."""
        errand = Errand(work)
        self._errands.append(errand)
        self.wake()
        return errand

    def wake(self) -> None:
        """Has the search look."""
        self.wanted = True
        self._news.set()

    # -- by the search ---------------------------------------------------------------------------

    def due(self, next_id: int, *, live: bool) -> Order | None:
        """The next order to be obeyed before the proposal of that id, counted as obeyed; None: none is due.

        Args:
            next_id: Of the trial that comes next.
            live: Whether this happens now; else only what was obeyed there before is due.

        Raises:
            StorageError: If it cannot be noted.
        """
        if not self.orders:
            return None
        order = self.orders[0]
        place = self._places.get(order.number)
        if place is None and live:
            if self._log is not None:
                self._log.append(["u", order.number, next_id])
        elif place is None or place > next_id:
            return None
        self.obeyed = self.orders.popleft().number
        return order

    def change(self, name: str, value: Any) -> None:
        """Notes a setting that was changed.

        Raises:
            StorageError: If it cannot be noted.
        """
        self.settings[name] = value
        if self._log is not None:
            self._log.append(["s", name, value])

    def run_errands(self) -> None:
        """Does what was sent for; then only waiting and ending are reasons to look again."""
        self.wanted = self.paused or self.ending
        self._news.clear()
        while self._errands:
            self._errands.popleft().run()

    @property
    def holds(self) -> bool:
        """Whether nothing is to be proposed now."""
        return self.paused or self.ending

    def wait(self, seconds: float) -> None:
        """Waits for news, at most so long."""
        self._news.wait(seconds)
