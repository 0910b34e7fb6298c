"""The option ``runtime_env``, and the metrics of a search on Ray."""

from collections import Counter
from typing import ClassVar

import pytest
from shipping_lab import parsed

from archsearch import RayExecutor
from archsearch.cli import options as cli
from archsearch.components import describe
from archsearch.errors import UsageError
from archsearch.executors.ray.watch import Metrics

# -- runtime_env -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime_env", "message"),
    [
        ({"working_dir": "nowhere"}, "nothing is at 'nowhere'; expected a path from the current folder"),
        ({"py_modules": ["nowhere/lab"]}, "nothing is at 'nowhere/lab'"),
        ({"workingdir": "."}, "expected any of .*working_dir.*, got workingdir"),
        ({"pip": 3}, "runtime_env: .*pip"),
    ],
)
def test_mistakes_in_a_runtime_env_are_told_before_anything_starts(runtime_env, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        RayExecutor(runtime_env=runtime_env)


def test_runtime_env_on_the_command_line():
    texts = (
        """--runtime_env '{"working_dir": ".", "env_vars": {"A": "1"}}'""",
        "--runtime_env.working_dir . --runtime_env.env_vars.A '1'",
    )
    for text in texts:
        given = parsed(f"archsearch run --executor ray {text}")
        executor = cli.chosen_executor(given)["executor"]
        assert describe(executor)["init_args"]["runtime_env"]["working_dir"] == "."
        assert {name: str(value) for name, value in executor.runtime_env["env_vars"].items()} == {"A": "1"}


# -- metrics ---------------------------------------------------------------------------------------


class Recorder:
    """Stands for Ray's counters and gauges."""

    all: ClassVar[dict[str, Counter]] = {}

    def __init__(self, name, description, tag_keys=()):
        self.all[name] = Counter()

        def add(amount, tags=None):
            assert amount > 0
            self.all[name][(tags or {}).get("kind")] += amount

        self.inc = add
        self.set = lambda value: self.all[name].update({"sets": 1, "last": value - self.all[name]["last"]})


def test_metrics_count_and_are_handed_over_now_and_then(monkeypatch):
    monkeypatch.setattr("ray.util.metrics.Counter", Recorder)
    monkeypatch.setattr("ray.util.metrics.Gauge", Recorder)
    monkeypatch.setattr(Recorder, "all", {})
    metrics = Metrics()
    for now in range(10):
        metrics.count("evaluations", "completed")
        metrics.count("seconds", "completed", 0.5)
        if metrics.due(now / 10):
            metrics.flush(workers=2, pending=now)
    assert Recorder.all["archsearch_pending"] == {"sets": 1, "last": 0}, "not with every result"
    metrics.count("faults", "worker_died")
    metrics.count("seconds", "exception", 0.0)  # Ray refuses an increase by nothing
    metrics.flush(workers=0, pending=0)
    assert Recorder.all["archsearch_evaluations"] == {"completed": 10}
    assert Recorder.all["archsearch_evaluation_seconds"] == {"completed": 5.0}
    assert Recorder.all["archsearch_lost_workers"] == {"worker_died": 1}
    assert Recorder.all["archsearch_workers"]["last"] == 0
