"""The door of a running search: threads that take what comes in by its socket, one line of JSON, and answer by one.

{"verb": "put", "value": [3, 1, 2, 3, 4, 3]}
{"said": "...", ...}     or     {"error": "..."}
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archsearch.errors import ArchsearchError
from archsearch.steering.address import SOCKET_MODE, is_own, made_ready

LONGEST_LINE = 1 << 20
"""Bytes of a request."""
SECONDS = 10.0
"""How long a request may take to come, or an answer to be taken."""
WAITING = 16
"""Connections that wait to be taken."""

Answerer = Callable[[str, Any], Mapping[str, Any]]
"""What is answered to a verb with its value; an ``ArchsearchError`` is an answer, too."""

_open: weakref.WeakSet[Door] = weakref.WeakSet()


class Door:
    """Listens from here on, until it is closed.

    Args:
        folder: The run folder, whose lock is held.
        answer: Called by threads of their own, several at once.

    Raises:
        UsageError: If there can be no socket.
        OSError: If it cannot be made.
    """

    def __init__(self, folder: Path, answer: Answerer) -> None:
        self._answer = answer
        self._path = made_ready(folder)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(self._path))
            self._path.chmod(SOCKET_MODE)
            self._socket.listen(WAITING)
        except BaseException:
            self._socket.close()
            raise
        _open.add(self)
        threading.Thread(target=self._listen, name="archsearch-control", daemon=True).start()

    def close(self) -> None:
        """Takes nothing more."""
        _open.discard(self)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which ends ``accept``
        self._socket.close()

    def leave(self) -> None:
        """For a forked child: lets go of the socket, which is its parent's."""
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="archsearch-control", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(SECONDS)
            answer = self._answered(connection)
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def _answered(self, connection: socket.socket) -> Mapping[str, Any]:
        if not is_own(connection):
            return {"error": "this search belongs to another user"}
        try:
            request = json.loads(read_line(connection))
            verb, value = request["verb"], request.get("value")
            if not isinstance(verb, str):
                raise TypeError("the verb is no text")
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return {"error": 'expected a line of JSON with a verb, such as {"verb": "show"}'}
        try:
            return self._answer(verb, value)
        except ArchsearchError as error:
            return {"error": str(error)}
        except Exception as error:  # whatever an author's own space makes of a text: the search goes on
            return {"error": f"{type(error).__name__}: {error}"}


def read_line(connection: socket.socket) -> bytes:
    """What comes, up to the end of a line or of the connection.

    Raises:
        ValueError: If it is longer than any request.
        OSError: If nothing comes.
    """
    data = b""
    while not data.endswith(b"\n") and (part := connection.recv(1 << 16)):
        data += part
        if len(data) > LONGEST_LINE:
            raise ValueError("too long")
    return data


def _leave_in_a_child() -> None:
    for door in list(_open):
        door.leave()


os.register_at_fork(after_in_child=_leave_in_a_child)
