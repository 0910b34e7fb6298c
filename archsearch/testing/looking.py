"""What checks of all kinds look at: equal answers, untouched generators, a new process."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import multiprocessing
import os
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, cast

import numpy as np

from archsearch.components import build, describe
from archsearch.space import Space
from archsearch.testing.suite import ContractError, Result, expect
from archsearch.trial import Proposal

Context = ForkServerContext | SpawnContext


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


# What evaluators import late, if this process has the library: no new process then spends seconds on it again.
SLOW_TO_IMPORT = ("torch._dynamo", "torch.profiler", "sklearn.datasets", "scipy.stats")


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a module's function in a fresh Python whose ``PYTHONHASHSEED`` differs from this one's."""
    return _answer_of(_fresh_processes(), function, arguments)


@functools.cache
def _fresh_processes() -> Context:
    """How processes are made that know of this one nothing but what they are sent.

    On Linux they are forks of a server, a fresh Python of its own that does nothing but import, once, what would take
    each of them seconds; it ends with this process. Elsewhere libraries do not outlive a fork: each is started anew.
    """
    spawn = multiprocessing.get_context("spawn")
    if sys.platform != "linux":
        return spawn
    server = multiprocessing.get_context("forkserver")
    ours = [name for name in sys.modules if name.partition(".")[0] == "archsearch"]
    server.set_forkserver_preload(ours + [name for name in SLOW_TO_IMPORT if name.partition(".")[0] in sys.modules])
    text = "a process has one such server, which somebody may have started before, with another or no hash seed"
    with contextlib.suppress(OSError, ContractError):
        if _answer_of(server, hash, (text,)) != hash(text):
            return server
    return spawn


def _answer_of(context: Context, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
    reader, writer = context.Pipe(duplex=False)
    with reader, _other_hash_seed():
        with writer:
            call = pickle.dumps((function, arguments))
            process = context.Process(target=_give_answer, args=(writer, dict(os.environ), call))
            process.start()
        try:
            answer, error = reader.recv()
        except EOFError:
            answer, error = None, ContractError("the new process ended before it gave an answer")
        process.join()
    if error is not None:
        raise error
    return cast(Result, answer)


def _give_answer(writer: Connection, environment: dict[str, str], call: bytes) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()  # a fork has that of the time when its server was started
    os.environ.update(environment)
    try:
        function, arguments = pickle.loads(call)
        writer.send((function(*arguments), None))
    except Exception as error:
        try:
            writer.send((None, error))
        except Exception:  # it cannot be pickled
            writer.send((None, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _other_hash_seed() -> Iterator[None]:
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "2" if before == "1" else "1"
    try:
        yield
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
