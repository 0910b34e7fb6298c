"""Searches that are logged, and what TensorBoard and MLflow have of them by their own packages."""

import os

from archsearch import Evaluation, Evaluator, Space, search
from archsearch.controllers import RegularizedEvolution
from archsearch.trial import Cost

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

SPACE = Space(arities=[4, 3, 5, 2])


class Uneven(Evaluator):
    """Costs of 1 to 3 seconds, a metric that MLflow cannot name so, one architecture in three fails."""

    def evaluate(self, architecture, seed):
        if sum(architecture) % 3 == 0:
            raise ValueError("no such layer")
        return Evaluation(sum(architecture) + seed % 100 / 100, {"top-1 (%)": 7.0}, Cost(device_seconds=1.0 + seed % 3))


def run(on_trial, trials=40, controller=None, **settings):
    settings = {"seed": 0, "max_failures": 99, "executor": "simulated", **settings}
    return search(
        SPACE, controller or RegularizedEvolution(10, 3), Uneven(), trials=trials, on_trial=on_trial, **settings
    )


def expected(trials):
    """What is to be logged of these trials, as {name: [(step, value)]}; the best is the first of the highest."""
    scalars = {name: [] for name in ("score", "metrics/top-1 (%)", "best", "billed_seconds", "failed")}
    best, billed, failed, notation = None, 0.0, 0, []
    for trial in trials:
        if trial.evaluation is None:
            failed, billed = failed + 1, billed + trial.seconds
        else:
            billed += trial.cost.billed_seconds
            scalars["score"].append((trial.id, trial.score))
            scalars["metrics/top-1 (%)"].append((trial.id, 7.0))
            if best is None or trial.score > best.score:
                best = trial
                notation.append((trial.id, SPACE.format(trial.architecture)))
        if best is not None:
            scalars["best"].append((trial.id, best.score))
        scalars["billed_seconds"].append((trial.id, billed))
        scalars["failed"].append((trial.id, failed))
    return scalars, notation


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    scalars = {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}
    texts = {
        tag: [(e.step, e.tensor_proto.string_val[0].decode()) for e in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }
    return scalars, texts, accumulator


def runs(uri, experiment):
    """Client and runs of an experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id]) if found else []
