"""The Ray of this process: begun once, shared by all searches that run at the same time, ended by the last of them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from archsearch.errors import ExecutorError, UsageError
from archsearch.executors.ray import private as ray_private
from archsearch.executors.ray.authentication import ASKS, check_authentication, ensure_token, may_show_token
from archsearch.executors.ray.watch import can_connect

ASKING_SECONDS = 3.0
"""How long a cluster is tried without a token where there is one."""
MAX_TEXT = 400
"""Characters of what Ray says when it does not start."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a search asks of Ray.

    Attributes:
        address: Of a cluster; None: one on this machine, or the one that this process has.
        needs: Amounts that all its workers reserve together, by Ray's names of resources.
        runtime_env: For the workers.
        start_seconds: How long a Ray on this machine may take to start.
    """

    address: str | None
    needs: Mapping[str, float]
    runtime_env: Mapping[str, Any] | None
    start_seconds: float


class Lease:
    """A search's share of the process's Ray.

    Attributes:
        holder: Who has it; None: nobody in particular.
        begun: Whether Ray was begun for it.
        reserves: Whether its workers reserve CPUs and resources. A Ray on this machine that was begun for another
            search has none to spare: its numbers are logical, and were chosen for that search.
    """

    def __init__(
        self,
        rays: _Rays,
        holder: object,
        session: tuple[str, str],
        begun: bool,
        reserved: Mapping[str, float] | None,
    ) -> None:
        self.holder = holder
        self.begun = begun
        self.reserves = reserved is not None
        self.reserved = dict(reserved or {})
        self._rays = rays
        self._session = session

    @property
    def alive(self) -> bool:
        """Whether the Ray that it was given still runs in this process."""
        return _session() == self._session

    def check(self) -> None:
        """Raises ``ExecutorError`` if somebody has shut Ray down, or begun another one since."""
        if not self.alive:
            raise ExecutorError(
                "Ray was shut down in this process (ray.shutdown) while a search ran on it. What was completed is in "
                "the run folder, if there is one: resume it"
            )

    def release(self) -> None:
        """Gives it back; the last one ends a Ray that was begun for searches."""
        self._rays.release(self, self._session)


class _Rays:
    """Who uses Ray in this process; there can be only one Ray in a process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._leases: list[Lease] = []
        self._begun: tuple[str, str] | None = None  # session of the Ray that was begun here
        self._wish: Wish | None = None  # that it was begun for
        self._connects_by_itself = True
        self._mode: str | None = None  # of authentication, before Ray was begun
        self._keeper: threading.Event | None = None  # set, it ends the thread that keeps Ray up

    def check(self, wish: Wish) -> None:
        """Raises ``UsageError`` if the Ray that this process has cannot be what is wished for."""
        if "ray" not in sys.modules:
            if wish.address is None:
                check_authentication()
            return
        import ray  # waits where another thread is importing it

        if wish.address is None and not ray.is_initialized():
            check_authentication()
        with self._lock:
            self._check(wish)

    def _check(self, wish: Wish) -> None:
        import ray

        if not ray.is_initialized():
            return
        ours = self._wish if self._begun == _session() else None
        if wish.runtime_env and (ours is None or dict(wish.runtime_env) != dict(ours.runtime_env or {})):
            raise UsageError(
                "runtime_env: another search in this process has begun Ray with another one; run one after the other"
                if ours
                else "runtime_env: Ray runs in this process already; give it to your ray.init instead"
            )
        there = ray.get_runtime_context().gcs_address
        if wish.address not in (None, "auto", there, ours and ours.address):
            raise UsageError(f"address: Ray runs in this process already, at {there}, got {wish.address}; leave it out")

    def lease(self, wish: Wish, holder: object = None, promises: bool = True) -> Lease:
        """Begins Ray if this process has none, and has it stay up until the lease is released.

        Args:
            wish: What is needed.
            holder: Who needs it, once at a time.
            promises: Whether what is needed is used at once, not only kept there for searches that follow.

        Raises:
            UsageError: If Ray runs in this process already and cannot be what is wished for.
            ExecutorError: If Ray cannot be begun.
        """
        import ray

        with self._lock:
            if holder is not None and any(lease.holder is holder for lease in self._leases):
                raise UsageError("RayExecutor: this one runs a search already; give each search its own")
            self._check(wish)
            begun = not ray.is_initialized()
            if begun:
                self._mode = os.environ.get(ray_private.AUTH_MODE)
                try:
                    self._keeper = _begin_for_good(wish)
                except BaseException:
                    ray_private.set_mode(self._mode)
                    raise
                self._begun, self._wish = _session(), wish
            session = _session()
            if session is None:
                raise ExecutorError("Ray was shut down in this process as it was to be used; start the search again")
            lease = Lease(self, holder, session, begun, self._share(wish) if promises else {})
            if not self._leases:  # else what is called after a shutdown would begin a cluster that nobody asked for
                self._connects_by_itself = ray_private.connects_by_itself(False)
            self._leases.append(lease)
            return lease

    def _share(self, wish: Wish) -> dict[str, float] | None:
        """What the workers reserve; None: only GPUs, since the Ray on this machine has no more to spare."""
        if self._begun != _session() or self._wish is None or self._wish.address is not None:
            return dict(wish.needs)
        free: dict[str, float] = {name: math.ceil(amount) for name, amount in self._wish.needs.items()}
        for lease in self._leases:
            for name, amount in lease.reserved.items():
                free[name] = free.get(name, 0) - amount
        short = {name for name, amount in wish.needs.items() if amount > free.get(name, 0)}
        if "GPU" in short and wish.needs["GPU"] > self._wish.needs.get("GPU", 0):
            raise ExecutorError(
                f"gpus: {wish.needs['GPU']:g} are needed, but another search in this process has begun Ray with "
                f"{self._wish.needs.get('GPU', 0):g}; call ray.init yourself, before both, with what they need together"
            )
        return None if short - {"GPU"} else dict(wish.needs)

    def release(self, lease: Lease, session: tuple[str, str]) -> None:
        import ray

        with self._lock:
            if lease not in self._leases:
                return
            self._leases.remove(lease)
            if self._begun == session and not any(other.alive for other in self._leases):
                self._begun = self._wish = None
                if lease.alive:
                    ray.shutdown()
                if self._keeper is not None:
                    self._keeper.set()
                    self._keeper = None
                if not ray.is_initialized():
                    ray_private.set_mode(self._mode)  # the next cluster may ask for no token
            if not self._leases:
                ray_private.connects_by_itself(self._connects_by_itself)


