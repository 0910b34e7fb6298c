"""``Tabular`` on the embedded table: every signal is the recorded one, and scores are the published ones."""

from __future__ import annotations

import importlib.resources
import pickle

import pyarrow.parquet as pq
import pytest
from tabular_lab import started

from archsearch.basics.seeding import stream
from archsearch.components import build, describe
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluators import Tabular, Training, ZeroCost
from archsearch.networks.layers import Layers
from archsearch.ranking import spearman
from archsearch.spaces import NASBench201
from archsearch.task import ImageTask
from archsearch.trial import Cost

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
SECONDS_FACTOR = {"cifar10": 1, "cifar100": 2, "ImageNet16-120": 6.068}
SINGLE_RUNS = {("cifar10", 777), ("cifar10", 888), ("cifar10", 999), ("cifar100", 888), ("ImageNet16-120", 888)}


@pytest.fixture(scope="module")
def recorded():
    source = importlib.resources.files("archsearch") / "data" / "nasbench201.parquet"
    with importlib.resources.as_file(source) as path:
        return pq.read_table(path).to_pydict()


@pytest.mark.parametrize(
    ("dataset", "valid", "valid_index", "test", "test_index"),
    [
        ("cifar10", 91.6067, 6111, 94.3733, 6111),
        ("cifar100", 73.4933, 9930, 73.5133, 9930),
        ("ImageNet16-120", 46.7333, 10676, 47.3111, 857),
    ],
)
def test_published_best_cells(dataset, valid, valid_index, test, test_index):
    space = NASBench201()
    evaluator = started(space, dataset=dataset)
    found = [evaluator.evaluate(space.from_index(i), 0) for i in range(15_625)]
    scores = [evaluation.score for evaluation in found]
    assert max(scores) == scores[valid_index] == pytest.approx(valid, abs=5e-5)
    tests = [evaluation.metrics["test_accuracy"] for evaluation in found]
    assert max(tests) == tests[test_index] == pytest.approx(test, abs=5e-5)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("epochs", [12, 200])
@pytest.mark.parametrize("run", ["mean", 777, 888, 999])
def test_every_signal_is_the_recorded_one(dataset, epochs, run, recorded):
    if run != "mean" and (epochs == 12 or (dataset, run) not in SINGLE_RUNS):
        with pytest.raises(UsageError, match=f"run={run} with dataset={dataset}, epochs={epochs} is not in the table"):
            Tabular(dataset, epochs, run)
        return
    space = NASBench201()
    evaluator = started(space, dataset=dataset, epochs=epochs, run=run)
    name = dataset.lower().replace("-", "_")
    column = f"{name}_valid_acc_{epochs}" + ("" if run == "mean" else f"_seed{run}")
    for i in range(0, 15_625, 41):
        cell = space.parse(recorded["arch"][i])
        if recorded[column][i] is None:
            with pytest.raises(InvalidArchitecture, match="has no score"):
                evaluator.evaluate(cell, 0)
            continue
        evaluation = evaluator.evaluate(cell, 0)
        assert evaluation.score == recorded[column][i]
        assert evaluation.metrics == {
            "test_accuracy": recorded[f"{name}_test_acc_200"][i],
            "params": recorded[f"{name}_params"][i],
            "flops": recorded[f"{name}_flops"][i],
            "latency_seconds": recorded[f"{name}_latency_seconds"][i],
        }
        seconds = epochs * SECONDS_FACTOR[dataset] * recorded["train_seconds_per_epoch"][i]
        assert evaluation.cost == Cost(recorded_seconds=seconds)
        assert evaluation.cost.billed_seconds == seconds


def test_cells_without_a_third_run_have_no_score(recorded):
    space = NASBench201()
    evaluator = started(space, run=999)
    missing = 0
    for text in recorded["arch"]:
        try:
            evaluator.evaluate(space.parse(text), 0)
        except InvalidArchitecture as error:
            missing += 1
            message = str(error)
    assert missing == recorded["n_seeds_200"].count(2) == 7456
    assert message.endswith("(run 999 is empty)")


