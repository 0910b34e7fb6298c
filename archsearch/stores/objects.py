"""The objects below one folder of a store: put, got, listed, deleted; each within a time, each error one line."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from archsearch.errors import RunFolderError, StorageError, UsageError
from archsearch.stores.filesystems import MANY_OBJECTS, open_filesystem
from archsearch.stores.places import Place

Answer = TypeVar("Answer")
SECONDS = 60.0
"""For one request, and a second more for each MiB: a guard for file systems that have no time-outs of their own."""
MIB = 1 << 20


class Refused(RunFolderError):
    """The store says no: no such bucket, no permission."""


class Missing(Refused):
    """There is no such object."""


class OutOfReach(StorageError):
    """The store does not answer, or answers what it should not."""


class Listed(NamedTuple):
    """An object.

    Attributes:
        key: Its name below the folder.
        size: Bytes.
        modified: When it was written, in seconds by the store's own clock; None: it does not say.
    """

    key: str
    size: int
    modified: float | None


class Objects:
    """The objects below a folder of a store; may be used by several threads.

    Args:
        place: The folder.

    Raises:
        UsageError: If there is no file system of that name.
        Refused: If the store says no.
        OutOfReach: If it cannot be reached.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._files, self._root = self._do(lambda: open_filesystem(place))
        self._whole = self._files.type_name.startswith(MANY_OBJECTS)

    def check_bucket(self) -> None:
        """Raises ``Refused`` if there is no such bucket, which else looks like one without objects."""
        bucket = self._root.partition("/")[0]
        if self._files.type_name.startswith(("s3", "gcs")):
            found = self._do(lambda: self._files.get_file_info(bucket))
            if found.type.name == "NotFound":
                raise Refused(f"{self.place.uri}: there is no bucket {bucket}, or it is not shown to you")

    def put(self, key: str, data: bytes) -> None:
        """Writes an object; it is there whole or not at all."""
        path = self._path(key)

        def write() -> None:
            aside = path
            if not self._whole:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
                aside = f"{path}.tmp"
            with self._files.open_output_stream(aside) as stream:
                stream.write(data)
            if aside != path:
                self._files.move(aside, path)

        self._do(write, key, len(data))

    def get(self, key: str, size: int = 0) -> bytes:
        """The bytes of an object.

        Args:
            key: Its name.
            size: How many they may be, for the time-out.

        Raises:
            Missing: If there is none.
        """

        def read() -> bytes:
            with self._files.open_input_stream(self._path(key)) as stream:
                return bytes(stream.read())

        return self._do(read, key, size)

    def list(self, below: str = "") -> list[Listed]:
        """All objects below a folder, by name."""
        from pyarrow import fs

        root = self._path(below) if below else self._root
        infos = self._do(lambda: self._files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)))
        found = []
        for info in infos:
            key = info.path.lstrip("/")[len(self._root.lstrip("/")) :].strip("/")
            if info.is_file and not key.endswith(".tmp"):
                found.append(Listed(key, info.size or 0, info.mtime_ns / 1e9 if info.mtime_ns else None))
        return sorted(found)

    def delete(self, key: str) -> None:
        """Deletes an object; there may be none."""
        with contextlib.suppress(Missing):
            self._do(lambda: self._files.delete_file(self._path(key)), key)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _do(self, call: Callable[[], Answer], key: str = "", size: int = 0) -> Answer:
        """Does something within its time; whatever goes wrong names the object."""
        name = f"{self.place.uri}/{key}" if key else self.place.uri
        done: list[tuple[bool, Any]] = []

        def work() -> None:
            try:
                done.append((True, call()))
            except BaseException as error:
                done.append((False, error))

        # A thread that can be left behind: there are requests that never end, and none can be taken back.
        thread = threading.Thread(target=work, name=f"archsearch store {key}", daemon=True)
        thread.start()
        limit = SECONDS + size / MIB
        thread.join(limit)
        if not done:
            raise OutOfReach(f"{name}: no answer within {limit:.0f} s")
        fine, answer = done[0]
        if fine:
            return answer  # type: ignore[no-any-return]
        raise _told(name, answer) from None


_NO = re.compile(
    r"NO_SUCH_BUCKET|ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|FORBIDDEN|Permission denied|PERMISSION|"
    r"Unauthorized|Forbidden|credential|HTTP status 40[0-9]|HTTP response code: 40[0-9]",
    re.IGNORECASE,
)


def _told(name: str, error: BaseException) -> BaseException:
    """An error of a file system as one of this project."""
    if isinstance(error, UsageError) or not isinstance(error, Exception):
        return error
    if isinstance(error, FileNotFoundError):
        return Missing(f"{name}: there is no such object")
    line = " ".join(str(error).split()) or type(error).__name__
    line = re.sub(r" ?\(Request ID: [^)]*\)", "", line)
    if "NO_SUCH_BUCKET" in line:
        return Refused(f"{name}: there is no such bucket ({line[:300]})")
    if isinstance(error, PermissionError) or _NO.search(line):
        return Refused(f"{name}: the store refuses this ({line[:300]}); see which credentials are in the environment")
    return OutOfReach(f"{name}: the store cannot be reached ({line[:300]})")