RAYS = _Rays()
"""Of this process."""


@contextlib.contextmanager
def held(wish: Wish) -> Iterator[None]:
    """Inside, Ray stays up, and is there for one search after another."""
    lease = RAYS.lease(wish, promises=False)
    try:
        yield
    finally:
        lease.release()


def _session() -> tuple[str, str] | None:
    """What tells one connection to Ray from another; None: there is none."""
    import ray

    if not ray.is_initialized():
        return None
    try:
        context = ray.get_runtime_context()
        return context.gcs_address, context.get_job_id()
    except Exception:  # it is being shut down
        return None


# -- beginning -----------------------------------------------------------------------------------


def _begin_for_good(wish: Wish) -> threading.Event | None:
    """Begins Ray such that it does not end with the thread of the search that was the first to want it.

    Ray has its processes killed when their parent dies, and to Linux that is the *thread* that started them. So
    outside of the main thread another one starts them, and stays.

    Returns:
        What ends that thread; None where there is none.
    """
    if threading.current_thread() is threading.main_thread():
        _begin(wish)
        return None
    begun: Future[None] = Future()
    ended = threading.Event()

    def keep() -> None:
        try:
            _begin(wish)
        except BaseException as error:
            begun.set_exception(error)
            return
        begun.set_result(None)
        ended.wait()

    threading.Thread(target=keep, name="archsearch keeps Ray", daemon=True).start()
    begun.result()
    return ended


