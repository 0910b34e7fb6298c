"""What studies measure, each in a file of its own; see ``archsearch.studies.measure`` for their contract.

Classes are imported on first use, so that listing them loads no library.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.studies.measures.agreement import Agreement as Agreement
    from archsearch.studies.measures.derived_network import DerivedNetwork as DerivedNetwork
    from archsearch.studies.measures.found_at_cost import FoundAtCost as FoundAtCost
    from archsearch.studies.measures.inherited_ranking import InheritedRanking as InheritedRanking
    from archsearch.studies.measures.trained_candidates import TrainedCandidates as TrainedCandidates

_MODULES = {
    "Agreement": "agreement",
    "DerivedNetwork": "derived_network",
    "FoundAtCost": "found_at_cost",
    "InheritedRanking": "inherited_ranking",
    "TrainedCandidates": "trained_candidates",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
