"""What the tests of Ray Tune have in common. As a program, an experiment that is killed once:

python tests/tune_lab.py FOLDER
"""

import json
import os
import signal
import sys
from pathlib import Path

from ray import tune
from ray.tune.search import ConcurrencyLimiter

from archsearch import Space
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.tune import ControllerSearch, trainable

TESTS = Path(__file__).parent
# For Ray's workers, which must find the modules of this folder, too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

PLAIN = Space(arities=[4, 3, 5, 2])


def evolution(**settings):
    return ControllerSearch(RegularizedEvolution(6, 3), PLAIN, seed=0, **settings)


def score(config):
    return sum(PLAIN.parse(config["architecture"]))


def drive(searcher, trials, tag="t", answer=score):
    """Asks and tells one by one, as Tune does with one trial at a time; returns the texts of what was asked."""
    asked = []
    for i in range(trials):
        config = searcher.suggest(f"{tag}{i}")
        asked.append(config["architecture"])
        searcher.on_trial_complete(f"{tag}{i}", {"score": answer(config)})
    return asked


class Listening(RandomSearch):
    """Remembers what it is told."""

    def _start(self):
        super()._start()
        self.told = []

    def _tell(self, trial):
        self.told.append(trial)


class Killer(tune.Callback):
    """Kills the process after the fourth trial, the first time."""

    def __init__(self, marker):
        self.marker, self.done = marker, 0

    def on_trial_start(self, iteration, trials, trial, **info):
        self.done += 1
        if self.done == 5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def drive_tune(folder):
    """Begins an experiment, or goes on with it, and prints what it came to."""
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    function = trainable(Function(sum), PLAIN)
    if (folder / "run").exists():
        tuner = tune.Tuner.restore(str(folder / "run"), function)
    else:
        limited = ConcurrencyLimiter(evolution(), 1)
        tuner = tune.Tuner(
            function,
            tune_config=tune.TuneConfig(search_alg=limited, num_samples=10, reuse_actors=True),
            run_config=tune.RunConfig(
                name="run", storage_path=str(folder), verbose=0, callbacks=[Killer(folder / "marker")]
            ),
        )
    results = tuner.fit()
    (newest,) = sorted((folder / "run").glob("searcher-state-*"))[-1:]
    state = json.loads(newest.read_text())
    configs = sorted((result.config for result in results), key=lambda config: config["proposal"])
    found = {
        "proposals": [config["proposal"] for config in configs],
        "names": [config["architecture"] for config in configs],
        "pending": state["live"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    drive_tune(Path(sys.argv[1]))
