"""Changes one file of a run folder at random, many times, and tells what status, report and resume make of it.

    python scripts/damage.py [--changes 1000] [--seed 0] [--kinds finished,journal,...] [--processes 2]

So many changes are made to each kind of folder. Each (cut, bit, digit, zeros, appended, emptied, deleted, doubled) is
made to one file of a copy of a folder. In a process of its own, with a limit of time, the copy's trials are read,
``status`` and ``report`` are asked (without drawing), and the search is resumed. What comes of it:

    told            there was a warning or an error of one line, and nothing else
    no harm         nothing was said, and every trial is as it was in the original, or as an uninterrupted run has it
    silently wrong  nothing was said, and a trial that was read, or that the resumed search has, differs from that, is
                    missing, or there twice (architecture, parent, status, score, metrics, kind of failure, budget)
    traceback       an error that is none of ``archsearch.errors``
    hang            it took longer than the limit

The last three must be 0; the exit status is 1 if they are not. Ctrl-C or SIGTERM ends it early, with the table so far.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import folder_lab

from archsearch import search
from archsearch.errors import ArchsearchError
from archsearch.keeping.folder import RunFolder
from archsearch.showing import report as showing_report
from archsearch.showing import status as showing_status

LIMIT = 60.0
"""Seconds that one change may take."""
FOLDERS = {
    "finished": ("plain", 20_000, None),
    "journal": ("plain", 20_000, 70),
    "two parts": ("failures", 30, 80),
    "checkpoints": ("training", 20_000, 4),
    "predictor": ("predictor", 20_000, 20),
    "super-network": ("one_shot", 20_000, 4),
}
"""What is damaged: kind of search, rows of a part, killed after so many trials (None: it ended in order)."""
OUTCOMES = ("no harm", "told", "silently wrong", "traceback", "hang")


def cut(data, rng):
    """Loses its end."""
    return data[: rng.randrange(len(data))]


def bit(data, rng):
    """One bit is another."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def digit(data, rng):
    """One digit is another; a bit where there is none."""
    places = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return bit(data, rng)
    at = rng.choice(places)
    return data[:at] + bytes([48 + (data[at] - 48 + rng.randrange(1, 10)) % 10]) + data[at + 1 :]


def zeros(data, rng):
    """Up to 64 bytes are zero."""
    at = rng.randrange(len(data))
    return data[:at] + bytes(len(data[at : at + 64])) + data[at + 64 :]


def appended(data, rng):
    """Has something more at its end."""
    return data + rng.randbytes(rng.randrange(1, 64))


def emptied(_data, _rng):
    """Is empty."""
    return b""


def deleted(_data, _rng):
    """Is gone."""
    return


def doubled(data, _rng):
    """Is there twice."""
    return data + data


CHANGES = (cut, bit, digit, zeros, appended, emptied, deleted, doubled)


