"""Spaces: what is searched.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.components import lazy_classes

if TYPE_CHECKING:
    from archsearch.spaces.choices import Choices as Choices
    from archsearch.spaces.nasbench201 import NASBench201 as NASBench201

_MODULES = {
    "Choices": "choices",
    "NASBench201": "nasbench201",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
