"""``Tabular`` on the embedded table and on tables of the user's own, and ``Function``."""

from __future__ import annotations

import importlib.resources
import math
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from archsearch.components import build, describe
from archsearch.errors import InvalidArchitecture, MissingAbility, TableError, UnknownName, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.evaluators.embedded_tables import Selection
from archsearch.ranking import spearman
from archsearch.space import Space
from archsearch.spaces import Choices, NASBench201
from archsearch.trial import Cost, Evaluation, Query

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
SECONDS_FACTOR = {"cifar10": 1, "cifar100": 2, "ImageNet16-120": 6.068}
SINGLE_RUNS = {("cifar10", 777), ("cifar10", 888), ("cifar10", 999), ("cifar100", 888), ("ImageNet16-120", 888)}


def started(space=None, **settings) -> Tabular:
    evaluator = Tabular(**settings)
    evaluator.start(space or NASBench201())
    return evaluator


@pytest.fixture(scope="module")
def recorded():
    source = importlib.resources.files("archsearch") / "data" / "nasbench201.parquet"
    with importlib.resources.as_file(source) as path:
        return pq.read_table(path).to_pydict()


# -- the embedded table ----------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "mnist"}, "dataset: expected one of cifar10, cifar100, ImageNet16-120, nasbench_macro"),
        ({"epochs": 90}, "epochs: expected one of 12, 200, got 90"),
        ({"run": 111}, "run=111 with dataset=cifar10, epochs=200 is not in the table; it has mean, 777, 888, 999"),
        ({"run": "777"}, "run='777' with"),
        ({"cost": "s", "score": "x"}, "score, cost goes with a table of your own; give table=PATH too"),
        ({"maximize": False}, "maximize goes with a table of your own"),
        ({"table": "t.csv"}, "table='t.csv' needs the names of two columns: architecture and score"),
        ({"table": "t.csv", "architecture": "a"}, "needs the names of two columns"),
        ({"zero_cost": "snap"}, "zero_cost: expected one of epe_nas, fisher, grad_norm"),
        (
            {"dataset": "ImageNet16-120", "zero_cost": "naswot_paper"},
            "plain, snip, synflow, zen with dataset=ImageNet16",
        ),
        (
            {"dataset": "cifar100", "zero_cost": "zen"},
            "zero_cost: published for dataset=cifar10 and ImageNet16-120, not",
        ),
        ({"epochs": 12, "zero_cost": "zen"}, "epochs and run select an accuracy to search on"),
        ({"run": 777, "zero_cost": "zen"}, "epochs and run select an accuracy to search on"),
        (
            {"table": "t.csv", "architecture": "a", "score": "s", "zero_cost": "zen"},
            "dataset, epochs, run, zero_cost and device select from the embedded table",
        ),
        (
            {"table": "t.csv", "architecture": "a", "score": "s", "epochs": 12},
            "dataset, epochs, run, zero_cost and device select from the embedded table",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(UsageError) as caught:
        Tabular(**settings)
    assert message in str(caught.value)


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


def test_a_second_start_does_not_read_the_table_again(monkeypatch):
    evaluator = started()
    kept = evaluator._evaluations
    monkeypatch.setattr(Selection, "rows", lambda *_: pytest.fail("the table was read again"))
    evaluator.start(NASBench201())
    assert evaluator._evaluations is kept


def test_the_seed_does_not_matter_and_batches_are_single_look_ups():
    space = NASBench201()
    evaluator = started(space, epochs=12)
    cells = [space.from_index(i) for i in (0, 11, 284, 0)]
    queries = [Query(i, cell, i) for i, cell in enumerate(cells)]
    assert evaluator.evaluate_batch(queries) == [evaluator.evaluate(cell, 7) for cell in cells]


class Numbers(Space):
    def __init__(self) -> None:
        super().__init__(arities=[5] * 6)


@pytest.mark.parametrize("space", [Numbers(), Choices({"kernel": [3, 5]})])
def test_another_space_lacks_what_the_table_needs(space):
    with pytest.raises(MissingAbility, match=f"{type(space).__name__} does not describe; use the space NASBench201"):
        Tabular().start(space)


def test_what_is_outside_the_space_is_refused():
    evaluator = started()
    with pytest.raises(InvalidArchitecture, match="not in NASBench201"):
        evaluator.evaluate((9, 0, 0, 0, 0, 0), 0)


def test_pickles_are_small_and_work():
    evaluator = started(dataset="cifar100", epochs=12)
    pickled = pickle.dumps(evaluator)
    assert len(pickled) < 5_000
    copy = pickle.loads(pickled)
    assert copy.evaluate((3, 3, 3, 1, 3, 3), 0) == evaluator.evaluate((3, 3, 3, 1, 3, 3), 0)
    fresh = pickle.loads(pickle.dumps(Tabular("cifar10", 12)))
    fresh.start(NASBench201())
    assert fresh.evaluate((0,) * 6, 0).score > 0


def test_descriptions_make_the_same_evaluator():
    for evaluator in (
        Tabular("cifar100", 200, 888),
        Tabular(table="t.csv", architecture="a", score="s", metrics=["m"]),
    ):
        again = build(describe(evaluator))
        assert describe(again) == describe(evaluator)


# -- tables of the user's own ----------------------------------------------------------------------

SPACE = Choices({"kernel": [3, 5], "width": [16, 32]})
TABLE = {
    "cell": ["kernel=3,width=16", "kernel=5,width=16", "kernel=5,width=32"],
    "loss": [0.5, 0.25, None],
    "accuracy": [90, 91, 92],
    "params": [1000, None, 3000],
    "note": ["a", "b", "c"],
    "hours": [1.5, None, 3.0],
}


@pytest.fixture(params=["csv", "parquet"])
def write(request, tmp_path):
    """Writes columns to a file of either kind; returns its path."""

    def write(columns, **other):
        path = tmp_path / f"table.{request.param}"
        table = pa.table({**columns, **other})
        pyarrow.csv.write_csv(table, path) if request.param == "csv" else pq.write_table(table, path)
        return str(path)

    return write


def test_own_table(write):
    evaluator = started(SPACE, table=write(TABLE), architecture="cell", score="accuracy", cost="hours")
    assert evaluator.evaluate((0, 0), 0) == Evaluation(
        90.0, {"loss": 0.5, "params": 1000.0}, Cost(recorded_seconds=1.5)
    )
    assert evaluator.evaluate((1, 0), 0) == Evaluation(91.0, {"loss": 0.25})
    assert evaluator.evaluate((1, 1), 0) == Evaluation(92.0, {"params": 3000.0}, Cost(recorded_seconds=3.0))
    with pytest.raises(InvalidArchitecture, match=r"has no architecture kernel=3,width=32; it has 3 others"):
        evaluator.evaluate((0, 1), 0)


def test_a_score_that_should_be_low_is_negated(write):
    settings = {"table": write(TABLE), "architecture": "cell", "score": "loss", "metrics": ["params"]}
    evaluator = started(SPACE, **settings, maximize=False)
    assert evaluator.evaluate((0, 0), 0) == Evaluation(-0.5, {"params": 1000.0})
    assert started(SPACE, **settings).evaluate((0, 0), 0).score == 0.5
    with pytest.raises(InvalidArchitecture, match=r"has no score for kernel=5,width=32 \(loss is empty\)"):
        evaluator.evaluate((1, 1), 0)


def test_lists_of_options_identify_architectures(tmp_path):
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"options": [[0, 0], [1, 1]], "score": [1.0, 2.0]}), path)
    evaluator = started(SPACE, table=str(path), architecture="options", score="score", metrics=[])
    assert evaluator.evaluate((1, 1), 0) == Evaluation(2.0, {})
    pq.write_table(pa.table({"options": [[0, 0], [1, None]], "score": [1.0, 2.0]}), path)
    with pytest.raises(TableError, match=r"lists\.parquet, row 1: architecture \(1, None\) is not in Choices"):
        started(SPACE, table=str(path), architecture="options", score="score")


