"""Architectures that a search would evaluate, where the controller knows what it would not: ``Controller.refusal``."""

from __future__ import annotations

from archsearch.controller import Controller
from archsearch.trial import Architecture

DRAWS = 200
"""Architectures that are drawn, until one may be evaluated."""

NEAR = 20
"""Of these so many in a row of the same architecture: then the last of them is mutated on, through what is refused."""


def is_possible(controller: Controller, architecture: Architecture) -> bool:
    """Whether the search would evaluate that, as far as the controller knows."""
    return controller.refusal is None or not controller.refusal(architecture)


def sampled(controller: Controller) -> Architecture:
    """A random architecture that the search would evaluate; if none is found, the last that was drawn."""
    for _ in range(DRAWS):
        architecture = controller.space.sample(controller.rng)
        if is_possible(controller, architecture):
            break
    return architecture


def mutated(controller: Controller, parent: Architecture) -> Architecture:
    """A mutation that the search would evaluate, or one of several steps; if none is found, the last that was drawn."""
    at = parent
    for draw in range(1, DRAWS + 1):
        child = controller.space.mutate(at, controller.rng)
        if is_possible(controller, child):
            break
        if draw % NEAR == 0:
            at = child
    return child
