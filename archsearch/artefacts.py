"""Export: the best architectures of a run as files that can be used without it, and read without running their code.

    export("runs/name", top=1, onnx=True)        # runs/name/export/1-<trial>/
    network = load_network("runs/name/export/1-17")

    genotype.json         space, decisions and, with weights, what is needed to build the network
    genotype.txt          the architecture in the space's own notation
    weights.safetensors   parameters and buffers
    network.onnx          the network in evaluation mode, for any number of images
    README.md             a model card: where it comes from, scores, cost, limits of use

Weights are those of the evaluator whose score decides the order, if it has any (``Evaluator.trained``): of the newest
verification, else of the search. A folder appears whole or not at all.

Of an export, which may be anyone's, nothing is unpickled, and only classes of installed packages are imported; a space
of your own is given: ``load_network(folder, space=Mine())``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import importlib.util
import inspect
import json
import logging
import reprlib
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.components import (
    build,
    describe,
    entry_points,
    import_path,
    installed,
    load,
    not_installed,
    one_line,
)
from archsearch.errors import NotTrusted, RunFolderError, UnknownName, UsageError
from archsearch.evaluator import Evaluator, Trained
from archsearch.executor import prepare
from archsearch.history import RESERVED_COLUMNS, RunFolder
from archsearch.ledger import total_cost
from archsearch.report import best_rows, component_text, number_text, without_none
from archsearch.space import Space, at_least_one
from archsearch.trial import NO_COST, Architecture, Cost, Query, Trial
from archsearch.verification import (
    OUTDATED,
    Verification,
    Verified,
    newest_verification,
    space_of_run,
    verification_folder,
)
from archsearch.words import fenced, markdown, plain, plain_lines, say

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.network import Network
    from archsearch.task import Task

GENOTYPE, TEXT, WEIGHTS, ONNX, CARD = (
    "genotype.json",
    "genotype.txt",
    "weights.safetensors",
    "network.onnx",
    "README.md",
)
FILES = frozenset((GENOTYPE, TEXT, WEIGHTS, ONNX, CARD))
FORMAT = 1

OWN_TASK = "Task "
"""How a run folder notes a ``Task`` that was made of arrays, which it does not store."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """An architecture that is exported.

    Attributes:
        place: Number of its folder: its rank, from 1.
        row: Its trial in the run's history.
        verified: What the newest verification says of it.
    """

    place: int
    row: Mapping[str, Any]
    verified: Verified | None

    @property
    def trial(self) -> int:
        """Id of its trial."""
        return int(self.row["id"])

    @property
    def architecture(self) -> Architecture:
        """One option per decision."""
        return tuple(self.row["architecture"])


@dataclasses.dataclass(frozen=True)
class Weights:
    """A network with where it comes from.

    Attributes:
        trained: The network.
        evaluator: Who trained it, as ``describe`` says it.
        origin: Whose trial that was, in words.
        seed: Of the training.
        recorded: The trial whose weights these are; None: it is a training of its own.
        set_up: Cost of the evaluator's one-off work, if it was done for this.
    """

    trained: Trained
    evaluator: Mapping[str, Any]
    origin: str
    seed: int
    recorded: Trial | None
    set_up: Cost

    @property
    def comparison(self) -> str:
        """How the network's score compares with the recorded one."""
        score = number_text(self.trained.evaluation.score)
        if self.recorded is None:
            return f"{score} in a training of its own"
        if self.trained.evaluation.score == self.recorded.score:
            return f"{score}, as recorded"
        return (
            f"{score}, while {number_text(self.recorded.score)} was recorded: other versions, another device, or "
            "weights that changed since"
        )