def test_indices_identify_cells(write):
    table = write({"index": [6111, 9930], "speed": [2.0, 1.0]})
    evaluator = started(table=table, architecture="index", score="speed")
    assert evaluator.evaluate((3, 3, 3, 1, 3, 3), 0) == Evaluation(1.0, {})


def test_own_tables_survive_pickling(write):
    evaluator = started(SPACE, table=write(TABLE), architecture="cell", score="accuracy")
    pickled = pickle.dumps(evaluator)
    assert len(pickled) < 5_000
    assert pickle.loads(pickled).evaluate((1, 0), 0) == evaluator.evaluate((1, 0), 0)


def test_columns_without_any_value_are_not_reported_unless_asked_for(write):
    table = write(TABLE, empty=pa.array([None] * 3, pa.float64()))
    evaluator = started(SPACE, table=table, architecture="cell", score="accuracy")
    assert "empty" not in evaluator.evaluate((0, 0), 0).metrics
    with pytest.raises(TableError, match="column 'empty' has no values"):
        started(SPACE, table=table, architecture="cell", score="accuracy", metrics=["empty"])


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"score": "f1"}, "no column called f1; it has cell, loss, accuracy, params, note, hours"),
        ({}, {"architecture": "arch", "metrics": ["m"], "cost": "c"}, "no column called arch, m, c; it has"),
        ({}, {"score": "note"}, "column 'note' holds string, expected numbers"),
        ({}, {"metrics": ["note"]}, "column 'note' holds string, expected numbers"),
        ({}, {"cost": "note"}, "column 'note' holds string, expected numbers"),
        ({"accuracy": pa.array([None] * 3, pa.float64())}, {}, "column 'accuracy' has no values"),
        ({"cell": ["kernel=3,width=16"] * 3}, {}, "1 architectures have more than one row, the first is kernel=3"),
        ({"cell": ["kernel=3,width=16", "kernel=7,width=16", "x"]}, {}, "row 1: Choices: kernel='7': expected one of"),
        ({"worker": [1, 2, 3]}, {}, "worker cannot name a metric"),
        ({"hours": [1.0, -1.0, 2.0]}, {"cost": "hours"}, "column 'hours': expected seconds >= 0, got -1.0"),
        ({"hours": [1.0, math.inf, 2.0]}, {"cost": "hours"}, "column 'hours': expected seconds >= 0, got inf"),
    ],
)
def test_unusable_tables_are_refused(write, changes, settings, message):
    path = write(TABLE, **changes)
    with pytest.raises(TableError) as caught:
        started(SPACE, **{"table": path, "architecture": "cell", "score": "accuracy", **settings})
    assert message in str(caught.value)
    assert str(caught.value).startswith(path)


