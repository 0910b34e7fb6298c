"""Export: the best architectures of a run as files that can be used without it, and read without running their code.

    export("runs/name", top=1, onnx=True)        # runs/name/export/1-<trial>/
    network = load_network("runs/name/export/1-17")

    genotype.json         space, decisions and, with weights, what is needed to build the network
    genotype.txt          the architecture in the space's own notation
    weights.safetensors   parameters and buffers
    network.onnx          the network in evaluation mode, for any number of images
    network-int8.onnx     the same in 8-bit whole numbers
    network.pt2           what torch.export makes of it
    README.md             a model card: where it comes from, scores, cost, limits of use

The order is that of the newest verification, if there is one; what it has not scored follows in the search's order.
Weights are those of the evaluator whose score decides the order, if it has any (``Evaluator.trained``): of the newest
verification, else of the search. A folder appears whole or not at all. What leaves for another runtime is run there
once, and compared.

Of an export, which may be anyone's, nothing is unpickled, and only classes of installed packages are imported; a space
of your own is given: ``load_network(folder, space=Mine())``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.checks import at_least_one
from archsearch.basics.words import plain_lines, say
from archsearch.bridges.card import Card
from archsearch.bridges.export_weights import Trainings, save_weights
from archsearch.bridges.exported import (
    CARD,
    FILES,
    FORMAT,
    GENOTYPE,
    ONNX,
    PROGRAM,
    QUANTIZED,
    TEXT,
    WEIGHTS,
    Chosen,
    Forms,
    Weights,
)
from archsearch.bridges.load_network import load_network
from archsearch.components import describe
from archsearch.devices.exports import Compared, need_onnx, save_onnx, save_program, save_quantized
from archsearch.errors import RunFolderError, UnknownName, UsageError
from archsearch.evaluator import Evaluator, Trained
from archsearch.judging.verification import space_of_run
from archsearch.keeping.folder import RunFolder
from archsearch.showing.rows import best_rows, number_text, standing_of_run
from archsearch.showing.verified import OUTDATED, Verification, newest_verification
from archsearch.space import Space
from archsearch.stores.mirrors import written
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.networks.network import Network
    from archsearch.task import Task


def export(
    directory: str | Path,
    *,
    top: int = 1,
    trial: int | None = None,
    evaluator: Evaluator | None = None,
    out: str | Path | None = None,
    onnx: bool = False,
    quantize: bool = False,
    pt2: bool = False,
    task: Task | None = None,
    space: Space | None = None,
    trust: bool = False,
) -> list[Path]:
    """Writes the best architectures of a run to folders of their own, with weights where there are any; prints which.

    Args:
        directory: The run folder. The search may still be running if no weights are taken from its evaluator. Or a
            store that no search is writing to.
        top: How many architectures, >= 1; fewer if the run has fewer.
        trial: Id of a completed trial, instead of the best.
        evaluator: Trains the network; None: who scored it, if it has weights.
        out: Where the folders are made; None: ``DIRECTORY/export``.
        onnx: Whether to write the network as ONNX, too.
        quantize: And as ONNX in 8-bit whole numbers, whose accuracy is measured again.
        pt2: Whether to write what ``torch.export`` makes of it, too.
        task: The task of the run, where that was a ``Task`` of your own.
        space: The run's, where it is a class of your own; must equal it.
        trust: See ``archsearch.resume``.

    Returns:
        The folders: rank and trial id, such as ``1-17``.

    Raises:
        NotTrusted: If the run's space, or the evaluator of the weights, is neither installed, given nor trusted.
        RunFolderError: If there is no run, no trial has completed, or the run whose weights are wanted is in progress.
        UsageError: If there is no such trial, a folder is occupied, or ONNX cannot be had; the message says why.
        ExportError: If another runtime computes something else.
    """
    at_least_one("export", "top", top)
    with written(directory) as here:
        return _export(here, top, trial, evaluator, out, (onnx, quantize, pt2), task, space, trust)


def _export(
    directory: str | Path,
    top: int,
    trial: int | None,
    evaluator: Evaluator | None,
    out: str | Path | None,
    wanted: tuple[bool, bool, bool],
    task: Task | None,
    space: Space | None,
    trust: bool,
) -> list[Path]:
    folder = RunFolder(directory)
    space = space_of_run(folder, space, trust=trust)
    forms = _forms(space, *wanted)
    history = folder.table(space)
    verification = newest_verification(folder, history)
    chosen = _choose(folder, history, verification, top, trial)
    paths = _free_paths(folder.path / "export" if out is None else Path(out), space, chosen)
    if trial is None:
        _print_order(verification)
    with Trainings(folder, space, verification, evaluator, task, trust) as trainings:
        without = not all(map(trainings.source, chosen))
        if forms.any and without:
            raise UsageError(f"{forms.first}: not all of these have weights. {trainings.why_none}")
        for each in chosen:
            weights = trainings.weights(each)
            card = Card(folder, space, history, verification, each, weights)
            compared = _write(paths[each.trial], space, each, weights, card, forms)
            _print(paths[each.trial], each, weights, compared)
        if without:
            say(f"weights   none. {trainings.why_none}")
    return list(paths.values())


def _forms(space: Space, onnx: bool, quantize: bool, pt2: bool) -> Forms:
    """What is to be written, if it can be."""
    forms = Forms(onnx=onnx or quantize, quantize=quantize, program=pt2)
    if forms.onnx:
        need_onnx(space)
    return forms


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
    best = best_rows(history, top + len(verified), standing_of_run(folder, folder.config()))
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


def _write(
    path: Path, space: Space, chosen: Chosen, weights: Weights | None, card: Card, forms: Forms
) -> dict[str, Compared]:
    """Writes an export aside and renames it; an earlier one is replaced. Says how other runtimes agree, by file."""
    compared: dict[str, Compared] = {}
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
            save_weights(aside / WEIGHTS, trained, genotype)
            if forms.any:
                compared = _write_forms(aside, load_network(aside, space), trained.task, forms)
        (aside / CARD).write_text(plain_lines(card.text(forms, compared)), encoding="utf-8")
        if path.exists():
            path.rename(earlier)
        aside.rename(path)
        shutil.rmtree(earlier, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot write an export here ({error.strerror})") from None
    return compared


def _write_forms(folder: Path, network: Network, task: Task, forms: Forms) -> dict[str, Compared]:
    """Writes a network for other runtimes."""
    compared: dict[str, Compared] = {}
    if forms.onnx:
        compared[ONNX] = save_onnx(folder / ONNX, network, task)
    if forms.quantize:
        compared[QUANTIZED] = save_quantized(folder / QUANTIZED, folder / ONNX, network, task)
    if forms.program:
        compared[PROGRAM] = save_program(folder / PROGRAM, network, task)
    return compared


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
            **task.described[2],
        }
    return genotype


def _print(path: Path, chosen: Chosen, weights: Weights | None, compared: Mapping[str, Compared]) -> None:
    say(f"exported  {path}")
    say(f"          {chosen.row['name']}")
    score = f"score {number_text(chosen.row['score'])} in the search"
    if chosen.verified is not None:
        score += f", {chosen.verified.failure or number_text(chosen.verified.score)} in the verification"
    if weights is not None:
        score += f"; of these weights {weights.comparison}"
    say(f"          {score}")
    for file, found in compared.items():
        say(f"          {file}: {found}")
