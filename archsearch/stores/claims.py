"""Who may write to a folder of a store: one at a time, without a conditional put, which pyarrow has for no store.

A writer puts an object of its own and then lists all of them. Of two that come at once, the one that puts last sees the
other, wherever a listing shows what was put before it (S3, GCS, Azure and files do): so never do both go on. A
writer that lives puts its object again and again; whether one is dead is judged by the store's own clock.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from archsearch.errors import RunFolderError
from archsearch.stores.manifests import manifests
from archsearch.stores.objects import Listed, Missing, Objects, OutOfReach

FOLDER = "_writer"
BEATS = 6
"""Signs of life in the time after which a writer counts as dead."""
TRIES = 5
"""Of writers that come at once, each of which steps back."""
_HOLDER = re.compile(rf"{FOLDER}/(\d{{6}})-([0-9a-f]+)\.json")


class TakenOver(RunFolderError):
    """Another writer has gone on with the folder, since this one gave no sign of life."""


class Claim(NamedTuple):
    """A claim that is held.

    Attributes:
        objects: The store.
        session: 1, 2, ...: one more than any before.
        token: The writer's own.
    """

    objects: Objects
    session: int
    token: str

    @property
    def key(self) -> str:
        """The object that stands for it."""
        return f"{FOLDER}/{self.session:06d}-{self.token}.json"

    def beat(self) -> None:
        """Gives a sign of life.

        Raises:
            TakenOver: If another writer has gone on.
        """
        self.check()
        self.objects.put(self.key, _who())

    def check(self) -> None:
        """Raises ``TakenOver`` if another writer has gone on."""
        keys = {each.key for each in self.objects.list(FOLDER)}
        sessions = [int(m[1]) for key in keys if (m := _HOLDER.fullmatch(key))]
        if self.key not in keys or max(sessions) > self.session:
            raise TakenOver(
                f"{self.objects.place.uri}: another process has gone on with this run, since no sign of life of this "
                f"one came through for {self.objects.place.lease:g} s"
            )

    def release(self) -> None:
        """Lets others write."""
        self.objects.delete(self.key)


def take(objects: Objects, dead: str = "") -> Claim:
    """Takes the claim, as soon as no other writer is alive.

    Args:
        objects: The store.
        dead: Token of a writer of which it is known that it has ended.

    Raises:
        RunFolderError: If another one holds it.
    """
    token = secrets.token_hex(6)
    wish = f"{FOLDER}/wish-{token}.json"
    end = time.monotonic() + 2 * objects.place.lease
    met: dict[str, float] = {}
    for tries_left in reversed(range(TRIES)):
        try:
            alive, ended = _others(objects, wish, dead)
            while alive and all(map(_HOLDER.fullmatch, alive)):
                for key, when in alive.items():  # either it gives a sign of life, or the lease runs out
                    if met.setdefault(key, when) != when or time.monotonic() > end:
                        raise RunFolderError(_in_use(objects, key))
                time.sleep(min(1.0, objects.place.lease / BEATS / 2))
                alive, ended = _others(objects, wish, dead)
            if not alive:
                return _hold(objects, token, ended)
        finally:
            objects.delete(wish)
        if not tries_left:
            break
        time.sleep(random.SystemRandom().uniform(0.1, 1.0))
    raise RunFolderError(_in_use(objects, next(iter(alive))))


def _others(objects: Objects, wish: str, dead: str) -> tuple[dict[str, float], list[str]]:
    """Puts the wish (again), whose time is now; when others gave their last sign of life, and those that have ended."""
    objects.put(wish, _who())
    times = {each.key: _when(objects, each) for each in objects.list(FOLDER)}
    if wish not in times:
        raise OutOfReach(
            f"{objects.place.uri}/{wish}: was written, but is not listed; this store cannot be used safely"
        )
    now = times.pop(wish)
    ended = [key for key, when in times.items() if now - when > objects.place.lease or (dead and dead in key)]
    return {key: when for key, when in times.items() if key not in ended}, ended


def _when(objects: Objects, each: Listed) -> float:
    """When a sign of life was given, by the store's clock; where it has none, by the clock of who gave it."""
    if each.modified is not None:
        return each.modified
    try:
        return float(json.loads(objects.get(each.key))["time"])
    except (Missing, ValueError, LookupError, TypeError):
        return time.time()


def _hold(objects: Objects, token: str, ended: Sequence[str]) -> Claim:
    holders = [int(m[1]) for each in objects.list(FOLDER) if (m := _HOLDER.fullmatch(each.key))]
    session = 1 + max([0, *holders, *(found[0] for found in manifests(objects)[:1])])
    claim = Claim(objects, session, token)
    objects.put(claim.key, _who())
    for key in ended:
        objects.delete(key)
    return claim


def holder_alive(objects: Objects) -> bool:
    """Whether a writer has given a sign of life not long ago, by this machine's clock; for those who only read."""
    holders = [each for each in objects.list(FOLDER) if _HOLDER.fullmatch(each.key)]
    return any(time.time() - _when(objects, each) < 2 * objects.place.lease for each in holders)


def _who() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "time": round(time.time(), 3)}).encode()


def _in_use(objects: Objects, key: str) -> str:
    try:
        who = json.loads(objects.get(key))
        name = f"process {who['pid']} of {who['host']}"
    except (Missing, ValueError, LookupError, TypeError):
        name = "another process"
    return f"{objects.place.uri}: {name} is running this search; wait for it or stop it"