def test_nan_is_empty(write):
    path = write({**TABLE, "accuracy": [math.nan, 91.0, 92.0], "loss": [0.5, math.nan, None]})
    evaluator = started(SPACE, table=path, architecture="cell", score="accuracy", metrics=["loss"])
    assert evaluator.evaluate((1, 0), 0) == Evaluation(91.0, {})
    with pytest.raises(InvalidArchitecture, match=r"accuracy is empty"):
        evaluator.evaluate((0, 0), 0)


def test_empty_tables_are_refused(write):
    path = write({"cell": pa.array([], pa.string()), "score": pa.array([], pa.float64())})
    with pytest.raises(TableError, match="the table is empty"):
        started(SPACE, table=path, architecture="cell", score="score")


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("cell,score,score\nx,1,2\n")
    with pytest.raises(TableError, match="two columns have one name"):
        started(SPACE, table=str(path), architecture="cell", score="score")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.txt", "a,b", "expected a file that ends in .parquet or .csv"),
        ("missing.csv", None, "no such file"),
        ("missing.parquet", None, "no such file"),
        ("broken.parquet", "no parquet at all", "cannot be read"),
        ("broken.csv", "a,b\n1\n", "cannot be read"),
        ("empty.csv", "", "cannot be read"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(TableError) as caught:
        started(SPACE, table=str(path), architecture="a", score="b")
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_failed_start_leaves_nothing_of_the_last_space(write):
    evaluator = started(SPACE, table=write(TABLE), architecture="cell", score="accuracy")
    for _ in range(2):
        with pytest.raises(TableError, match="row 0"):
            evaluator.start(Numbers())
    evaluator.start(SPACE)
    assert evaluator.evaluate((0, 0), 0).score == 90.0


# -- Function --------------------------------------------------------------------------------------


def accuracy(values) -> float:
    return values["kernel"] + values["width"]


class Model:
    def __call__(self, values):
        return 1.0


def evaluate(function, seed=3) -> Evaluation:
    evaluator = Function(function)
    evaluator.start(SPACE)
    return evaluator.evaluate((1, 0), seed)


def test_a_function_receives_what_the_space_decodes_to():
    assert evaluate(accuracy) == Evaluation(21.0)
    evaluator = Function(len)
    evaluator.start(NASBench201())
    assert evaluator.evaluate((0,) * 6, 0).score == len(NASBench201().format((0,) * 6))
    evaluator = Function(sum)
    evaluator.start(Numbers())
    assert evaluator.evaluate((1, 2, 3, 0, 0, 0), 0).score == 6.0
    with pytest.raises(InvalidArchitecture):
        evaluator.evaluate((1, 2), 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (2, Evaluation(2.0)),
        (True, Evaluation(1.0)),
        (np.float32(0.5), Evaluation(0.5)),
        (np.int64(3), Evaluation(3.0)),
        (np.array(0.25), Evaluation(0.25)),
        ({"score": 1}, Evaluation(1.0)),
        ({"score": np.float32(0.5), "size": np.int64(9)}, Evaluation(0.5, {"size": 9.0})),
        ({"score": 1, "cost": 2}, Evaluation(1.0, {}, Cost(device_seconds=2.0))),
        (Evaluation(1.0, {"a": 2.0}, Cost(flops=3.0)), Evaluation(1.0, {"a": 2.0}, Cost(flops=3.0))),
    ],
)
def test_accepted_answers(answer, expected):
    got = evaluate(lambda values: answer)
    assert got == expected
    assert type(got.score) is float
    assert all(type(value) is float for value in got.metrics.values())


