"""The controller contract: who proposes.

``ask(n)`` gives n proposals, ``tell(trials)`` takes results: in any order, any subset, failures
included, long after. Asking never blocks and never depends on results having come. An author writes
``_ask`` and ``_tell`` and names the attributes that make up the state; ids, pending proposals, checks and
the random generator are kept here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeGuard

import numpy as np

from archsearch.basics.decisions import in_order
from archsearch.basics.descriptions import Described
from archsearch.basics.seeding import generator_state, restore_generator, stream
from archsearch.errors import UnknownProposal, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture, Budget, Proposal, Trial

if TYPE_CHECKING:
    from archsearch.abilities import Distribution

__all__ = ["Answer", "Controller", "without_budgets"]

Answer = Architecture | tuple[Architecture, int | None] | tuple[Architecture, int | None, Budget | None]
"""What an author's ``_ask`` gives: an architecture, also with the id of its parent trial, also with a budget."""


Order = Literal["ignored", "steps", "distances", "inner"]
"""What a controller makes of options in order."""

NAMED = 3
"""Decisions that a message names."""


class Plan(NamedTuple):
    """What a controller may know of a search when that begins, to choose settings that were left out.

    Attributes:
        trials: Completed trials after which it ends; None: not known.
        workers: Parallel evaluations.
        noise: Standard deviation of a score under other seeds, as the evaluator says it; None: it does not say.
        instant: Whether an evaluation takes next to no time, as a look-up does.
    """

    trials: int | None = None
    workers: int = 1
    noise: float | None = None
    instant: bool = False


