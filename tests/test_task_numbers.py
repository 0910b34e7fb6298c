"""Numbers in a task's options: each is checked, and its error says what is asked and what there is."""

import numpy as np
import pytest

from archsearch import cli
from archsearch.errors import ArchsearchError, TaskError
from archsearch.task import ImageTask, load_task, split

OPTIONS = ("train", "valid", "test", "seed", "shift", "noise")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-1", "-0.5", "9" * 400, "9" * 5000, "True", ""])
@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_takes_what_is_no_number_in_range(option, value):
    if option == "seed" and value == "9" * 400:
        return  # a seed may be of any size
    with pytest.raises(ArchsearchError, match=rf"{option}: expected ") as caught:
        load_task(f"digits:{option}={value}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits:valid=nan", "task 'digits:valid=nan': valid: expected a finite number >= 0, got nan"),
        ("digits:valid=1e9", "valid: 1000000000.0 of 1797 images were asked for; there are no more than 1797"),
        ("digits:train=5000", "train: 5000 of 899 images were asked for; there are no more than 899"),
        ("digits:valid=0.0001", "valid: 0.0001 of 1797 images were asked for; every part needs at least one image"),
        ("digits:valid=0.9999", "valid=0.9999 asks for 1797 images and test=0.25 for 449; there are 1797"),
        ("digits:shift=9", "task 'digits:shift=9': shift: expected a whole number from 0 to 8, got 9"),
    ],
)
def test_errors_say_what_is_asked_and_what_there_is(text, message, tmp_path, capsys):
    command = ["run", "--space", "NASBench201", "--evaluator", "Training", "--evaluator.task", text]
    assert cli.main([*command, "--trials", "2", "--out", str(tmp_path / "r")]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -1, True, np.float64("nan"), "3"])
def test_splits_of_ones_own_arrays_take_numbers_alone(size):
    with pytest.raises(TaskError):
        split(np.zeros((10, 2)), np.zeros(10), size)


def test_numpys_numbers_are_sizes_too():
    assert [len(split(np.zeros((10, 2)), np.zeros(10), n)[0][1]) for n in (np.float32(0.5), np.int64(4), 1.0)] == [
        5,
        4,
        10,
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 4, 4), (2, 4, 4)), ((8, 8, 2), (2, 8, 8)), ((32, 32, 3), (3, 32, 32)), ((3, 32, 32), (3, 32, 32))],
)
def test_shapes_of_the_documentation_are_read_as_it_says(shape, expected):
    part = np.zeros((4, *shape), np.float32), np.arange(4) % 2
    assert ImageTask(part, part, part).input_shape == expected