def export(
    directory: str | Path,
    *,
    top: int = 1,
    trial: int | None = None,
    evaluator: Evaluator | None = None,
    out: str | Path | None = None,
    onnx: bool = False,
    task: Task | None = None,
    space: Space | None = None,
    trust: bool = False,
) -> list[Path]:
    """Writes the best architectures of a run to folders of their own, with weights where there are any; prints which.

    The order is that of the newest verification, if there is one; what it has not scored follows in the search's order.

    Args:
        directory: The run folder. The search may still be running if no weights are taken from its evaluator.
        top: How many architectures, >= 1; fewer if the run has fewer.
        trial: Id of a completed trial, instead of the best.
        evaluator: Trains the network; None: the one that scored it, if it has weights.
        out: Where the folders are made; None: ``DIRECTORY/export``.
        onnx: Whether to write the network as ONNX, too.
        task: The task of the run, where that was a ``Task`` of your own.
        space: The run's, where it is a class of your own; must equal it.
        trust: See ``archsearch.resume``.

    Returns:
        The folders: rank and trial id, such as ``1-17``.

    Raises:
        NotTrusted: If the run's space, or the evaluator whose weights are wanted, is not installed, and neither given
            nor trusted.
        RunFolderError: If there is no run, no trial has completed, or the run whose weights are wanted is in progress.
        UsageError: If there is no such trial, a folder is occupied, ONNX is asked for where there are no weights, or
            the packages that it needs are missing.
    """
    at_least_one("export", "top", top)
    if onnx:
        _need_onnx()
    folder = RunFolder(directory)
    space = space_of_run(folder, space, trust=trust)
    history = folder.table(space)
    verification = newest_verification(folder, history)
    chosen = _choose(folder, history, verification, top, trial)
    paths = _free_paths(folder.path / "export" if out is None else Path(out), space, chosen)
    if trial is None:
        _print_order(verification)
    with _Trainings(folder, space, verification, evaluator, task, trust) as trainings:
        if onnx and not all(map(trainings.source, chosen)):
            raise UsageError(f"onnx: not all of these have weights. {trainings.why_none}")
        for each in chosen:
            weights = trainings.weights(each)
            card = _Card(folder, space, history, verification, each, weights)
            _write(paths[each.trial], space, each, weights, card, onnx)
            _print(paths[each.trial], each, weights)
        if not all(map(trainings.source, chosen)):
            say(f"weights   none. {trainings.why_none}")
    return list(paths.values())


def _free_paths(target: Path, space: Space, chosen: Sequence[Chosen]) -> dict[int, Path]:
    """The folder of each, by trial."""
    paths = {each.trial: target / f"{each.place}-{each.trial}" for each in chosen}
    for each in chosen:
        _expect_free(paths[each.trial], _genotype(space, each.architecture, each.trial, None))
    return paths


def _print_order(verification: Verification | None) -> None:
    """Says whose order it is, where that is not the search's."""
    if verification is not None:
        say(f"order     of verification {verification.number}, by {verification.evaluator}")
        if verification.outdated:
            say(f"          {OUTDATED}")


def load_network(folder: str | Path, space: Space | None = None) -> Network:
    """The network of an export, with its weights, in evaluation mode.

    An export can be anyone's, so nothing is unpickled, and of what ``genotype.json`` names only the spaces of installed
    packages are imported.

    Args:
        folder: The export.
        space: The space that it is of, where that is a class of your own; must equal the one in ``genotype.json``.

    Raises:
        UsageError: If there is no export with weights, it is of a space that is neither installed nor given, or its
            files are damaged; the message names the file.
    """
    if space is not None and not isinstance(space, Space):
        raise UsageError(f"load_network: space: expected a Space such as NASBench201(), got {space!r}")
    folder = Path(folder)
    genotype = _read_genotype(folder / GENOTYPE)
    if genotype.get("network") is None or not (folder / WEIGHTS).exists():
        raise UsageError(f"{folder}: this export has no weights; see its {CARD}")
    space = _space_of(genotype, space, folder)
    network = _network_of(genotype, space, folder / GENOTYPE)
    _load_weights(folder / WEIGHTS, network)
    return network.eval()


# -- reading an export -------------------------------------------------------------------------


def _read_genotype(path: Path) -> Mapping[str, Any]:
    try:
        genotype = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no export of archsearch: expected a JSON file, got: {error}") from None
    if not isinstance(genotype, dict):
        raise UsageError(f"{path}: no export of archsearch: expected a JSON object, got {reprlib.repr(genotype)}")
    return genotype


def _entry(entries: Mapping[str, Any], name: str, expected: str, sound: Callable[[Any], bool], where: str) -> Any:
    """An entry of a file that can be anyone's."""
    if name not in entries or not sound(entries[name]):
        got = reprlib.repr(entries[name]) if name in entries else "none"
        raise UsageError(f"{where}: {name}: expected {expected}, got {got}")
    return entries[name]