class Controller(Described):
    """Base class of all controllers.

    Hyper-parameters are typed arguments of ``__init__`` with a docstring, kept as attributes of the same
    name: the command line and run folders are made from them. Scores are maximised.

    Attributes:
        space: The space being searched (after ``start``).
        rng: The only source of randomness that a controller may use (after ``start``).
        state: Names of the attributes that change during a search. Their values must be JSON data:
            numbers, strings, None, lists, dictionaries with string keys; tuples come back as lists.
        order: What it makes of numbers and other options in order (``Space.positions``), which every controller takes:
            ``steps``: its mutations go to near options; ``distances``: its model knows how far apart they are;
            ``ignored``: they are categories to it, which it says where there are any; ``inner``: what a controller
            inside it does.
        learns: Whether results change which architectures are proposed; False for random search.
        budgets: Lengths of training that it asks for, rising; empty if it leaves that to the evaluator.
        reads_distribution: Whether it proposes by the distribution that the evaluator has learnt: a search then hands
            that to ``read``, or refuses an evaluator that has none.
        state_per_trial: Most bytes by which ``state_dict``, as JSON, grows with each trial; 0 for all that need not
            remember every result. The contract suite holds a controller to it.
    """

    state: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[Order] = "ignored"
    learns: bool = True
    budgets: tuple[int, ...] = ()
    reads_distribution: bool = False
    state_per_trial: ClassVar[int] = 0

    space: Space
    rng: np.random.Generator

    plan: Plan = Plan()
    """What is known of the search when it begins; set by the search, before ``start``."""

    say: Callable[[str], None] | None = None
    """Tells the user something; set by the search, before ``start``."""

    outside: Callable[[str, Callable[[], Any]], Any] | None = None
    """Gives the answer, as JSON data, to what is asked outside the search, such as an adviser; set by the search.

    It is given the name of the question, which no other one has, and who asks it. What was answered once is written
    down, so that a search that goes on gets the same without asking. None: nobody writes.
    """

    proposed_by: dict[int, str] = {}  # noqa: RUF012  of a controller that was started it is its own
    """Of proposals just made that others have thought of: by id who, as in ``Trial``; the search takes them out."""

    refusal: Callable[[Architecture], str] | None = None
    """Why a search would not evaluate an architecture, empty if it would; set by the search, before ``start``.

    A controller may leave out what is refused; it hears of a failure otherwise. None: nobody knows.
    """

    @property
    def finished(self) -> bool:
        """Whether it has nothing more to propose: the search then ends, when all results are in. By default never."""
        return False

    # -- what an author writes -----------------------------------------------------------------

    def _start(self) -> None:
        """Sets the state attributes to their start values; called by ``start``, after ``space`` and ``rng``."""

    def _ask(self) -> Answer:
        """The next architecture, or a tuple (architecture, id of the parent trial[, budget])."""
        raise NotImplementedError

    def _ask_many(self, n: int) -> Sequence[Answer]:
        """The next ``n``, or fewer if it is ``finished`` then; override it where drawing many at once is cheaper."""
        return [self._ask() for _ in range(n)]

    def _tell(self, trial: Trial) -> None:
        """Learns from one result. Failed trials come here too: ``trial.evaluation`` is None for them."""

    def _hear(self, trial: Trial) -> None:
        """Learns from a result of others: of an older run, of a person, of an adviser. By default as from one's own.

        Its id is negative, -1 for the first, and no proposal has it. Proposals may name it as their parent. Override
        this where ``_tell`` needs an id that was proposed, or where others' results are of no use.
        """
        self._tell(trial)

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility``, naming both sides, if this controller is of no use in that space.

        Called by a search before anything is spent; ``start`` itself takes any space. By default what a controller
        inside it, kept as ``controller``, says.
        """
        inner = getattr(self, "controller", None)
        if isinstance(inner, Controller):
            inner.check(space)

    def read(self, distribution: Distribution) -> None:
        """Is handed what the evaluator has learnt, once it is ready, and anew each time that it has learnt on.

        Only where ``reads_distribution``. What is needed of it later must go into the state: a search that is resumed
        does not hand it over again.
        """

    def fingerprints(self) -> Mapping[str, str]:
        """What this controller reads from outside: the setting that names a file to the fingerprint of its content.

        See ``archsearch.files.fingerprints``. A run is not resumed where one has changed. By default nothing.
        """
        return {}

    # -- what the search calls -----------------------------------------------------------------

    def start(self, space: Space, seed: int) -> None:
        """Begins a search; a second call begins another one from scratch.

        Args:
            space: Where to search.
            seed: Root seed, >= 0.
        """
        self.space = space
        self.rng = stream(seed, "controller")
        self._next_id = 0
        self._heard = 0
        self.proposed_by = {}
        self._pending: dict[int, Architecture] = {}
        if space.in_order and self.order == "ignored" and self.say is not None:
            names = in_order(space)
            some = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            self.say(f"{type(self).__name__} makes no use of the order of the options of {some}")
        self._start()

    def begin(self, inner: Controller) -> None:
        """Starts a controller inside this one, which then knows of the search what this one knows.

        Args:
            inner: Which; its seed comes from ``self.rng``.
        """
        inner.plan, inner.say, inner.refusal = self.plan, self.say, self.refusal
        if (outside := self.outside) is not None:
            inner.outside = lambda name, ask: outside(f"inner {name}", ask)
        inner.start(self.space, int(self.rng.integers(2**63)))

    def ask(self, n: int = 1) -> list[Proposal]:
        """Proposes ``n`` architectures, however many results are still due; fewer only if it is ``finished`` then.

        Raises:
            UsageError: If ``start`` was not called, or ``n`` < 1.
        """
        if not hasattr(self, "_pending"):
            raise UsageError(f"{type(self).__name__}.ask: call start(space, seed) first")
        if n < 1:
            raise UsageError(f"{type(self).__name__}.ask: expected n >= 1, got {n}")
        proposals = []
        for answer in (self._ask(),) if n == 1 else self._ask_many(n):
            # An architecture holds ints, any other answer holds an architecture first.
            if isinstance(answer, tuple) and (not answer or type(answer[0]) is int):
                proposal = Proposal(self._next_id, answer)
            elif type(answer) is tuple and len(answer) == 2 and _is_plain(answer[0]) and self._knows(answer[1]):
                proposal = Proposal(self._next_id, answer[0], answer[1])
            else:
                proposal = self._proposal(answer)
            self._pending[self._next_id] = proposal.architecture
            proposals.append(proposal)
            self._next_id += 1
        return proposals

    def _proposal(self, answer: Any) -> Proposal:
        """What an author's ``_ask`` gave with more than an architecture."""
        if (architecture := _as_architecture(answer)) is not None:
            return Proposal(self._next_id, architecture)
        if isinstance(answer, tuple) and 2 <= len(answer) <= 3:
            given, parent, budget = (*answer, None)[:3]
            architecture = _as_architecture(given)
            parent = int(parent) if isinstance(parent, np.integer) else parent
            if architecture is not None and self._knows(parent) and (budget is None or isinstance(budget, Budget)):
                return Proposal(self._next_id, architecture, parent, budget)
        raise UsageError(
            f"{type(self).__name__}: its _ask gave {answer!r}: expected an architecture (a tuple of int), or that with "
            "the id of an earlier proposal as its parent (or None), or that with a Budget"
        )

    def _knows(self, parent: Any) -> bool:
        """Whether that is an id that was given, or None."""
        return parent is None or (type(parent) is int and -self._heard <= parent < self._next_id)

    def tell(self, trials: Iterable[Trial]) -> None:
        """Hands over results, in any order.

        A completed trial whose score is not finite is treated as failed.

        Raises:
            UnknownProposal: If a trial's id is not pending: never asked, or told before.
        """
        for trial in trials:
            if self._pending.pop(trial.id, None) is None:
                raise UnknownProposal(
                    f"{type(self).__name__}.tell: trial {trial.id} is not pending; expected the id of a proposal from "
                    f"ask() that was not told yet ({len(self._pending)} are pending, next id {self._next_id})"
                )
            self._tell(_judged(trial))

    def hear(self, trials: Iterable[Trial]) -> None:
        """Hands over results of architectures that it did not propose; see ``_hear``.

        Args:
            trials: Each gets the next negative id, whatever it has, and no parent.
        """
        for trial in trials:
            self._heard += 1
            self._hear(_judged(trial._replace(id=-self._heard, parent=None)))

    def expect_again(self, proposal: Proposal) -> None:
        """Waits once more for the result of a proposal that was told as failed, but is evaluated again.

        Raises:
            UnknownProposal: If it was never asked for.
        """
        if not 0 <= proposal.id < self._next_id:
            raise UnknownProposal(
                f"{type(self).__name__}.expect_again: expected a proposal from ask() that was told as failed, got id "
                f"{proposal.id}; the next id is {self._next_id}"
            )
        self._pending[proposal.id] = proposal.architecture

    @property
    def pending(self) -> dict[int, Architecture]:
        """Proposals whose result is still due, by id."""
        return dict(self._pending)

    def state_dict(self) -> dict[str, Any]:
        """Everything that ``load_state_dict`` needs to go on exactly from here, as JSON data."""
        return {
            "rng": generator_state(self.rng),
            "next_id": self._next_id,
            **({"heard": self._heard} if self._heard else {}),
            "pending": [[id_, list(architecture)] for id_, architecture in self._pending.items()],
            "state": self._state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``'s result into a started controller with the same settings."""
        restore_generator(self.rng, state["rng"])
        self._next_id, self._heard = state["next_id"], state.get("heard", 0)
        self._pending = {id_: tuple(architecture) for id_, architecture in state["pending"]}
        self._load_state_dict(state["state"])

    def _state_dict(self) -> dict[str, Any]:
        # Copies: what the caller keeps must not change as the search goes on, nor the other way round.
        return {name: copy.deepcopy(getattr(self, name)) for name in self.state}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self.state:
            setattr(self, name, copy.deepcopy(state[name]))


def _judged(trial: Trial) -> Trial:
    """A trial whose score is not finite counts as failed."""
    evaluation = trial.evaluation
    if evaluation is None or math.isfinite(evaluation.score):
        return trial
    return trial._replace(evaluation=None, failure="invalid_score", error=f"score {evaluation.score}")


def _is_plain(value: Any) -> TypeGuard[Architecture]:
    """Whether that is a tuple of Python's own integers, as all architectures are in the end."""
    return type(value) is tuple and set(map(type, value)) == {int}


def _as_architecture(value: Any) -> Architecture | None:
    """An architecture that came as a tuple, a list or an array, as one of Python's integers; None: it is none."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (tuple, list)):
        return None
    whole = all(isinstance(option, (int, np.integer)) and not isinstance(option, bool) for option in value)
    return tuple(map(int, value)) if whole else None


def without_budgets(owner: str, controller: Controller) -> Controller:
    """``controller`` if it can be wrapped by one that decides how long to train.

    Args:
        owner: Name of the wrapping controller.
        controller: What it was given.

    Raises:
        UsageError: If it is no controller, or has budgets of its own.
    """
    if not isinstance(controller, Controller) or controller.budgets or controller.reads_distribution:
        raise UsageError(
            f"{owner}: controller: expected a controller that asks for no budgets itself and reads no distribution, "
            f"such as RandomSearch(), got {controller!r}"
        )
    return controller
