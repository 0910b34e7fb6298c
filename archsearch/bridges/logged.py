"""What loggers say of a search, made such that other tools can hold it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.errors import UsageError
from archsearch.trial import COST_FIELDS

if TYPE_CHECKING:
    from archsearch.running.result import Result


def final_figures(result: Result) -> dict[str, float]:
    """What a search came to, as numbers: ``final/NAME``."""
    figures: dict[str, float] = {}
    if result.best is not None and result.best.score is not None:
        figures = {"best": result.best.score, "best_trial": result.best.id}
        figures |= {f"best_metrics/{name}": value for name, value in result.best.metrics.items()}
    figures |= {name: getattr(result, name) for name in ("completed", "failed", "reused", "rejected", "seconds")}
    for part, cost in (("cost", result.cost), ("setup_cost", result.setup_cost)):
        figures |= {f"{part}/{field}": getattr(cost, field) for field in COST_FIELDS}
    return {key(f"final/{name}"): float(value) for name, value in figures.items()}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration without nesting: ``{"controller": "lab.Evolution", "controller.population_size": 100, ...}``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if not isinstance(value, Mapping) or not value:
            flat[prefix + name] = value
        elif "class_path" in value:
            flat[prefix + name] = value["class_path"]
            flat |= flatten(value.get("init_args") or {}, f"{prefix}{name}.")
        else:
            flat |= flatten(value, f"{prefix}{name}.")
    return flat


def not_installed(name: str, error: ImportError) -> UsageError:
    """What to say where a logger's package is missing."""
    return UsageError(f'{name} cannot be imported ({error}): pip install "archsearch[{name}]"')


def key(name: str) -> str:
    """A name that MLflow takes: letters, digits and some signs."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:250]


def code(value: Any) -> str:
    """Text that Markdown shows as it is, also in a table."""
    return f"`{value}`".replace("|", "\\|")


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in groups of at most ``size``."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
