"""Language modelling: three parts of one long sequence of tokens each, of which the next token is predicted."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from archsearch.errors import TaskError
from archsearch.task.goal import NextToken
from archsearch.task.task import Part, Task

Tokens = Sequence[int] | npt.NDArray[Any]


class TokenTask(Task):
    """A language modelling problem. An example is a token, its target the one that follows.

    Args:
        train: Tokens to train on, at least three, whole numbers from 0; a network sees them in this order.
        valid: What the search is scored on, at least two.
        test: Reported, never used by a search.
        vocabulary: How many different tokens there are, or their names; None: the largest number plus one.
        name: For messages and run folders.
        floor: The least mean cross-entropy that can be reached, in nats a token, if that is known.

    Raises:
        TaskError: If tokens cannot be used; the message says where.
    """

    examples = "tokens"

    def __init__(
        self,
        train: Tokens,
        valid: Tokens,
        test: Tokens,
        *,
        vocabulary: int | Sequence[str] | None = None,
        name: str = "tokens",
        floor: float | None = None,
    ) -> None:
        given: dict[Part, Tokens] = {"train": train, "valid": valid, "test": test}
        parts = {
            part: _checked(tokens, f"{name}, {part}", 3 if part == "train" else 2) for part, tokens in given.items()
        }
        self.name = name
        self.goal = NextToken()
        self.floor = floor
        self.input_shape = (1,)
        self.words = tuple(vocabulary) if isinstance(vocabulary, Sequence) else None
        most = 1 + max(int(tokens.max()) for tokens in parts.values())
        self.classes = most if vocabulary is None else vocabulary if isinstance(vocabulary, int) else len(vocabulary)
        for part, tokens in parts.items():
            if tokens.max() >= self.classes:
                place = int(np.argmax(tokens >= self.classes))
                raise TaskError(
                    f"{name}, {part}: token {tokens[place]} at position {place} is out of range: expected 0 to "
                    f"{self.classes - 1}, since there are {self.classes} different tokens"
                )
        if self.classes < 2:
            raise TaskError(f"{name}: expected at least two different tokens, got one")
        self._parts = parts
        self._tensors: dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]] = {}

    def part(self, part: Part, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and those that follow, shape (n,) each, on a device."""
        key = part, str(device)
        if key not in self._tensors:
            tokens = torch.from_numpy(self._parts[part]).to(device)
            self._tensors[key] = tokens[:-1], tokens[1:]
        return self._tensors[key]

    def size(self, part: Part) -> int:
        """Predictions in a part: one fewer than tokens."""
        return len(self._parts[part]) - 1

    @property
    def described(self) -> tuple[str, str, Mapping[str, Any]]:
        """See ``Task``."""
        use = (
            "Tokens are 64-bit whole numbers of the shape (batch, length). The output, (batch, length, "
            f"{self.classes}), are logits of the token that follows each."
        )
        facts = {} if self.words is None else {"vocabulary": list(self.words)}
        return f"it predicts the next of {self.classes} different tokens", use, facts

    def divide(self, numbers: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Task``; the first ones, so that both are sequences."""
        return numbers[:count], numbers[count:]

    def drawn(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """See ``Task``; a sequence that begins anywhere, and at the end goes on from the beginning."""
        return np.roll(np.arange(n), -int(rng.integers(n)))

    @functools.cached_property
    def fingerprint(self) -> str:
        """See ``Task``."""
        digest = hashlib.sha256()
        for tokens in self._parts.values():
            digest.update(tokens.tobytes() + b"|")
        digest.update(repr((self.classes, self.words)).encode())
        return f"{self.name} {digest.hexdigest()[:16]}"

    def __repr__(self) -> str:
        sizes = ", ".join(f"{self.size(part):,} {part}" for part in get_args(Part))
        return f"Task({self.name}: {sizes}; {self.classes} different tokens)"

    def __getstate__(self) -> dict[str, Any]:
        """Tensors are made again where they are needed."""
        return {**self.__dict__, "_tensors": {}}


def _checked(tokens: Any, where: str, least: int) -> npt.NDArray[np.int64]:
    """Tokens as whole numbers from 0."""
    array = np.asarray(tokens)
    if array.ndim != 1 or array.dtype.kind not in "ui":
        raise TaskError(
            f"{where}: expected tokens of the shape (n,), whole numbers, got shape {array.shape} and type {array.dtype}"
        )
    if len(array) < least:
        raise TaskError(f"{where}: expected at least {least} tokens, got {len(array)}")
    if array.min() < 0:
        place = int(np.argmax(array < 0))
        raise TaskError(f"{where}: token {array[place]} at position {place} is out of range: tokens count from 0")
    return array.astype(np.int64)
