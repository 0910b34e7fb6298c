"""Checkpoints: tensors and JSON facts in one safetensors file, with a checksum over both.

A file of version 0.1.0 has no checksum; of it safetensors' own structure, and what a training needs, are checked.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from archsearch.files.checksums import ENTRY, Damaged, checksum, tensors_checksum
from archsearch.files.notes import tell_damage
from archsearch.training.loop import Run

ENTRY_OF_FACTS = "json"
"""Entry of a file's notes that holds the facts."""


ANEW = "the training begins anew"


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
    save_file(stored, aside, {ENTRY_OF_FACTS: text, ENTRY: _seal(stored, text)})
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
        facts = json.loads(notes[ENTRY_OF_FACTS])
    except FileNotFoundError:
        raise
    except KeyError:
        raise Damaged(f"expected a checkpoint, with an entry {ENTRY_OF_FACTS!r} in its notes") from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise Damaged(str(error)) from None
    if notes.keys() != {ENTRY_OF_FACTS} and notes.get(ENTRY) != _seal(tensors, notes[ENTRY_OF_FACTS]):
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


# -- the state of a training --------------------------------------------------------------------

RUN_FACTS = ("architecture", "step", "curve", "train_loss", "valid_loss")
"""What of a training is kept next to its tensors."""


def run_state(run: Run) -> Checkpoint:
    """The state of a training, by which ``put_back`` brings another one there; its tensors are not copied."""
    tensors = {f"network.{key}": value for key, value in run.network.state_dict().items()}
    for prefix, optimizer in _optimizers(run):
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{prefix}{i}.{key}": value for key, value in state.items() if value is not None}
    tensors["generator"] = run.generator.get_state()
    return Checkpoint(tensors, {name: getattr(run, name) for name in (*RUN_FACTS, "valid_metric")})


def write_run(run: Run, path: Path, **further: Any) -> None:
    """Writes a checkpoint, whole or not at all; ``further`` JSON data go with it."""
    tensors, facts = run_state(run)
    write_checkpoint(path, tensors, facts | further)


def put_back(run: Run, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Brings a training that has not begun to where a checkpoint was.

    Raises:
        Damaged: If it is not one of this training, which is left as it is.
    """
    _expect_state(run, tensors, facts)
    run.network.load_state_dict(below(tensors, "network."))
    for prefix, optimizer in _optimizers(run):
        states: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in below(tensors, prefix).items():
            i, _, what = key.partition(".")
            # Fused optimisers need their state in the layout of the weights.
            states.setdefault(int(i), {})[what] = (
                value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
            )
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    run.generator.set_state(tensors["generator"])
    for name in ("step", "curve", "train_loss", "valid_loss"):
        setattr(run, name, facts[name])
    run.valid_metric = facts.get("valid_metric", math.nan)  # not there in what earlier versions wrote


def whole_facts(facts: Mapping[str, Any]) -> bool:
    """Whether these are facts of a training, as far as their types tell."""
    if not facts.keys() >= set(RUN_FACTS):
        return False
    numbers = [facts["step"], facts["train_loss"], facts["valid_loss"]]
    for name in ("architecture", "curve"):
        if not isinstance(facts[name], list) and (name == "curve" or facts[name] is not None):
            return False
        numbers += [each for each in facts[name] or () if not isinstance(each, list)]  # of a super-network: rows
    return all(isinstance(each, (int, float)) for each in numbers) and isinstance(facts["step"], int)


def _expect_state(run: Run, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Raises ``Damaged`` if these are not the state of such a training."""
    expect_shapes(below(tensors, "network."), run.network.state_dict())
    if not whole_facts(facts) or "generator" not in tensors:
        raise Damaged("it lacks what a training needs")
    for prefix, optimizer in _optimizers(run):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        for name, value in below(tensors, prefix).items():
            place = name.partition(".")[0]
            if not place.isdecimal() or int(place) >= len(weights):
                raise Damaged("the state of an optimiser is none")
            if value.shape not in ((), weights[int(place)].shape):
                raise Damaged("the state of an optimiser is that of other weights")
    if tensors["generator"].shape != run.generator.get_state().shape or tensors["generator"].dtype != torch.uint8:
        raise Damaged("the state of the generator is none")


def _optimizers(run: Run) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """The optimisers of a training, each with the beginning of its tensors' names."""
    yield "optimizer.", run.optimizer
    for name, optimizer in run.others.items():
        yield f"optimizer:{name}.", optimizer


def forget_oldest(folder: Path, keep: int) -> list[Path]:
    """Deletes all checkpoints but the ``keep`` that were written or read last; others may do so meanwhile.

    Returns:
        Those that were deleted.
    """
    used = []
    for path in folder.glob("[0-9]*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            used.append((path.stat().st_mtime_ns, path))
    forgotten = [path for _, path in sorted(used)[:-keep]]
    for path in forgotten:
        path.unlink(missing_ok=True)
    return forgotten


class Checkpoints:
    """The checkpoints of one evaluator: written whole or not at all, the oldest forgotten.

    Args:
        keep: How many are kept, those that were written or read last, >= 1.

    Attributes:
        folder: Where they lie; None: nothing is kept.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.folder: Path | None = None

    def save(self, run: Run, trial: int, name: str = "") -> None:
        """Writes a checkpoint, whole or not at all; nothing where there is no folder to keep it in.

        Args:
            run: What to keep.
            trial: Trial that it belongs to.
            name: Tells apart several of one trial.
        """
        if self.folder is None:
            return
        write_run(run, self._path(trial, name))
        forget_oldest(self.folder, self.keep)

    def restore(self, run: Run, trial: int, name: str = "") -> bool:
        """Brings a training that has not begun to where a checkpoint was.

        Returns:
            Whether there is one; if not, the training begins anew and everything is billed again.
        """
        loaded = self.read(trial, name)
        if loaded is None or loaded.facts["architecture"] != list(run.architecture or ()):
            return False
        try:
            put_back(run, *loaded)
        except Damaged as error:  # only of version 0.1.0
            tell_damage(self._path(trial, name), error, ANEW)
            return False
        return True

    def read(self, trial: int, name: str = "") -> Checkpoint | None:
        """A trial's checkpoint, or None if it is not there or damaged, of which a warning tells."""
        if self.folder is None:
            return None
        path = self._path(trial, name)
        found = read_checkpoint(path, ANEW)
        if found is None or whole_facts(found.facts):
            return found
        tell_damage(path, Damaged("its facts are not those of a training"), ANEW)
        return None

    def _path(self, trial: int, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{trial:d}-{name}.safetensors"  # a number: from a file, it could lead elsewhere