def _space_of(genotype: Mapping[str, Any], given: Space | None, folder: Path) -> Space:
    """The space that is given, if it is the one of the export; else the export's, if it is installed."""
    path = folder / GENOTYPE
    expected = 'an object with "class_path" and "init_args"'
    description = _entry(genotype, "space", expected, _is_description, str(path))
    if given is None:
        return _installed_space(description, folder)
    if describe(given) != description:
        raise UsageError(
            f"{path}: space: expected the one that is given, {one_line(describe(given))}, "
            f"got {component_text(description)}"
        )
    return given


def _installed_space(description: dict[str, Any], folder: Path) -> Space:
    """The space of a description, of which nothing is imported that is not installed as a component."""
    path, name = folder / GENOTYPE, description["class_path"]
    try:
        space: Space = build(description, "spaces", where=f"{path}: space")
    except NotTrusted:
        unknown = not_installed(description, ("spaces",))
        what = name if unknown == name else f"{name} with {unknown}"
        raise UsageError(
            f"{path}: this network is of {what}, which is not installed as a space; "
            f"pass it: load_network({str(folder)!r}, space={name.rpartition('.')[2]}(...))"
        ) from None
    except Exception as error:  # whatever a class says of arguments that nobody has checked
        text = component_text(description)
        raise UsageError(f"{path}: space: expected one that can be made, got {text}: {error}") from error
    return space


def _is_description(value: Any) -> bool:
    """Whether ``describe`` can have made it."""
    return (
        isinstance(value, dict)
        and "class_path" in value
        and all(
            isinstance(each.get("class_path"), str) and isinstance(each.get("init_args"), dict)
            for each in _components(value)
        )
    )


def _components(description: Any) -> Iterator[Mapping[str, Any]]:
    """The descriptions that ``build`` makes components of, the outermost first."""
    found = [description]  # no recursion: a file may be nested as deeply as it likes
    while found:
        value = found.pop()
        if isinstance(value, dict):
            if "class_path" in value or "init_args" in value:
                yield value
            found.extend(value.values())
        elif isinstance(value, list):
            found.extend(value)


def _network_of(genotype: Mapping[str, Any], space: Space, path: Path) -> Network:
    """The network that an export describes, with initial weights."""
    from archsearch.network import InputShape, skeleton_settings, trainable
    from archsearch.network import build as build_network

    decisions = _entry(genotype, "decisions", "a list of options", lambda value: isinstance(value, list), str(path))
    built = _entry(genotype, "network", "an object", lambda value: isinstance(value, dict), str(path))
    where = f"{path}: network"
    shape = _entry(built, "input_shape", "three whole numbers >= 1", _is_shape, where)
    classes = _entry(built, "classes", "a whole number >= 1", _is_count, where)
    skeleton = _entry(built, "skeleton", "an object", lambda value: isinstance(value, dict), where)
    name = type(space).__name__
    try:
        architecture = space.validate(decisions)
        able = trainable(space, "load_network")
    except Exception as error:  # a space of one's own may raise what it likes
        raise UsageError(f"{path}: expected an architecture of {name}: {error}") from error
    task = InputShape(tuple(shape), classes)
    try:
        network: Network = build_network(lambda: able.network(architecture, task, **skeleton), 0)
    except Exception as error:
        settings = ", ".join(skeleton_settings(able)) or "none"
        raise UsageError(
            f"{where}: expected what {name} can make a network of (settings of the skeleton: {settings}), "
            f"got input_shape {shape}, classes {classes}, skeleton {reprlib.repr(skeleton)}: {error}"
        ) from error
    return network


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_count, value))


def _load_weights(path: Path, network: Network) -> None:
    """Puts the tensors of a file into a network whose parameters and buffers have these names and shapes."""
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except Exception as error:  # damage can be of any kind
        raise UsageError(f"{path}: expected a sound safetensors file, damaged: {error}") from None
    expected = {name: [*value.shape] for name, value in network.state_dict().items()}
    came = {name: [*value.shape] for name, value in tensors.items()}
    differ = sorted(name for name in expected.keys() | came.keys() if expected.get(name) != came.get(name))
    if differ:
        name = differ[0]
        raise UsageError(
            f"{path}: of another network than {GENOTYPE} describes: {name}: "
            f"expected {_shape_text(expected.get(name))}, got {_shape_text(came.get(name))}; "
            f"{len(differ)} of {len(expected)} tensors differ"
        )
    network.load_state_dict(tensors)


