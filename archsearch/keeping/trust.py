"""What a folder or file that can be anyone's may have done: nothing, unless whoever uses it says that it is trusted.

``components.build`` makes installed components only. Here is the rest: executors that would connect or install, links
that lead out of a run folder, files of options that name code, and secrets, which no run folder holds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from archsearch.components import build, describe, import_path, installed, not_trusted_message, one_line
from archsearch.errors import NotTrusted, RunFolderError, UsageError
from archsearch.files.fingerprints import without_files
from archsearch.files.yaml_files import read_yaml, read_yaml_file

EXECUTORS = {"local": "LocalExecutor", "ray": "RayExecutor"}
"""Executors whose settings are stored: their own names, and those that ``archsearch`` has for the classes."""

REACHING = ("address", "runtime_env")
"""Settings of an executor by which it connects to other machines, or installs and sets what workers run."""

HIDDEN = "***"
"""Stands for a password in a URL."""

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+")


def stored_component(
    given: Any,
    stored: Mapping[str, Any],
    kind: str,
    *,
    where: str,
    trust: bool = False,
    what: str = "",
    fingerprints: Mapping[str, str] | None = None,
) -> Any:
    """``given`` if it is what was stored, but for where files lie, else what was stored, made again.

    Args:
        given: The object itself; None: there is none.
        stored: What ``describe`` said of it.
        kind: controllers, evaluators, models or spaces.
        where: The file, for messages.
        trust: See ``components.build``.
        what: How to call it in messages.
        fingerprints: Of the files that were read, whose paths then do not matter; see ``files/fingerprints.py``.

    Raises:
        NotTrusted: If it is not installed, not given, and not trusted.
        RunFolderError: If another one is given than was stored.
    """
    if given is None:
        return build(stored, kind, trust=trust, where=where)
    here, stored = describe(given), with_new_settings(stored, given)
    name, known = kind.removesuffix("s"), fingerprints or {}
    if here != stored and without_files(here, name, known) != without_files(stored, name, known):
        raise RunFolderError(
            f"{what or where} differs: the run was made with {one_line(stored)}, got {one_line(here)}; "
            "start a new run for another one"
        )
    return given


def with_new_settings(stored: Mapping[str, Any], component: Any) -> Mapping[str, Any]:
    """What ``describe`` said of such a component once, with the defaults of settings that its class has got since then.

    Args:
        stored: What was said.
        component: One of now; of another class, nothing is added.
    """
    if stored.get("class_path") != import_path(type(component)):
        return stored
    arguments = dict(stored["init_args"])
    for name, parameter in inspect.signature(type(component).__init__).parameters.items():
        own = arguments.get(name)
        if isinstance(own, Mapping) and "class_path" in own:
            arguments[name] = with_new_settings(own, getattr(component, name, None))
        elif name not in arguments and parameter.default is not parameter.empty:
            default = parameter.default
            arguments[name] = list(default) if isinstance(default, tuple) else default
    return {**stored, "init_args": arguments}


# -- executors ---------------------------------------------------------------------------------


def own_executor(class_path: Any) -> str | None:
    """The import path that an executor of this package has now, whatever module it was in when a run was written."""
    package, _, name = str(class_path).rpartition(".")
    return f"archsearch.{name}" if name in EXECUTORS.values() and package.split(".")[0] == "archsearch" else None


def stored_executor(
    config: Mapping[str, Any], where: str, *, trust: bool = False, replaced: Collection[str] = ()
) -> dict[str, Any] | None:
    """The settings of a run's executor; None if none are stored.

    Args:
        config: What is in ``config.yaml``.
        where: That file, for messages.
        trust: Whether it may connect to the Ray, and install and set what workers run, that is named there.
        replaced: Settings that are given anew, so that it does not matter what is stored.

    Raises:
        NotTrusted: If it names another class, connects or installs, and is not trusted.
        UsageError: If a value that is needed is not stored, since it is secret.
    """
    stored = config.get("executor_settings")
    if not stored:
        return None
    if not isinstance(stored, Mapping) or not isinstance(stored.get("init_args"), Mapping):
        raise RunFolderError(f"{where}: executor_settings: expected a class_path and init_args, got {stored!r:.80}")
    if own_executor(stored.get("class_path")) is None and not trust:
        raise NotTrusted(not_trusted_message(where, f"executor_settings: {stored.get('class_path')}"))
    settings = {name: value for name, value in stored["init_args"].items() if name not in replaced}
    for name in () if trust else REACHING:
        if settings.get(name) not in (None, {}, "auto"):
            raise NotTrusted(
                f"{where}: executor_settings: {name}: this run would use {settings[name]!r:.80}; if you made it or "
                f"trust who did: --trust (in Python trust=True); else give --{name} or --executor anew"
            )
    if settings.get("runtime_env"):
        settings["runtime_env"] = with_secrets(settings["runtime_env"], where)
    return settings


def without_secrets(value: Any) -> Any:
    """Settings of an executor as a run folder keeps them: variables by their names, URLs without passwords.

    Args:
        value: What ``describe`` gave.
    """
    if isinstance(value, str):
        return re.sub(r"(\w://)[^/\s@]+@", rf"\1{HIDDEN}@", value)
    if isinstance(value, list):
        return [without_secrets(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: list(each) if name == "env_vars" and isinstance(each, Mapping) else without_secrets(each)
        for name, each in value.items()
    }


def with_secrets(runtime_env: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The runtime environment with the values of its variables, which are those of this process.

    Raises:
        UsageError: If one is not set here, or a password is missing.
    """
    names = runtime_env.get("env_vars")
    if HIDDEN + "@" in repr(runtime_env):
        raise UsageError(f"{where}: runtime_env: passwords in URLs are not stored; give it anew: --runtime_env")
    if not isinstance(names, list):
        return dict(runtime_env)
    if missing := [str(name) for name in names if str(name) not in os.environ]:
        raise UsageError(
            f"{where}: runtime_env: env_vars: the value of {', '.join(missing)} is not stored; set it in the "
            "environment of this command, or give --runtime_env anew"
        )
    return {**runtime_env, "env_vars": {str(name): os.environ[str(name)] for name in names}}


