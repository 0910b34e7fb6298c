"""The copy of a store's folder on this machine: fetched, kept beside what is shipped, written by one process at a time.

AROUND/run/                    the folder, as any on this machine
AROUND/archsearch-store.json   which store, the newest writer and shipment that it knows, whether it may have more
AROUND/lock                    held while a process of this machine writes
AROUND/set-aside-1/            what a writer of this machine had not shipped when another machine went on
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archsearch.errors import RunFolderError
from archsearch.files.lock import Lock, in_use
from archsearch.files.writing import write_whole
from archsearch.stores.claims import FOLDER as CLAIMS
from archsearch.stores.claims import Claim, holder_alive, take
from archsearch.stores.manifests import File, Manifest, inlined, newest_manifest
from archsearch.stores.objects import Missing, Objects
from archsearch.stores.places import HELD, KEPT, Place, is_store, place_of
from archsearch.stores.shipping import Shipper
from archsearch.stores.snapshots import Seen, crc_of, look

LIGHT = 1 << 20
"""Bytes: what an evaluator keeps is fetched up to this size for those who only look at a run."""
EVALUATOR = "evaluator"
FETCH_SECONDS = 120.0
"""That one process waits for another one that fetches the same."""


class Mirror:
    """A folder of a store that this process writes to, on this machine, from where it is shipped.

    Args:
        text: The store.

    Attributes:
        place: The same, read.
        folder: The folder.
        told: A line for each thing that is damaged in the store.

    Raises:
        RunFolderError: If another process writes to it, or the store says no.
        StorageError: If the store cannot be reached.
    """

    def __init__(self, text: str) -> None:
        self.place = place_of(text)
        self.folder, self.told = self.place.folder, list[str]()
        objects = Objects(self.place)
        objects.check_bucket()
        with contextlib.ExitStack() as stack:
            self._lock = _locked(self.place)
            stack.callback(self._lock.close)
            kept = _kept(self.place)
            self._claim = take(objects, dead=kept["token"] if kept.get("more") else "")
            stack.callback(self._claim.release)
            with _fetching(self.place):
                base, seen = _fetch(objects, self.place, self.told, light=False)
                _keep(self.place, token=self._claim.token, session=self._claim.session, more=True)
            _sweep(self._claim, base)
            self._shipper = Shipper(self._claim, self.folder, base, seen, self._note)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._shipper.start()
            stack.pop_all()
        HELD.add(self.folder)

    def check(self) -> None:
        """Raises ``StorageError`` if the store was out of reach for too long, or another writer has gone on."""
        self._shipper.check()

    def close(self) -> None:
        """Ships the rest, and lets others write.

        Raises:
            StorageError: If the store does not take it; the folder has everything.
        """
        try:
            self._shipper.close()
            self._claim.release()
            _keep(self.place, token=self._claim.token, session=self._claim.session, more=False)
        finally:
            HELD.discard(self.folder)
            self._lock.release(True)

    def forget(self) -> None:
        """Takes out of the store what this writer has put there; for a folder that turned out not to be wanted."""
        for each in self._claim.objects.list():
            if self._claim.token in each.key:
                self._claim.objects.delete(each.key)

    def _note(self, manifest: Manifest) -> None:
        _keep(self.place, token=manifest.token, session=manifest.session, more=True)


def fetched(text: str) -> tuple[Path, bool, list[str]]:
    """The folder of a store on this machine, as new as the store knows it, to be read.

    Returns:
        The folder; whether somebody writes to it; a line for each thing that is damaged in the store.

    Raises:
        RunFolderError: If the store says no.
        StorageError: If it cannot be reached.
    """
    place, told = place_of(text), list[str]()
    if place.folder in HELD or in_use(place.around / "lock"):
        return place.folder, True, told  # nothing is newer
    objects = Objects(place)
    objects.check_bucket()
    with _fetching(place):
        _fetch(objects, place, told, light=True)
    return place.folder, holder_alive(objects), told


@contextlib.contextmanager
def written(path: str | Path) -> Iterator[str | Path]:
    """A folder to write to: as given, or one of this machine that goes to the store meanwhile and in the end."""
    if not (isinstance(path, str) and is_store(path)):
        yield path
        return
    mirror = Mirror(path)
    try:
        yield mirror.folder
    finally:
        mirror.close()


# -- fetching ------------------------------------------------------------------------------------------


def _fetch(objects: Objects, place: Place, told: list[str], light: bool) -> tuple[Manifest | None, dict[str, Seen]]:
    """Brings the folder to what the store knows, unless it knows more; the manifest, and files that are as it says."""
    newest, kept = newest_manifest(objects, told), _kept(place)
    if newest is None:
        if kept.get("more") and place.folder.exists():
            return None, {}
        if place.folder.exists() and look(place.folder):
            told.append(f"{place.uri}: is empty; what this machine had of it lies in {_set_aside(place)}")
        return None, {}
    if kept.get("more") and (kept["session"] > newest.session or kept["token"] == newest.token):
        return newest, {}
    if kept.get("more") and place.folder.exists():
        aside = _set_aside(place)
        told.append(f"{place.uri}: another machine has gone on with it; what this one had lies in {aside}")
    place.folder.mkdir(parents=True, exist_ok=True)
    seen = {}
    for name, file in newest.files.items():
        if light and name.startswith(f"{EVALUATOR}/") and file.size > LIGHT:
            continue
        if _restore(objects, place.folder / name, file, told):
            seen[name] = Seen.of(os.stat(place.folder / name))
    for name in look(place.folder):
        if name not in newest.files and name.partition("/")[0] not in ("report", "export"):
            (place.folder / name).unlink(missing_ok=True)
    _keep(place, token=newest.token, session=newest.session, more=False)
    return newest, seen


def _restore(objects: Objects, path: Path, file: File, told: list[str]) -> bool:
    """Makes a file what its pieces say; whether it is so in the end, which it is not where one of them is damaged."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == file.size and crc_of(path, file.size) == file.crc:
            os.utime(path, ns=(file.mtime, file.mtime))
            return True
    path.parent.mkdir(parents=True, exist_ok=True)
    aside, sound, start = path.with_name(path.name + ".tmp"), True, 0
    with open(aside, "wb", opener=lambda name, flags: os.open(name, flags, file.mode or 0o600)) as out:
        for piece in file.pieces:
            data = _here(path, start, piece.size, piece.crc)
            if data is None:
                data, problem = _there(objects, piece.key, piece.size, piece.crc)
                if problem:
                    sound = False
                    told.append(f"{objects.place.uri}/{piece.key} {problem}: what it held of {path.name} is lost")
            out.write(data)
            start += piece.size
    os.chmod(aside, file.mode)
    os.utime(aside, ns=(file.mtime, file.mtime))
    aside.replace(path)
    return sound


