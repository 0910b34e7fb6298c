"""What the tests of clusters have in common: one whose nodes have another Python environment, and its commands."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from archsearch.cli import searching as cli
from archsearch.executors.ray.watch import can_connect

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "examples" / "cluster"


def parsed(command):
    name, subcommand, *arguments = shlex.split(command)
    assert (name, subcommand) == ("archsearch", "run")
    return cli._run_parser(arguments).parse_args(arguments).as_dict()


class Cluster:
    """Two nodes with two CPUs each, of a Python of their own.

    Attributes:
        address: HOST:PORT.
        environment: For drivers.
    """

    def __init__(self, python, stack, dashboard=0):
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))  # the paths of sockets must be short
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "token").write_text("0123456789abcdef" * 4)
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
        self.environment = clean | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        port = free_port()
        head = [
            "--head",
            "--port",
            str(port),
            "--temp-dir",
            str(self.folder),
            "--ray-client-server-port",
            str(free_port()),
        ]
        head += [f"--include-dashboard={bool(dashboard)}", *(["--dashboard-port", str(dashboard)] if dashboard else [])]
        self._start(python, head, stack)
        host = wait_for(self._address, 60)
        self.address = f"{host}:{port}"
        wait_for(lambda: can_connect(self.address), 60)
        self._start(python, ["--address", self.address], stack)
        wait_for(lambda: (self.folder / "0.log").read_text() and "started" in (self.folder / "1.log").read_text(), 60)

    def _start(self, python, options, stack):
        log = stack.enter_context((self.folder / f"{len(list(self.folder.glob('*.log')))}.log").open("w"))
        command = [str(python), "-m", "ray.scripts.scripts", "start", "--num-cpus", "2", "--block", *options]
        command += ["--object-store-memory", "100000000", "--dashboard-agent-listen-port", str(free_port())]
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)  # Ray then ends what it started

    def _address(self):
        found = re.search(r"Local node IP.*?(\d+\.\d+\.\d+\.\d+)", (self.folder / "0.log").read_text())
        return found and found[1]

    def archsearch(self, *arguments, folder, path=(), **options):
        """Runs the command line in a folder, with further entries of the driver's import path."""
        environment = self.environment | {"PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [sys.executable, "-c", "import sys; from archsearch.cli import main; sys.exit(main())", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120, **options
        )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the cluster does not start"
        time.sleep(0.2)
    return found
