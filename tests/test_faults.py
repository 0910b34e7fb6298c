"""Faults, caused: kill -9, exceptions, NaN, time-outs, damaged files, full disks."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import faulty_lab
import pytest

from archsearch import Evaluation, Evaluator, Space, cli, history, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.damage import DamageWarning
from archsearch.errors import RunFolderError, StorageError, TooManyFailures
from archsearch.evaluators import Function
from archsearch.history import RunFolder
from archsearch.spaces import NASBench201

TESTS = Path(__file__).parent
SPACE = Space(arities=[4, 3, 5, 2])


def path(trials):
    return [(t.id, t.architecture, t.parent, t.score) for t in trials]


# -- kill -9 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [[], ["--executor", "simulated", "--workers", "7"], ["--duplicates", "reuse", "--lag", "3"]],
    ids=["local", "simulated", "reuse-lag"],
)
def test_killed_at_random_moments_it_equals_an_uninterrupted_run(options, tmp_path, monkeypatch):
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "archsearch.cli"]
    begin = [*command, "run", "--evaluator", "Function", "--evaluator.function", "faulty_lab.logged", "--seed", "5"]
    begin += ["--controller.population_size", "20", "--trials", "1500", "--quiet", *options]
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    with monkeypatch.context() as patch:  # a process of its own would only take longer to start
        patch.chdir(tmp_path / "whole")
        patch.setattr(sys, "path", [*sys.path])
        assert cli.main([*begin[len(command) :], "--out", "run"]) == 0

    delays = random.Random(1)
    kills = 0
    folder = tmp_path / "killed" / "run"
    while True:
        started = (folder / "config.yaml").exists()
        arguments = [*command, "resume", "run", "--quiet", "--trust"] if started else [*begin, "--out", "run"]
        with subprocess.Popen(arguments, cwd=tmp_path / "killed", env=environment, stdout=subprocess.PIPE) as process:
            try:
                out, _ = process.communicate(timeout=delays.uniform(0.8, 1.4) if kills < 4 else 120)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
                continue
        assert process.returncode == 0, out
        break
    assert kills >= 2, "the run ended before it could be killed: this test shows nothing"

    whole = path(RunFolder(tmp_path / "whole" / "run").trials(5))
    killed = list(RunFolder(folder).trials(5))
    assert path(killed) == whole
    calls = [int(line) for line in (tmp_path / "killed" / "calls.log").read_text().split()]
    again = len(calls) - len(set(calls))
    pending = 7 if "simulated" in options else 1
    assert again <= kills * pending, "only what was pending when it was killed is evaluated again"
    assert {trial.seed for trial in killed} <= set(calls)


@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 5)])
def test_kills_while_parts_are_written_lose_nothing(executor, workers, tmp_path):
    """A part every 40 trials; odd kills come at any time after the start, even ones in the middle of the work."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    drive = [sys.executable, str(TESTS / "faulty_lab.py"), executor, str(workers)]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    subprocess.run(drive, cwd=tmp_path / "whole", env=environment, check=True, capture_output=True)

    def calls():
        log = tmp_path / "killed" / "calls.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    delays = random.Random(2)
    saved = []  # at each kill: the seeds of the trials on disk, and how many evaluations had begun
    for kill in range(6):
        process = subprocess.Popen(drive, cwd=tmp_path / "killed", env=environment)
        if kill % 2:
            time.sleep(delays.uniform(0.1, 0.9))
        else:
            begun = len(calls())
            while len(calls()) < begun + delays.randrange(20, 90) and process.poll() is None:
                time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed: this test shows nothing"
        process.kill()
        process.wait()
        trials = RunFolder(tmp_path / "killed" / "run").trials(faulty_lab.SEED)
        saved.append(({trial.seed for trial in trials}, len(calls())))
    subprocess.run(drive, cwd=tmp_path / "killed", env=environment, check=True, capture_output=True)

    whole, killed = (list(RunFolder(tmp_path / name / "run").trials(faulty_lab.SEED)) for name in ("whole", "killed"))
    assert path(killed) == path(whole)
    assert len(killed) == len({trial.id for trial in killed}) == faulty_lab.TRIALS
    for seeds, begun in saved:
        assert not seeds & set(calls()[begun:]), "a trial that was on disk was evaluated again"
    assert len(calls()) - len(set(calls())) <= len(saved) * workers, "only pending ones are evaluated again"


# -- evaluations that fail -------------------------------------------------------------------------


