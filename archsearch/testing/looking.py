"""What checks of all kinds look at: equal answers, untouched generators, a new process."""

from __future__ import annotations

import contextlib
import inspect
import json
import multiprocessing
import os
import pickle
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from archsearch.components import build, describe
from archsearch.space import Space
from archsearch.testing.suite import Result, expect
from archsearch.trial import Proposal


def expect_in_space(proposals: Sequence[Proposal], space: Space, when: str) -> None:
    """All proposals lie in the space."""
    for proposal in proposals:
        expect(
            proposal.architecture in space,
            f"{when}: proposal {proposal.id}, {proposal.architecture!r}, is not in {type(space).__name__}",
        )


def expect_same(expected: Sequence[object], got: Sequence[object], what: str) -> None:
    """Two sequences are equal."""
    for i, (one, other) in enumerate(zip(expected, got, strict=False)):
        expect(one == other, f"{what}: they part at number {i}: {one!r} against {other!r}")
    expect(len(expected) == len(got), f"{what}: {len(expected)} against {len(got)} of them")


# -- the world outside: global generators, other processes ---------------------------------------


def _global_generators() -> tuple[object, ...]:
    """What the global generators would give next; PyTorch's too, if something has imported it."""
    torch: Any = sys.modules.get("torch")
    return (
        random.getstate(),
        pickle.dumps(np.random.get_state()),  # noqa: NPY002 (that nobody touches it is what is checked)
        torch.get_rng_state().numpy().tobytes() if torch else b"",
    )


@contextlib.contextmanager
def _restored_generators() -> Iterator[None]:
    torch: Any = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch:
            torch.set_rng_state(torch_state)


def _disturb_generators() -> None:
    torch: Any = sys.modules.get("torch")
    random.random()
    np.random.random()  # noqa: NPY002
    if torch:
        torch.rand(1)


def expect_no_globals(run: Callable[[], Sequence[object]]) -> None:
    """Global generators are neither read nor written."""
    run()  # what is imported on first use is there from now on
    with _restored_generators():
        _disturb_generators()  # else seeding them with the same number again would go unseen
        before = _global_generators()
        first = run()
        for name, one, other in zip(("random", "numpy", "torch"), before, _global_generators(), strict=True):
            expect(one == other, f"the global generator of {name} was drawn from or seeded; use the one you are given")
        _disturb_generators()
        expect_same(first, run(), "the results depend on the state of a global generator")


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a module's function in a fresh Python whose ``PYTHONHASHSEED`` differs from this one's."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "2" if before == "1" else "1"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def _has_defaults(cls: type) -> bool:
    parameters = list(inspect.signature(cls).parameters.values())
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def default(component: Result) -> Result:
    """A new one with default settings, or the component itself if its class has no defaults for all of them."""
    return type(component)() if _has_defaults(type(component)) else component


def expect_round_trip(component: Any) -> Any:
    """``describe`` gives JSON data, from which ``build`` makes the same thing; returns that."""
    description = json.loads(json.dumps(describe(component)))
    twin = build(description, trust=True)
    expect(type(twin) is type(component), f"build gave a {type(twin).__name__} for a {type(component).__name__}")
    again = json.loads(json.dumps(describe(twin)))
    expect(again == description, f"settings changed on their way through config.yaml: {description} became {again}")
    return twin
