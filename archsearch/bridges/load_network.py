"""An exported network, read without running any code of its files."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.bridges.exported import CARD, GENOTYPE, WEIGHTS
from archsearch.components import build, describe, not_installed, one_line
from archsearch.errors import NotTrusted, UsageError
from archsearch.showing.rows import component_text
from archsearch.space import Space

if TYPE_CHECKING:
    from archsearch.networks.network import Network


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
            for each in components(value)
        )
    )


def components(description: Any) -> Iterator[Mapping[str, Any]]:
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
    from archsearch.abilities import skeleton_settings, trainable
    from archsearch.networks.network import InputShape
    from archsearch.networks.network import build as build_network

    decisions = _entry(genotype, "decisions", "a list of options", lambda value: isinstance(value, list), str(path))
    built = _entry(genotype, "network", "an object", lambda value: isinstance(value, dict), str(path))
    where = f"{path}: network"
    shape = _entry(built, "input_shape", "one to three whole numbers >= 1", _is_shape, where)
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
    return isinstance(value, list) and 0 < len(value) <= 3 and all(map(_is_count, value))


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
