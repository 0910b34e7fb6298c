"""``archsearch run --out DIRECTORY`` where that run is already: with equal settings, the command goes on with it.

A script, a cluster's scheduler or an agent can so repeat one command until it is done, and need not know whether it
has been begun.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from archsearch.errors import RunFolderError, UsageError
from archsearch.keeping.folder import RunFolder
from archsearch.running.result import Result
from archsearch.running.search import resume, search
from archsearch.running.settings import Settings


def search_or_go_on(
    components: dict[str, Any], settings: dict[str, Any], *, seed: int | None, out: str, **how: Any
) -> Result:
    """A new search, or the same one from where it stopped.

    Args:
        components: The space, the controller and the evaluator, by these names.
        settings: The fields of ``Settings`` by name.
        seed: As asked for; None: any.
        out: The run folder; there may be a run.
        **how: Further arguments that ``search`` and ``resume`` share: where to run, whom to tell.

    Raises:
        RunFolderError: If a run of something else is there.
        UsageError: If it has another seed, or other settings.
    """
    if not (Path(out) / "config.yaml").exists():
        return search(**components, **settings, seed=seed, out=out, **how)
    config = RunFolder(out).config()
    if seed is not None and seed != config["seed"]:
        raise UsageError(
            f"{out}: there is a run here already, of seed {config['seed']}; got seed {seed}: name another folder"
        )
    asked = dataclasses.asdict(Settings(**settings))
    known = {name: config["settings"].get(name, default) for name, default in _defaults().items()}
    if differing := [name for name in asked if asked[name] != known[name]]:
        name = differing[0]
        raise UsageError(
            f"{out}: there is a run here already, of {name} {known[name]}; got {asked[name]}: "
            f"'archsearch resume {out} --{name} {asked[name]}' changes that, or name another folder"
        )
    try:
        return resume(out, **components, **how)
    except RunFolderError as error:
        raise RunFolderError(f"there is a run here already: {error}") from None


def _defaults() -> dict[str, Any]:
    """Of the settings: a folder of an older version may not name them all."""
    return {field.name: field.default for field in dataclasses.fields(Settings)}
