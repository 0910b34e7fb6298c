"""A search that runs in another process of this user, from Python: ``archsearch.control("runs/first").pause()``."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archsearch.errors import ArchsearchError, RunFolderError, UsageError
from archsearch.files.lock import in_use
from archsearch.steering.address import address, is_own
from archsearch.steering.door import read_line

SECONDS = 60.0
"""How long an answer may take."""


class Control:
    """A running search. Each method gives what the search says to it, in a sentence.

    Args:
        directory: Its run folder.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def __repr__(self) -> str:
        return f"Control({str(self.directory)!r})"

    def pause(self) -> str:
        """Has it propose nothing for now; what is pending goes on."""
        return str(self.ask("pause")["said"])

    def resume(self) -> str:
        """Has it propose again."""
        return str(self.ask("resume")["said"])

    def stop(self) -> str:
        """Has it propose nothing more, and end when what is pending has ended."""
        return str(self.ask("stop")["said"])

    def cancel(self, trial: int) -> str:
        """Ends a pending trial, which then has failed.

        Args:
            trial: Its id.
        """
        return str(self.ask("cancel", trial)["said"])

    def put(self, architecture: str | Sequence[int]) -> str:
        """Has an architecture evaluated next, of whose result the controller hears.

        Args:
            architecture: In the space's notation, or as one option for each decision.
        """
        value = architecture if isinstance(architecture, str) else [int(option) for option in architecture]
        return str(self.ask("put", value)["said"])

    def workers(self, workers: int) -> str:
        """Has it evaluate so many at once from now on.

        Args:
            workers: >= 1.
        """
        return str(self.ask("workers", workers)["said"])

    def timeout(self, seconds: float | None) -> str:
        """Changes after how long an evaluation is given up; those under way may keep the old time.

        Args:
            seconds: > 0; None: never.
        """
        return str(self.ask("timeout", seconds)["said"])

    def limits(self, limits: Mapping[str, float | Sequence[float | None] | str | None]) -> str:
        """Changes limits on what may be evaluated, from the next proposal on.

        Args:
            limits: The most that each figure may be, or the least and the most; None: no limit any more. Others stay.
        """
        return str(self.ask("limits", dict(limits))["said"])

    def show(self) -> dict[str, Any]:
        """What it is doing: ``state``, ``pending`` and ``put`` architectures, ``limits``, ``timeout``, ``workers``."""
        found = self.ask("show")
        return {name: found[name] for name in found if name != "said"}

    def ask(self, verb: str, value: Any = None) -> dict[str, Any]:
        """The search's answer to a verb with its value.

        Raises:
            RunFolderError: If no search runs there that this process can reach.
            UsageError: If the search refuses; the message is its own.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(SECONDS)
                connection.connect(str(address(self.directory)))
                if not is_own(connection):
                    raise RunFolderError(f"{self.directory}: the search that runs here belongs to another user")
                connection.sendall(json.dumps({"verb": verb, "value": value}).encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                answer = json.loads(read_line(connection))
        except TimeoutError:
            raise ArchsearchError(f"{self.directory}: the search gave no answer within {SECONDS:g} s") from None
        except OSError:
            raise RunFolderError(self._unreachable()) from None
        except ValueError as error:
            if isinstance(error, ArchsearchError):
                raise
            raise ArchsearchError(f"{self.directory}: the search ended before it gave an answer") from None
        if "error" in answer:
            raise UsageError(f"{self.directory}: {answer['error']}")
        return dict(answer)

    def _unreachable(self) -> str:
        if not (self.directory / "config.yaml").exists():
            return f"{self.directory}: no run here (there is no config.yaml); expected the folder of a search that runs"
        if in_use(self.directory / "lock"):
            return (
                f"{self.directory}: a search runs here, but cannot be reached: it runs on another machine, as another "
                "user, or was begun by a version without control"
            )
        return f"{self.directory}: no search is running here; 'archsearch resume {self.directory}' goes on with it"


def control(directory: str | Path) -> Control:
    """A search that runs in another process of this user, to be steered.

    Args:
        directory: Its run folder.
    """
    return Control(directory)
