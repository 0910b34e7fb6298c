"""``DeapToolbox``: clear about wrong operators and settings."""

from __future__ import annotations

import pytest
from deap import tools
from deap_lab import SCHEMES, plain_toolbox, run, started, with_operator

from archsearch.controllers import DeapToolbox
from archsearch.controllers.deap_toolbox import OPERATOR_DRAWS, Individual
from archsearch.errors import UsageError
from archsearch.testing import VariableLengthSpace


@pytest.mark.parametrize("missing", ["mate", "mutate", "select"])
def test_a_toolbox_must_have_the_operators(missing):
    def make(space):
        toolbox = plain_toolbox(space)
        toolbox.unregister(missing)
        return toolbox

    with pytest.raises(UsageError, match=f"without {missing}"):
        started(make)


def test_what_lies_outside_the_space_is_drawn_again():
    # cxTwoPoint and mutUniformInt know nothing of where an architecture ends.
    def make(space):
        toolbox = plain_toolbox(space)
        toolbox.register("mutate", tools.mutUniformInt, low=0, up=3, indpb=0.3)
        toolbox.register("mate", tools.cxMessyOnePoint)
        return toolbox

    space = VariableLengthSpace()
    for scheme in SCHEMES:
        proposals = run(started(make, space, scheme=scheme), 200)
        assert all(proposal.architecture in space for proposal in proposals)
        assert len({proposal.architecture for proposal in proposals}) > 50


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_operator_that_never_stays_inside_is_named(scheme):
    calls = []

    def outside(individual):
        calls.append(list(individual))
        individual[0] = 7
        return (individual,)

    controller = started(with_operator("mutate", outside), scheme=scheme, mutation_probability=1.0)
    with pytest.raises(UsageError, match=r"mutate: 100 draws from .* the last: architecture \(7, "):
        run(controller, 20)
    assert len(calls) == OPERATOR_DRAWS
    assert all(call == calls[0] for call in calls), "each draw begins with the same individual"
    assert calls[0][0] in (0, 1)


@pytest.mark.parametrize(
    ("name", "operator", "message"),
    [
        ("mutate", lambda each: each, "mutate: expected a tuple of 1"),
        ("mutate", lambda each: None, "mutate: expected a tuple of 1 .* got None"),
        ("mate", lambda one, other: one, "mate: expected a tuple of 2"),
        ("mate", lambda one, other: (one, None), "mate: expected a tuple of 2"),
        ("mutate", lambda each: ([0.5] * 19,), "mutate: 100 draws"),
        ("select", lambda each, k: each[:0], "select: expected [12] of the 8 individuals"),
        ("select", lambda each, k: [None] * k, "select: expected"),
        ("select", lambda each, k: [Individual([0] * 19)] * k, "select: expected"),
    ],
)
def test_operators_that_return_something_else_are_named(name, operator, message):
    controller = started(with_operator(name, operator), crossover_probability=0.9, mutation_probability=0.9)
    with pytest.raises(UsageError, match=message):
        run(controller, 40)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"make": 3}, "make: expected a function"),
        ({"population_size": 1}, "population_size: expected a whole number >= 2"),
        ({"crossover_probability": 1.5}, "crossover_probability: expected a finite number from 0 to 1, got 1.5"),
        ({"mutation_probability": "0.5"}, "mutation_probability: expected a finite number"),
        ({"crossover_probability": 0.0, "mutation_probability": 0.0}, "no child would ever be new"),
        ({"scheme": "islands"}, 'expected "steady_state" or "generational"'),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        DeapToolbox(**settings)
