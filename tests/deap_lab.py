"""Toolboxes, for the tests of ``DeapToolbox``."""

from __future__ import annotations

from deap import base, tools

from archsearch import Controller, Evaluation, Space, Trial
from archsearch.controllers import DeapToolbox
from archsearch.trial import Proposal

BITS = Space(arities=[2] * 19)
SCHEMES = ("steady_state", "generational")


def score(architecture) -> float:
    return 1.0 + sum((i + 1) * option for i, option in enumerate(architecture))


def plain_toolbox(space=BITS, select=None, **settings):
    """Operators of DEAP that draw from Python's generator."""
    toolbox = base.Toolbox()
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutFlipBit, indpb=0.1)
    if select is None:
        select, settings = tools.selTournament, {"tournsize": 3}
    toolbox.register("select", select, **settings)
    return toolbox


def started(make=plain_toolbox, space=BITS, seed=0, **settings) -> DeapToolbox:
    controller = DeapToolbox(make, **{"population_size": 8, **settings})
    controller.start(space, seed)
    return controller


def run(controller: Controller, n: int, late: int = 0, failing: int = 0) -> list[Proposal]:
    """One worker, or with results that are late; every so many trials fail."""
    proposals: list[Proposal] = []
    told = 0
    for _ in range(n):
        proposals += controller.ask()
        if len(proposals) - told > late:
            id_, architecture, parent, _ = proposals[told]
            failed = failing and id_ % failing == 0
            evaluation = None if failed else Evaluation(score(architecture))
            controller.tell([Trial(id_, architecture, parent, evaluation, failure="exception" if failed else "")])
            told += 1
    return proposals


def with_operator(name, operator):
    def make(space):
        toolbox = plain_toolbox(space)
        toolbox.register(name, operator)
        return toolbox

    return make
