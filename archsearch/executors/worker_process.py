"""A process that keeps an evaluator and answers queries: it may hang, exit or crash, and takes nobody along.

It is a Python of its own, not a fork: forks of a process with threads (torch, Arrow) may hang. It leads a session of
its own, so that Ctrl-C in a terminal reaches the driver alone, and what it starts is killed with it. A guard beside it
waits for the end of the driver, and then kills them all.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archsearch.errors import ExecutorError, UsageError
from archsearch.executors.messages import PART_SECONDS, Garbled, Late, Messages

if TYPE_CHECKING:
    from archsearch.evaluator import Evaluator
    from archsearch.executors.evaluating import Together
    from archsearch.executors.executor import Outcome
    from archsearch.trial import Query


END_SECONDS = 5.0
"""How long to wait for a process that was killed, or has closed its connection."""
GUARD_SECONDS = 2.0
MAX_ANSWER = 1 << 30
"""Bytes of an answer: evaluations are bounded, each."""
MAX_STACK = 4_000
"""Characters, the first ones, of the stack of a process that crashed, or hangs."""
OWN_FRAMES = (" in evaluate_safely", " in evaluate_together")
"""Frames from which on such a stack is not the evaluator's."""
STACK_SECONDS = 0.2
WHERE = signal.SIGUSR2
"""Has a worker process write its stack."""

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from archsearch.executors.worker_process import main; main(*map(int, sys.argv[2:]))"
)


def pickled(evaluator: Evaluator) -> bytes:
    """An evaluator as bytes, classes and functions of the user's own script included.

    Raises:
        UsageError: If it cannot be.
    """
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(evaluator)
    except Exception as error:  # an author's own __getstate__ may raise anything
        text = str(error).strip().rpartition("\n")[2]
        raise UsageError(
            f"{type(evaluator).__name__} cannot be sent to the worker process ({text}); make what cannot be pickled, "
            "such as locks and open files, where it is used, or leave out isolate and timeout"
        ) from None
    return data


