"""Where a running search is to be reached: a Unix socket in its run folder, for processes of the same user.

The socket lies in a folder that only its owner may enter, so that nobody else can even try; who does connect is asked
for their user id by the kernel (``SO_PEERCRED``), on both sides. Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from archsearch.errors import UsageError

FOLDER, NAME = "control", "socket"
LONGEST = 100
"""Bytes of a path that every system takes for a Unix socket: Linux takes 107, macOS 103."""
FOLDER_MODE, SOCKET_MODE = 0o700, 0o600


@contextlib.contextmanager
def address(folder: Path) -> Iterator[str]:
    """A path of a run's socket that is short enough; good inside.

    Raises:
        UsageError: If there is none.
    """
    path = folder / FOLDER / NAME
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    if not os.path.isdir("/proc/self/fd"):
        raise UsageError(f"{path}: too long a path for a Unix socket, of which {LONGEST} bytes are sure to work")
    number = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{number}/{NAME}"
    finally:
        os.close(number)


def own_folder(folder: Path) -> Path:
    """Makes the folder of a run's socket, which only its owner may enter; what is there of a killed search goes.

    Raises:
        UsageError: If something else is in its place.
        OSError: If it cannot be made.
    """
    path = folder / FOLDER
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UsageError(f"{path}: expected a folder of this user's own, where a search can be reached")
    path.chmod(FOLDER_MODE)
    (path / NAME).unlink(missing_ok=True)  # the lock of the run is held: nobody listens there any more
    return path


def is_own(connection: socket.socket) -> bool:
    """Whether the other end belongs to this user, as the kernel says; where it says nothing, the folder has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.geteuid())
