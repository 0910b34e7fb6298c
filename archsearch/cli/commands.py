"""The commands, and how they end."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from archsearch.basics.words import say
from archsearch.cli.answers import Answer, nothing_else, without_option, write_document
from archsearch.cli.comparing import compare
from archsearch.cli.looking import export, list_components, report, serve, show, status, verify, watch
from archsearch.cli.profiling import profile
from archsearch.cli.searching import control, resume, run
from archsearch.cli.studying import study
from archsearch.errors import ArchsearchError, UsageError

THREAD_SECONDS = 2.0
"""How long the program waits for threads that are left when it is done."""

ASKS_FOR_TEXT = re.compile(r"-h$|--([\w.]+\.)?help\b|--print_config")
"""Options that print what is no answer of a command."""

HELP = """usage: archsearch COMMAND [OPTIONS]

Neural architecture search: who proposes (controllers), who scores (evaluators) and what is searched (spaces) are
interchangeable.

commands:
  run       search; with no options: NAS-Bench-201, regularized evolution, the embedded table
  resume    go on with a run that was stopped, or extend one that has ended
  compare   what each evaluator costs, how well it ranks, when it pays off; or controllers, side by side
  status    how far a search is, from another terminal
  watch     follow searches until they end, from another terminal
  control   pause, stop or steer a search that runs, from another terminal
  serve     one page over many runs for a browser of this machine, redrawn while they go on
  report    the best architectures of a run, its learning curve, one HTML page
  verify    score the best of a run again, by a better evaluator: does their order hold?
  export    the best of a run as files without code: genotype, weights, ONNX, a model card
  study     claims as experiments: does it hold, by a threshold that was written before?
  profile   how long the networks of a space take on a device: the table that limits on latency read
  show      one architecture as text and as a drawing
  list      controllers, evaluators, spaces and presets, and what fits together

options:
  --help     this text; 'archsearch COMMAND --help' for a command
  --version  the version
  --json     with any command: one JSON document on standard output, and nothing else

exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    if "_ARGCOMPLETE" in os.environ and arguments is None:
        return _complete(os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])])
    arguments, as_json = without_option(sys.argv[1:] if arguments is None else arguments)
    # One torch thread per process, unless the user says otherwise: small networks are slower with more.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        from archsearch import __version__

        say(f"archsearch {__version__}")
        return 0
    command, given = arguments[0], arguments[1:]
    as_json = as_json and not any(map(ASKS_FOR_TEXT.match, given))
    try:
        with nothing_else() if as_json else contextlib.nullcontext():
            answer = _run(command, given)
        if as_json:
            write_document(command, answer)
        elif answer.text:
            say(answer.text)
        if answer.then is not None:
            with contextlib.suppress(KeyboardInterrupt):
                answer.then()
    except BrokenPipeError:
        return 1
    return answer.status


def _complete(line: str) -> int:
    """Answers a shell that completes this line, by argcomplete, which then ends the process.

    The options are those of the command's own parser, which jsonargparse offers to argcomplete once it parses.
    """
    import argparse

    try:
        import argcomplete
    except ImportError:  # pip install "archsearch[completion]"; a shell shows nothing of an error
        return 1
    before = line.rpartition(" ")[0].split()  # the last word is not whole yet
    if len(before) > 1 and before[1] in COMMANDS:
        os.environ["_ARGCOMPLETE"] = "2"  # the first word that counts, from 1: to that parser, the command's name
        with contextlib.suppress(ArchsearchError, SystemExit):  # a word before is wrong: nothing goes with it
            COMMANDS[before[1]](before[2:])
        return 1
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="store_true")
    parser.add_argument("command", choices=list(COMMANDS))
    argcomplete.autocomplete(parser)
    return 1


def _run(name: str, arguments: Sequence[str]) -> Answer:
    """Runs a command; what ends it early is said on standard error, and is its answer."""
    try:
        _say_warnings_in_one_line()
        if name not in COMMANDS:
            raise UsageError(_unknown_command(name))
        from archsearch.keeping.trust import find_own_classes

        find_own_classes(arguments)
        return COMMANDS[name](arguments)
    except UsageError as error:
        return _ended(error, 2)
    except ArchsearchError as error:
        return _ended(error, 1)
    except KeyboardInterrupt:
        return _ended("interrupted", 130)


def _ended(why: ArchsearchError | str, status: int) -> Answer:
    say(f"archsearch: {why}", file=sys.stderr)
    return Answer("", {"error": str(why)}, status)


def _unknown_command(name: str) -> str:
    close = difflib.get_close_matches(name.strip("-").lower(), COMMANDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}."
    return f"no command is called {name!r}; {hint} See 'archsearch --help'"


def console() -> None:
    """The program ``archsearch``: a command, and then the end, whatever threads an evaluator has left running."""
    status = 1
    try:
        status = main()
    finally:
        watch = threading.Thread(target=_end_anyway, args=(status,), daemon=True)
        watch.start()
    raise SystemExit(status)


def _end_anyway(status: int) -> None:
    """Ends this process if it waits for threads that do not end; it runs beside the ordinary end, which stops it."""
    end = time.monotonic() + THREAD_SECONDS
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    for thread in left:
        thread.join(max(0.0, end - time.monotonic()))
    names = sorted({thread.name for thread in left if thread.is_alive()})[:5]
    if not names:
        return
    print(f"archsearch: ended without waiting for what still runs: {', '.join(names)}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _say_warnings_in_one_line() -> None:
    """Damage is told as errors are; Python would add a line of this program."""
    import warnings

    usual = warnings.formatwarning

    def one_line(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
        if category.__name__ in ("DamageWarning", "StoreWarning"):
            return f"archsearch: {message}\n"
        return usual(message, category, filename, lineno, line)

    if usual.__name__ != one_line.__name__:
        warnings.formatwarning = one_line


COMMANDS: dict[str, Callable[[Sequence[str]], Answer]] = {
    "run": run,
    "resume": resume,
    "compare": compare,
    "study": study,
    "status": status,
    "watch": watch,
    "control": control,
    "serve": serve,
    "report": report,
    "verify": verify,
    "export": export,
    "profile": profile,
    "show": show,
    "list": list_components,
}
