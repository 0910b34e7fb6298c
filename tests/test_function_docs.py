"""What a user's function is told that it receives is what it receives, for every space."""

import inspect

import numpy as np
import pytest

from archsearch.components import entry_points
from archsearch.evaluators import Function
from archsearch.space import Space

SPACES = {name: point.load() for name, point in entry_points("spaces").items()}
NEEDED = {
    "Choices": {"decisions": {"kernel": [3, 5], "op": ["conv", "pool"]}},
    "Marked": {"model": "marked_models.ResNet"},
}


def said(name):
    """What the docstring of ``Function`` says of a space."""
    lines = [line.strip() for line in inspect.getdoc(Function).splitlines()]
    return next((line.removeprefix(f"- {name}: ") for line in lines if line.startswith(f"- {name}: ")), None)


@pytest.mark.parametrize("name", SPACES)
def test_the_docstring_says_what_decode_gives(name):
    cls = SPACES[name]
    own = cls.decode is not Space.decode
    assert said(name) == (inspect.getdoc(cls.decode).split("\n\n")[0] if own else None)
    space = cls(**NEEDED.get(name, {}))
    architecture = space.sample(np.random.default_rng(0))
    received = []
    evaluator = Function(lambda given: received.append(given) or 1.0)
    evaluator.start(space)
    evaluator.evaluate(architecture, 0)
    assert received == [space.decode(architecture)]


def test_the_kinds_are_those_that_the_docstring_names():
    kinds = {
        "Choices": dict,
        "MobileNet": str,
        "NASBench201": str,
        "NASBenchMacro": str,
        "NASBench101": tuple,
        "NB1Shot1": tuple,
    }
    for name, kind in kinds.items():
        space = SPACES[name](**NEEDED.get(name, {}))
        assert isinstance(space.decode(space.sample(np.random.default_rng(1))), kind), name


def test_a_plain_space_gives_the_options():
    assert "that is the\ntuple of its options" in inspect.getdoc(Function)
    assert Space(arities=(2, 3)).decode((1, 2)) == (1, 2)
