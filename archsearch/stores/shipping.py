"""What is new in a folder goes to the store, in the background, again and again, until the folder is closed.

The search knows nothing of it: it writes to its folder as ever. A shipment is made of new objects (the end of each file
that grew, each file that is new), then a manifest. Until the store has it all, nothing counts as shipped.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from archsearch.errors import ArchsearchError, StorageError
from archsearch.stores.claims import BEATS, Claim, TakenOver
from archsearch.stores.manifests import File, Manifest, Piece, inline
from archsearch.stores.objects import OutOfReach
from archsearch.stores.snapshots import Seen, crc_of, look, snapshot, whole_lines

PIECE = 64 << 20
"""Bytes of an object, at most."""
PIECES = 64
"""Of a file, at most, before it is shipped as one again (if it is no longer than a piece)."""
INLINE = 128
"""Bytes: a piece that is no longer, such as the note in a lock, is in the manifest itself."""
WORTH_IT = 20
"""Objects that nobody needs any more: to delete one takes three requests."""
LOOK_SECONDS = 0.5
CLOSE_SECONDS = 30.0
"""For the last shipment, at most; less with less patience."""
LONGEST_PAUSE = 10.0


class StoreWarning(UserWarning):
    """What is to be said about a store while a search runs."""


class Shipper:
    """Ships what is new in a folder, from a thread of its own.

    Args:
        claim: Who writes to the store.
        folder: The folder.
        base: What the store had when this began; None: nothing.
        seen: Files of the folder that are as they are there.
        note: Called after each shipment.
    """

    def __init__(
        self,
        claim: Claim,
        folder: Path,
        base: Manifest | None,
        seen: Mapping[str, Seen],
        note: Callable[[Manifest], None],
    ) -> None:
        self._claim, self._folder, self._note = claim, folder, note
        self._place = claim.objects.place
        self._shipped = dict(base.files) if base else {}
        self._seen = dict(seen)
        self._attempt, self._begun = 0, False
        self._busy = threading.Lock()
        self._kept: list[set[str]] = [base.keys()] if base else []
        self._written: set[str] = set().union(*self._kept)
        self._failed: ArchsearchError | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"archsearch ships to {self._place.uri}", daemon=True)

    def start(self) -> None:
        """Begins to ship."""
        self._thread.start()

    def check(self) -> None:
        """Raises ``StorageError`` if the store was out of reach for too long, or another writer has gone on."""
        if self._failed is not None:
            raise self._error(self._failed) from None

    def close(self) -> None:
        """Ships the rest, and ends.

        Raises:
            StorageError: If that cannot be done; the folder has everything.
        """
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)
        self.check()
        end = time.monotonic() + min(CLOSE_SECONDS, self._place.patience)
        pause = 0.5
        while True:
            try:
                self.ship()
                return
            except TakenOver as error:
                raise self._error(error) from None
            except ArchsearchError as error:
                if time.monotonic() + pause > end:
                    raise self._error(error) from None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _error(self, error: ArchsearchError) -> StorageError:
        return StorageError(
            f"{error}; nothing is lost: what the store lacks lies in {self._folder}, and the same command, or "
            f"'archsearch resume {self._place.uri}', ships it from this machine"
        )

    # -- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        beaten = shipped = well = time.monotonic()
        first, pause, told = True, 0.0, False
        while not self._end.wait(pause or min(LOOK_SECONDS, self._place.ship_seconds)):
            now = time.monotonic()
            try:
                if now - beaten >= self._place.lease / BEATS:
                    self._claim.beat()
                    beaten = well = now
                if now - shipped >= self._place.ship_seconds or first or self._grown() >= self._place.ship_bytes:
                    first = not self.ship() and first
                    shipped = well = now
                pause = 0.0
            except TakenOver as error:
                self._failed = error
                return
            except Exception as error:  # whatever it is, the search must hear of it
                known = (
                    error if isinstance(error, ArchsearchError) else StorageError(f"{self._place.uri}: {error!r:.300}")
                )
                if now - well > self._place.patience:
                    self._failed = known
                    return
                told = told or self._tell(known)
                pause = min(max(LOOK_SECONDS, 2 * pause), LONGEST_PAUSE)

    def _tell(self, error: ArchsearchError) -> bool:
        line = f"{error}: it is tried again for {self._place.patience:g} s; meanwhile all is kept in {self._folder}"
        with contextlib.suppress(StoreWarning):  # where warnings are errors, they are no end of this thread
            warnings.warn(line, StoreWarning, stacklevel=2)
        return True

    def _grown(self) -> int:
        return sum(
            seen.size - self._seen[name].size if name in self._seen else seen.size
            for name, seen in look(self._folder).items()
            if self._seen.get(name) != seen
        )

    # -- a shipment --------------------------------------------------------------------------------------

    def ship(self) -> bool:
        """Ships what is new; whether anything was.

        Raises:
            ArchsearchError: If the store does not take it.
        """
        if not self._busy.acquire(timeout=1.0):
            raise OutOfReach(f"{self._place.uri}: a shipment has not come through")
        try:
            return self._ship()
        finally:
            self._busy.release()

    def _ship(self) -> bool:
        self._attempt += 1  # one that failed may have come through all the same: no object is written twice
        with snapshot(self._folder, self._folder.parent / "links", self._seen) as (seen, links):
            files = {}
            for name in sorted(seen):
                if name in links and (name not in self._shipped or self._seen.get(name) != seen[name]):
                    files[name] = self._file(name, seen[name], links[name])
                else:
                    files[name] = self._shipped[name]
            if files == self._shipped and (self._begun or not files):
                self._seen = seen
                return False
            self._claim.check()
            manifest = Manifest(self._claim.session, self._attempt, self._claim.token, files)
            self._put(manifest.key, manifest.data())
        self._shipped, self._seen, self._begun = files, seen, True
        self._note(manifest)
        self._tidy(manifest)
        return True

    def _file(self, name: str, seen: Seen, link: Path) -> File:
        """Puts what is new of a file."""
        before = self._shipped.get(name)
        size = whole_lines(link, name, seen.size)
        kept: tuple[Piece, ...] = ()
        start = crc = 0
        goes_on = before is not None and before.size <= size and crc_of(link, before.size) == before.crc
        if before is not None and goes_on and (len(before.pieces) < PIECES or size > PIECE or before.size == size):
            kept, start, crc = before.pieces, before.size, before.crc
        made = list[Piece]()
        with open(link, "rb") as file:
            file.seek(start)
            while start < size:
                data = file.read(min(PIECE, size - start))
                if not data:  # it was cut short meanwhile
                    break
                made.append(self._piece(name, len(made), data))
                start, crc = start + len(data), zlib.crc32(data, crc)
        return File((*kept, *made), crc, seen.mtime, seen.mode)

    def _piece(self, name: str, place: int, data: bytes) -> Piece:
        if len(data) <= INLINE:
            return Piece(inline(data), len(data), zlib.crc32(data))
        path = PurePosixPath(name)
        stamp = f"{self._claim.session:06d}-{self._attempt:09d}-{place}-{self._claim.token}"
        piece = Piece(str(path.with_name(f"{path.stem}.{stamp}{path.suffix}")), len(data), zlib.crc32(data))
        self._put(piece.key, data)
        return piece

    def _put(self, key: str, data: bytes) -> None:
        self._written.add(key)
        self._claim.objects.put(key, data)

    def _tidy(self, manifest: Manifest) -> None:
        """Deletes what neither this manifest nor the one before it names, once it is worth it."""
        self._kept = [*self._kept[-1:], manifest.keys()]
        superfluous = self._written - set().union(*self._kept)
        if len(superfluous) < WORTH_IT and not self._end.is_set():
            return
        for key in sorted(superfluous):
            self._claim.objects.delete(key)
            self._written.discard(key)
