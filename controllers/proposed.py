"""What a controller has proposed, so that it does not propose it again.

Reference: Bloom, "Space/time trade-offs in hash coding with allowable errors", Communications of the ACM 1970.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Hashable
from typing import Any

from archsearch.trial import Architecture

RANDOM_DRAWS = 100
"""Draws of a random architecture, until it is one that was not proposed before."""

REMEMBERED = 50_000
"""So many of the architectures that were proposed last are remembered for certain, and up to twice as many."""


class Proposed:
    """The architectures that were proposed, in bounded memory: two Bloom filters.

    A filter is a field of bits, of which each architecture sets four; one whose four bits are all set counts as
    proposed. So nothing in it is ever proposed again, and up to one in fifty of all others is refused by mistake, which
    costs another draw. When a filter has ``REMEMBERED`` architectures, another one begins, and the one before the full
    one is forgotten.
    """

    BITS = 2**19  # per filter: ten times REMEMBERED, so that one in a hundred is mistaken when it is full

    def __init__(self, count: int = 0, newer: str = "", older: str = "") -> None:
        self._count = count
        self._newer, self._older = (bytearray(base64.b64decode(text) or self.BITS // 8) for text in (newer, older))

    @property
    def count(self) -> int:
        """How many the newer filter has; whatever is added changes it."""
        return self._count

    def state(self) -> dict[str, Any]:
        """The arguments that make an equal one, as JSON data."""
        newer, older = (base64.b64encode(field).decode() for field in (self._newer, self._older))
        return {"count": self._count, "newer": newer, "older": older}

    def sample(
        self, draw: Callable[[], Architecture], form: Callable[[Architecture], Hashable] = tuple
    ) -> Architecture:
        """The first of ``RANDOM_DRAWS`` architectures whose form was not added before, or else the last of them."""
        for _ in range(RANDOM_DRAWS):
            architecture = draw()
            if self.add(form(architecture)):
                break
        return architecture

    def has(self, form: Hashable) -> bool:
        """Whether an architecture, or its canonical form, was added, or seems to have been."""
        return self._has(self._bits(form))

    def _bits(self, form: Hashable) -> list[int]:
        digest = hashlib.blake2b(repr(form).encode(), digest_size=16).digest()
        return [word % self.BITS for word in struct.unpack("<4I", digest)]

    def _has(self, bits: list[int]) -> bool:
        return _all_set(self._newer, bits) or _all_set(self._older, bits)

    def add(self, form: Hashable) -> bool:
        """Adds an architecture, or its canonical form, and says whether it was new."""
        bits = self._bits(form)
        if self._has(bits):
            return False
        if self._count == REMEMBERED:
            self._older, self._newer, self._count = self._newer, bytearray(self.BITS // 8), 0
        for bit in bits:
            self._newer[bit >> 3] |= 1 << (bit & 7)
        self._count += 1
        return True


def _all_set(field: bytearray, bits: list[int]) -> bool:
    for bit in bits:  # noqa: SIM110 (faster than a generator, and called for every draw)
        if not field[bit >> 3] >> (bit & 7) & 1:
            return False
    return True