class WorkerProcess:
    """The driver's end of a worker process. After a failure that ends the process, make a new one.

    Args:
        evaluator: Who answers.
        memory: The most bytes that it may ask for; None: no limit.

    Attributes:
        ended: Kind and text of an end for which no single query is to blame; None if there is none to tell of.

    Raises:
        UsageError: If the evaluator cannot be sent.
        ExecutorError: If the process does not start, or cannot load the evaluator.
    """

    def __init__(self, evaluator: Evaluator, memory: int | None = None) -> None:
        data = pickled(evaluator)
        self.ended: tuple[str, str] | None = None
        self._killed = False
        self._memory = memory
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115  (closed by kill)
        self._start()
        try:
            self._load(data, {"memory": memory, "threads": _torch_threads()})
        except BaseException:
            self.kill()
            raise

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._messages = Messages(ours, lambda: self._process.poll() is not None, PART_SECONDS)
        self._asked = 0
        lifeline, self._lifeline = os.pipe()
        numbers = (theirs.fileno(), lifeline, self._stack.fileno())
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])
        command = [sys.executable, "-P", "-c", CHILD, path, *map(str, (*numbers, os.getpid()))]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=numbers, start_new_session=True
            )
        except OSError as error:
            raise ExecutorError(f"the worker process cannot be started: {error}") from None
        finally:
            theirs.close()
            os.close(lifeline)

    def load(self, evaluator: Evaluator) -> None:
        """Has another evaluator take the place of the one so far."""
        self._load(pickled(evaluator), {})

    def _load(self, data: bytes, settings: dict[str, Any]) -> None:
        try:
            problem = self._ask("load", (data, settings), None)
        except _Lost as lost:
            raise ExecutorError(f"the worker process ended while it loaded the evaluator: {lost.error}") from None
        if problem:
            raise ExecutorError(f"the evaluator cannot be loaded in the worker process: {problem}")

    @property
    def alive(self) -> bool:
        """Whether it can be asked; if it has ended meanwhile, ``ended`` says how."""
        if self._killed:
            return False
        if self._process.poll() is not None:
            self.ended = "worker_died", self._how_it_ended()
            return False
        if self._messages.pending:  # nothing was asked: a thread of an earlier evaluation, say
            try:
                self._messages.receive(time.monotonic())
                lost = self._killed_for("it sent an answer that nobody asked for")
            except (Late, Garbled) as error:
                lost = self._killed_for(str(error))
            except (EOFError, OSError):
                lost = self._lost()
            self.ended = lost.kind, lost.error
            return False
        return True

    def evaluate(self, query: Query, timeout: float | None) -> Outcome:
        """Answers one query; kills the process if that takes more than ``timeout`` seconds."""
        from archsearch.executors.executor import Outcome

        begun = time.perf_counter()
        try:
            outcome: Outcome = self._ask("evaluate", query, timeout)
        except _Lost as lost:
            return Outcome(None, time.perf_counter() - begun, lost.kind, lost.error)
        if outcome.failure == "out_of_memory":  # what is left of it must not be in the way of the next
            self.kill()
        return outcome

    def evaluate_together(self, queries: Sequence[Query], timeout: float | None) -> Together:
        """Answers queries by the evaluator's own ``evaluate_batch``; they have ``timeout`` seconds each, together."""
        from archsearch.executors.evaluating import Together

        begun = time.perf_counter()
        try:
            together: Together = self._ask("together", queries, timeout and timeout * len(queries))
        except _Lost as lost:
            self.ended = lost.kind, lost.error
            return Together([], (time.perf_counter() - begun) / len(queries), lost.error)
        return together

    def end(self) -> None:
        """Ends the process for another thread than the one that waits for its answer, which hears of that."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Ends the process and all that it has started."""
        if self._killed:
            return
        self._killed = True
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):  # one in the middle of a system call that hangs
            self._process.wait(END_SECONDS)
        self._messages.close()
        os.close(self._lifeline)
        self._stack.close()

    # -- the conversation ----------------------------------------------------------------------------

    def _ask(self, name: str, argument: Any, seconds: float | None) -> Any:
        """Has the process do something; the process is gone if ``_Lost`` is raised."""
        self._asked += 1
        end = None if seconds is None else time.monotonic() + seconds
        try:
            self._messages.send(self._asked, pickle.dumps((name, argument), pickle.HIGHEST_PROTOCOL), end)
            number, data = self._messages.receive(end, MAX_ANSWER)
        except Late:
            where = self._where_it_is()
            self.kill()
            raise _Lost("timeout", f"{where}no result within {seconds:g} s; its process was killed") from None
        except Garbled as error:
            raise self._killed_for(str(error)) from None
        except (EOFError, OSError):
            raise self._lost() from None
        if number != self._asked:
            raise self._killed_for("it sent an answer that nobody asked for")
        try:
            return pickle.loads(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a class of the evaluator's own may do anything, sys.exit included
            text = f"the result cannot be read: {type(error).__name__}: {error}"
            if name == "load":
                return text
            raise _Lost("exception", text) from None

    def _killed_for(self, error: str) -> _Lost:
        self.kill()
        return _Lost("worker_died", f"{error}; its process was killed")

    def _lost(self) -> _Lost:
        try:
            self._process.wait(END_SECONDS)
            error = self._how_it_ended()
        except subprocess.TimeoutExpired:
            error = "its process closed the connection to the search, and was killed"
        self.kill()
        return _Lost("worker_died", error)

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        stack = self._stack_text()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"{stack}its process was killed by {signal.Signals(-code).name}"
        return f"{stack}its process ended with exit code {code}"

    def _stack_text(self) -> str:
        """What ``faulthandler`` wrote of a crash; an empty string if nothing."""
        self._stack.seek(0)
        lines = self._stack.read(MAX_STACK).decode(errors="replace").strip().splitlines()
        own = [i for i, line in enumerate(lines) if line.endswith(OWN_FRAMES)]
        return "".join(f"{line}\n" for line in lines[: own[0] if own else None])

    def _where_it_is(self) -> str:
        """The stack of a process that takes too long, if it can be had at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, WHERE)
        end = time.monotonic() + STACK_SECONDS
        while not (text := self._stack_text()) and time.monotonic() < end:
            time.sleep(0.005)
        return text


class _Lost(Exception):
    """There is no answer.

    Attributes:
        kind: Kind of the failure.
        error: What is known of it.
    """

    def __init__(self, kind: str, error: str) -> None:
        self.kind = kind
        self.error = error


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


# -- the process ---------------------------------------------------------------------------------------


def main(connection: int, lifeline: int, stack: int, driver: int) -> None:
    """What the process does: answers until the connection ends.

    Args:
        connection: File descriptor of the connection.
        lifeline: One that comes to its end with the driver.
        stack: One that a crash is told to.
        driver: Process id of the driver.
    """
    import faulthandler

    from archsearch.executors.usage import GAUGE

    GAUGE.alone = True
    for descriptor in (connection, lifeline, stack):
        os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    _guard(lifeline, driver, (0, 1, 2, connection, stack))
    faulthandler.enable(stack, all_threads=False)
    faulthandler.register(WHERE, stack, all_threads=False)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(line_buffering=True)
    with contextlib.suppress(EOFError, OSError, Garbled):
        _answer(Messages(socket.socket(fileno=connection)))
    os._exit(0)


def _guard(lifeline: int, driver: int, others: Sequence[int]) -> None:
    """Starts the guard: a process that kills this session when the driver ends, whatever hangs here.

    A grandchild, so that evaluators that wait for their children do not wait for it. There are no threads yet.
    """
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        os.close(lifeline)
        return
    if os.fork():
        os._exit(0)
    for descriptor in others:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A fork of the driver may hold the other end of the lifeline, too.
    while not select.select([lifeline], [], [], GUARD_SECONDS)[0] and _runs(driver):
        pass
    os.killpg(0, signal.SIGKILL)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _answer(messages: Messages) -> None:
    from archsearch.executors.evaluating import evaluate_safely, evaluate_together

    evaluator: Any = None
    while True:
        number, data = messages.receive()
        name, argument = pickle.loads(data)
        answer: Any
        if name == "load":
            evaluator, answer = _load(*argument)
        elif name == "evaluate":
            answer = evaluate_safely(evaluator, argument)
        else:
            answer = evaluate_together(evaluator, argument)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):  # closed by the evaluator, or nobody reads it
                stream.flush()
        messages.send(number, _packed(name, answer))


def _load(data: bytes, settings: dict[str, Any]) -> tuple[Any, str]:
    """The evaluator and an empty text, or None and what is wrong."""
    try:
        if memory := settings.get("memory"):
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        evaluator = pickle.loads(data)
        if (threads := settings.get("threads")) and "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)  # sums are in the same order as in the driver
        return evaluator, ""
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"


def _packed(name: str, answer: Any) -> bytes:
    """An answer as bytes; one that cannot be sent says so instead."""
    import cloudpickle

    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception:
        try:
            data: bytes = cloudpickle.dumps(answer)  # classes of the user's own script
            return data
        except Exception as error:
            return _packed(name, _unsendable(name, answer, f"the result cannot be sent: {error}"))


def _unsendable(name: str, answer: Any, text: str) -> Any:
    from archsearch.executors.evaluating import Together
    from archsearch.executors.executor import Outcome

    if name == "together":
        return Together([], answer.seconds, text)
    return Outcome(None, answer.seconds, "exception", text)
