"""Elastic layers: one set of weights, of which smaller networks are parts; see ``docs/one_shot.md``.

References: Cai, Gan, Wang, Zhang & Han, "Once-for-all: train one network and specialize it for efficient deployment",
ICLR 2020 (OFA); Yu et al., "BigNAS: scaling up neural architecture search with big single-stage models", ECCV 2020; Yu
& Huang, "Universally slimmable networks and improved training techniques", ICCV 2019 (leading channels, the sandwich).

A layer is made as large as its largest form. It computes a smaller one when its input has fewer channels, or when it is
asked for fewer outputs, heads or a smaller kernel; a stand-alone network is made of the same layers in the sizes that
it needs, with parameters of the same names. ``part_of`` says which values those inherit.
"""

from archsearch.elastic.inheriting import part_of
from archsearch.elastic.layers import ElasticBatchNorm2d, ElasticConv2d, ElasticLayerNorm, ElasticLinear, Leading
from archsearch.elastic.sorting import Units, sort_units
from archsearch.elastic.transformer import ElasticAttention, ElasticMLP

__all__ = [
    "ElasticAttention",
    "ElasticBatchNorm2d",
    "ElasticConv2d",
    "ElasticLayerNorm",
    "ElasticLinear",
    "ElasticMLP",
    "Leading",
    "Units",
    "part_of",
    "sort_units",
]
