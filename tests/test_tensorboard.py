"""TensorBoard, read back with its own package."""

import numpy as np
import pytest
from loggers_lab import Uneven, events, expected, run

from archsearch import resume
from archsearch.bridges.tensorboard import TensorBoardLogger

# MLflow's models use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


def test_tensorboard_has_every_trial_also_of_a_resumed_run(tmp_path):
    run(TensorBoardLogger(tmp_path / "tb"), trials=20, out=tmp_path / "r")
    result = resume(tmp_path / "r", evaluator=Uneven(), trials=40, on_trial=TensorBoardLogger(tmp_path / "tb"))
    trials = list(result.history)
    logged, notation = expected(trials)
    scalars, texts, _ = events(tmp_path / "tb")
    for name, pairs in logged.items():
        assert [step for step, _ in scalars[name]] == [step for step, _ in pairs], name
        np.testing.assert_allclose([v for _, v in scalars[name]], [v for _, v in pairs], rtol=1e-6, err_msg=name)
    resumed_at = next(t.id for i, t in enumerate(trials) if sum(t.evaluation is not None for t in trials[:i]) == 20)
    known = [name for step, name in notation if step < resumed_at][-1]
    told_again = [] if resumed_at in dict(notation) else [(resumed_at, known)]
    assert texts["best/text_summary"] == sorted([(s, f"`{n}`") for s, n in [*notation, *told_again]])
    assert "| controller.population_size | `10` |" in texts["configuration/text_summary"][-1][1]
    assert [text for _, text in texts["stopped/text_summary"]] == ["trials", "trials"]
    figures = {"best": result.best.score, "best_trial": result.best.id, "completed": 40, "failed": result.failed}
    assert {name: scalars[f"final/{name}"][-1][1] for name in figures} == pytest.approx(figures)
    assert scalars["final/cost/device_seconds"][-1][1] == pytest.approx(result.cost.device_seconds)


def test_tensorboard_shows_the_configuration_under_hparams(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run(TensorBoardLogger(tmp_path), trials=3)
    metadata = events(tmp_path)[2].summary_metadata["_hparams_/session_start_info"]
    values = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    assert values["controller"].string_value == "archsearch.controllers.regularized_evolution.RegularizedEvolution"
    assert values["controller.population_size"].number_value == 10
    assert values["settings.timeout"].string_value == "None"


def test_tensorboard_that_cannot_write_warns_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="TensorBoardLogger failed") as caught:
        result = run(TensorBoardLogger(tmp_path / "file" / "tb"))
    assert len(caught) == 1
    assert result.completed == 40
