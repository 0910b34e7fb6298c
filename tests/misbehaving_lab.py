"""Evaluators that misbehave in every way that we could think of, for the tests of the worker process and of Ray.

    python tests/misbehaving_lab.py PROGRAM ...

runs one of the programs below, which are to be killed or interrupted.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np

from archsearch import Evaluation, Evaluator, LocalExecutor, Space, search
from archsearch.controllers import RandomSearch

SPACE = Space(arities=[5] * 6)
LONG = 3600


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


class OwnBase(BaseException):
    pass


class Unsendable(dict):
    def __reduce__(self):
        raise TypeError("not for sending")


def made_in(process):
    if os.getpid() != process:
        raise ImportError("no such module here")
    return {}


class Unreadable(dict):
    def __reduce__(self):
        return made_in, (os.getpid(),)


def _python_sleep():
    time.sleep(LONG)


class Ways:
    """One method for each way to misbehave. Those that return None go on to a proper answer."""

    def raises(self):
        raise ValueError("no such layer")

    def raises_what_has_no_text(self):
        raise Unprintable

    def recurses_without_end(self):
        return self.recurses_without_end()

    def returns_nan(self):
        return Evaluation(float("nan"))

    def returns_text(self):
        return "ninety-nine"

    def exits(self):
        sys.exit(0)

    def exits_with_a_text(self):
        sys.exit("fatal: no licence")

    def raises_generator_exit(self):
        raise GeneratorExit

    def raises_cancelled(self):
        raise asyncio.CancelledError

    def raises_a_base_exception(self):
        raise OwnBase("of its own")

    def raises_keyboard_interrupt(self):
        raise KeyboardInterrupt

    def interrupts_itself(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(LONG)

    def ends_its_process(self):
        os._exit(0)

    def ends_its_process_in_a_thread(self):
        threading.Thread(target=os._exit, args=(7,)).start()
        time.sleep(LONG)

    def crashes(self):
        ctypes.string_at(0)

    def aborts(self):
        os.abort()

    def is_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def is_terminated(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONG)

    def hangs(self):
        time.sleep(LONG)

    def hangs_in_a_loop(self):
        while True:
            pass

    def hangs_and_swallows_everything(self):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(LONG)

    def is_late_and_swallows_one_interruption(self):
        with contextlib.suppress(BaseException):
            time.sleep(LONG)

    def hangs_under_an_alarm_of_its_own(self):
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(1)
        while True:
            time.sleep(LONG)

    def hangs_with_signals_blocked(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(LONG)

    def hangs_in_native_code(self):
        """It keeps the interpreter's lock."""
        ctypes.PyDLL(None).sleep(LONG)

    def hangs_in_a_thread(self):
        thread = threading.Thread(target=_python_sleep)
        thread.start()
        thread.join()

    def hangs_with_a_child_that_holds_the_connection(self):
        if os.fork() == 0:
            time.sleep(LONG)
        time.sleep(LONG)

    def dies_while_a_child_holds_the_connection(self):
        if os.fork() == 0:
            time.sleep(LONG)
        os.kill(os.getpid(), signal.SIGKILL)

    def stops_itself(self):
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(LONG)

    def runs_out_of_memory(self):
        raise MemoryError("too large")

    def asks_for_too_much_memory(self):
        np.ones(1 << 50)

    def fills_memory(self):
        """By small objects, so that nothing is left for what follows; under a limit only."""
        taken = []
        while len(taken) < 1 << 27:
            taken.append(str(len(taken)))
        raise AssertionError("nobody said no")

    def returns_what_cannot_be_sent(self):
        return Evaluation(1.0, Unsendable(size=1.0))

    def returns_what_cannot_be_read(self):
        return Evaluation(1.0, Unreadable(size=1.0))

    def leaves_a_thread(self):
        threading.Thread(target=_python_sleep).start()

    def leaves_a_child(self):
        subprocess.Popen(["sleep", str(LONG)])

    def lets_a_fork_return(self):
        os.fork()

    def lets_a_fork_exit(self):
        if os.fork() == 0:
            sys.exit(0)

    def writes_into_every_file_descriptor(self):
        """As a double close may; the worker process has the connection to the search among them."""
        for descriptor in range(3, 4096):  # those that pytest has open come first
            with contextlib.suppress(OSError):
                os.write(descriptor, b"garbage" * 100)

    def closes_its_output(self):
        os.close(1)
        os.close(2)

    def prints_a_lot(self):
        print("x" * 100_000)


