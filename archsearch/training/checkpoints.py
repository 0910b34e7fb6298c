"""Checkpoints: tensors and JSON facts in one safetensors file, with a checksum over both.

A file of version 0.1.0 has no checksum; of it safetensors' own structure, and what a training needs, are checked.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from archsearch.checksums import ENTRY, Damaged, checksum, tensors_checksum
from archsearch.notes import tell_damage

FACTS = "json"
"""Entry of a file's notes that holds the facts."""


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: By name.
        facts: JSON data.
    """

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


def write_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: The file; another process may write it at the same time.
        tensors: By name, on any device.
        facts: JSON data.
    """
    from safetensors.torch import save_file

    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(dict(facts))
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(stored, aside, {FACTS: text, ENTRY: _seal(stored, text)})
    aside.rename(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; it counts as used.

    Raises:
        FileNotFoundError: If there is none.
        Damaged: If it cannot be read, or is not as it was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            with contextlib.suppress(OSError):  # it may be another user's
                os.utime(path)
            names, notes = list(file.keys()), file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in names}
        facts = json.loads(notes[FACTS])
    except FileNotFoundError:
        raise
    except KeyError:
        raise Damaged(f"expected a checkpoint, with an entry {FACTS!r} in its notes") from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise Damaged(str(error)) from None
    if notes.keys() != {FACTS} and notes.get(ENTRY) != _seal(tensors, notes[FACTS]):
        raise Damaged("its checksum does not fit")
    if not isinstance(facts, dict):
        raise Damaged(f"expected facts by name, got {type(facts).__name__}")
    return Checkpoint(tensors, facts)


def read_checkpoint(path: Path, otherwise: str) -> Checkpoint | None:
    """Reads a checkpoint that may be gone or damaged; of damage a warning tells.

    Args:
        path: The file.
        otherwise: What is done without it, for the warning.
    """
    try:
        return load_checkpoint(path)
    except FileNotFoundError:
        return None
    except Damaged as error:
        tell_damage(path, error, otherwise)
        return None


def below(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def expect_shapes(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """Raises ``Damaged`` if tensors are not those that are wanted, by name, type and shape."""
    if {name: (value.dtype, value.shape) for name, value in found.items()} != {
        name: (value.dtype, value.shape) for name, value in wanted.items()
    }:
        raise Damaged("its tensors are not those of the network")


def _seal(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    """The checksum of tensors, which are contiguous and on the processor, and of the facts' text."""
    described = (
        (name, str(value.dtype), tuple(value.shape), value.reshape(-1).view(torch.uint8).numpy().data)
        for name, value in tensors.items()
    )
    return checksum(tensors_checksum(described).encode(), text.encode())