def holds_environment(config: Mapping[str, Any]) -> bool:
    """Whether a run's configuration has settings of the environment, so that only its owner may read it."""
    settings = config.get("executor_settings") or {}
    return bool((settings.get("init_args") or {}).get("runtime_env"))


# -- links -------------------------------------------------------------------------------------


def refuse_links(folder: Path, *, trust: bool = False) -> None:
    """Refuses a run folder from which a link leads out: who writes to it would write somewhere else.

    Raises:
        NotTrusted: If there is one, and the folder is not trusted.
    """
    if trust:
        return
    root = folder.resolve()
    for above, folders, files in os.walk(folder):
        for path in (Path(above, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise NotTrusted(
                    f"{path}: this link leads out of the run folder, where this command would write; if you made it or "
                    "trust who did: --trust (in Python trust=True)"
                )


# -- the command line --------------------------------------------------------------------------


def check_files(arguments: Sequence[str], names: Sequence[str]) -> None:
    """Refuses files of options that name code which is not installed, or what a Ray executor connects to or installs.

    Args:
        arguments: The command line.
        names: Files that it names.

    Raises:
        NotTrusted: If one does, and ``--trust`` is not given.
        UsageError: If one is no YAML.
    """
    if "--trust" in arguments:
        return
    from jsonargparse.typing import Path_fr

    for name in names:
        try:  # as it will be read, be it ~/file, file:///file, or - for standard input
            text = Path_fr(name).read_text()
        except (OSError, TypeError, ValueError):  # no file but options; or said when it is parsed
            continue
        content = read_yaml_file(name, text)
        for path in _texts(content):
            if path.startswith("command:"):  # an adviser's
                raise NotTrusted(not_trusted_message(name, f"{path:.80}"))
            if IMPORT_PATH.fullmatch(path) and installed(path) is None and _can_be_imported(path):
                raise NotTrusted(not_trusted_message(name, path))
        for setting in (*REACHING, "config") if isinstance(content, dict) else ():  # a further file is not looked into
            if content.get(setting) not in (None, {}, "auto"):
                raise NotTrusted(
                    f"{name}: {setting}: {content[setting]!r:.80}: if you made this file or trust who did: --trust; "
                    f"or give it as an option, --{setting}"
                )


def _texts(value: Any) -> Iterator[str]:
    """All texts of a file of options, and those in texts that are YAML again: options are parsed once more."""
    waiting, seen = [value], dict[int, Any]()  # by id, with the object, so that no other one gets its id
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
            with contextlib.suppress(ValueError, RecursionError, yaml.YAMLError):  # then it is that text and no more
                inner = read_yaml(each)
                waiting.extend([inner] if inner != each else ())
        elif isinstance(each, (dict, list)) and id(each) not in seen:
            seen[id(each)] = each
            waiting.extend(each.values() if isinstance(each, dict) else each)


def _can_be_imported(path: str) -> bool:
    """Whether the first part of an import path is a module, here or in the current folder; imports nothing."""
    top = re.split("[.:]", path)[0]
    return importlib.util.find_spec(top) is not None or _is_here(top)


def _is_here(module: str) -> bool:
    return Path(f"{module}.py").exists() or Path(module).is_dir()


def find_own_classes(arguments: Sequence[str]) -> None:
    """Has modules of the current folder found, behind installed packages, where the command line names one.

    Args:
        arguments: The command line. Only what it says itself counts, or ``--trust``, for what a folder or file says.
    """
    here = os.getcwd()
    values = (re.sub(r"^--[\w.+-]+=?", "", argument) for argument in arguments)
    named = {match[0] for value in values for match in IMPORT_PATH.finditer(value)}
    tops = {re.split("[.:]", path)[0] for path in named}
    if here not in sys.path and ("--trust" in arguments or any(map(_is_here, tops))):
        sys.path.append(here)
