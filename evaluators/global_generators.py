"""The global generators of Python, NumPy and PyTorch, which users' training scripts draw from.

archsearch itself never does. A script that trains usually does, if only because a ``DataLoader`` shuffles and dropout
drops by them: so they are seeded around it, kept in its checkpoints, and put back afterwards.
"""
# ruff: noqa: NPY002, TID251

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators begin from a seed; afterwards they are as they were before.

    Args:
        seed: 0 <= seed < 2**63.
    """
    before = global_states()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore_globals(before)


def global_states() -> dict[str, Any]:
    """Their states, of CUDA's where it is in use: tensors, arrays, numbers, text, and lists and tuples of these."""
    version, words, gauss = random.getstate()
    states: dict[str, Any] = {
        "python": (version, np.array(words, np.uint32), gauss),  # an array is much sooner written than 625 numbers
        "numpy": np.random.get_state(legacy=True),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_globals(states: Mapping[str, Any]) -> None:
    """Puts back what ``global_states`` gave; that of devices that are not there is left out."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, device)
