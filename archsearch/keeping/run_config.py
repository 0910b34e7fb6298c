"""The file ``config.yaml`` of a run: plain data, with a checksum as a comment in its first line.

In the first, so that a file that was cut is known from one of version 0.1.0, which has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsearch.errors import RunFolderError
from archsearch.files.checksums import checksum
from archsearch.files.yaml_files import yaml_text

COMMENT = "# checksum "

ENTRIES = {
    "space": dict,
    "controller": dict,
    "evaluator": dict,
    "seed": int,
    "settings": dict,
    "executor": str,
    "workers": int,
    "versions": dict,
}
"""What a configuration has at least, and of which type."""
OPTIONAL = {"executor_settings": dict, "fingerprints": dict, "plan": dict}
"""What it may have."""
_COMPONENTS = ("space", "controller", "evaluator")


def sealed_yaml(data: Any) -> str:
    """Plain data as YAML with a checksum."""
    text = yaml_text(data)
    return f"{COMMENT}{checksum(text.encode())}\n{text}"


def is_changed(text: str) -> bool:
    """Whether YAML was changed since it was written; that of version 0.1.0 has no checksum, so nobody knows: False."""
    first, _, body = text.partition("\n")
    return first.startswith(COMMENT) and first != f"{COMMENT}{checksum(body.encode())}"


def check_config(path: Path, config: Any) -> None:
    """Raises ``RunFolderError``, in one line, if that is no whole configuration of a run."""
    if not isinstance(config, dict) or "space" not in config:
        raise RunFolderError(f"{path} is no configuration of a run: it has no entry 'space'")
    for name, kind in ENTRIES.items():
        if name not in config:
            raise RunFolderError(f"{path} has no entry {name!r}: it was cut short, or changed; put back what it was")
        _expect(path, name, config[name], kind)
    for name, kind in OPTIONAL.items():
        if config.get(name) is not None:
            _expect(path, name, config[name], kind)
    for name in _COMPONENTS:
        if not isinstance(config[name].get("class_path"), str) or not isinstance(config[name].get("init_args"), dict):
            raise RunFolderError(f"{path}: {name}: expected class_path and init_args; put back what it was")
    if config["seed"] < 0:
        raise RunFolderError(f"{path}: seed: expected a number >= 0, got {config['seed']}")


def _expect(path: Path, name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RunFolderError(
            f"{path}: {name}: expected {'a mapping' if kind is dict else kind.__name__}, got {type(value).__name__}; "
            "the file was changed, or is damaged"
        )