def damage(folder, rng):
    """Changes one file of a folder; what was done to which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path, change = rng.choice(files), rng.choice(CHANGES)
    data = change(path.read_bytes(), rng)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    return f"{change.__name__} {path.relative_to(folder)}"


class Original:
    """A folder as it was, and what an uninterrupted search finds."""

    def __init__(self, name, place):
        self.kind, part_rows, killed_at = FOLDERS[name]
        self.folder = place / name.replace(" ", "-")
        folder_lab.begin(self.kind, self.folder, part_rows, killed_at)
        self.rows = folder_lab.rows(RunFolder(self.folder).trials(folder_lab.SEED))
        result = search(**folder_lab.KINDS[self.kind](), seed=folder_lab.SEED)
        self.whole = folder_lab.rows(result.history)


def attempt(what, done):
    """Calls it; its outcome, and what it printed, warned of, or raised."""
    told = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(told):
        warnings.simplefilter("always")
        try:
            answer = what()
        except ArchsearchError as error:
            return "told", f"{type(error).__name__}: {error}"
        except Exception:
            return "traceback", traceback.format_exc()
    if caught:
        return "told", str(caught[0].message)
    return done(answer)


def same(expected):
    """Judges trials by those that there should be."""

    def judge(trials):
        found = list(trials)
        rows = folder_lab.rows(found)
        if len(rows) == len(found) and rows == expected:
            return "no harm", ""
        ids = sorted(id_ for id_ in {*rows, *expected} if rows.get(id_) != expected.get(id_))
        return "silently wrong", f"trials {ids[:5]} of {len(found)}"

    return judge


def look(original, folder):
    """What reading and resuming a damaged folder comes to, the worst first."""

    def nothing(_):
        return "no harm", ""

    outcomes = [
        attempt(lambda: list(RunFolder(folder).trials(folder_lab.SEED)), same(original.rows)),
        attempt(lambda: showing_status.status(folder), nothing),
        attempt(lambda: showing_report.report(folder), nothing),
        attempt(lambda: list(folder_lab.go_on(original.kind, folder).history), same(original.whole)),
    ]
    return max(outcomes, key=lambda outcome: OUTCOMES.index(outcome[0]))


def in_a_child(original, folder, answer):
    """Forks; the child writes what it finds to a file."""
    child = os.fork()
    if child:
        return child
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        for name in ("_draw_curves", "_draw_best", "_draw_front", "_draw_set_up"):
            setattr(showing_report, name.removeprefix("_"), lambda *_: {})
        showing_report.picture = lambda *_: ""
        answer.write_text(json.dumps(look(original, folder)))
    except BaseException:
        answer.write_text(json.dumps(["traceback", traceback.format_exc()]))
    os._exit(0)


def main():
    """Damages, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=1000, help="of each kind of folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(FOLDERS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    for each in (signal.SIGINT, signal.SIGTERM):  # SIGINT is ignored in what a shell starts in the background
        signal.signal(each, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as place:
        counts, faults = run(Path(place), arguments.kinds.split(","), arguments)
    print_table(counts)
    return 1 if faults else 0


def run(place, kinds, arguments):
    """Makes the changes; how often what came of them, by kind of folder and change, and what must not be."""
    originals = {name: Original(name, place / "originals") for name in kinds}
    counts, faults, running = collections.defaultdict(collections.Counter), [], {}
    try:
        for name, what, outcome, text in outcomes(place, originals, running, arguments):
            counts[name, what.split()[0]][outcome] += 1
            if outcome in OUTCOMES[2:]:
                faults.append(f"{name}, {what}: {outcome}: {text}")
                print(faults[-1], flush=True)
    except KeyboardInterrupt:
        for child in running:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return counts, faults


def outcomes(place, originals, running, arguments):
    """Makes the changes, several at a time: kind of folder, what was done, what came of it, and more of that.

    Args:
        place: A folder for the copies.
        originals: By kind of folder.
        running: Here the processes are that are at it.
        arguments: What the command was given.
    """
    rng, kinds = random.Random(arguments.seed), list(originals)
    todo = iter(range(arguments.changes * len(kinds)))
    while True:
        while len(running) < arguments.processes and (number := next(todo, None)) is not None:
            name, folder = kinds[number % len(kinds)], place / f"{number}"
            shutil.copytree(originals[name].folder, folder)
            what = damage(folder, rng)
            child = in_a_child(originals[name], folder, place / f"{number}.json")
            running[child] = (folder, name, what, time.monotonic() + LIMIT)
        if not running:
            return
        for child, (folder, name, what, end) in list(running.items()):
            ended, _ = os.waitpid(child, os.WNOHANG)
            if not ended and time.monotonic() < end:
                continue
            outcome = ["hang", ""]
            if ended:
                outcome = json.loads(folder.with_suffix(".json").read_text())
            else:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            del running[child]
            shutil.rmtree(folder)
            yield (name, what, *outcome)
        time.sleep(0.005)


def print_table(counts):
    """One row per kind of folder, and one per kind of change."""
    for column, head in enumerate(("folder", "change")):
        rows = collections.defaultdict(collections.Counter)
        for key, each in counts.items():
            rows[key[column]].update(each)
        rows["all"] = sum(counts.values(), collections.Counter())
        print(f"{head:<16}{'changes':>8}" + "".join(f"{outcome:>16}" for outcome in OUTCOMES))
        for name, each in rows.items():
            print(f"{name:<16}{each.total():>8}" + "".join(f"{each[outcome]:>16}" for outcome in OUTCOMES))
        print()


if __name__ == "__main__":
    raise SystemExit(main())
