"""Where a running search is to be reached: a Unix socket, for processes of the same user on this machine.

The socket lies in a folder that only its owner may enter, so that nobody else can even try; who does connect is asked
for their user id by the kernel (``SO_PEERCRED``), on both sides. Nothing leaves the machine.

It is not in the run folder: after a kill it would stay there, and copying programs, and file systems without sockets,
stumble over one. Its name is made of what the file system calls the run folder, so that whoever reaches that by any
path finds it; ``/tmp``, unlike ``$TMPDIR``, is the same in every terminal.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

from archsearch.errors import UsageError

SHARED = Path("/tmp")
FOLDER_MODE, SOCKET_MODE = 0o700, 0o600


def address(folder: Path) -> Path:
    """The path of a run's socket, whether there is one or not; short enough for every system.

    Raises:
        OSError: If there is no such run folder.
    """
    found = folder.stat()
    return _home() / f"{found.st_dev:x}-{found.st_ino:x}"


def made_ready(folder: Path) -> Path:
    """The path of a run's socket, in a folder that only its owner may enter; what a killed search left there is gone.

    Raises:
        UsageError: If something else is in that folder's place.
        OSError: If it cannot be made.
    """
    home = _home()
    home.mkdir(mode=FOLDER_MODE, exist_ok=True)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UsageError(f"{home}: expected a folder of this user's own, where searches can be reached")
    home.chmod(FOLDER_MODE)
    path = address(folder)
    path.unlink(missing_ok=True)  # the lock of the run is held: nobody listens there any more
    return path


def _home() -> Path:
    return SHARED / f"archsearch-{os.getuid()}"


def is_own(connection: socket.socket) -> bool:
    """Whether the other end belongs to this user, as the kernel says; where it says nothing, the folder has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.geteuid())
