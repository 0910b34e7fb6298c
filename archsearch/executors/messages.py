"""Messages between the driver and its worker process, which come whole or not at all.

A process that runs users' code may write anything anywhere, by mistake into the connection, too. Each message has a
head with checksums; nothing is read without a limit of time, and no length is believed unless its head is whole.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
import zlib
from collections.abc import Callable

MAGIC = b"\x93AS\x1a"
"""What each message begins with: bytes that no text has."""
HEAD = struct.Struct(">4sIQI")
"""Magic, number of the question, bytes, and their CRC-32."""
CHECK = struct.Struct(">I")
"""CRC-32 of the head."""
PIECE = 1 << 20
LOOK_SECONDS = 1.0
"""Between two looks whether the other end is there still; its end is mostly heard of at once, by the connection's."""
PART_SECONDS = 30.0
"""How long to wait for the rest of a message of which a part has come."""


class Late(Exception):
    """There was no message, or no whole one, in time."""


class Garbled(Exception):
    """What came is no message; the text says what came."""


class Messages:
    """One end of a connection.

    Args:
        connection: A socket of a pair; it is this object's from now on.
        ended: Says whether the process at the other end has ended: others may hold its end of the connection.
        part_seconds: How long to wait for the rest of a message; None: until it comes.
    """

    def __init__(
        self,
        connection: socket.socket,
        ended: Callable[[], bool] = lambda: False,
        part_seconds: float | None = None,
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._ended = ended
        self._part_seconds = part_seconds
        self._arrival, self._room = select.poll(), select.poll()
        self._arrival.register(connection.fileno(), select.POLLIN)
        self._room.register(connection.fileno(), select.POLLOUT)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    @property
    def pending(self) -> bool:
        """Whether something has come, if only the end of the connection."""
        return bool(self._arrival.poll(0))

    def send(self, number: int, data: bytes, end: float | None = None) -> None:
        """Sends a message.

        Args:
            number: Of the question, which its answer has, too.
            data: What to send.
            end: Time of ``time.monotonic`` until which to try; None: as long as the other end is there.

        Raises:
            Late: If it was not taken in time.
            EOFError: If the other end has ended.
            OSError: If the connection is broken.
        """
        head = HEAD.pack(MAGIC, number, len(data), zlib.crc32(data))
        for part in (head + CHECK.pack(zlib.crc32(head)), data):
            left = memoryview(part)
            while left:
                try:
                    left = left[self._connection.send(left) :]
                except BlockingIOError:
                    self._await(self._room, end)

    def receive(self, end: float | None = None, most: int | None = None) -> tuple[int, bytes]:
        """The number and the data of the next message.

        Args:
            end: Time of ``time.monotonic`` until which to wait; None: as long as the other end is there.
            most: Bytes that a message may have; None: any number.

        Raises:
            Late: If none came in time.
            Garbled: If something else came, or no more than a part.
            EOFError: If the other end has ended.
            OSError: If the connection is broken.
        """
        head = self._take(HEAD.size + CHECK.size, end, MAGIC)
        _, number, size, checksum = HEAD.unpack_from(head)
        if CHECK.unpack_from(head, HEAD.size)[0] != zlib.crc32(head[: HEAD.size]):
            raise Garbled(_other(head))
        if most is not None and size > most:
            raise Garbled(f"a message of {size:,} bytes came; at most {most:,} are taken")
        data = self._take(size, end)
        if zlib.crc32(data) != checksum:
            raise Garbled(_other(data))
        return number, data

    def _take(self, size: int, end: float | None, begin: bytes = b"") -> bytes:
        """So many bytes; the first ones must be those of ``begin``, without which these are the rest of a message."""
        taken = bytearray()
        while len(taken) < size:
            try:
                piece = self._connection.recv(min(PIECE, size - len(taken)))
            except BlockingIOError:
                self._await_more(end, size, len(taken), partly=bool(taken) or not begin)
                continue
            if not piece:
                raise EOFError
            taken += piece
            if not taken.startswith(begin[: len(taken)]):
                raise Garbled(_other(taken))
        return bytes(taken)

    def _await_more(self, end: float | None, size: int, come: int, partly: bool) -> None:
        if not partly or self._part_seconds is None:
            return self._await(self._arrival, end)
        limit = time.monotonic() + self._part_seconds
        try:
            self._await(self._arrival, limit if end is None else min(end, limit))
        except Late:
            if end is not None and end <= limit:
                raise
            raise Garbled(f"only {come:,} of {size:,} bytes of a message came") from None

    def _await(self, event: select.poll, end: float | None) -> None:
        while True:
            left = LOOK_SECONDS if end is None else max(0.0, min(LOOK_SECONDS, end - time.monotonic()))
            if event.poll(math.ceil(1000 * left)):
                return
            if self._ended():
                if event.poll(0):
                    return
                raise EOFError
            if end is not None and time.monotonic() >= end:
                if event.poll(0):  # where this process was stopped for a while
                    return
                raise Late


def _other(data: bytes | bytearray) -> str:
    return f"something else was written into its connection to the search: {bytes(data[:20])!r}"
