"""What is noted of a search by gradient: of each epoch, and in its file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import torch

from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.resources import compromises
from archsearch.errors import UsageError
from archsearch.ranking.derived import CHOICES, DERIVED, TASK
from archsearch.relaxing import RelaxedChoice
from archsearch.trial import Architecture


def noted_shares(parameters: ArchitectureParameters, strengths: Sequence[torch.Tensor]) -> dict[str, Any]:
    """The share of each candidate in its choice, their mean entropy, and how much skip connections have of it.

    Args:
        parameters: The architecture parameters.
        strengths: Of the candidates of each choice, those of candidates that are gone being 0.
    """
    shares = [some / some.sum() for some in strengths]
    skips = [float(p[c.skip]) for p, c in zip(shares, parameters.choices, strict=True) if c.skip is not None]
    return {
        "shares": [share for each in shares for share in each.tolist()],
        "entropy": sum(float(torch.special.entr(each).sum()) for each in shares) / len(shares),
        "skip_share": sum(skips) / len(skips) if skips else 0.0,
        "candidates": sum(map(len, parameters.living())) / len(parameters.choices),
    }


def search_table(
    records: Sequence[dict[str, Any]], choices: Sequence[RelaxedChoice], task: str, derived: Architecture
) -> pa.Table:
    """A row for each epoch; what the choices are, the task and what was derived at the end are in the metadata."""
    columns = [name for name in records[-1] if name != "parameters"]
    table = {name: [record.get(name) for record in records] for name in columns}
    best = {each.epoch for each in compromises(records)}
    table["compromise"] = [record["epoch"] in best for record in records]
    table["logits"] = [record["parameters"]["logits"] for record in records]
    candidates = [[choice.name, choice.candidates] for choice in choices]
    notes = {CHOICES: json.dumps(candidates), TASK: task, DERIVED: json.dumps(derived)}
    return pa.table(table).replace_schema_metadata(notes)


def expect_strengths(strengths: Sequence[Sequence[float]], sizes: Sequence[int], where: str) -> None:
    """Refuses what no distribution can be made of."""
    for some, size in zip(strengths, sizes, strict=True):
        if len(some) != size or not all(0 <= strength < math.inf for strength in some) or not any(some):
            raise UsageError(
                f"{where}: expected {size} finite numbers >= 0 for the candidates of a choice, one of them above 0, "
                f"got {some!r:.80}"
            )


def drop_by_discretisation(records: Sequence[dict[str, Any]]) -> float:
    """Accuracy that is lost when the relaxed network of the last epoch becomes the derived path, in percent."""
    return float(records[-1]["relaxed_accuracy"] - records[-1]["derived_accuracy"]) if records else math.nan