class Faulty(Evaluator):
    """Fails in a way of its own for one architecture in four."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def evaluate(self, architecture, seed):
        if sum(architecture) % 4:
            return Evaluation(float(sum(architecture)))
        return getattr(self, self.kind)()

    def raises(self):
        raise ValueError("no such layer")

    def nan(self):
        return Evaluation(float("nan"))

    def infinite(self):
        return Evaluation(float("inf"))

    def text(self):
        return "ninety-nine"

    def out_of_memory(self):
        raise MemoryError("too large")

    def hangs(self):
        time.sleep(60)

    def hangs_and_swallows_exceptions(self):
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue


@pytest.mark.parametrize(
    ("kind", "failure", "text"),
    [
        ("raises", "exception", "no such layer"),
        ("nan", "invalid_score", "nan"),
        ("infinite", "invalid_score", "inf"),
        ("text", "exception", "expected an Evaluation, got str 'ninety-nine'"),
        ("out_of_memory", "out_of_memory", "too large"),
        ("hangs", "timeout", "no result within 0.5 s"),
        ("hangs_and_swallows_exceptions", "timeout", "no result within 0.5 s"),
    ],
)
def test_a_failing_evaluation_is_a_failed_trial_and_the_search_goes_on(kind, failure, text, tmp_path):
    evolution = RegularizedEvolution(10, 3)
    n, timeout = (20, 0.5) if failure == "timeout" else (60, None)
    result = search(
        SPACE, evolution, Faulty(kind), trials=n, seed=0, timeout=timeout, max_failures=30, out=tmp_path / "r"
    )
    trials = list(RunFolder(tmp_path / "r").trials(0))
    failed = [trial for trial in trials if trial.status == "failed"]
    assert result.completed == n
    assert result.failed == len(failed) >= n / 10
    for trial in failed:
        assert (trial.failure, trial.score) == (failure, None)
        assert text in trial.error
        assert trial.attempts == (2 if failure == "out_of_memory" else 1)
        if failure != "timeout":  # a machine that is busy lets others time out, too
            assert sum(trial.architecture) % 4 == 0
    assert all(trial.failure for trial in trials if sum(trial.architecture) % 4 == 0)
    assert result.best.score == max(t.score for t in trials if t.score is not None)
    parents = {trial.parent for trial in trials}
    assert not parents & {trial.id for trial in failed}


def test_retries_by_kind():
    result = search(
        SPACE, RandomSearch(), Faulty("raises"), trials=30, seed=0, retries={"exception": 2}, max_failures=30
    )
    assert {trial.attempts for trial in result.history if trial.failure} == {3}


def test_too_many_failures_in_a_row_stop_with_the_first_error(tmp_path):
    def fails(_):
        fails.calls += 1
        raise RuntimeError(f"call {fails.calls}")

    fails.calls = 0
    with pytest.raises(TooManyFailures, match="7 trials failed one after another") as caught:
        search(SPACE, RandomSearch(), Function(fails), trials=100, seed=0, max_failures=7, out=tmp_path / "r")
    assert "call 1" in str(caught.value)
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 7


def test_a_controller_that_raises_loses_nothing(tmp_path):
    class Broken(RandomSearch):
        def _tell(self, trial):
            if trial.id == 20:
                raise ZeroDivisionError("a bug of the author's")

    with pytest.raises(ZeroDivisionError):
        search(SPACE, Broken(), Function(sum), trials=100, seed=0, out=tmp_path / "r")
    assert [trial.id for trial in RunFolder(tmp_path / "r").trials(0)] == list(range(21))


# -- files ---------------------------------------------------------------------------------------


def interrupted_run(folder, monkeypatch, after):
    """A run that was stopped as if by kill -9 after some trials, with a part every 25."""
    monkeypatch.setattr(history, "PART_ROWS", 25)

    class Killed(BaseException):
        pass

    def stop(trial):
        if trial.id == after - 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(history.History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            search(
                NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=200, seed=0, out=folder, on_trial=stop
            )


@pytest.mark.parametrize("after", [1, 24, 25, 26, 60, 99])
@pytest.mark.parametrize("damage", ["none", "journal", "part", "state"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_half_written_newest_file_never_blocks_a_resume(after, damage, keep, tmp_path, monkeypatch):
    whole = search(NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=200, seed=0)
    interrupted_run(tmp_path / "r", monkeypatch, after)
    files = sorted((tmp_path / "r").glob(f"*/{damage}-*"))
    if damage != "none" and files:
        size = files[-1].stat().st_size
        os.truncate(files[-1], int(size * keep))
    if damage != "none" and files:
        what = "is damaged|in the middle of a line|end is missing|it is empty"
        with pytest.warns(DamageWarning, match=what):
            result = resume(tmp_path / "r", trust=True)
    else:
        result = resume(tmp_path / "r", trust=True)
    assert path(result.history) == path(whole.history)


def test_trials_of_a_damaged_newest_part_can_be_read_before_a_resume(tmp_path, monkeypatch):
    interrupted_run(tmp_path / "r", monkeypatch, 60)
    whole = path(RunFolder(tmp_path / "r").trials(0))
    assert len(whole) == 60
    newest = max((tmp_path / "r" / "trials").glob("part-*"))
    os.truncate(newest, newest.stat().st_size // 2)
    for read in (lambda: path(RunFolder(tmp_path / "r").trials(0)), lambda: path(RunFolder(tmp_path / "r").trials(1))):
        with pytest.warns(DamageWarning, match="taken from the journal again"):
            assert read() == whole
    with pytest.warns(DamageWarning, match="taken from the journal again"):
        assert RunFolder(tmp_path / "r").table(NASBench201()).num_rows == 60


def test_a_part_that_cannot_be_rebuilt_is_moved_aside(tmp_path):
    search(NASBench201(), RandomSearch(), Function(len), trials=50, seed=0, out=tmp_path / "r")
    part = tmp_path / "r" / "trials" / "part-000001.parquet"
    os.truncate(part, 100)
    with pytest.warns(DamageWarning, match="its trials are lost"):
        result = resume(tmp_path / "r", trials=60, trust=True)
    assert result.stopped == "trials"
    assert not part.exists()
    assert (tmp_path / "r" / "damaged" / part.name).exists()
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 10


def test_a_full_disk_stops_the_search_and_a_resume_goes_on(tmp_path, monkeypatch):
    whole = search(NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=100, seed=0)
    append = RunFolder.append

    class Full:
        """A file on a disk that has room for one more half line."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name):
            return getattr(self.file, name)

    def fill(self, lines):
        fill.calls += 1
        if fill.calls == 40:
            self._journal._file = Full(self._journal._file)
        append(self, lines)

    fill.calls = 0
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", fill)
        with pytest.raises(StorageError, match="No space left on device"):
            search(NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=100, seed=0, out=tmp_path / "r")
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 39
    assert path(resume(tmp_path / "r", trust=True).history) == path(whole.history)


