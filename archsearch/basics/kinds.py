"""Kinds of networks: a task wants one, the networks of a space are of some. Texts, so that messages can name them."""

IMAGES = "image classification"
TOKENS = "next-token prediction"
TABLES = "prediction from tables"
PIXELS = "image segmentation"

EXAMPLE = {IMAGES: "digits", TOKENS: "grammar", TABLES: "diabetes", PIXELS: "scenes"}
"""A task that wants each, by name."""


def kinds_of(space: object) -> tuple[str, ...]:
    """The kinds of networks that a trainable space builds: its attribute ``kinds``, or image classification."""
    kinds: tuple[str, ...] = getattr(space, "kinds", (IMAGES,))
    return kinds
