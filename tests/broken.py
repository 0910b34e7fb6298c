"""Deliberately wrong components, at least one per check of ``archsearch.testing``: what is known of each of them.

A case names the check that is there to catch its fault, and the checks that cannot help failing too;
``test_contracts.py`` proves that exactly those fail. This is how we know that the suites assert something. The cases
are in ``broken_controllers.py``, ``broken_evaluators.py``, ``broken_models.py``, ``broken_spaces.py``, and, since they
need PyTorch, ``broken_networks.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A broken component and what finds it.

    Attributes:
        check: The check that is there for this fault.
        make: Factory of the broken component.
        related: Other checks that this fault makes fail.
    """

    check: str
    make: Callable[[], Any]
    related: frozenset[str] = frozenset()


def case(check: str, make: Callable[[], Any], *related: str) -> Case:
    return Case(check, make, frozenset(related))