def _here(path: Path, start: int, size: int, crc: int) -> bytes | None:
    """A piece, if the file here has it already."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(size)
    except OSError:
        return None
    return data if len(data) == size and zlib.crc32(data) == crc else None


def _there(objects: Objects, key: str, size: int, crc: int) -> tuple[bytes, str]:
    """A piece out of the store, and what is wrong with it."""
    if (data := inlined(key)) is not None:
        return data, ""
    try:
        data = objects.get(key, size)
    except Missing:
        return b"", "is missing"
    if len(data) != size or zlib.crc32(data) != crc:
        return data, "is damaged (its checksum does not fit)"
    return data, ""


def _set_aside(place: Place) -> Path:
    number = 1
    while (aside := place.around / f"set-aside-{number}").exists():
        number += 1
    place.folder.rename(aside)
    return aside


def _sweep(claim: Claim, base: Manifest | None) -> None:
    """Deletes what earlier sessions have left that no manifest of use names, such as a shipment that was cut off."""
    if base is None:
        return
    wanted = base.keys() | {claim.key}
    for each in claim.objects.list():
        if each.key not in wanted and claim.token not in each.key and not each.key.startswith(f"{CLAIMS}/"):
            claim.objects.delete(each.key)


# -- what is noted beside the folder -------------------------------------------------------------------


def _locked(place: Place) -> Lock:
    try:
        place.around.mkdir(parents=True, exist_ok=True)
        return Lock(place.around / "lock")
    except RunFolderError:
        raise RunFolderError(
            f"{place.uri}: another process of this machine is running this search; wait for it or stop it"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"{place.around}: cannot write the copy of {place.uri} here ({error.strerror}); name a folder for copies "
            "in the variable ARCHSEARCH_STORES"
        ) from None


@contextlib.contextmanager
def _fetching(place: Place) -> Iterator[None]:
    """One at a time; whoever only reads, too."""
    place.around.mkdir(parents=True, exist_ok=True)
    with open(place.around / "fetching", "ab") as file:
        end = time.monotonic() + FETCH_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise RunFolderError(
                        f"{place.uri}: another process has been fetching it for long; try again"
                    ) from None
                time.sleep(0.05)
        yield


def _kept(place: Place) -> dict[str, Any]:
    try:
        found = json.loads((place.around / KEPT).read_text())
        return found if isinstance(found, dict) and isinstance(found.get("session"), int) else {}
    except (OSError, ValueError):
        return {}


def _keep(place: Place, *, token: str, session: int, more: bool) -> None:
    note = {"uri": place.uri, "token": token, "session": session, "more": more}
    write_whole(place.around / KEPT, json.dumps(note).encode())
