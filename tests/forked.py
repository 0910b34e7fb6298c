"""Processes for tests that start many of them, mostly to kill them; what a test asks of the start itself needs others.

Each begins where a fresh Python is when it has done its imports, and holds nothing of this process: it is a fork of the
server of ``archsearch.testing``. So it takes a hundredth of a second to start, and not one or two.
"""

import os
import sys
import tempfile
from pathlib import Path

from archsearch.testing import looking


class Process:
    """As ``subprocess.Popen``, so far as the tests need it.

    Args:
        function: What is called: a module's function. A number that it returns is the exit status.
        arguments: Those of the function.
        cwd: Its folder.
        path: Where else it finds modules.
        environment: What its environment has, beside this one's.
    """

    def __init__(self, function, *arguments, cwd, path=(), environment=()):
        self._said = [Path(tempfile.mkstemp(prefix="forked-")[1]) for _ in range(2)]
        context = looking._fresh_processes()
        place = str(cwd), [str(folder) for folder in path], {**os.environ, **dict(environment)}, list(self._said)
        self._process = context.Process(target=_begin, args=(place, function, arguments))
        self._process.start()

    def poll(self):
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        """The exit status, negative for a signal; None if the process still runs then."""
        self._process.join(timeout)
        if self.poll() is not None and self._said:
            self.stdout, self.stderr = (file.read_text() for file in self._said)
            for file in self._said:
                file.unlink()
            self._said = []
        return self.poll()


def run(*call, **place):
    """A process that has ended: its ``stdout`` and ``stderr``, and by ``poll`` its exit status."""
    process = Process(*call, **place)
    process.wait()
    return process


def _begin(place, function, arguments):
    folder, path, environment, said = place
    for stream, file in zip((sys.stdout, sys.stderr), said, strict=True):
        stream.flush()
        opened = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = path
    status = function(*arguments)
    sys.exit(status if isinstance(status, int) else 0)
