"""Spaces, asking and telling, for the tests of REINFORCE."""

from collections.abc import Callable

from common import Tree

from archsearch.controllers import RandomSearch
from archsearch.controllers.reinforce import Reinforce
from archsearch.space import Space
from archsearch.spaces import ENASMacro
from archsearch.trial import Architecture, Evaluation, Proposal, Trial

POLICIES = ("lstm", "softmax")
FLAT = Space(arities=[5] * 6)
MACRO = ENASMacro(layers=4)


class Words(Space):
    """Variable length: 0 ends a word, and so does the fifth letter."""

    def __init__(self) -> None:
        super().__init__(max_length=5, max_options=3)

    def arity(self, prefix: Architecture) -> int:
        return 0 if len(prefix) == 5 or prefix[-1:] == (0,) else 3


SPACES: tuple[Callable[[], Space], ...] = (lambda: FLAT, Tree, Words)


def result(proposal: Proposal, score: float | None) -> Trial:
    evaluation = None if score is None else Evaluation(score)
    return Trial(proposal.id, proposal.architecture, evaluation=evaluation, failure="" if evaluation else "exception")


def started(policy: str = "softmax", space: Space = FLAT, seed: int = 0, **settings: object) -> Reinforce:
    controller = Reinforce(policy, **settings)  # type: ignore[arg-type]
    controller.start(space, seed)
    return controller


def run(controller: RandomSearch | Reinforce, score: Callable[[Architecture], float], n: int) -> list[float]:
    scores = []
    for _ in range(n):
        proposal = controller.ask()[0]
        scores.append(score(proposal.architecture))
        controller.tell([result(proposal, scores[-1])])
    return scores


def proposals(controller: Reinforce, n: int) -> list[Proposal]:
    """What is proposed when the sum of an architecture's options is its score, with failures and late results."""
    asked: list[Proposal] = []
    for step in range(n):
        asked += controller.ask(1 + step % 3)
        for late in [proposal for proposal in asked if proposal.id in controller.pending][::-2]:
            controller.tell([result(late, float(sum(late.architecture)) if late.id % 5 else None)])
    return asked
