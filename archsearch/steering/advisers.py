"""Advisers: a function, a command or a file that is shown how a search stands and says what to try.

What they are shown is JSON data, what they say too:

    {"architecture": "|nor_conv_3x3~0|+..."}       one, in the space's notation, or its options: [3, 1, 2, 3, 4, 3]
    {"architectures": [...]}                       several, to be tried one after another
    null                                           nothing
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from archsearch.basics.checks import number
from archsearch.components import import_object
from archsearch.errors import ArchsearchError, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

COMMAND, FILE = "command:", "file:"
"""What begins the texts of commands and files."""
MOST = 200
"""Characters of a reason, or of an answer that is quoted."""


class NoAdvice(Exception):
    """There is no answer, or none that can be used; the message says why."""


class Adviser:
    """Who is asked.

    Args:
        adviser: A function that is given the state and gives the answer, or its import path; ``command: PROGRAM ...``,
            which reads the state on standard input and writes the answer on standard output; or ``file: PATH``, which
            has an architecture on each line, of which the first that was not taken is the answer.
        timeout: Seconds after which a command is given up, and killed with all that it has started, > 0.

    Raises:
        UsageError: If it is none of these.
    """

    def __init__(self, adviser: Callable[[dict[str, Any]], Any] | str, timeout: float) -> None:
        self._timeout = number("Advised", "timeout", timeout, above=0)
        self._command: list[str] | None = None
        self._file: Path | None = None
        self._call: Callable[[dict[str, Any]], Any] | None = None
        if isinstance(adviser, str) and adviser.startswith(COMMAND):
            self._command = shlex.split(adviser.removeprefix(COMMAND))
            if not self._command:
                raise UsageError(f"Advised: adviser: expected a program behind {COMMAND!r}, got none")
        elif isinstance(adviser, str) and adviser.startswith(FILE):
            self._file = Path(adviser.removeprefix(FILE).strip()).absolute()
        else:
            self._call = import_object(adviser) if isinstance(adviser, str) else adviser
            if not callable(self._call):
                raise UsageError(
                    "Advised: adviser: expected a function, its import path, 'command: PROGRAM ...' or 'file: PATH', "
                    f"got {adviser!r:.80}"
                )

    def ask(self, state: dict[str, Any], taken: Collection[str]) -> Any:
        """What it says; None: nothing.

        Args:
            state: What it is shown.
            taken: Lines of a file that were taken before.

        Raises:
            NoAdvice: If it fails, is late, or answers what is no JSON.
        """
        if self._command is not None:
            return self._run(self._command, json.dumps(state))
        if self._file is not None:
            return self._line(self._file, taken)
        assert self._call is not None
        try:
            # Through JSON: what a journal gives back must be what was said.
            return json.loads(json.dumps(self._call(state)))
        except Exception as error:  # of the user's own code, which is not to end a search
            raise NoAdvice(f"{type(error).__name__}: {error}"[:MOST]) from None

    def _run(self, command: list[str], state: str) -> Any:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise NoAdvice(f"{command[0]}: {error.strerror}") from None
        try:
            said, complained = process.communicate(state, timeout=self._timeout)
        except subprocess.TimeoutExpired:
            raise NoAdvice(f"no answer within {self._timeout:g} s") from None
        finally:
            with_group_killed(process)
        if process.returncode:
            last = complained.strip().rpartition("\n")[2]
            raise NoAdvice(f"exit status {process.returncode}: {last}"[:MOST])
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            raise NoAdvice(f"expected JSON, got {said.strip()!r:.80}") from None

    def _line(self, path: Path, taken: Collection[str]) -> Any:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NoAdvice(f"{path}: {error.strerror}") from None
        for line in (line.partition(" #")[0].strip() for line in lines):
            if line and not line.startswith("#") and line not in taken:
                return {"architecture": line, "line": line}
        return None


def with_group_killed(process: subprocess.Popen[str]) -> None:
    """Ends a process and all that it has started; those that have ended anyway too, with what they left running."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def architectures_in(answer: Any) -> list[Any]:
    """What an answer proposes, one by one, unchecked.

    Raises:
        NoAdvice: If it is no answer.
    """
    if answer is None:
        return []
    if isinstance(answer, Mapping):
        answer = answer.get("architectures", [answer["architecture"]] if "architecture" in answer else None)
        if not isinstance(answer, list):
            raise NoAdvice('expected {"architecture": ...}, {"architectures": [...]} or null')
        return answer
    if isinstance(answer, str) or (isinstance(answer, list) and all(type(option) is int for option in answer)):
        return [answer]
    if isinstance(answer, list):
        return answer
    raise NoAdvice(f'expected {{"architecture": ...}}, {{"architectures": [...]}} or null, got {answer!r:.80}')


def read_architecture(space: Space, given: Any) -> Architecture:
    """An architecture in the space's notation, or as its options: in a list, or in a text such as ``3,1,2``.

    Raises:
        InvalidArchitecture: If it is none of the space.
        UsageError: If it is neither.
    """
    if isinstance(given, list):
        return space.validate(tuple(given))
    if not isinstance(given, str):
        raise UsageError(f"expected an architecture, as a text or as its options, got {given!r:.80}")
    options = given.strip().strip("[]()").replace("-", ",").split(",")
    if all(option.strip().isdecimal() for option in options):
        try:
            return space.validate(tuple(map(int, options)))
        except ArchsearchError:
            pass  # a number may be a notation of the space
    return space.parse(given)
