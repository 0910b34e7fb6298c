"""Limits on what may be evaluated, such as parameters, multiply-adds and latency.

They belong to the search, whoever proposes: the search asks here before it evaluates anything. The latency of an
architecture can come from a table of measured parts, as in ProxylessNAS (Cai, Zhu & Han, ICLR 2019), FBNet (Wu et
al., CVPR 2019) and Once-for-All (Cai et al., ICLR 2020): it is the sum over the architecture's decisions.
"""

from archsearch.limits.latency import LatencyTable, rows_needed
from archsearch.limits.limits import Limits
from archsearch.limits.ranges import Limit, checked_limits

__all__ = [
    "LatencyTable",
    "Limit",
    "Limits",
    "checked_limits",
    "rows_needed",
]