def _shape_text(shape: list[int] | None) -> str:
    return "no such tensor" if shape is None else f"shape {shape}"


# -- which architectures -----------------------------------------------------------------------


def _choose(
    folder: RunFolder, history: pa.Table, verification: Verification | None, top: int, trial: int | None
) -> list[Chosen]:
    import pyarrow as pa
    import pyarrow.compute as pc

    verified = {each.trial: each for each in verification.ranked} if verification is not None else {}
    if trial is not None:
        rows = history.filter(pc.equal(history["id"], trial)).to_pylist()
        if not rows or rows[0]["status"] != "completed":
            raise UnknownName(f"{folder.path}: there is no completed trial {trial}")
        return [Chosen(1, rows[0], verified.get(trial))]
    best = best_rows(history, top + len(verified))
    if not best:
        raise RunFolderError(f"{folder.path}: no trial has completed yet, so there is nothing to export")
    known = [id_ for id_, each in verified.items() if each.score is not None]
    of_verified = {
        row["id"]: row for row in history.filter(pc.is_in(history["id"], pa.array(known, pa.int64()))).to_pylist()
    }
    rows = [of_verified[id_] for id_ in known]
    # Those that failed in the verification are left out; what it did not try comes after what it did.
    names = {each.name for each in verified.values()}
    rows += [row for row in best if row["name"] not in names]
    return [Chosen(place, row, verified.get(row["id"])) for place, row in enumerate(rows[:top], start=1)]


# -- their weights -----------------------------------------------------------------------------


class _Trainings:
    """Gives networks with weights, by the evaluators that scored them or another one.

    Args:
        folder: The run.
        space: Its space.
        verification: The newest.
        given: Trains instead of who scored.
        task: The run's, if that was made of arrays.
        trust: Whether evaluators that are not installed may be made.
    """

    def __init__(
        self,
        folder: RunFolder,
        space: Space,
        verification: Verification | None,
        given: Evaluator | None,
        task: Task | None,
        trust: bool,
    ) -> None:
        self._trust = trust
        self._run = folder
        self._space = space
        self._verification = verification
        self._given = given
        self._task = task
        self._stack = contextlib.ExitStack()
        self._ready: dict[Path | None, tuple[Evaluator, Cost]] = {}

    def __enter__(self) -> _Trainings:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def why_none(self) -> str:
        """What to say where there are no weights."""
        path = self._run.config()["evaluator"]["class_path"]
        name, why = path.rpartition(".")[2], "scores no network of its own with weights"
        if not self._trust and installed(path, ("evaluators",)) is None:
            why = "is not installed, so that nothing is trained by it unless you say --trust"
        return f"{name} {why}; to train one: --evaluator Training --evaluator.task digits, or another task"

    def source(self, chosen: Chosen) -> RunFolder | Evaluator | None:
        """Whose weights there are: a run's whose evaluator has some, or those of the evaluator that was given."""
        if self._given is not None:
            return self._given
        runs = [self._run]
        if chosen.verified is not None and chosen.verified.score is not None and self._verification is not None:
            runs.insert(0, RunFolder(verification_folder(self._run, self._verification.number)))
        return next(
            (run for run in runs if (run.path / "config.yaml").exists() and _has_weights(run, self._trust)), None
        )

    def weights(self, chosen: Chosen) -> Weights | None:
        """The network of an architecture, trained; None if nobody has one."""
        source = self.source(chosen)
        if source is None:
            return None
        evaluator, set_up = self._prepared(source)
        say(f"weights   {chosen.place}-{chosen.trial}: by {type(evaluator).__name__}")  # it may take long
        if isinstance(source, Evaluator):
            seed = _trial(self._run, chosen.trial).seed
            trained = evaluator.trained(Query(chosen.trial, chosen.architecture, seed))
            return Weights(trained, describe(evaluator), "a training of its own", seed, None, set_up)
        in_run = source is self._run
        assert in_run or chosen.verified is not None
        # A verification scores in the order of the search.
        id_ = chosen.trial if in_run or chosen.verified is None else chosen.verified.rank - 1
        origin = f"trial {id_} of the run" if in_run else f"trial {id_} of verification {source.path.name}"
        trial = _trial(source, id_)
        trained = evaluator.trained(Query(trial.id, trial.architecture, trial.seed, trial.parent, trial.budget))
        return Weights(trained, source.config()["evaluator"], origin, trial.seed, trial, NO_COST)

    def _prepared(self, source: RunFolder | Evaluator) -> tuple[Evaluator, Cost]:
        """The evaluator, ready to train, and what that took."""
        key = None if isinstance(source, Evaluator) else source.path
        if key not in self._ready:
            evaluator = source if isinstance(source, Evaluator) else self._of_run(source)
            if type(evaluator).trained is Evaluator.trained:
                evaluator.trained(Query(-1, (), 0))  # raises, before anything is spent
            evaluator.start(self._space)
            if key is not None and evaluator.keeps_files:
                evaluator.folder = (key / "evaluator").absolute()
                evaluator.folder.mkdir(exist_ok=True)
                self._stack.callback(setattr, evaluator, "folder", None)
            self._ready[key] = evaluator, prepare(evaluator)
        return self._ready[key]

    def _of_run(self, run: RunFolder) -> Evaluator:
        """The evaluator of a run, which must not be in progress: both would write to its files."""
        self._stack.callback(RunFolder.open(run.path).close)
        where = str(run.path / "config.yaml")
        stored = _with_task(run.config()["evaluator"], self._task)
        evaluator: Evaluator = build(stored, "evaluators", trust=self._trust, where=where)
        return evaluator


