"""Random streams: one root seed, children by name, one seed per evaluation.

Nothing in archsearch reads or writes a global generator. Children are made from the root seed and
a *name*, never by ``SeedSequence.spawn``, which depends on how often it was called before.
"""

from __future__ import annotations

import functools
import secrets
import zlib
from typing import Any

import numpy as np

from archsearch.basics.checks import whole_number

_BLOCK = 1024


def root_seed(seed: int | None) -> int:
    """Checks the user's seed, or draws one, so that every run can be repeated.

    Raises:
        UsageError: If the seed is no integer or negative.
    """
    if seed is None:
        return secrets.randbits(32)
    return whole_number("search", "seed", seed)


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator called ``name`` under a root seed; equal arguments give equal streams."""
    key = zlib.crc32(name.encode())
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(key,))))


def evaluation_seed(seed: int, trial_id: int) -> int:
    """The seed (63 bits) of the evaluation of one trial; depends on (root seed, trial id) only.

    Seeds are drawn in blocks of 1,024, since a ``SeedSequence`` per trial would cost more than a
    table look-up.
    """
    block, position = divmod(trial_id, _BLOCK)
    return _evaluation_block(seed, block)[position]


@functools.lru_cache(maxsize=8)
def _evaluation_block(seed: int, block: int) -> list[int]:
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(b"evaluation"), block))
    words: list[int] = (sequence.generate_state(_BLOCK, np.uint64) >> np.uint64(1)).tolist()
    return words


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """The state of a PCG64 generator as plain JSON values (its 128-bit integers as text)."""
    state = rng.bit_generator.state
    return {
        "bit_generator": state["bit_generator"],
        "state": str(state["state"]["state"]),
        "inc": str(state["state"]["inc"]),
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def restore_generator(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Puts back a state that ``generator_state`` took."""
    rng.bit_generator.state = {
        "bit_generator": state["bit_generator"],
        "state": {"state": int(state["state"]), "inc": int(state["inc"])},
        "has_uint32": state["has_uint32"],
        "uinteger": state["uinteger"],
    }