def test_costs_in_a_mapping_are_billed():
    assert evaluate(lambda values: {"score": 1, "cost": 2.5}).cost.billed_seconds == 2.5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the return value: expected a number, .* got NoneType None"),
        ("high", "got str 'high'"),
        ((1.0, 2.0), "got tuple"),
        ({"accuracy": 1}, "expected an entry 'score' in what the function returns, got accuracy"),
        ({"score": None}, "score: expected a number"),
        ({"score": 1, "size": "big"}, "size: expected a number"),
        ({"score": 1, "cost": []}, "cost: expected a number"),
    ],
)
def test_other_answers_are_refused(answer, message):
    with pytest.raises(TypeError, match=message):
        evaluate(lambda values: answer)


def test_nan_is_passed_on_for_the_search_to_refuse():
    assert math.isnan(evaluate(lambda values: math.nan).score)


def test_seeds_are_given_to_functions_that_take_one():
    assert evaluate(lambda values, seed: seed, seed=2**62).score == 2**62
    assert evaluate(lambda values, *, seed=0: seed, seed=5).score == 5.0
    assert evaluate(lambda values, factor=2: factor).score == 2.0
    assert evaluate(Model()).score == 1.0


def test_errors_of_the_function_are_its_own():
    with pytest.raises(ZeroDivisionError):
        evaluate(lambda values: 1 / 0)


def test_an_import_path_names_the_function():
    for path in ("math.prod", "math:prod"):
        evaluator = Function(path)
        assert describe(evaluator)["init_args"] == {"function": path}
        evaluator = pickle.loads(pickle.dumps(build(describe(evaluator), trust=True)))
        evaluator.start(Numbers())
        assert evaluator.evaluate((1, 2, 3, 4, 4, 4), 0).score == 384.0
    assert describe(Function(math.prod))["init_args"] == {"function": "math.prod"}


@pytest.mark.parametrize("wrong", [3, None, "math.pi"])
def test_what_cannot_be_called_is_refused(wrong):
    with pytest.raises(UsageError, match="expected a callable or its import path, got"):
        Function(wrong)


def test_an_import_path_must_exist():
    with pytest.raises(UnknownName, match="module 'math' has no 'produkt'"):
        Function("math.produkt")
    with pytest.raises(UnknownName, match="no module called 'my_labb'"):
        Function("my_labb.accuracy")


def test_functions_without_a_signature_work():
    evaluator = Function(max)
    evaluator.start(Numbers())
    assert evaluator.evaluate((1, 2, 3, 0, 0, 0), 0).score == 3.0


def test_latency_and_energy_of_devices():
    """Cell 0 on CIFAR-10, as the page of HW-NAS-Bench prints it."""
    space = NASBench201()
    cell = space.parse(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    printed = {
        "edgegpu": (5.807418537139893, 24.226614330768584),
        "raspi4": (10.481976820010459, None),
        "edgetpu": (0.9571811309997429, None),
        "pixel3": (3.6058499999999998, None),
        "eyeriss": (3.645620000000001, 0.6872827644999999),
        "fpga": (2.57296, 18.01072),
    }
    plain = Tabular()
    plain.start(space)
    for device, (latency, energy) in printed.items():
        table = Tabular(device=device)
        table.start(space)
        found = table.evaluate(cell, 0)
        assert found.score == plain.evaluate(cell, 0).score
        assert found.metrics["latency_seconds"] == pytest.approx(latency / 1_000, rel=1e-6)
        assert found.metrics.get("energy_joules") == (
            None if energy is None else pytest.approx(energy / 1_000, rel=1e-6)
        )
        assert table.measure(cell)["latency_seconds"] == found.metrics["latency_seconds"]
    cannot = Tabular(device="edgetpu")
    cannot.start(space)
    without = [each for each in cannot.architectures if "latency_seconds" not in cannot.evaluate(each, 0).metrics]
    assert len(without) == 4_699
    assert math.isnan(cannot.measure(without[0])["latency_seconds"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "abacus"}, "device: expected one of edgegpu, edgetpu"),
        ({"device": "fpga", "dataset": "digits201"}, "device: known for dataset=cifar10, cifar100, ImageNet16-120"),
        (
            {"device": "fpga", "table": "x.csv", "architecture": "a", "score": "b"},
            "device select from the embedded table",
        ),
    ],
)
def test_devices_that_are_not_there(settings, message):
    with pytest.raises(UsageError, match=message):
        Tabular(**settings)
