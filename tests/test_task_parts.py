"""Tasks that could be misread: where the channels are, and how large the parts are."""

import numpy as np
import pytest

from archsearch.errors import TaskError, UsageError
from archsearch.task import ImageTask, load_task


def arrays(shape, n=40, classes=4):
    images = np.random.default_rng(0).random((n, *shape)).astype(np.float32)
    return images, np.arange(n) % classes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 32, 32), (3, 32, 32)),
        ((1, 4, 4), (1, 4, 4)),
        ((3, 4, 4), (3, 4, 4)),
        ((16, 8, 8), (16, 8, 8)),
        ((16, 8, 10), (16, 8, 10)),
        ((32, 32, 3), (3, 32, 32)),
        ((5, 7, 1), (1, 5, 7)),
        ((8, 8, 4), (4, 8, 8)),
    ],
)
def test_shapes_that_tell(shape, expected):
    assert ImageTask(*[arrays(shape)] * 3).input_shape == expected


@pytest.mark.parametrize("shape", [(8, 4, 4), (4, 4, 3), (8, 8, 8), (8, 8, 16), (32, 4, 3), (2, 3, 4), (3, 3, 3)])
def test_shapes_that_could_be_either_are_refused_until_it_is_said(shape):
    parts = [arrays(shape)] * 3
    with pytest.raises(TaskError, match=rf"\(n, {shape[0]}, .*say which: layout=channels_first or channels_last"):
        ImageTask(*parts)
    first = ImageTask(*parts, layout="channels_first")
    assert first.input_shape == shape
    np.testing.assert_array_equal(
        ImageTask(*parts, layout="channels_first", normalise=False).part("valid")[0], parts[1][0]
    )
    last = ImageTask(*parts, layout="channels_last")
    assert last.input_shape == (shape[2], *shape[:2])
    assert first.fingerprint != last.fingerprint


def test_layout_of_a_file_is_an_option_of_its_name(tmp_path):
    images, labels = arrays((8, 4, 4))
    np.savez(tmp_path / "one.npz", images=images, labels=labels)
    with pytest.raises(TaskError, match="say which: layout=channels_first or channels_last"):
        load_task(f"{tmp_path}/one.npz:valid=0.25,test=0.25")
    settings = "valid=0.25,test=0.25"
    assert load_task(f"{tmp_path}/one.npz:{settings},layout=channels_first").input_shape == (8, 4, 4)
    assert load_task(f"{tmp_path}/one.npz:{settings},layout=channels_last").input_shape == (4, 8, 4)
    with pytest.raises(UsageError, match="layout: expected one of auto, channels_first, channels_last, got 'hwc'"):
        load_task(f"{tmp_path}/one.npz:layout=hwc")
    parts = {
        f"{part}_{what}": x
        for part in ("train", "valid", "test")
        for what, x in zip(("images", "labels"), arrays((8, 4, 4)), strict=True)
    }
    np.savez(tmp_path / "three.npz", **parts)
    assert load_task(f"{tmp_path}/three.npz:layout=channels_last").input_shape == (4, 8, 4)
    with pytest.raises(UsageError, match="layout: expected one of"):
        ImageTask(*[arrays((8, 8))] * 3, layout="hwc")


def test_small_colour_pictures_of_a_parquet_file_are_never_taken_for_channels(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=3)})
    rows = {"image": [Image.fromarray(picture) for picture in pixels], "label": [i % 3 for i in range(60)]}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "all.parquet")
    assert load_task(f"{tmp_path}/all.parquet").input_shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits:valid=1.5", "digits:valid=1.5, valid: expected a whole number of images, or a share up to 1, got 1.5"),
        ("digits:train=2.5", "train: expected a whole number of images, or a share up to 1, got 2.5"),
        ("digits:valid=1.0", "valid=1.0 asks for 1797 images and test=0.25 for 449; there are 1797, which leaves 0 to"),
        ("digits:valid=0.5,test=0.5", "for 898 images and test=0.5 for 898; there are 1797, which leaves 1 to train"),
        ("digits:valid=1000,test=797", "leaves 0 to train on"),
        ("digits:valid=1000,test=790", "train: 7 images, none of 3 of 10 classes; expected some of every class"),
        ("digits:train=1", "train: 1 images, none of 9 of 10 classes"),
        ("digits:train=0.001", "train: 1 images, none of 9 of 10 classes"),
    ],
)
def test_shares_that_leave_too_little_are_errors(text, message):
    with pytest.raises(TaskError) as caught:
        load_task(text)
    assert message in str(caught.value)


def test_tiny_parts_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="digits:valid=5, valid: 5 images, none of 5 of 10 classes"):
        load_task("digits:valid=5")
    images, labels = arrays((8, 8))
    np.savez(tmp_path / "one.npz", images=images, labels=labels)
    with pytest.warns(UserWarning, match=r"one\.npz.*test: 5 images are few; one is worth 20 % of accuracy"):
        load_task(f"{tmp_path}/one.npz:valid=20,test=5")


def test_one_training_image_is_refused():
    images, labels = arrays((8, 8))
    with pytest.raises(TaskError, match="task, train: expected at least two images to train on, got one"):
        ImageTask((images[:1], labels[:1]), (images, labels), (images, labels))