def _has_weights(run: RunFolder, trust: bool) -> bool:
    """Whether the evaluator of a run scores networks with weights; of one that is neither installed nor trusted, no."""
    try:
        path = run.config()["evaluator"]["class_path"]
        cls: Any = installed(path, ("evaluators",))
        if cls is None and not trust:
            warnings.warn(
                f"{run.path}: its weights are passed over, since {path!r:.80} is not installed; if you made this "
                "folder or trust who did: --trust (in Python trust=True)",
                stacklevel=2,
            )
            return False
        cls = cls or load(path)
        return bool(cls.trained is not Evaluator.trained)
    except UnknownName:  # of a package that is not here
        return False
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"{run.path}: its weights are passed over, since its config.yaml is damaged: {error}", stacklevel=2
        )
        return False


def _trial(run: RunFolder, id_: int) -> Trial:
    found = next((trial for trial in run.trials(run.config()["seed"]) if trial.id == id_), None)
    if found is None:
        raise RunFolderError(f"{run.path}: expected a trial {id_}, but it is gone: files of this run are damaged")
    return found


def _with_task(value: Any, task: Task | None) -> Any:
    """A description with the task itself, where a run folder can only note which one it was."""
    if isinstance(value, list):
        return [_with_task(each, task) for each in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _with_task(each, task) for name, each in value.items()}
    noted = found.get("task")
    if isinstance(noted, str) and noted.startswith(OWN_TASK):
        if task is None or noted != f"{OWN_TASK}{task.fingerprint}":
            raise UsageError(
                f"the run was made with a task of your own, {noted.removeprefix(OWN_TASK)}, which its folder does not "
                "store; give it in Python: export(..., task=...), or another evaluator"
            )
        found["task"] = task
    return found


# -- files -------------------------------------------------------------------------------------