def _begin(wish: Wish) -> None:
    """Starts Ray on this machine, with all that the workers ask for, or joins the cluster at the address."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if wish.runtime_env:
        quiet["runtime_env"] = dict(wish.runtime_env)
    try:
        if wish.address is None:
            _start(wish, quiet)
        else:
            _join(wish.address, quiet)
    except ray.exceptions.RuntimeEnvSetupError as error:
        raise UsageError(f"runtime_env: {last_line(error)}") from None


def _start(wish: Wish, quiet: Mapping[str, Any]) -> None:
    import ray

    # Logical CPUs: as many as the workers ask for, whatever the machine has.
    local: dict[str, Any] = {
        "num_cpus": math.ceil(wish.needs.get("CPU", 0)) or 1,
        "num_gpus": math.ceil(wish.needs.get("GPU", 0)) or None,
        "resources": {name: amount for name, amount in wish.needs.items() if name not in ("CPU", "GPU")} or None,
    }
    ensure_token()
    end = time.monotonic() + wish.start_seconds
    while True:
        try:
            with ray_private.on_loopback(), _patience(wish.start_seconds):
                ray.init("local", include_dashboard=False, **local, **quiet)
            return
        except ray.exceptions.RuntimeEnvSetupError:
            raise
        except Exception as error:  # of any kind: Ray raises what it comes upon
            ray.shutdown()
            if ray_private.SLOW_START in str(error) and time.monotonic() < end:
                continue
            _complain_of_environment(error)
            raise ExecutorError(
                f"Ray cannot be started on this machine: {_one_line(error)}. Its files are under "
                f"{os.environ.get('RAY_TMPDIR') or '/tmp'}/ray: RAY_TMPDIR names another folder, short and on a local "
                "disk with room; on a slow machine raise start_seconds"
            ) from None


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Has a Ray that starts inside wait that long for its control service; what is set already stays."""
    if ray_private.START_WAIT in os.environ:
        yield
        return
    os.environ[ray_private.START_WAIT] = str(max(1, math.ceil(seconds)))
    try:
        yield
    finally:
        os.environ.pop(ray_private.START_WAIT, None)


def _join(address: str, quiet: Mapping[str, Any]) -> None:
    import ray

    there = _cluster_at(address)
    try:
        if there.rpartition(":")[2].isdecimal() and "://" not in there and not can_connect(there, 5.0):
            raise ConnectionError("nothing listens there")  # Ray itself would try for half a minute
        _connect(there, quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        _complain_of_environment(error)
        if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
            raise
        raise ExecutorError(
            f"cannot reach a Ray cluster at {address}: {_one_line(error)}; start one by 'ray start --head', or leave "
            f"out the address to use this machine alone. {ASKS}"
        ) from None


def _connect(address: str, quiet: Mapping[str, Any]) -> None:
    """Joins without the token first, then with it.

    A driver that shows one to a cluster that asks for none cannot use actors there (Ray 2.60): it wants one from them.
    """
    import ray

    if address == "auto" or "://" in address or not may_show_token():
        ray.init(address, **quiet)
        return
    try:
        with _patience(ASKING_SECONDS):
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError):
        ray.shutdown()
        ray_private.use_token()
        ray.init(address, **quiet)


def _complain_of_environment(error: Exception) -> None:
    if "runtime env" in str(error):  # such as one that the job of 'ray job submit' has already
        raise UsageError(f"runtime_env: {error}") from None


def _cluster_at(address: str) -> str:
    """What ``auto`` stands for, if that can be told."""
    if address != "auto":
        return address
    return os.environ.get("RAY_ADDRESS") or ray_private.current_address() or address


def last_line(error: Exception) -> str:
    """The line of Ray's error that says what it was."""
    return str(error).strip().rpartition("\n")[2]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_TEXT].rstrip(".")
