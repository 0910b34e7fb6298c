"""Tasks: shapes, splits, normalisation, augmentation, loaders; and clear words for what cannot be used."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch

from archsearch.errors import ArchsearchError, TaskError, UnknownName, UsageError
from archsearch.task import ImageTask, load_task, split
from archsearch.training.augmentation import augment

datasets = pytest.importorskip("datasets")


def arrays(n=12, shape=(6, 6), classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, *shape)).astype(np.float32), np.arange(n) % classes


def task(**settings):
    return ImageTask(arrays(seed=1), arrays(seed=2), arrays(seed=3), **settings)


def changed(part=1, images=None, labels=None):
    """Three parts, one of which is spoilt."""
    parts = [list(arrays(seed=seed)) for seed in (1, 2, 3)]
    if images is not None:
        parts[part][0] = images(parts[part][0])
    if labels is not None:
        parts[part][1] = labels(parts[part][1])
    return parts


def put(array, value, where):
    array = array.copy()
    array[where] = value
    return array


# -- a task of arrays --------------------------------------------------------------------------


def test_parts_are_normalised_by_the_training_part():
    made = task()
    images, labels = made.part("train")
    assert images.shape == (12, 1, 6, 6)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert abs(float(images.mean())) < 1e-5
    assert abs(float(images.std(unbiased=False)) - 1) < 1e-5
    raw = np.concatenate([arrays(seed=1)[0]])
    expected = (arrays(seed=2)[0] - raw.mean()) / raw.std()
    np.testing.assert_allclose(made.part("valid")[0][:, 0].numpy(), expected, atol=1e-5)
    assert made.input_shape == (1, 6, 6)
    assert made.classes == 3
    np.testing.assert_array_equal(task(normalise=False).part("test")[0][:, 0].numpy(), arrays(seed=3)[0])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 7), (1, 5, 7)),
        ((3, 5, 7), (3, 5, 7)),
        ((5, 7, 3), (3, 5, 7)),
        ((5, 7, 1), (1, 5, 7)),
        ((8, 8, 4), (4, 8, 8)),
    ],
)
def test_image_layouts(shape, expected):
    parts = [arrays(shape=shape, seed=seed) for seed in range(3)]
    assert ImageTask(*parts).input_shape == expected


def test_colours_are_normalised_one_by_one():
    images, labels = arrays(shape=(3, 4, 4))
    images = images * np.array([1, 10, 100], np.float32)[:, None, None] + 5
    made = ImageTask((images, labels), (images, labels), (images, labels))
    pixels = made.part("train")[0]
    torch.testing.assert_close(pixels.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std(dim=(0, 2, 3), unbiased=False), torch.ones(3), atol=1e-4, rtol=0)


def test_constant_images_do_not_divide_by_zero():
    images, labels = arrays()
    made = ImageTask(*[(images * 0 + 7, labels)] * 3)
    assert float(made.part("train")[0].abs().max()) == 0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (changed(images=lambda x: x[:, 0]), r"task, valid: expected images of the shape .* got shape \(12, 6\)"),
        (changed(images=lambda x: x[:, :5]), r"valid: images have the shape \(1, 5, 6\), those of train have"),
        (changed(images=lambda x: x[:0], labels=lambda y: y[:0]), "valid: there are no images"),
        (changed(labels=lambda y: y[:-1]), r"12 images need labels of the shape \(12,\), got \(11,\)"),
        (changed(labels=lambda y: y + 0.5), "expected whole numbers as labels"),
        (changed(labels=lambda y: y - 1), "label -1 is out of range: labels count from 0"),
        (changed(images=lambda x: put(x, np.nan, (4, 0, 0))), "valid: image 4 has a pixel that is NaN or infinite"),
        (changed(images=lambda x: put(x, np.inf, (5, 0, 0))), "valid: image 5 has a pixel that is NaN or infinite"),
        (changed(images=lambda x: x.astype(str)), "all numbers"),
        ([None, arrays(), arrays()], r"task, train: expected a pair \(images, labels\) of arrays, got NoneType"),
    ],
)
def test_what_cannot_be_used_is_said_clearly(parts, message):
    with pytest.raises(TaskError, match=message):
        ImageTask(*parts)


def test_labels_beyond_the_classes_and_single_classes():
    with pytest.raises(TaskError, match="label 2 is out of range: expected 0 to 1, since there are 2 classes"):
        task(classes=2)
    with pytest.raises(TaskError, match="at least two classes"):
        ImageTask(*[(arrays()[0], np.zeros(12, int))] * 3)
    with pytest.raises(UsageError, match="augmentation: expected any of crop, flip, cutout, got 'blur'"):
        task(augmentation=["blur"])
    assert task(classes=5).classes == 5


def test_fingerprint_tells_tasks_apart_and_survives_pickling():
    made = task()
    copy = pickle.loads(pickle.dumps(made))
    assert copy.fingerprint == made.fingerprint
    assert torch.equal(copy.part("valid")[0], made.part("valid")[0])
    others = [
        ImageTask(*changed(images=lambda x: put(x, 0.5, (0, 0, 0)))),
        ImageTask(*changed(labels=lambda y: y[::-1])),
        task(normalise=False),
        task(classes=4),
        task(name="other"),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 6


# -- splits ------------------------------------------------------------------------------------


def test_split_is_stratified_seeded_and_disjoint():
    images, labels = np.arange(100), np.repeat([0, 1, 2], [50, 30, 20])
    (first, first_labels), (second, second_labels) = split(images, labels, 40, seed=3)
    assert sorted([*first, *second]) == list(range(100))
    assert np.bincount(first_labels).tolist() == [20, 12, 8]
    assert np.bincount(second_labels).tolist() == [30, 18, 12]
    again = split(images, labels, 0.4, seed=3)
    assert again[0][0].tolist() == first.tolist()
    assert split(images, labels, 40, seed=4)[0][0].tolist() != first.tolist()


def test_smaller_parts_are_the_beginning_of_larger_ones():
    images, labels = np.arange(90), np.arange(90) % 3
    small, large = (split(images, labels, n, seed=0)[0][0].tolist() for n in (15, 60))
    assert large[:15] == small
    assert np.bincount(labels[small]).tolist() == [5, 5, 5]


@pytest.mark.parametrize("size", [0, 0.0, 0.001, 101, -3])
def test_impossible_splits_are_refused(size):
    with pytest.raises(TaskError, match=f"{size} of 100 images were asked for"):
        split(np.arange(100), np.arange(100) % 2, size)


# -- augmentation ------------------------------------------------------------------------------


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_half_of_the_images():
    images = torch.arange(2000.0).reshape(500, 1, 2, 2)
    out = augment(images, ["flip"], generator())
    same = (out == images).all(dim=(1, 2, 3))
    mirrored = (out == images.flip(3)).all(dim=(1, 2, 3))
    assert (same | mirrored).all()
    assert 200 < int(mirrored.sum()) < 300


def test_crop_shifts_by_up_to_an_eighth():
    images = torch.zeros(400, 2, 16, 16)
    images[:, :, 8, 8] = torch.tensor([1.0, 2.0])
    out = augment(images, ["crop"], generator())
    assert out.shape == images.shape
    n, _, y, x = out.nonzero(as_tuple=True)
    assert len(n) == 800
    assert set((y - 8).tolist()) == set((x - 8).tolist()) == {-2, -1, 0, 1, 2}
    torch.testing.assert_close(out.sum(dim=(2, 3)), torch.tensor([[1.0, 2.0]]).expand(400, 2))


def test_cutout_blanks_a_square_and_nothing_else():
    images = torch.ones(300, 3, 8, 8)
    out = augment(images, ["cutout"], generator())
    holes = (out == 0).all(dim=1)
    assert torch.equal(holes, (out == 0).any(dim=1))
    sizes = holes.sum(dim=(1, 2))
    assert sizes.max() == 9
    assert sizes.min() >= 4


def test_augmentation_depends_on_the_generator_only():
    images = torch.rand(20, 1, 8, 8, generator=generator(5))
    names = ["crop", "flip", "cutout"]
    state = torch.random.get_rng_state()
    assert torch.equal(augment(images, names, generator(1)), augment(images, names, generator(1)))
    assert not torch.equal(augment(images, names, generator(1)), augment(images, names, generator(2)))
    assert torch.equal(state, torch.random.get_rng_state())


# -- by name -----------------------------------------------------------------------------------


def test_digits():
    made = load_task("digits")
    assert repr(made) == "Task(digits: 899 train, 449 valid, 449 test; images (1, 8, 8), 10 classes)"
    assert load_task("digits") is made
    assert load_task(made) is made
    for part in ("train", "valid", "test"):
        shares = np.bincount(made.part(part)[1].numpy()) / made.size(part)
        assert abs(shares - 0.1).max() < 0.02
    few, other = load_task("digits:train=300"), load_task("digits:train=300,seed=1")
    assert few.size("train") == 300
    assert torch.equal(few.part("valid")[1], made.part("valid")[1])
    assert not torch.equal(few.part("train")[1], other.part("train")[1])


def test_harder_digits():
    plain, moved = load_task("digits:train=50"), load_task("digits:train=50,shift=2")
    assert torch.equal(plain.part("train")[1], moved.part("train")[1])
    assert not torch.equal(plain.part("train")[0], moved.part("train")[0])
    noisy = load_task("digits:noise=1.0")
    assert not torch.equal(plain.part("test")[0], noisy.part("test")[0])
    assert load_task("digits:train=50,shift=2").fingerprint == moved.fingerprint


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "digit",
            UnknownName,
            "no task is called 'digit'; expected digits, cifar10, cifar100, diabetes, breast_cancer, wine, scenes, ",
        ),
        (
            "digits:colour=1",
            UnknownName,
            "no option is called 'colour'; expected train, valid, test, seed, shift, noise",
        ),
        ("digits:seed=1.5", UsageError, "seed: expected a whole number, got '1.5'"),
        ("digits:noise=much", UsageError, "noise: expected a number, got 'much'"),
        ("digits:seed=-1", UsageError, "seed: expected a whole number >= 0, got -1"),
        ("digits:valid=0", TaskError, "0 of 1797 images were asked for"),
        ("digits:train=5000", TaskError, "5000 of 899 images were asked for"),
        ("nowhere.npz", TaskError, "nowhere.npz: no such file"),
        ("nowhere.parquet", TaskError, "no .parquet file here"),
    ],
)
def test_unknown_tasks_and_options(text, error, message):
    with pytest.raises(error) as caught:
        load_task(text)
    assert message in str(caught.value)


def test_npz_of_one_set_and_of_three_parts(tmp_path):
    images, labels = arrays(n=60)
    np.savez(tmp_path / "one.npz", images=images, labels=labels)
    made = load_task(f"{tmp_path}/one.npz:valid=0.25,test=10,seed=2")
    assert [made.size(part) for part in ("train", "valid", "test")] == [35, 15, 10]
    parts = {
        f"{part}_{what}": array
        for part in ("train", "valid", "test")
        for what, array in zip(("images", "labels"), arrays(n=9), strict=True)
    }
    np.savez(tmp_path / "three.npz", **parts)
    assert load_task(f"{tmp_path}/three.npz").size("valid") == 9
    with pytest.raises(UsageError, match="has its three parts"):
        load_task(f"{tmp_path}/three.npz:valid=3")
    np.savez(tmp_path / "none.npz", pixels=images)
    with pytest.raises(TaskError, match=r"expected the arrays images and labels, or train_images.*it has pixels"):
        load_task(f"{tmp_path}/none.npz")
    np.savez(tmp_path / "pickled.npz", images=np.array([{}], object), labels=labels)
    with pytest.raises(TaskError, match=r"cannot be read as .npz"):
        load_task(f"{tmp_path}/pickled.npz")
    sound = (tmp_path / "one.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(sound[: len(sound) // 2])
    np.save(tmp_path / "single.npy", images)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    for name in ("cut", "single"):
        with pytest.raises(TaskError, match=r"cannot be read as .npz"):
            load_task(f"{tmp_path}/{name}.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(TaskError, match=r"cannot be read as .npz"):
        load_task(f"{tmp_path}/text.npz")


def image_set(n, size=8, mode="L", seed=0):
    from PIL import Image

    rng = np.random.default_rng(seed)
    shape = (n, size, size) if mode == "L" else (n, size, size, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=4)})
    rows = {"image": [Image.fromarray(picture) for picture in pixels], "label": [i % 4 for i in range(n)]}
    return datasets.Dataset.from_dict(rows, features=features), pixels


def save(rows, path):
    datasets.disable_progress_bars()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path)


def test_parquet_folder_in_the_hugging_face_layout(tmp_path):
    for part, n in (("train", 40), ("validation", 12), ("test", 10)):
        save(image_set(n, mode="RGB", seed=n)[0], tmp_path / "data" / f"{part}-00000-of-00001.parquet")
    made = load_task(str(tmp_path))
    assert [made.size(part) for part in ("train", "valid", "test")] == [40, 12, 10]
    assert made.input_shape == (3, 8, 8)
    expected = image_set(12, mode="RGB", seed=12)[1].transpose(0, 3, 1, 2).astype(np.float32)
    pixels = made.part("valid")[0].numpy() * made.deviation + made.mean
    np.testing.assert_allclose(pixels, expected, atol=0.01)
    assert made.part("valid")[1].tolist() == [i % 4 for i in range(12)]


def test_parquet_without_all_parts_is_split(tmp_path):
    save(image_set(40)[0], tmp_path / "a" / "all.parquet")
    made = load_task(f"{tmp_path}/a/all.parquet:valid=10,test=12")
    assert [made.size(part) for part in ("train", "valid", "test")] == [18, 10, 12]
    save(image_set(40)[0], tmp_path / "b" / "train-0.parquet")
    save(image_set(10)[0], tmp_path / "b" / "test-0.parquet")
    made = load_task(f"{tmp_path}/b:valid=10,train=16")
    assert [made.size(part) for part in ("train", "valid", "test")] == [16, 10, 10]


def test_parquet_that_cannot_be_used(tmp_path):
    rows, _ = image_set(60)
    save(rows.rename_column("label", "fine_label"), tmp_path / "renamed.parquet")
    with pytest.raises(TaskError, match=r"expected a column 'image' of encoded images and a column 'label'"):
        load_task(f"{tmp_path}/renamed.parquet")
    assert load_task(f"{tmp_path}/renamed.parquet:label=fine_label").classes == 4
    mixed = datasets.concatenate_datasets([rows, image_set(4, size=9)[0]])
    save(mixed, tmp_path / "mixed.parquet")
    with pytest.raises(
        TaskError, match=r"mixed.parquet, row 60: pixels of the shape \(9, 9\), .*row 0 has \(8, 8\); say size=N"
    ):
        load_task(f"{tmp_path}/mixed.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(TaskError, match="cannot be read"):
        load_task(f"{tmp_path}/text.parquet")
    save(rows, tmp_path / "only" / "test.parquet")
    with pytest.raises(TaskError, match="no file is named after the training part; found test"):
        load_task(f"{tmp_path}/only")


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "x.parquet").touch()
    with pytest.raises(TaskError, match=r"pip install 'archsearch\[images\]'"):
        load_task(f"{tmp_path}/x.parquet")
    with pytest.raises(TaskError, match=r"pip install 'archsearch\[vision\]'"):
        load_task("cifar10")


class StandIn:
    """What torchvision's CIFAR classes offer; the package itself is not needed to run the tests."""

    def __init__(self, root, train, download):
        assert download is False
        if root != "here":
            raise RuntimeError("Dataset not found")
        rng = np.random.default_rng(int(train))
        n = 200 if train else 40
        self.data = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        self.targets = [i % 10 for i in range(n)]


def test_cifar_by_torchvision(monkeypatch):
    package = types.ModuleType("torchvision")
    package.datasets = types.ModuleType("torchvision.datasets")
    package.datasets.CIFAR10 = package.datasets.CIFAR100 = StandIn
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", package.datasets)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: package)
    made = load_task("cifar10:root=here")
    assert [made.size(part) for part in ("train", "valid", "test")] == [100, 100, 40]
    assert made.input_shape == (3, 32, 32)
    assert made.augmentation == ("crop", "flip")
    assert load_task("cifar100:root=here,train=50,valid=0.1").classes == 100
    assert load_task("cifar100:root=here,train=50,valid=0.1").size("valid") == 20
    with pytest.raises(TaskError, match="torchvision's files are not in 'elsewhere'"):
        load_task("cifar10:root=elsewhere")


def test_errors_are_usage_errors():
    assert issubclass(TaskError, UsageError)
    assert issubclass(UsageError, ArchsearchError)
