"""Tables: scikit-learn's sets, files and Arrow tables, and what is wrong with them; regression against scikit-learn."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch
from sklearn import metrics

from archsearch import search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import InvalidArchitecture, MissingAbility, TaskError, UsageError
from archsearch.evaluators import OneShot, Training
from archsearch.networks.network import build
from archsearch.spaces import MLP, NASBench201
from archsearch.task import TableTask, kind_of, load_task, table_task
from archsearch.task.goal import Regression

TRAINING = {"epochs": 3, "optimizer": "adamw", "learning_rate": 0.01}


def table(n=60, **changed):
    rng = np.random.default_rng(0)
    columns = {"a": rng.random(n), "b": rng.integers(0, 9, n), "c": np.arange(n) % 2 == 0, "y": rng.random(n)}
    return pa.table({**columns, **changed})


def test_diabetes_is_scikit_learns():
    from sklearn.datasets import load_diabetes

    task, found = load_task("diabetes"), load_diabetes()
    assert kind_of("diabetes") == kind_of("x.csv:target=y") == "prediction from tables"
    rows = np.concatenate([np.column_stack([*task.part(part)]) for part in ("train", "valid", "test")])
    scaled = (np.column_stack([found.data, found.target]) - [*task.mean, task.target_mean]) / [
        *task.deviation,
        task.target_deviation,
    ]
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(scaled, axis=0), atol=1e-5)
    assert (task.classes, task.input_shape) == (1, (10,))


@pytest.mark.parametrize(("name", "classes"), [("breast_cancer", 2), ("wine", 3)])
def test_classes_have_the_same_share_in_each_part(name, classes):
    task = load_task(f"{name}:valid=0.25,seed=3")
    shares = [
        np.bincount(task.part(part)[1], minlength=classes) / task.size(part) for part in ("train", "valid", "test")
    ]
    assert task.classes == classes
    np.testing.assert_allclose(shares[1:], [shares[0]] * 2, atol=0.03)


def test_r2_is_scikit_learns_over_batches():
    rng = np.random.default_rng(0)
    wanted, said = (
        torch.tensor(rng.random(50), dtype=torch.float32),
        torch.tensor(rng.random((50, 1)), dtype=torch.float32),
    )
    goal = Regression()
    tally = sum(goal.tally(*each) for each in zip(said.split(7), wanted.split(7), strict=True))
    judged = goal.judged(tally)
    assert judged.metric == judged.score == pytest.approx(metrics.r2_score(wanted, said[:, 0]), rel=1e-5)
    assert judged.loss == pytest.approx(metrics.mean_squared_error(wanted, said[:, 0]), rel=1e-5)


# -- files -------------------------------------------------------------------------------------


def write(found, path):
    writers = {".csv": pyarrow.csv.write_csv, ".parquet": pq.write_table, ".feather": pyarrow.feather.write_feather}
    writers[path.suffix](found, str(path))
    return path


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_files_are_the_table_in_python(tmp_path, ending):
    path = write(table(), tmp_path / f"x{ending}")
    task, other = load_task(f"{path}:target=y,valid=10,test=10"), table_task(table(), "y", valid=10, test=10)
    assert task.columns == ("a", "b", "c")
    for part in ("train", "valid", "test"):
        assert all(torch.allclose(*each, atol=1e-6) for each in zip(task.part(part), other.part(part), strict=True))


def test_targets_that_are_texts_are_classes_in_order():
    task = table_task(table(y=pa.array(["dog", "cat", "eel"] * 20)), "y", drop=["b"])
    assert (task.classes, task.columns) == (3, ("a", "c"))
    shifted = table_task(table(y=np.arange(60) % 3 + 1), "y", predicts="class")
    assert shifted.classes == 3


@pytest.mark.parametrize(
    ("changed", "settings", "said"),
    [
        (
            {"y": np.arange(60)},
            {},
            "target 'y' holds whole numbers, which may be classes or quantities; say which: predi",
        ),
        ({"y": np.arange(60.0)}, {}, "target 'y' holds whole numbers"),
        ({"a": [0.5] * 7 + [np.nan] * 53}, {}, "row 7, column 'a': nan; fill such cells or leave the rows out"),
        ({"a": [0.5] * 7 + [None] * 53}, {}, "row 7, column 'a' is empty"),
        ({"y": [0.5] * 7 + [None] * 53}, {}, "row 7, column 'y' is empty"),
        ({"y": [0.5] * 7 + [np.inf] * 53}, {}, "row 7, target 'y': inf"),
        ({"a": ["x"] * 60}, {}, "column 'a' holds string; expected numbers or booleans: .*drop=a"),
        (
            {"y": ["x", "y"] * 30},
            {"predicts": "number"},
            "target 'y' holds string; expected numbers, or predicts=class",
        ),
        ({}, {"predicts": "class"}, "target 'y' holds numbers with fractions; expected classes, or predicts=number"),
        ({}, {"drop": ["z"]}, "0 columns are called 'z'; there are a, b, c, y"),
        ({}, {"drop": ["a", "b", "c"]}, "expected rows with columns beside the target 'y', found none"),
        ({"y": [1.5] * 60}, {}, "all targets are 1.5; there is nothing to learn"),
        ({}, {"valid": 0.5, "test": 0.5}, "which leaves 0 to train on"),
        ({}, {"valid": 1.5}, "expected a whole number of rows, or a share up to 1, got 1.5"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(changed, settings, said):
    with pytest.raises(TaskError, match=said) as caught:
        table_task(table(**changed), "y", **settings)
    assert "\n" not in str(caught.value)


def test_files_that_are_damaged_are_refused(tmp_path):
    path = write(table(), tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "y.csv").write_text("a,b\n1,2\n3\n")
    for name, said in (
        ("x.parquet", r"x\.parquet: cannot be read as \.parquet"),
        ("y.csv", r"y\.csv: cannot be read as \.csv: CSV parse error: .*Row #3.*"),
        ("z.csv", r"z\.csv: no such file"),
    ):
        with pytest.raises(TaskError, match=said):
            load_task(f"{tmp_path}/{name}:target=b")
    with pytest.raises(UsageError, match="target: expected the name of the column that is predicted: target=COLUMN"):
        load_task(f"{tmp_path}/y.csv")


@pytest.mark.parametrize(
    ("rows", "targets", "predicts", "said"),
    [
        (np.ones((9, 2, 2)), np.arange(9) % 2, "class", r"expected rows of the shape \(n, columns\)"),
        (np.ones((9, 2)), np.arange(8) % 2, "class", r"9 rows need targets of the shape \(9,\), got \(8,\)"),
        (np.ones((9, 2)), np.full(9, np.nan), "number", "row 0: the target is nan"),
        (np.full((9, 2), np.nan), np.arange(9) % 2, "class", "row 0, column 0: nan"),
        (np.ones((9, 2)), np.arange(9) - 1, "class", "label -1 is out of range"),
        (np.ones((9, 2)), np.array(list("abcdefghi")), "number", "expected numbers as targets, got <U1"),
    ],
)
def test_arrays_that_cannot_be_used(rows, targets, predicts, said):
    with pytest.raises(TaskError, match=f"mine, train: {said}"):
        TableTask((rows, targets), (rows, targets), (rows, targets), predicts=predicts, name="mine")


def test_tiny_parts_are_warned_of():
    with pytest.warns(UserWarning, match="table, valid: 3 rows are few"):
        table_task(table(), "y", valid=3)


# -- the space ---------------------------------------------------------------------------------


def test_mlp_has_so_many_architectures_and_reads_its_texts():
    space = MLP()
    assert space.size() == 5 + 25 + 125
    assert space.parse("64-8") == (1, 3, 0)
    assert MLP(depths=[0, 2], widths=[4]).parse("linear") == (0,)
    assert [MLP(depths=[0, 2], widths=[4, 8]).format(each) for each in ((0,), (1, 0, 1))] == ["linear", "4-8"]
    for text in ("64", "7-8", "8-8-8-8"):
        with pytest.raises(InvalidArchitecture, match="expected 2 or 3 widths joined by dashes, each one of 8, 16, 32"):
            MLP(depths=[2, 3]).parse(text)
    for settings, said in (
        ({"widths": [8, 8]}, "rising"),
        ({"depths": [-1, 2]}, "whole number >= 1"),
        ({"widths": 3}, "list"),
    ):
        with pytest.raises(UsageError, match=said):
            MLP(**settings)


def test_a_stand_alone_perceptron_is_what_pytorch_makes_of_its_layers():
    space, task = MLP(), load_task("wine")
    network = build(lambda: space.network(space.parse("16-8"), task), 0)
    plain = torch.nn.Sequential(
        torch.nn.Linear(13, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    plain.load_state_dict(dict(zip(plain.state_dict(), network.state_dict().values(), strict=True)))
    rows = task.part("valid")[0]
    assert torch.allclose(network(rows), plain(rows))


def test_tables_are_searched_and_reported_by_their_metric():
    result = search(MLP(), RegularizedEvolution(4, 2), Training("diabetes", **TRAINING), trials=6, seed=0)
    metrics_of = result.best.evaluation.metrics
    assert {"test_r2", "valid_loss", "train_loss", "params", "flops"} <= metrics_of.keys()
    assert result.best.evaluation.score == pytest.approx(1 - metrics_of["valid_loss"] / _variance("diabetes"), abs=1e-4)


def _variance(name):
    return float(load_task(name).part("valid")[1].double().var(correction=0))


def test_one_super_network_has_all_perceptrons():
    shared = OneShot(training=Training("wine", **TRAINING), epochs=2)
    result = search(MLP(), RandomSearch(), shared, trials=3, seed=0)
    assert all(0 <= trial.evaluation.score <= 100 for trial in result.history)


@pytest.mark.parametrize(
    ("space", "settings", "error", "said"),
    [
        (NASBench201(), {}, MissingAbility, "task diabetes is for networks of the kind prediction from tables"),
        (MLP(), {"task": "digits"}, MissingAbility, "those of MLP are for prediction from tables; .*such as diabetes"),
        (MLP(), {"augmentation": ["flip"]}, UsageError, "augmentation: expected none, since task diabetes"),
        (MLP(), {"dropout": 0.1}, UsageError, "dropout: expected none, since task diabetes"),
        (
            MLP(),
            {"label_smoothing": 0.1},
            UsageError,
            "label_smoothing: expected 0, since the targets of diabetes are no",
        ),
    ],
)
def test_what_does_not_suit_is_refused_before_anything_is_spent(space, settings, error, said):
    with pytest.raises(error, match=said):
        search(space, RandomSearch(), Training(**{"task": "diabetes", **settings}), trials=1, seed=0)