PUBLISHED = ("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "plain", "snip", "synflow")
FINDINGS = {"synflow": 0.78, "nwot": 0.81, "grad_norm": 0.60, "grasp": 0.54, "zen": 0.39, "naswot_paper": 0.69}
"""Of cifar10: Spearman's correlation with the test accuracy, over the cells that have a score; see the data's page."""


@pytest.mark.parametrize("dataset", ["cifar10", "ImageNet16-120"])
def test_published_scores_at_initialisation(dataset):
    space, name = NASBench201(), dataset.lower().replace("-", "_")
    source = importlib.resources.files("archsearch") / "data" / "nasbench201_zerocost.parquet"
    with importlib.resources.as_file(source) as path:
        published = pq.read_table(path).to_pydict()
    accuracies = started(space, dataset=dataset)
    cells = [space.from_index(i) for i in published["index"]]
    assert published["index"] == list(range(15_625))
    for score in (*PUBLISHED, "zen", *(["naswot_paper"] if dataset == "cifar10" else [])):
        evaluator = started(space, dataset=dataset, zero_cost=score)
        column = published[f"{name}_{score}"]
        known = [i for i, value in enumerate(column) if value is not None]
        assert len(known) == {"zen": 15_625, "naswot_paper": 15_284}.get(score, 9445)
        for i in known[::97]:
            found = evaluator.evaluate(cells[i], 0)
            assert found.score == column[i]
            assert found.metrics == accuracies.evaluate(cells[i], 0).metrics
            assert found.cost == Cost()  # how long it took was not published
        if dataset == "cifar10" and score in FINDINGS:
            found = [evaluator.evaluate(cells[i], 0) for i in known]
            rho = spearman([each.score for each in found], [each.metrics["test_accuracy"] for each in found])
            assert rho == pytest.approx(FINDINGS[score], abs=0.006)


def test_computed_scores_are_those_of_networks_of_the_published_size():
    """Of a light cell, anew; the whole part of vkdnw is the number of layers."""
    space, noise = NASBench201(), stream(0, "stand-in")
    arrays = noise.standard_normal((256, 3, 32, 32)), noise.integers(10, size=256)
    task = ImageTask(arrays, arrays, arrays, classes=10, name="noise", normalise=False)
    cell = space.from_index(240)
    for score in ("vkdnw", "expressivity", "trainability", "progressivity"):
        evaluator = ZeroCost(score, Training(task, preset="nasbench201", device="cpu"), batch=16)
        evaluator.start(space)
        found = started(space, zero_cost=score).evaluate(cell, 0)
        assert found.score == pytest.approx(evaluator.evaluate(cell, 0).score, rel=1e-3)
        assert found.score == started(space, dataset="ImageNet16-120", zero_cost=score).evaluate(cell, 0).score
    source = importlib.resources.files("archsearch") / "data" / "nasbench201_zerocost_computed.parquet"
    with importlib.resources.as_file(source) as path:
        column = pq.read_table(path, columns=["vkdnw"]).to_pydict()["vkdnw"]
    layers, known = Layers(space), [i for i, value in enumerate(column) if value is not None]
    assert len(known) == 9_445
    assert {int(column[i]) - layers(space.from_index(i)) for i in known[::97]} == {0}


def test_cells_without_a_published_score_have_that_of_what_counts_in_them():
    space = NASBench201()
    evaluator = started(space, zero_cost="synflow")
    assert len(evaluator.architectures) == 15_625
    # 0->1 leads nowhere; 1->3 and 2->3 come from nowhere.
    pairs = {(3, 1, 0, 2, 0, 0): (0, 0, 0, 2, 0, 0), (0, 0, 2, 3, 3, 1): (0, 0, 0, 3, 0, 0)}
    for cell, core in pairs.items():
        assert evaluator.evaluate(cell, 0).score == evaluator.evaluate(core, 0).score
    copy = pickle.loads(pickle.dumps(evaluator))
    assert copy.evaluate(space.from_index(1), 0).score == pytest.approx(83.0448, abs=1e-4)
    assert build(describe(evaluator)).zero_cost == "synflow"


def test_cells_without_any_published_score_have_none():
    space = NASBench201()
    evaluator = started(space, zero_cost="naswot_paper")
    with pytest.raises(InvalidArchitecture, match=r"has no score for .* \(naswot_paper is empty\)"):
        evaluator.evaluate((0, 0, 0, 0, 0, 0), 0)