def test_a_full_file_system_of_its_own(tmp_path):
    """/dev/full refuses every write, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    folder = RunFolder.create(tmp_path / "r", {"space": {}})
    folder._journal.close()
    folder._journal._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(StorageError, match="No space left"):
        folder.append(["[1]"])
    folder.close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "run", Path("/proc/archsearch-run")):
        with pytest.raises(RunFolderError, match="cannot write a run here"):
            search(SPACE, RandomSearch(), Function(sum), trials=5, out=place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; see the test above and the one below")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="Permission denied"):
        search(SPACE, RandomSearch(), Function(sum), trials=5, out=tmp_path / "run")


def test_a_read_only_file_system_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunFolderError, match="Read-only file system"):
            search(SPACE, RandomSearch(), Function(sum), trials=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_log_of_events_is_no_pickle(tmp_path):
    search(NASBench201(), RandomSearch(), Function(len), trials=30, seed=0, out=tmp_path / "r")
    suffixes = {file.suffix for file in (tmp_path / "r").rglob("*") if file.is_file()}
    assert suffixes <= {".yaml", ".parquet", ".json", ".jsonl", ""}


# -- growth --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"executor": "simulated", "workers": 8, "lag": 16}, {"duplicates": "reuse"}],
    ids=["local", "simulated-lag", "reuse"],
)
def test_work_per_trial_does_not_grow(settings, tmp_path):
    marks = []

    def count(_frame, event, _argument):
        if event == "call":
            count.calls += 1

    count.calls = 0
    space = Space(arities=[10] * 6)
    function = Function(lambda options: {"score": float(sum(options)), "cost": 1.0})
    # As many draws for every proposal, early and late, so that only the engine's own work is compared.
    arguments = {"trials": 19_990, "seed": 0, "out": tmp_path / "r", **settings}
    try:
        sys.setprofile(count)
        search(space, RandomSearch(), function, on_trial=lambda _: marks.append(count.calls), **arguments)
    finally:
        sys.setprofile(None)
    early = marks[2_500] - marks[1_500]
    late = marks[19_900] - marks[18_900]
    assert late <= 1.05 * early


def test_interrupt_signal_is_left_as_it_was():
    before = signal.getsignal(signal.SIGALRM)
    search(SPACE, RandomSearch(), Function(sum), trials=5, seed=0, timeout=5.0)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


EXITS = """
import os
from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function
from archsearch.spaces import NASBench201
search(NASBench201(), RandomSearch(), Function(lambda architecture: os._exit(0)), trials=5, seed=0, out="r")
"""


def test_status_says_that_a_run_did_not_end_in_order(tmp_path, monkeypatch, capsys):
    """An evaluator that ends the process leaves nobody who could say so; whoever looks at the folder is told."""
    monkeypatch.chdir(tmp_path)
    assert subprocess.run([sys.executable, "-c", EXITS], check=False, timeout=100).returncode == 0
    assert cli.main(["status", "r"]) == 0
    printed = capsys.readouterr().out
    assert "not running; killed, or ended by its evaluator" in printed
    assert "archsearch resume r" in printed