EXCEPTION, TIMEOUT, DIED, MEMORY = "exception", "timeout", "worker_died", "out_of_memory"
EXPECTED = {
    "raises": (EXCEPTION, "no such layer"),
    "raises_what_has_no_text": (EXCEPTION, "Unprintable"),
    "recurses_without_end": (EXCEPTION, "RecursionError"),
    "returns_nan": ("invalid_score", "nan"),
    "returns_text": (EXCEPTION, "ninety-nine"),
    "exits": (EXCEPTION, "SystemExit: 0"),
    "exits_with_a_text": (EXCEPTION, "SystemExit: fatal: no licence"),
    "raises_generator_exit": (EXCEPTION, "GeneratorExit"),
    "raises_cancelled": (EXCEPTION, "CancelledError"),
    "raises_a_base_exception": (EXCEPTION, "OwnBase: of its own"),
    "raises_keyboard_interrupt": (EXCEPTION, "KeyboardInterrupt"),
    "interrupts_itself": (TIMEOUT, "no result within"),
    "ends_its_process": (DIED, "ended with exit code 0"),
    "ends_its_process_in_a_thread": (DIED, "ended with exit code 7"),
    "crashes": (DIED, "killed by SIGSEGV"),
    "aborts": (DIED, "killed by SIGABRT"),
    "is_killed": (DIED, "killed by SIGKILL"),
    "is_terminated": (DIED, "killed by SIGTERM"),
    "hangs": (TIMEOUT, "in hangs\n"),
    "hangs_in_a_loop": (TIMEOUT, "in hangs_in_a_loop\n"),
    "hangs_and_swallows_everything": (TIMEOUT, "no result within"),
    "is_late_and_swallows_one_interruption": (TIMEOUT, "no result within"),
    "hangs_under_an_alarm_of_its_own": (TIMEOUT, "no result within"),
    "hangs_with_signals_blocked": (TIMEOUT, "no result within"),
    "hangs_in_native_code": (TIMEOUT, "no result within"),
    "hangs_in_a_thread": (TIMEOUT, "no result within"),
    "hangs_with_a_child_that_holds_the_connection": (TIMEOUT, "no result within"),
    "dies_while_a_child_holds_the_connection": (DIED, "killed by SIGKILL"),
    "stops_itself": (TIMEOUT, "no result within"),
    "runs_out_of_memory": (MEMORY, "too large"),
    "asks_for_too_much_memory": (MEMORY, "Unable to allocate"),
    "writes_into_every_file_descriptor": (DIED, "something else was written into its connection"),
    "returns_what_cannot_be_sent": ("", ""),  # the gate makes it plain
    "returns_what_cannot_be_read": ("", ""),
    "leaves_a_thread": ("", ""),
    "leaves_a_child": ("", ""),
    "lets_a_fork_return": ("", ""),
    "lets_a_fork_exit": ("", ""),
    "prints_a_lot": ("", ""),
    "closes_its_output": ("", ""),
}
"""Kind of failure, and what its text has on the local executor; an empty kind: it completes."""

WAYS = list(EXPECTED)


class Misbehaving(Evaluator):
    """Trials with odd ids misbehave, each in its way; those with even ids are innocent.

    Args:
        ways: Names of methods of ``Ways``.
    """

    def __init__(self, ways: list[str]) -> None:
        self.ways = ways

    def evaluate_query(self, query):
        k, odd = divmod(query.id, 2)
        answer = getattr(Ways(), self.ways[k])() if odd and k < len(self.ways) else None
        return Evaluation(float(sum(query.architecture))) if answer is None else answer


def exits_at_times(options):
    """For the command line: some architectures end by ``sys.exit``."""
    score = float(sum(options.values()))
    if score % 5 == 0:
        sys.exit(0)
    return score


def ends_the_process(options):
    """Some architectures take their process along, without a word."""
    score = float(sum(options.values()))
    if score % 5 == 0:
        os._exit(0)
    return score


def says_its_process(options):
    return {"score": 1.0, "process": os.getpid()}


def prints(options):
    print("to the output")
    print("to the errors", file=sys.stderr)
    return 1.0


def leaves_threads(options):
    threading.Thread(target=_python_sleep, name="left behind").start()
    return 1.0


class Hanging(Evaluator):
    """Hangs in the third trial, in native code, with a child; notes the processes in a folder.

    Args:
        folder: Where; an empty file for each, whose name is its number.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def evaluate_query(self, query):
        if query.id == 2 and not os.path.exists(f"{self.folder}/healed"):
            child = subprocess.Popen(["sleep", str(LONG)])
            for process in (child.pid, os.getpid()):
                open(f"{self.folder}/{process}", "w").close()
            ctypes.PyDLL(None).sleep(LONG)
        return Evaluation(float(sum(query.architecture)))


class OfThisScript(Evaluator):
    """A class of ``__main__``, which a worker cannot import."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)), {"process": os.getpid()})


if __name__ == "__main__":  # no guard is needed for the worker process: it does not run the script again
    print("script runs", flush=True)
    result = search(SPACE, RandomSearch(), OfThisScript(), trials=4, seed=0, executor=LocalExecutor(isolate=True))
    print(result.completed, result.best.metrics["process"] != os.getpid())
