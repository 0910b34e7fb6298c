"""The networks of DARTS, which are those of the grammar, under the names by which they were known.

With 36 channels and 20 layers, the second-order cells have 3,349,342 parameters.
"""

from archsearch.grammar.layers import AuxiliaryHead as AuxiliaryHead
from archsearch.grammar.layers import FactorisedReduction as FactorisedReduction
from archsearch.grammar.layers import candidates
from archsearch.grammar.layers import relu_conv_bn as relu_conv_bn
from archsearch.grammar.network import STEM_MULTIPLIER as STEM_MULTIPLIER
from archsearch.grammar.network import Cell as Cell
from archsearch.grammar.network import reduction_layers as reduction_layers
from archsearch.grammar.pair_network import PairNetwork as DARTSNetwork
from archsearch.spaces.darts import OPERATIONS

__all__ = [
    "STEM_MULTIPLIER",
    "AuxiliaryHead",
    "Cell",
    "DARTSNetwork",
    "FactorisedReduction",
    "reduction_layers",
    "relu_conv_bn",
]

_candidates = candidates(OPERATIONS)
