"""Evaluators: who scores.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.components import lazy_classes

if TYPE_CHECKING:
    from archsearch.evaluators.function import Function as Function
    from archsearch.evaluators.inherit import Inherit as Inherit
    from archsearch.evaluators.one_shot import OneShot as OneShot
    from archsearch.evaluators.tabular import Tabular as Tabular
    from archsearch.evaluators.training import Training as Training

_MODULES = {
    "Function": "function",
    "Inherit": "inherit",
    "OneShot": "one_shot",
    "Tabular": "tabular",
    "Training": "training",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
