"""Scenes by name: drawn with a seed, or arrays of images and masks."""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.basics.checks import whole_number
from archsearch.basics.seeding import stream
from archsearch.task.parts import options_of
from archsearch.task.scenes import SHAPES, SegmentationTask, draw_scenes

SCENES = {"size": 24, "noise": 0.1, "train": 300, "valid": 150, "test": 150, "seed": 0}


def scenes(text: str, given: Mapping[str, str]) -> SegmentationTask:
    """Small scenes of discs, squares and crosses, of which each pixel is told what it belongs to."""
    options, where = options_of(text, given, SCENES), f"task {text!r}"
    whole_number(where, "size", options["size"], 8)
    parts = []
    for part in ("train", "valid", "test"):
        count = whole_number(where, part, options[part], 2)
        rng = stream(options["seed"], f"scenes {part}")
        parts.append(draw_scenes(count, options["size"], options["noise"], rng))
    return SegmentationTask(*parts, classes=len(SHAPES), name=text)
