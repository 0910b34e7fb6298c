"""What a worker process writes into its connection beside answers can neither hang a search nor be taken for one."""

import contextlib
import os
import socket
import threading
import time
import zlib
from pathlib import Path
from unittest.mock import Mock

import pytest
from misbehaving_lab import SPACE

from archsearch import Evaluation, Evaluator, LocalExecutor, search
from archsearch.controllers import RandomSearch
from archsearch.executors.messages import CHECK, HEAD, MAGIC, Garbled, Late, Messages
from archsearch.executors.worker_process import WorkerProcess
from archsearch.trial import Query

DATA = os.urandom(3_000_000)


def ends(**settings):
    ours, theirs = socket.socketpair()
    return Messages(ours, **settings), theirs


def frame(data=b"answer"):
    """A message as its bytes."""
    ours, theirs = socket.socketpair()
    with theirs:
        messages = Messages(ours)
        messages.send(1, data)
        messages.close()
        theirs.settimeout(60)
        return b"".join(iter(lambda: theirs.recv(1 << 16), b""))


def test_messages_of_any_size_come_whole():
    driver, theirs = ends()
    worker = Messages(theirs)
    thread = threading.Thread(target=lambda: [worker.send(i, data) for i, data in enumerate((b"", b"a", DATA))])
    thread.start()
    assert [driver.receive() for _ in range(3)] == [(0, b""), (1, b"a"), (2, DATA)]
    thread.join()
    worker.close()
    with pytest.raises(EOFError):
        driver.receive()


@pytest.mark.parametrize("position", range(HEAD.size + CHECK.size + 6))
def test_a_changed_byte_anywhere_is_known(position):
    whole = bytearray(frame())
    whole[position] ^= 1
    driver, theirs = ends(part_seconds=60.0)
    theirs.sendall(whole)
    with pytest.raises(Garbled, match="something else was written into its connection to the search"):
        driver.receive()


@pytest.mark.parametrize("first", [b"g", b"garbage", b"\0" * 4, b"\xff" * 100, MAGIC[:1] + b"x"])
def test_garbage_is_known_by_its_first_bytes(first):
    driver, theirs = ends()  # no limit of time at all
    theirs.sendall(first)
    with pytest.raises(Garbled, match="something else was written"):
        driver.receive()


@pytest.mark.parametrize("size", [1, HEAD.size, HEAD.size + CHECK.size, -1])
def test_a_part_of_a_message_is_not_waited_for_without_end(size):
    part = frame()[:size]
    driver, theirs = ends(part_seconds=0.05)
    theirs.sendall(part)
    with pytest.raises(Garbled, match=r"only .* bytes of a message came"):
        driver.receive()
    driver, theirs = ends(part_seconds=3600.0)
    theirs.sendall(part)
    with pytest.raises(Late):
        driver.receive(time.monotonic() + 0.05)


def test_nothing_at_all_is_late_and_a_large_message_is_refused_by_its_head():
    driver, theirs = ends()
    with pytest.raises(Late):
        driver.receive(time.monotonic() + 0.05)
    theirs.sendall(frame(DATA[:1001]))
    with pytest.raises(Garbled, match="a message of 1,001 bytes came; at most 1,000 are taken"):
        driver.receive(most=1000)


def test_what_nobody_reads_is_late_and_an_end_is_heard_of_though_others_hold_the_connection():
    driver, theirs = ends(ended=lambda: True)
    for call in (driver.receive, lambda: driver.send(1, DATA)):
        with pytest.raises(EOFError):
            call()
    driver, theirs = ends()
    with pytest.raises(Late):
        driver.send(1, DATA, time.monotonic() + 0.05)
    theirs.close()


# -- in a search -----------------------------------------------------------------------------------


def sockets():
    """Numbers of all sockets of this process."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
                yield descriptor


class Writes(Evaluator):
    """The second trial writes into the connection, and then does something."""

    def __init__(self, data, then):
        self.data = data
        self.then = then

    def evaluate_query(self, query):
        if query.id == 1:
            for descriptor in sockets():
                os.write(descriptor, self.data)
            self.then()
        return Evaluation(1.0)


def nothing():
    pass


def hangs():
    time.sleep(3600)


HEAD_OF_MUCH = HEAD.pack(MAGIC, 3, 1 << 62, 0)


@pytest.mark.parametrize(("then", "timeout"), [(hangs, None), (nothing, 3600.0)])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\0", "something else was written into its connection to the search: b'\\x00"),
        (b"garbage" * 100, "something else was written into its connection to the search: b'garbagegarbage"),
        (MAGIC, "something else was written into its connection"),
        (HEAD_OF_MUCH, "something else was written into its connection"),
        (HEAD_OF_MUCH + CHECK.pack(zlib.crc32(HEAD_OF_MUCH)), "a message of 4,611,686,018,427,387,904"),
        (frame(), "it sent an answer that nobody asked for"),
    ],
)
def test_garbage_in_the_connection_fails_its_trial_alone(data, text, then, timeout, monkeypatch):
    if data in (MAGIC, HEAD_OF_MUCH) and then is hangs:
        monkeypatch.setattr("archsearch.executors.worker_process.PART_SECONDS", 0.5)
        text = f"only {len(data)} of 24 bytes of a message came; its process was killed"
    result = search(
        SPACE,
        RandomSearch(),
        Writes(data, then),
        trials=4,
        seed=0,
        executor=LocalExecutor(isolate=True),
        timeout=timeout,
        retries={"worker_died": 0},
    )
    assert [trial.failure for trial in result.history] == ["", "worker_died", "", "", ""]
    assert text in next(trial.error for trial in result.history if trial.failure)


class WritesLater(Evaluator):
    """Leaves a thread that writes into the connection when a file is there."""

    def __init__(self, file, data):
        self.file = file
        self.data = data

    def evaluate_query(self, query):
        threading.Thread(target=self.write, daemon=True).start()
        return Evaluation(1.0)

    def write(self):
        while not Path(self.file).exists():
            time.sleep(0.01)
        for descriptor in sockets():
            os.write(descriptor, self.data)


@pytest.mark.parametrize(
    ("data", "text"), [(b"garbage", "something else was written into its connection"), (frame(), "nobody asked for")]
)
def test_what_comes_between_two_questions_is_no_trials_fault(data, text, tmp_path):
    worker = WorkerProcess(WritesLater(str(tmp_path / "now"), data))
    try:
        assert worker.evaluate(Query((0,) * 6, 0, 0), None).evaluation == Evaluation(1.0)
        assert worker.alive
        (tmp_path / "now").touch()
        end = time.monotonic() + 120
        while not worker._messages.pending:
            assert time.monotonic() < end, "it never came"
            time.sleep(0.01)
        assert not worker.alive
        kind, error = worker.ended
        assert kind == "worker_died"
        assert text in error
    finally:
        worker.kill()


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), MemoryError("no"), ImportError("no such module")])
def test_a_result_that_cannot_be_read_fails_its_trial_alone(error, monkeypatch):
    worker = WorkerProcess(WritesLater("", b""))
    try:
        monkeypatch.setattr("archsearch.executors.worker_process.pickle.loads", Mock(side_effect=error))
        outcome = worker.evaluate(Query((0,) * 6, 0, 0), None)
        assert outcome.failure == "exception"
        assert outcome.error == f"the result cannot be read: {type(error).__name__}: {error}"
        monkeypatch.undo()
        assert worker.evaluate(Query((0,) * 6, 0, 0), None).evaluation == Evaluation(1.0)
    finally:
        worker.kill()
