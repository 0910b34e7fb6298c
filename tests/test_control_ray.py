"""A search on Ray that is steered: its workers come and go, and a trial is ended."""

import os
import threading
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

from control_lab import PUT, SPACE  # noqa: E402

from archsearch import RayExecutor, control, search  # noqa: E402
from archsearch.controllers import RandomSearch  # noqa: E402
from archsearch.evaluators import Function  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def test_workers_come_and_go_and_a_trial_is_ended(on_ray, tmp_path):
    out, seen = tmp_path / "run", {}
    begun = threading.Event()

    def steer():
        begun.wait(60)
        running = control(out)
        running.put(PUT)  # which hangs for a minute
        while not (hung := [each["trial"] for each in running.show()["pending"] if each["name"] == "3-2-4-1-2"]):
            time.sleep(0.02)
        time.sleep(0.3)
        seen["cancelled"] = (hung[0], running.cancel(hung[0]))
        seen["more"] = running.workers(3)
        seen["time-out"] = running.timeout(20)
        running.pause()
        while running.show()["pending"]:
            time.sleep(0.02)
        seen["fewer"] = running.workers(1)
        seen["state"] = running.show()["state"]
        running.resume()
        time.sleep(0.3)
        running.stop()

    thread = threading.Thread(target=steer)
    thread.start()
    result = search(
        SPACE,
        RandomSearch(),
        Function("control_lab.unhurried"),
        trials=100_000,
        max_failures=1,
        seed=0,
        out=out,
        executor=RayExecutor(2),
        on_trial=lambda _: begun.set(),
    )
    thread.join()
    hung, said = seen["cancelled"]
    assert said == f"trial {hung} is ended"
    ended = [trial for trial in result.history if trial.failure]
    assert [(trial.id, trial.failure, trial.proposed_by) for trial in ended] == [(hung, "cancelled", "hand")]
    assert [result.stopped, result.failed, seen["state"]] == ["control", 1, "paused"]
    assert [seen["more"], seen["fewer"]] == ["3 workers from now on", "1 worker from now on"]
    trials = sorted(result.history, key=lambda trial: trial.id)
    assert [trial.id for trial in trials] == list(range(len(trials))), "every trial that was proposed has its result"
