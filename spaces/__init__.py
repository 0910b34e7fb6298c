"""Spaces: what is searched.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.spaces.adanet import AdaNet as AdaNet
    from archsearch.spaces.amoebanet import AmoebaNet as AmoebaNet
    from archsearch.spaces.block_qnn import BlockQNN as BlockQNN
    from archsearch.spaces.cgp import CGP as CGP
    from archsearch.spaces.choices import Choices as Choices
    from archsearch.spaces.choices_numbers import Integer as Integer
    from archsearch.spaces.choices_numbers import Real as Real
    from archsearch.spaces.codeepneat import CoDeepNEAT as CoDeepNEAT
    from archsearch.spaces.conv_chain import ConvChain as ConvChain
    from archsearch.spaces.darts import DARTS as DARTS
    from archsearch.spaces.darts_cell import DARTSCell as DARTSCell
    from archsearch.spaces.eas import EAS as EAS
    from archsearch.spaces.efficientnet import EfficientNet as EfficientNet
    from archsearch.spaces.enas_cell import ENASCell as ENASCell
    from archsearch.spaces.enas_macro import ENASMacro as ENASMacro
    from archsearch.spaces.enas_micro import ENASMicro as ENASMicro
    from archsearch.spaces.encoder_decoder import EncoderDecoder as EncoderDecoder
    from archsearch.spaces.evonet import EvoNet as EvoNet
    from archsearch.spaces.fairnas import FairNAS as FairNAS
    from archsearch.spaces.fbnet import FBNet as FBNet
    from archsearch.spaces.genetic_cnn import GeneticCNN as GeneticCNN
    from archsearch.spaces.gold_nas import GOLDNAS as GOLDNAS
    from archsearch.spaces.gpt import GPT as GPT
    from archsearch.spaces.hierarchical import Hierarchical as Hierarchical
    from archsearch.spaces.lemonade import LEMONADE as LEMONADE
    from archsearch.spaces.marked import Marked as Marked
    from archsearch.spaces.meta_qnn import MetaQNN as MetaQNN
    from archsearch.spaces.mixconv import MixConv as MixConv
    from archsearch.spaces.mlp import MLP as MLP
    from archsearch.spaces.mnasnet import MnasNet as MnasNet
    from archsearch.spaces.mobilenet import MobileNet as MobileNet
    from archsearch.spaces.mobilenet import NASBenchMacro as NASBenchMacro
    from archsearch.spaces.nas_rl import NASRL as NASRL
    from archsearch.spaces.nasbench101 import NASBench101 as NASBench101
    from archsearch.spaces.nasbench201 import NASBench201 as NASBench201
    from archsearch.spaces.nasbench_nlp import NASBenchNLP as NASBenchNLP
    from archsearch.spaces.nasbot import NASBOT as NASBOT
    from archsearch.spaces.nash import NASH as NASH
    from archsearch.spaces.nasnet import NASNet as NASNet
    from archsearch.spaces.nasrl_cell import NASRLCell as NASRLCell
    from archsearch.spaces.nb1shot1 import NB1Shot1 as NB1Shot1
    from archsearch.spaces.once_for_all import OnceForAll as OnceForAll
    from archsearch.spaces.path_level import PathLevel as PathLevel
    from archsearch.spaces.pnas import PNAS as PNAS
    from archsearch.spaces.proxylessnas import ProxylessNAS as ProxylessNAS
    from archsearch.spaces.randwire import RandWire as RandWire
    from archsearch.spaces.rdarts import RDARTS as RDARTS
    from archsearch.spaces.single_path import SinglePath as SinglePath
    from archsearch.spaces.spos import SPOS as SPOS

_MODULES = {
    "AdaNet": "adanet",
    "AmoebaNet": "amoebanet",
    "BlockQNN": "block_qnn",
    "CGP": "cgp",
    "Choices": "choices",
    "CoDeepNEAT": "codeepneat",
    "ConvChain": "conv_chain",
    "DARTS": "darts",
    "DARTSCell": "darts_cell",
    "EAS": "eas",
    "ENASCell": "enas_cell",
    "ENASMacro": "enas_macro",
    "ENASMicro": "enas_micro",
    "EfficientNet": "efficientnet",
    "EncoderDecoder": "encoder_decoder",
    "EvoNet": "evonet",
    "FBNet": "fbnet",
    "FairNAS": "fairnas",
    "GOLDNAS": "gold_nas",
    "GPT": "gpt",
    "GeneticCNN": "genetic_cnn",
    "Hierarchical": "hierarchical",
    "LEMONADE": "lemonade",
    "MLP": "mlp",
    "Marked": "marked",
    "MetaQNN": "meta_qnn",
    "MixConv": "mixconv",
    "MnasNet": "mnasnet",
    "MobileNet": "mobilenet",
    "NASBOT": "nasbot",
    "NASBench101": "nasbench101",
    "NASBench201": "nasbench201",
    "NASBenchMacro": "mobilenet",
    "NASBenchNLP": "nasbench_nlp",
    "NASH": "nash",
    "NASNet": "nasnet",
    "NASRL": "nas_rl",
    "NASRLCell": "nasrl_cell",
    "NB1Shot1": "nb1shot1",
    "OnceForAll": "once_for_all",
    "PNAS": "pnas",
    "PathLevel": "path_level",
    "ProxylessNAS": "proxylessnas",
    "RDARTS": "rdarts",
    "RandWire": "randwire",
    "SPOS": "spos",
    "SinglePath": "single_path",
}
_NUMBERS = {"Integer": "choices_numbers", "Real": "choices_numbers"}
"""Decisions of ``Choices``."""
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES, *_NUMBERS]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES | _NUMBERS)
