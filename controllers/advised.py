"""Advised: another controller searches, and an adviser overrides a share of its proposals.

Reference: Ferreira, Wobbe, Krishnakumar, Hutter & Zela, "Can LLMs beat classical hyperparameter optimization
algorithms? A study on autoresearch", arXiv 2603.24647, 2026: in Centaur, CMA-ES searches, and in 30 % of the trials a
language model that is shown its state, the 5 best and the 20 last trials proposes in its place; CMA-ES hears of all.

Where we differ: any controller searches and anything advises, a language model, another program, a person. The
controller is not asked for the proposals that are overridden, and hears of them as of results of others; these are
evenly spread, not drawn. Its state is shown as far as it fits. What is not in the space, beyond the limits, or was
proposed before is refused, with the reason, which the adviser is shown next time; the controller proposes instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from archsearch.basics.checks import number
from archsearch.basics.texts import name_of
from archsearch.controller import Answer, Controller, Order, without_budgets
from archsearch.controllers.proposed import Proposed
from archsearch.controllers.regularized_evolution import RegularizedEvolution
from archsearch.controllers.trial_ids import TrialIds
from archsearch.errors import ArchsearchError
from archsearch.steering.advisers import MOST, Adviser, NoAdvice, architectures_in, read_architecture
from archsearch.trial import Architecture, Trial

BEST, LAST = 5, 20
"""Trials that an adviser is shown, as in the paper."""
NOTED = 20
"""Reasons that are remembered."""
SHOWN_STATE = 20_000
"""Letters of the controller's state that an adviser is shown; a longer one is left out."""
PARENTS = 1_000
"""Newest proposals that can be named as parents; older parents are left out."""
WAITING = 100
"""Architectures that are remembered of one answer."""
ADVISER = "adviser"
ANSWER = (
    '{"architecture": TEXT or OPTIONS, "why": TEXT}, or {"architectures": [...]} for several, best first, or null; '
    "TEXT is the notation of the examples, OPTIONS a list of one whole number for each decision"
)


