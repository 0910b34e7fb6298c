"""Folders of pictures by class, and data sets of Hugging Face's library: read as they are, or refused with the file."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from archsearch.errors import TaskError, UnknownName, UsageError
from archsearch.task import kind_of, load_task
from archsearch.task.reading import _load

datasets = pytest.importorskip("datasets")


def picture(seed, size=8, mode="RGB"):
    rng = np.random.default_rng(seed)
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


def by_class(root, n=40, classes=("cat", "dog"), size=8, mode="RGB"):
    for i in range(n):
        place = root / classes[i % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        picture(i, size, mode).save(place / f"{i:03d}.png")
    return root


SHARES = "valid=0.25,test=10"


def test_a_folder_is_split_and_pixels_are_those_of_the_files(tmp_path):
    task = load_task(f"{by_class(tmp_path, 40)}:{SHARES}")
    assert [task.size(part) for part in ("train", "valid", "test")] == [20, 10, 10]
    assert (task.input_shape, task.classes) == ((3, 8, 8), 2)
    assert kind_of(str(tmp_path)) == "image classification"
    known = {np.asarray(picture(i)).transpose(2, 0, 1).tobytes(): i % 2 for i in range(40)}
    for part in ("train", "valid", "test"):
        inputs, labels = task.part(part)
        pixels = np.rint(inputs.numpy() * task.deviation + task.mean).astype(np.uint8)
        assert [known[each.tobytes()] for each in pixels] == labels.tolist()


def test_sub_folders_are_parts_and_a_missing_one_is_split_off(tmp_path):
    for part, n in (("train", 60), ("val", 20)):
        by_class(tmp_path / part, n)
    task = load_task(f"{tmp_path}:test=10")
    assert [task.size(part) for part in ("train", "valid", "test")] == [50, 20, 10]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_or_not_and_with_workers_or_not_it_is_the_same(tmp_path, workers):
    by_class(tmp_path, 300)
    plain = load_task(f"{tmp_path}:seed=1")
    other = load_task(f"{tmp_path}:seed=1,memory=0,workers={workers}")
    for part in ("train", "valid", "test"):
        assert torch.equal(plain.part(part)[0], other.part(part)[0][:])
        assert torch.equal(plain.part(part)[1], other.part(part)[1])
    assert plain.fingerprint.split()[1] == other.fingerprint.split()[1]


def test_modes_and_sizes_are_converted_when_it_is_said(tmp_path):
    by_class(tmp_path)
    picture(99, 12, "L").save(tmp_path / "cat" / "grey.png")
    assert load_task(f"{tmp_path}:{SHARES},mode=grey,size=6").input_shape == (1, 6, 6)
    assert load_task(f"{tmp_path}:{SHARES},mode=rgb,size=6").input_shape == (3, 6, 6)
    with pytest.raises(UsageError, match="mode: expected one of auto, rgb, grey, got 'hsv'"):
        load_task(f"{tmp_path}:mode=hsv")
    with pytest.raises(
        UnknownName, match="no option is called 'colour'; expected train, valid, test, seed, mode, size"
    ):
        load_task(f"{tmp_path}:colour=1")


def damage(kind, root):
    """Does some damage; returns what the error says."""
    victim = root / "cat" / "004.png"
    if kind == "truncated":
        victim.write_bytes(victim.read_bytes()[:-40])
        return r"cat/004.png: the picture cannot be read: .*mend or remove it"
    if kind == "no picture":
        victim.write_text("hello")
        return "cat/004.png: the picture cannot be read: it is no picture that Pillow knows"
    if kind == "empty":
        victim.write_bytes(b"")
        return "cat/004.png: the picture cannot be read"
    if kind == "another mode":
        picture(4).convert("RGBA").save(victim)
        return "cat/004.png: pixels of mode RGBA, expected RGB or L .*say mode=rgb or mode=grey"
    if kind == "grey among colours":
        picture(4, mode="L").save(victim)
        return r"cat/004.png: pixels of the shape \(8, 8\), .*000.png has \(8, 8, 3\); say size=N .*mode=rgb"
    if kind == "another size":
        picture(4, 9).save(victim)
        return r"cat/004.png: pixels of the shape \(9, 9, 3\), .*000.png has \(8, 8, 3\); say size=N"
    if kind == "no pictures of a class":
        (root / "eel").mkdir()
        return "eel: no pictures here; expected files that end in"
    if kind == "parts beside classes":
        by_class(root / "test", 20)
        return "test could be parts or classes beside cat; expected parts only"
    assert kind == "Parquet beside pictures"
    (root / "x.parquet").touch()
    return "holds pictures by class and Parquet files, such as x.parquet; expected either"


KINDS = (
    "truncated",
    "no picture",
    "empty",
    "another mode",
    "grey among colours",
    "another size",
    "no pictures of a class",
    "parts beside classes",
    "Parquet beside pictures",
)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_or_could_be_several_things_is_refused_with_its_file(tmp_path, kind, workers):
    if workers and kind not in ("truncated", "another size"):
        pytest.skip("it is found before there are workers, or as those are")
    said = damage(kind, by_class(tmp_path))
    with pytest.raises(TaskError, match=said) as caught:
        load_task(f"{tmp_path}:{SHARES},workers={workers}")
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_fit_are_refused(tmp_path):
    by_class(tmp_path / "train")
    by_class(tmp_path / "valid", classes=("cat", "eel"))
    with pytest.raises(TaskError, match="valid/eel: the training part has no class 'eel'; expected cat, dog"):
        load_task(f"{tmp_path}:test=5")
    by_class(tmp_path / "val")
    with pytest.raises(TaskError, match="both val and valid are names of the part valid; keep one"):
        load_task(str(tmp_path))
    by_class(tmp_path / "only" / "test")
    with pytest.raises(TaskError, match="no folder is named after the training part; found test"):
        load_task(f"{tmp_path}/only")


def test_other_files_are_passed_over_with_a_warning(tmp_path):
    (by_class(tmp_path) / "cat" / "notes.txt").write_text("x")
    (tmp_path / "cat" / ".hidden").write_text("x")
    with pytest.warns(UserWarning, match="notes.txt: no picture by its name; 1 such files are passed over"):
        load_task(f"{tmp_path}:{SHARES}")


# -- Hugging Face ------------------------------------------------------------------------------


def rows(n, offset=0, names=None):
    datasets.disable_progress_bars()
    label = datasets.ClassLabel(num_classes=2) if names is None else datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    labels = [i % 2 if names is None else names[i % 2] for i in range(n)]
    return datasets.Dataset.from_dict(
        {"image": [picture(i + offset) for i in range(n)], "label": labels}, features=features
    )


def test_a_saved_data_set_is_read_with_its_splits(tmp_path):
    splits = {"train": rows(40), "validation": rows(20, 100), "test": rows(10, 200)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "all")
    task = load_task(str(tmp_path / "all"))
    assert [task.size(part) for part in ("train", "valid", "test")] == [40, 20, 10]
    pixels = task.part("valid")[0][3].numpy() * task.deviation + task.mean
    np.testing.assert_allclose(pixels, np.asarray(picture(103)).transpose(2, 0, 1), atol=0.01)
    rows(40).save_to_disk(tmp_path / "one")
    assert load_task(f"{tmp_path}/one:valid=10,test=10,memory=0").size("train") == 20


def test_a_name_of_the_hub_is_streamed(tmp_path, monkeypatch):
    """The library is asked as for a name of the hub; a local folder stands in for it."""
    for part, n in (("train", 60), ("test", 20)):
        rows(n).to_parquet(tmp_path / f"{part}-0.parquet")
    load, asked = datasets.load_dataset, []

    def stand_in(name, config=None, **settings):
        asked.append((name, config, settings))
        return load(
            "parquet", data_files={part: f"{tmp_path}/{part}-0.parquet" for part in ("train", "test")}, **settings
        )

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    task = load_task("hf:someone/pets:valid=20,config=small")
    assert asked == [("someone/pets", "small", {"streaming": True})]
    assert [task.size(part) for part in ("train", "valid", "test")] == [40, 20, 20]
    assert kind_of("hf:someone/pets") == "image classification"


def test_a_folder_in_place_of_a_name_needs_no_network(tmp_path):
    for part in ("train", "validation", "test"):
        rows(20).to_parquet(tmp_path / f"{part}-0.parquet")
    assert load_task(f"hf:{tmp_path}").size("valid") == 20


def test_hub_names_that_fail_are_refused_in_one_line(tmp_path, monkeypatch):
    def stand_in(name, config=None, **settings):
        raise ConnectionError("no\nway")

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    with pytest.raises(TaskError, match="hf:x: cannot be read: ConnectionError: no way; expected columns 'image'"):
        load_task("hf:x")
    datasets.DatasetDict({"train": rows(20), "extra": rows(20)}).save_to_disk(tmp_path / "odd")
    with pytest.raises(TaskError, match="splits train, extra; expected train and perhaps validation and test"):
        load_task(f"{tmp_path}/odd")


def test_damaged_rows_are_refused_with_their_number(tmp_path):
    table = rows(20).data.table
    import pyarrow as pa
    import pyarrow.parquet as pq

    def with_row(column, i, value):
        values = table[column].to_pylist()
        values[i] = value
        array = pa.array(values, table.schema.field(column).type)
        return table.set_column(table.column_names.index(column), column, array)

    cut = table["image"][7].as_py()["bytes"][:-30]
    for changed, said in (
        (with_row("image", 7, {"bytes": cut, "path": None}), "row 7: the picture cannot be read"),
        (with_row("image", 7, {"bytes": None, "path": "/etc/hosts"}), "row 7: the image is not in the file itself"),
        (with_row("label", 7, None), "row 7: expected a whole number or a text as label, got None"),
    ):
        pq.write_table(changed, tmp_path / "x.parquet")
        _load.cache_clear()
        with pytest.raises(TaskError, match=rf"x.parquet, {said}"):
            load_task(f"{tmp_path}/x.parquet:valid=5,test=5")
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"x\.parquet: cannot be read: "):
        load_task(f"{tmp_path}/x.parquet:valid=5,test=5")


def test_labels_may_be_texts_and_unknown_ones_in_valid_are_refused(tmp_path):
    for part in ("train", "valid", "test"):
        rows(20, names=("cat", "dog")).to_parquet(tmp_path / f"{part}.parquet")
    assert load_task(str(tmp_path)).classes == 2
    rows(20, names=("cat", "eel")).to_parquet(tmp_path / "valid.parquet")
    _load.cache_clear()
    with pytest.raises(TaskError, match="valid: example 1 is of class 2, of which the training part has none"):
        load_task(str(tmp_path))


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    by_class(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r"pictures need the package PIL: pip install 'archsearch\[images\]'"):
        load_task(str(tmp_path))


def test_memory_is_bounded_where_it_is_streamed(tmp_path):
    """40 MiB of pixels in a process of its own, whose peak grows by less than half of that."""
    import subprocess

    by_class(tmp_path, 16, size=4)
    code = f"""
import resource, numpy as np
from archsearch.task import ImageTask, load_task
from archsearch.task.stored import Store
load_task("{tmp_path}:valid=4,test=4,memory=0")  # what is imported on first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
parts = []
for n in (1600, 400, 400):
    store = Store(0)
    for begin in range(0, n, 100):
        store.append(np.full((100, 3, 75, 75), begin // 100, np.uint8))
    parts.append((store.done(), np.arange(n) % 4))
task = ImageTask(*parts)
inputs, _ = task.part("train")
print(float(inputs[100:200].mean() * 0 + inputs[0:1].numel()), len(task.fingerprint) > 0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert float(answer.stdout.splitlines()[-1]) < 20
