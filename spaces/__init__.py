"""Spaces: what is searched.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.spaces.choices import Choices as Choices
    from archsearch.spaces.conv_chain import ConvChain as ConvChain
    from archsearch.spaces.darts import DARTS as DARTS
    from archsearch.spaces.darts_cell import DARTSCell as DARTSCell
    from archsearch.spaces.enas_cell import ENASCell as ENASCell
    from archsearch.spaces.mobilenet import MobileNet as MobileNet
    from archsearch.spaces.mobilenet import NASBenchMacro as NASBenchMacro
    from archsearch.spaces.nasbench101 import NASBench101 as NASBench101
    from archsearch.spaces.nasbench201 import NASBench201 as NASBench201
    from archsearch.spaces.nasbench_nlp import NASBenchNLP as NASBenchNLP
    from archsearch.spaces.nasrl_cell import NASRLCell as NASRLCell

_MODULES = {
    "Choices": "choices",
    "ConvChain": "conv_chain",
    "DARTS": "darts",
    "DARTSCell": "darts_cell",
    "ENASCell": "enas_cell",
    "MobileNet": "mobilenet",
    "NASBench101": "nasbench101",
    "NASBench201": "nasbench201",
    "NASBenchMacro": "mobilenet",
    "NASBenchNLP": "nasbench_nlp",
    "NASRLCell": "nasrl_cell",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
