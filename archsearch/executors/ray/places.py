"""Why workers do not start: no place, no room inside a Tune trial, code or libraries that are not on the nodes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archsearch.errors import ExecutorError, UsageError


def check_placement_group(workers: int, each: Mapping[str, float]) -> None:
    """Refuses to start workers inside a placement group, such as a Tune trial's, that has no room for any.

    Args:
        workers: How many are wanted.
        each: What a worker reserves, by Ray's names.

    Raises:
        ExecutorError: If they would wait forever.
    """
    import ray
    from ray.util.placement_group import get_current_placement_group

    group = get_current_placement_group()
    if group is None or not ray.get_runtime_context().should_capture_child_tasks_in_placement_group:
        return
    assigned: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    mine = {name: amount for name, amount in assigned.items() if amount}
    bundles = [dict(bundle) for bundle in group.bundle_specs]
    for bundle in bundles:  # the one that this process occupies
        if all(bundle.get(name, 0) >= amount for name, amount in mine.items() if "_group_" not in name):
            for name, amount in mine.items():
                bundle[name] = bundle.get(name, 0) - amount
            break
    if any(all(bundle.get(name, 0) >= amount for name, amount in each.items()) for bundle in bundles):
        return
    own = {"CPU": mine.get("CPU", 0.0), **({"GPU": mine["GPU"]} if mine.get("GPU") else {})}
    worker = {name: amount for name, amount in each.items() if amount} or {"CPU": 0.01}
    there = ", ".join(str(dict(bundle)) for bundle in group.bundle_specs)
    raise ExecutorError(
        f"no worker can start: this process is part of a placement group, as every trial of Ray Tune is, of {there}, "
        f"which has no room for a worker that needs {amounts(each)}; give the trial room: tune.with_resources("
        f"trainable, tune.PlacementGroupFactory([{own}] + [{worker}] * {workers}))"
    )


def none_started(seconds: float, each: Mapping[str, float]) -> ExecutorError:
    """The error for workers of which none came, with what is free, for that decides, and what there is in all."""
    import ray

    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    there = ", ".join(f"{free.get(name, 0):g} of {have.get(name, 0):g} {name}" for name in each)
    return ExecutorError(
        f"no worker started within {seconds:g} s: each needs {amounts(each)}, free in the cluster are {there}; ask for "
        "less, or wait until others have ended (start_seconds)"
    )


def amounts(each: Mapping[str, float]) -> str:
    """Resources as text, such as ``1 CPU, 0 GPU``."""
    return ", ".join(f"{amount:g} {name}" for name, amount in each.items())


def cannot_be_set_up(error: str, runtime_env: Mapping[str, Any] | None) -> ExecutorError:
    """The error for workers that end as they start, such as by a module that is not on their node."""
    advice = (
        "Your own code must be importable on every node: install it there, or ship it by runtime_env, such as "
        "{'working_dir': '.'}"
    )
    if (missing := re.search(r"No module named '([^']+)'", error)) and (
        path := _left_out(missing[1], runtime_env or {})
    ):
        advice = (
            f"{path} is there, but was not shipped: Ray leaves out what .gitignore, .rayignore or 'excludes' name; "
            "change these, or set RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1"
        )
    return ExecutorError(f"a worker cannot be set up: {error}. {advice}")


def _left_out(module: str, runtime_env: Mapping[str, Any]) -> str | None:
    """Where a module lies in a folder that was to be shipped."""
    top, *inner = module.split(".")
    folders = [Path(runtime_env["working_dir"])] if isinstance(runtime_env.get("working_dir"), str) else []
    modules = [Path(each) for each in runtime_env.get("py_modules") or () if isinstance(each, str)]
    roots = [folder / top for folder in folders] + [each for each in modules if each.name == top]
    for root in roots:
        for path in (root.joinpath(*inner), root.joinpath(*inner).with_suffix(".py")):
            if path.exists():
                return str(path)
    return None


def check_runtime_env(runtime_env: Mapping[str, Any]) -> None:
    """Finds mistakes that Ray would ignore, or tell of late."""
    from ray.runtime_env import RuntimeEnv

    known = sorted({name for name in RuntimeEnv.known_fields if name[0] != "_"} | {"nsight", "rocprof_sys"})
    plugins = "RAY_RUNTIME_ENV_PLUGINS" in os.environ  # which have fields of their own
    if not plugins and (unknown := sorted(set(runtime_env) - set(known))):
        raise UsageError(f"runtime_env: expected any of {', '.join(known)}, got {', '.join(unknown)}")
    modules, folder = runtime_env.get("py_modules") or (), runtime_env.get("working_dir")
    if not isinstance(modules, (list, tuple)):
        raise UsageError(f"runtime_env: py_modules: expected a list of paths, got {modules!r}")
    for path in (folder, *modules):
        if isinstance(path, str) and "://" not in path and not os.path.exists(path):
            raise UsageError(
                f"runtime_env: nothing is at {path!r}; expected a path from the current folder, {os.getcwd()}, or a URI"
            )
    if isinstance(folder, str) and os.path.isfile(folder) and not folder.endswith(".zip"):
        raise UsageError(f"runtime_env: working_dir: expected a folder or a .zip file, got {folder!r}")
    try:
        RuntimeEnv(**runtime_env)
    except (TypeError, ValueError) as error:
        raise UsageError(f"runtime_env: {error}") from None