def _expect_free(path: Path, genotype: Mapping[str, Any]) -> None:
    """Refuses a folder that holds anything but an earlier export of the same trial."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    stored: Any = None
    with contextlib.suppress(OSError, ValueError):
        stored = json.loads((path / GENOTYPE).read_text())
    same = isinstance(stored, dict) and all(
        stored.get(name) == genotype[name] for name in ("trial", "space", "decisions")
    )
    if not same or not {each.name for each in path.iterdir()} <= FILES:
        raise UsageError(
            f"{path}: there is something here that is no earlier export of this trial; move it, or name another folder "
            "by --out"
        )


def _write(path: Path, space: Space, chosen: Chosen, weights: Weights | None, card: _Card, onnx: bool) -> None:
    """Writes an export aside and renames it; an earlier one is replaced."""
    aside, earlier = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    try:
        for left in (aside, earlier):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
        trained = None if weights is None else weights.trained
        genotype = _genotype(space, chosen.architecture, chosen.trial, trained)
        (aside / GENOTYPE).write_text(json.dumps(genotype, indent=2) + "\n")
        (aside / TEXT).write_text(space.format(chosen.architecture) + "\n")
        if trained is not None:
            _save_weights(aside / WEIGHTS, trained, genotype)
            if onnx:
                _save_onnx(aside / ONNX, load_network(aside, space), trained.task.input_shape)
        (aside / CARD).write_text(plain_lines(card.text(onnx)), encoding="utf-8")
        if path.exists():
            path.rename(earlier)
        aside.rename(path)
        shutil.rmtree(earlier, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot write an export here ({error.strerror})") from None


def _genotype(space: Space, architecture: Architecture, trial: int, trained: Trained | None) -> dict[str, Any]:
    """All that is needed to know the architecture and, with weights, to build the network."""
    genotype: dict[str, Any] = {
        "format": FORMAT,
        "trial": trial,
        "space": describe(space),
        "decisions": list(architecture),
        "text": space.format(architecture),
    }
    decoded = space.decode(architecture)
    if isinstance(decoded, dict):
        genotype["named"] = decoded
    elif type(space).label is not Space.label:
        genotype["named"] = {space.label(architecture[:i]): option for i, option in enumerate(architecture)}
    if trained is not None:
        task = trained.task
        genotype["network"] = {
            "skeleton": dict(trained.skeleton),
            "input_shape": list(task.input_shape),
            "classes": task.classes,
            "task": task.name,
            "mean": [float(value) for value in task.mean.ravel()],
            "deviation": [float(value) for value in task.deviation.ravel()],
        }
    return genotype


def _save_weights(path: Path, trained: Trained, genotype: Mapping[str, Any]) -> None:
    """Writes the weights with the genotype as their header."""
    from safetensors.torch import save_file

    tensors = {name: value.contiguous() for name, value in trained.network.state_dict().items()}
    facts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in genotype.items()}
    save_file(tensors, path, {**facts, "format": "pt"})
    path.chmod((path.parent / TEXT).stat().st_mode & 0o777)  # else it would be for its owner alone


def _need_onnx() -> None:
    """Raises ``UsageError`` if the extra ``onnx`` is not installed."""
    missing = [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(f'onnx: needs the package {" and ".join(missing)}: pip install "archsearch[onnx]"')


def _save_onnx(path: Path, network: Network, input_shape: Sequence[int]) -> None:
    """Writes the network with the inputs ``images``, as many as there are, and the output ``logits``."""
    import torch

    with warnings.catch_warnings(), _quiet("torch.onnx._internal.exporter._registration"):
        # PyTorch of itself; in pytree, which it copies.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        torch.onnx.export(
            network,
            (torch.zeros(2, *input_shape),),
            path,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps a logger from saying that torchvision's operations, which no network here has, are not there."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _print(path: Path, chosen: Chosen, weights: Weights | None) -> None:
    say(f"exported  {path}")
    say(f"          {chosen.row['name']}")
    score = f"score {number_text(chosen.row['score'])} in the search"
    if chosen.verified is not None:
        score += f", {chosen.verified.failure or number_text(chosen.verified.score)} in the verification"
    if weights is not None:
        score += f"; of these weights {weights.comparison}"
    say(f"          {score}")


# -- the model card ----------------------------------------------------------------------------


class _Card:
    """What people should know of an export, in Markdown.

    Args:
        folder: The run.
        space: Its space.
        history: Its trials.
        verification: The newest.
        chosen: What is exported.
        weights: Its network.
    """

    def __init__(
        self,
        folder: RunFolder,
        space: Space,
        history: pa.Table,
        verification: Verification | None,
        chosen: Chosen,
        weights: Weights | None,
    ) -> None:
        self.folder = folder
        self.config = folder.config()
        self.space = space
        self.history = history
        self.verification = verification
        self.chosen = chosen
        self.weights = weights

    def text(self, onnx: bool) -> str:
        """The card."""
        parts = [self._head(), self._scores(), self._cost(), self._provenance(onnx), self._use(onnx), self._limits()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        from archsearch.drawing import text_graph

        kind = type(self.space).__name__
        what = f"An architecture of the space {kind}, found by neural architecture search with archsearch"
        if self.weights is None:
            what += ". There are no weights."
        else:
            task = self.weights.trained.task
            what += (
                f", and its network with weights: it tells {task.classes} classes of images apart (task {task.name})."
            )
        graph = text_graph(self.space.graph(self.chosen.architecture))
        name = self.folder.path.resolve().name
        return f"# {kind}: trial {self.chosen.trial} of {markdown(name)}\n\n{what}\n\n" + fenced(
            f"{plain(self.chosen.row['name'])}\n\n{graph}"
        )

    def _scores(self) -> str:
        row, verified, weights = self.chosen.row, self.chosen.verified, self.weights
        metrics = {name: row[name] for name in row if name not in RESERVED_COLUMNS}
        columns: dict[str, Mapping[str, Any]] = {"the search": {"score": row["score"], **metrics}}
        if verified is not None and self.verification is not None:
            columns[f"verification {self.verification.number}"] = {"score": verified.score, **verified.metrics}
        if weights is not None:
            found = weights.trained.evaluation
            columns["these weights"] = {"score": found.score, **found.metrics}
        names = dict.fromkeys(name for figures in columns.values() for name in figures)
        lines = ["## Scores", "", f"| figure | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for name in names:
            cells = [markdown(name), *(number_text(each.get(name)) for each in columns.values())]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", *(f"- {text}" for text in self._meanings())])

    def _meanings(self) -> Iterator[str]:
        """What the scores are."""
        yield f"The search: {_meaning(self.config['evaluator'])}"
        if self.verification is not None:
            where = f"Verification {self.verification.number} ({self.verification.date[:10]})"
            tau = self.verification.kendall_tau
            agreement = "" if tau is None else f"; Kendall's tau between the two orders is {tau:.3g}"
            yield f"{where}: {self.verification.evaluator}; {self.verification.sentence}{agreement}."
        if self.weights is not None:
            yield f"These weights: {_meaning(self.weights.evaluator)} The score is {self.weights.comparison}."
            of_test = "; test_accuracy is of the part test, which no search uses"
            tested = "test_accuracy" in self.weights.trained.evaluation.metrics
            yield f"Images: {self.weights.trained.task!r}. Scores are of the part valid{of_test * tested}."

    def _cost(self) -> str:
        from archsearch.loop import format_cost

        lines = ["## Cost", "", f"- the search: {format_cost(total_cost(self.history))}"]
        lines.append(f"- its set-up: {format_cost(self.folder.setup_cost())}")
        if self.verification is not None:
            lines.append(f"- the verification: {format_cost(self.verification.cost)}")
        if self.weights is not None:
            recorded = self.weights.recorded
            cost = self.weights.trained.evaluation.cost if recorded is None else recorded.cost
            lines.append(f"- these weights: {format_cost(cost)}")
            if self.weights.set_up != NO_COST:
                lines.append(f"- their set-up: {format_cost(self.weights.set_up)}")
        return "\n".join(lines)

    def _provenance(self, onnx: bool) -> str:
        config, weights = self.config, self.weights
        facts = {what: component_text(config[what]) for what in ("space", "controller", "evaluator")}
        facts |= {"trial": str(self.chosen.trial), "seed of the search": str(config["seed"])}
        facts["versions of the search"] = _versions(config["versions"])
        options = " --onnx" * onnx
        if weights is not None:
            facts["weights"] = f"{weights.origin}, by {component_text(dict(weights.evaluator))}, seed {weights.seed}"
            if weights.recorded is None:
                options = f" {_option('evaluator', weights.evaluator)}{options}"
        here = {name: importlib.metadata.version(name) for name in ("archsearch", "torch")}
        facts["exported"] = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d} with {_versions(here)}"
        lines = [f"- {name}: {markdown(text)}" for name, text in facts.items()]
        from_run = f"archsearch export {shlex.quote(str(self.folder.path.resolve()))} --trial {self.chosen.trial}"
        for text, commands in (
            ("Export again, from the folder of the run:", [from_run + options]),
            ("All of it again, in a new folder:", self._all_again(options)),
        ):
            lines += ["", text, "", "```", *commands, "```"]
        return "\n".join(["## Provenance", "", *lines])

    def _all_again(self, options: str) -> Iterator[str]:
        """The commands that search, verify and export as it was done for this card."""
        yield _run_command(self.config)
        if self.verification is not None:
            below = RunFolder(verification_folder(self.folder, self.verification.number))
            top, seed = len(self.verification.architectures), self.verification.seed
            # Where that folder is damaged, what was verified is known all the same.
            with contextlib.suppress(RunFolderError, LookupError, TypeError, AttributeError):
                evaluator = _option("evaluator", below.config()["evaluator"])
                yield f"archsearch verify NEW_FOLDER {evaluator} --top {top} --seed {seed}"
        # Only where the path of the search depends on the seed alone has a trial the same number again.
        same = self.config["executor"] != "ray" or self.config["settings"].get("lag") is not None
        yield f"archsearch export NEW_FOLDER{f' --trial {self.chosen.trial}' if same else ''}{options}"

    def _use(self, onnx: bool) -> str:
        if self.weights is None:
            return ""
        task = self.weights.trained.task
        shape = ", ".join(map(str, task.input_shape))
        mean, deviation = ([float(f"{v:.6g}") for v in values.ravel()] for values in (task.mean, task.deviation))
        lines = [
            "## Use",
            "",
            f"Images are 32-bit floats of the shape (batch, {shape}); of each channel (pixel - mean) / deviation, with",
            f"mean {mean} and deviation {deviation}. The output, (batch, {task.classes}), are logits.",
            "",
            "```python",
            *self._loading(),
            "logits = network(images)",
            "```",
        ]
        if onnx:
            lines += ["", f"`{ONNX}` has the input `images` and the output `logits`, for any number of images."]
        return "\n".join(lines)

    def _loading(self) -> list[str]:
        """Python that loads the network; a space that is not installed is given, since no file can have it imported."""
        description = describe(self.space)
        lines, given = ["from archsearch.artefacts import load_network"], ""
        if not_installed(description, ("spaces",)) is not None:
            for path in dict.fromkeys(each["class_path"] for each in _components(description)):
                module, _, name = path.rpartition(".")
                lines.append(f"from {module} import {name}")
            given = f", space={one_line(description)}"
        return [*lines, "", f"network = load_network({self.folder_name!r}{given})"]

    @property
    def folder_name(self) -> str:
        """Of the export."""
        return f"{self.chosen.place}-{self.chosen.trial}"

    def _limits(self) -> str:
        import pyarrow.compute as pc

        completed = pc.sum(pc.equal(self.history["status"], "completed")).as_py()
        lines = [
            "## Limits of use",
            "",
            f"The best of a search have the highest of its scores, here of {completed:,} on the same data, which are "
            "therefore optimistic; a test part that the search never used, or a verification, says more.",
        ]
        if self.weights is None:
            lines.append("Nothing was trained for this export.")
        else:
            name = self.weights.trained.task.name
            lines.append(
                f"The weights are of one training with seed {self.weights.seed}; with other seeds they and their score "
                f"differ. Nothing here says how well the network does on images other than those of {name}."
            )
            if self.weights.trained.note:
                lines.append(self.weights.trained.note)
        return "\n".join(lines)


def _meaning(description: Mapping[str, Any]) -> str:
    """Who scored, and what its class says of its score."""
    cls = installed(description["class_path"], ("evaluators",))
    text = "" if cls is None else (inspect.getdoc(cls) or "").split("\n\n")[0]
    return f"{component_text(dict(description))}. {' '.join(text.split())}".strip()


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _run_command(config: Mapping[str, Any]) -> str:
    """What begins such a search."""
    from archsearch.settings import Settings

    options = [_option(what, config[what]) for what in ("space", "controller", "evaluator")]
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name, value in config["settings"].items():
        if value != defaults.get(name):
            text = json.dumps(value) if isinstance(value, Mapping) else str(value)
            options.append(f"--{name} {shlex.quote(text)}")
    options += [f"--executor {config['executor']} --workers {config['workers']}"] if config["workers"] > 1 else []
    return f"archsearch run {' '.join(options)} --seed {config['seed']} --out NEW_FOLDER"


def _option(what: str, description: Mapping[str, Any]) -> str:
    """A component as an option of the command line."""
    given = without_none(dict(description))
    name = given["class_path"].rpartition(".")[2]
    known = entry_points(f"{what}s")
    if name in known and import_path(known[name].load()) == given["class_path"] and not given["init_args"]:
        return f"--{what} {name}"
    return f"--{what} {shlex.quote(json.dumps(given))}"