class Advised(Controller):
    """Around another one: an adviser, such as a language model or a person, overrides a share of its proposals.

    Both hear of everything. An adviser that is late, fails, or says what cannot be evaluated loses its turn to the
    controller. What it says is kept in the run folder, so that a search that goes on asks for none of it again.

    Args:
        controller: Who searches; it must not ask for budgets itself. None: ``RegularizedEvolution()``.
        adviser: A function from the state of the search to an answer, or its import path; ``command: PROGRAM ...``,
            which reads the state as JSON on standard input and writes the answer on standard output; ``file: PATH``,
            with an architecture on each line, which may be edited while the search runs. None: nobody.
        share: Of the proposals, how many the adviser is asked for, 0 to 1; the paper has 0.3.
        timeout: Seconds that a command has, > 0. A function has all the time it takes.

    Attributes:
        counts: ``asked``, ``taken``, ``refused``, ``silent`` (it had nothing to say) and ``failed`` answers so far.
        notes: The newest reasons why something was refused, or failed.
        found: For ``controller`` and ``adviser``: ``trials`` completed, ``mean`` and ``best`` score.

    Raises:
        UsageError: If a setting is out of range, the adviser is none, or the inner controller has budgets.
    """

    order: ClassVar[Order] = "inner"

    def __init__(
        self,
        controller: Controller | None = None,
        adviser: Callable[..., Any] | str | None = None,
        share: float = 0.3,
        timeout: float = 60.0,
    ) -> None:
        self.controller = controller
        self.adviser = adviser
        self.share = number("Advised", "share", share, low=0, high=1)
        self.timeout = number("Advised", "timeout", timeout, above=0)
        self._inner = without_budgets("Advised", RegularizedEvolution() if controller is None else controller)
        self._adviser = None if adviser is None else Adviser(adviser, timeout)
        self.learns = self._inner.learns

    def _start(self) -> None:
        self.begin(self._inner)
        self._asked = self._questions = 0
        self._own: dict[int, tuple[int, int | None]] = {}  # proposals of the controller that are due: its ids of them
        self._ids = TrialIds(proposals=PARENTS)
        self._heard_of: list[int] = []  # what the controller heard from others, by our ids, the newest
        self._forgotten = 0  # of these
        self._queue: list[list[int]] = []
        self._taken: list[str] = []
        self._proposed = Proposed()
        self.counts = dict.fromkeys(("asked", "taken", "refused", "silent", "failed"), 0)
        self.notes: list[str] = []
        self.found: dict[str, dict[str, Any]] = {
            who: {"trials": 0, "mean": 0.0, "best": None} for who in ("controller", ADVISER)
        }
        self._best: list[dict[str, Any]] = []
        self._last: list[dict[str, Any]] = []
        self._failures = 0

    @property
    def finished(self) -> bool:
        """As the inner controller."""
        return self._inner.finished

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Answer:
        id_ = self._asked
        self._asked += 1
        if self._adviser is not None and int((id_ + 1) * self.share) > int(id_ * self.share):
            advice = self._advice(self._adviser)
            if advice is not None:
                self.proposed_by[id_] = ADVISER
                return advice
        (proposal,) = self._inner.ask()
        self._ids.add(proposal.id, id_)
        self._own[id_] = (proposal.id, proposal.parent)
        self._proposed.add(self.space.canonical(proposal.architecture))
        return proposal.architecture, self._parent(proposal.parent)

    def _ask_many(self, n: int) -> list[Answer]:
        found: list[Answer] = []
        while len(found) < n and not self.finished:
            found.append(self._ask())
        return found

    def _parent(self, inner: int | None) -> int | None:
        """What a parent is called here that the controller named."""
        if inner is None or inner >= 0:
            return self._ids.of(inner)
        place = -inner - 1 - self._forgotten
        return self._heard_of[place] if place >= 0 else None

    def _advice(self, adviser: Adviser) -> Architecture | None:
        """What the adviser would try now; None: nothing that can be."""
        if not self._queue:
            self._consult(adviser)
        while self._queue:
            architecture = tuple(self._queue.pop(0))
            why = "it was proposed before" if self._proposed.has(self.space.canonical(architecture)) else ""
            if not why and self.refusal is not None:
                why = self.refusal(architecture)
            if not why:
                self._proposed.add(self.space.canonical(architecture))
                self.counts["taken"] += 1
                return architecture
            self._note("refused", f"{name_of(self.space, architecture)}: {why}")
        return None

    def _consult(self, adviser: Adviser) -> None:
        """Asks, and queues what is in the space of the answer."""
        self._questions += 1
        self.counts["asked"] += 1

        def ask() -> dict[str, Any]:
            try:
                return {"said": adviser.ask(self.shown(), self._taken)}
            except NoAdvice as error:
                return {"failed": str(error)}

        name = f"advice {self._questions}"
        answer = ask() if self.outside is None else self.outside(name, ask)
        try:
            if "failed" in answer:
                raise NoAdvice(answer["failed"])
            said = answer["said"]
            if isinstance(said, dict) and isinstance(said.get("line"), str):
                self._taken.append(said["line"])
            given = architectures_in(said)
        except NoAdvice as error:
            self._note("failed", str(error))
            return
        if not given:
            self.counts["silent"] += 1
        for each in given[:WAITING]:
            try:
                self._queue.append(list(read_architecture(self.space, each)))
            except (ArchsearchError, ValueError, TypeError, LookupError, AttributeError) as error:
                self._note("refused", str(error))

    def _note(self, what: str, why: str) -> None:
        self.counts[what] += 1
        self.notes = [*self.notes, f"{what}: {why[:MOST]}"][-NOTED:]
        if self.counts[what] == 1 and self.say is not None:
            self.say(f"Advised: the adviser's first answer that {what}, in whose place the controller proposes: {why}")

    def shown(self) -> dict[str, Any]:
        """What an adviser is shown, as JSON data."""
        space, inner = self.space, self._inner
        inner_state: Any = inner.state_dict()["state"]
        return {
            "goal": "Find the architecture with the highest score. Propose what is worth trying next; it is scored.",
            "answer": ANSWER,
            "space": {
                "name": type(space).__name__,
                "what": first_sentence(space),
                "architectures": space.size(),
                "decisions": None if space.arities is None else decisions(space),
            },
            "controller": {
                "name": type(inner).__name__,
                "what": first_sentence(inner),
                "state": inner_state if len(json.dumps(inner_state)) <= SHOWN_STATE else None,
            },
            "trials": {
                "planned": self.plan.trials,
                "completed": sum(found["trials"] for found in self.found.values()),
                "failed": self._failures,
                "pending": len(self._pending),
            },
            "best": self._best,
            "last": self._last,
            "found": self.found,
            "notes": self.notes,
        }

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        self.proposed_by.pop(trial.id, None)
        if (own := self._own.pop(trial.id, None)) is not None:
            self._inner.tell([trial._replace(id=own[0], parent=own[1])])
            self._remember(trial, "controller")
        else:
            self._pass_on(trial)
            self._remember(trial, ADVISER)

    def _hear(self, trial: Trial) -> None:
        self._proposed.add(self.space.canonical(trial.architecture))
        self._pass_on(trial)
        self._remember(trial, "others")

    def _pass_on(self, trial: Trial) -> None:
        """Has the controller hear of what it did not propose."""
        self._inner.hear([trial])
        self._heard_of.append(trial.id)
        if len(self._heard_of) > PARENTS:
            del self._heard_of[0]
            self._forgotten += 1

    def _remember(self, trial: Trial, who: str) -> None:
        shown = {
            "architecture": name_of(self.space, trial.architecture),
            "options": list(trial.architecture),
            "score": trial.score,
            "proposed_by": who,
            **({"metrics": dict(trial.metrics)} if trial.metrics else {}),
            **({"failure": trial.failure} if trial.score is None else {}),
        }
        self._last = [*self._last, shown][-LAST:]
        if trial.score is None:
            self._failures += 1
            return
        self._best = sorted([*self._best, shown], key=lambda each: -each["score"])[:BEST]
        if (found := self.found.get(who)) is not None:
            found["trials"] += 1
            found["mean"] += (trial.score - found["mean"]) / found["trials"]
            found["best"] = trial.score if found["best"] is None else max(found["best"], trial.score)

    # -- state -----------------------------------------------------------------------------------

    _PLAIN = (
        *("_asked", "_questions", "_heard_of", "_forgotten", "_queue", "_taken", "counts", "notes", "found"),
        *("_best", "_last", "_failures"),
    )

    def _state_dict(self) -> dict[str, Any]:
        plain = json.loads(json.dumps({name: getattr(self, name) for name in self._PLAIN}))
        return {
            **plain,
            "inner": self._inner.state_dict(),
            "own": [[id_, *own] for id_, own in self._own.items()],
            "ids": self._ids.state(),
            "proposed": self._proposed.state(),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in json.loads(json.dumps({name: state[name] for name in self._PLAIN})).items():
            setattr(self, name, value)
        self._inner.load_state_dict(state["inner"])
        self._own = {id_: (inner, parent) for id_, inner, parent in state["own"]}
        self._ids = TrialIds(state["ids"], proposals=PARENTS)
        self._proposed = Proposed(**state["proposed"])


def first_sentence(component: object) -> str:
    """Of its class's docstring."""
    return " ".join((type(component).__doc__ or "").split("\n\n")[0].split())


def decisions(space: Any) -> list[dict[str, Any]]:
    """Names and numbers of options, of a space of fixed length."""
    prefixes = [(0,) * i for i in range(space.max_length)]
    return [{"name": space.label(prefix), "options": space.arity(prefix)} for prefix in prefixes]
