"""The only place that touches what Ray keeps private: each by a function that does without where Ray has changed.

``tests/test_ray_private.py`` holds all that is relied on against the installed Ray, so that a change is noticed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

AUTH_MODE = "RAY_AUTH_MODE"
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where this is off, a Ray that starts has the address 127.0.0.1 and listens there only, on Linux too."""
START_WAIT = "RAY_gcs_server_port_wait_time_s"
"""How long a Ray that starts waits for its control service, in whole seconds."""
SLOW_START = "timed out during startup"
"""Ray's words for a node that took longer to start than the 30 s that are written into Ray."""


def current_address() -> str | None:
    """``HOST:PORT`` of the cluster that was started last on this machine; None if there is none."""
    try:
        from ray._private.utils import read_ray_address
    except ImportError:
        return None
    return read_ray_address() or None


def knows_tokens() -> bool:
    """Whether this Ray can ask for a token at all."""
    return _token_loader() is not None


def forget_token() -> None:
    """Has Ray read the token anew when it needs it next."""
    if (loader := _token_loader()) is not None:
        loader.reset_cache()


def use_token() -> None:
    """Has this process, and those that it starts, show the token to clusters; what is set already stays."""
    if knows_tokens() and AUTH_MODE not in os.environ:
        _set_mode("token")


def set_mode(mode: str | None) -> None:
    """Puts back what ``RAY_AUTH_MODE`` was: Ray sets it for the whole process; None: it was not set."""
    if knows_tokens() and os.environ.get(AUTH_MODE) != mode:
        _set_mode(mode)


def _set_mode(mode: str | None) -> None:
    if mode is None:
        os.environ.pop(AUTH_MODE, None)
    else:
        os.environ[AUTH_MODE] = mode
    if (config := _raylet("Config")) is not None:
        config.initialize("")  # which has read the environment before


def _token_loader() -> Any:
    loader = _raylet("AuthenticationTokenLoader")
    return None if loader is None else loader.instance()


def _raylet(name: str) -> Any:
    try:
        raylet = importlib.import_module("ray._raylet")
    except ImportError:
        return None
    return getattr(raylet, name, None)


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that starts inside can be reached from this machine only; set already, the environment decides."""
    if LOOPBACK in os.environ:
        yield
        return
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    os.environ[LOOPBACK] = "0"  # for the processes that are started
    if before is not None:
        ray_constants.ENABLE_RAY_CLUSTER = False  # has read the environment before
    try:
        yield
    finally:
        os.environ.pop(LOOPBACK, None)
        if before is not None:
            ray_constants.ENABLE_RAY_CLUSTER = before


def connects_by_itself(yes: bool) -> bool:
    """Whether Ray may start a cluster, or join one, when it is used before ``ray.init``; returns what was so far."""
    try:
        from ray._private import auto_init_hook
    except ImportError:
        return True
    before = bool(getattr(auto_init_hook, "enable_auto_connect", True))
    auto_init_hook.enable_auto_connect = yes
    return before
