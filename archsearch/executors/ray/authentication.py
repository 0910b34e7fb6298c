"""The token that guards a Ray: whoever reaches one without it can run code on it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from archsearch.errors import ExecutorError, UsageError
from archsearch.executors.ray import private as ray_private
from archsearch.executors.ray.private import AUTH_MODE

OPEN = "ARCHSEARCH_OPEN_RAY"
"""Environment variable that allows a Ray without a token."""
ASKS = f"A cluster that asks for a token wants the same one here, and {AUTH_MODE}=token: see 'Token' in docs/cluster.md"


def check_authentication() -> None:
    """Refuses a Ray of one's own without a token; called before anything is written.

    Raises:
        UsageError: If authentication is switched off, or the environment names a file that is not there.
    """
    mode = os.environ.get(AUTH_MODE)
    if mode is not None and mode.lower() != "token" and not _is_open():
        raise UsageError(
            f"{AUTH_MODE}: expected token, or nothing, got {mode!r}: every user who reaches a Ray without a token can "
            f"run code as you; unset it, or start one all the same with {AUTH_MODE}=disabled and {OPEN}=1"
        )
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not os.environ.get("RAY_AUTH_TOKEN") and not os.path.isfile(path) and not _is_open():
        raise UsageError(f"RAY_AUTH_TOKEN_PATH: expected a file with a token, nothing is at {path!r}; unset it")


def ensure_token() -> None:
    """Makes the token for a Ray that is about to start, if there is none, readable by its owner alone.

    Raises:
        UsageError: If authentication is switched off, or the environment names a file that is not there.
        ExecutorError: If the token cannot be written.
    """
    if not ray_private.knows_tokens():
        return
    check_authentication()
    if not _is_open() and not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        _make(Path.home() / ".ray" / "auth_token")


def _is_open() -> bool:
    """Whether a Ray without a token is asked for, by two variables."""
    return os.environ.get(AUTH_MODE, "").lower() == "disabled" and bool(os.environ.get(OPEN))


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size:
            if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o077:
                path.chmod(0o600)  # Ray itself leaves it readable by all
            return
        aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        if path.is_file() and not path.stat().st_size:
            path.unlink()
        with contextlib.suppress(FileExistsError):  # another process was quicker: that token counts
            os.link(aside, path)
        aside.unlink()
    except OSError as error:
        raise ExecutorError(
            f"no token can be written to {path} ({error.strerror}), and Ray starts none without; set "
            "RAY_AUTH_TOKEN_PATH to a file that holds one"
        ) from None
    ray_private.forget_token()


def may_show_token() -> bool:
    """Whether there is a token to show to a cluster that asks, and the environment leaves that to us.

    Ray is not asked: once it has read a token, it loses every actor on a cluster that asks for none (2.60).
    """
    if AUTH_MODE in os.environ or not ray_private.knows_tokens():
        return False
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):
        return bool(os.environ.get("RAY_AUTH_TOKEN") or os.path.getsize(path))
    return False
