"""Guards: what keeps search by gradient from going wrong.

guard       the base of all of them
stopping    when to end a search, or to take it back
perturbing  weights of candidates that are moved, or dropped, while the network is trained
entropy     mixing weights pushed to the ends
pruning     candidates that are wiped out on the way
"""

from archsearch.differentiable.guards.entropy import EntropyPenalty
from archsearch.differentiable.guards.guard import Guard, Retry
from archsearch.differentiable.guards.perturbing import AdversarialPerturbation, OperationDropout, RandomPerturbation
from archsearch.differentiable.guards.pruning import GradualPruning
from archsearch.differentiable.guards.stopping import AdaptiveDecay, EigenvalueStop, SkipStop, StableRanking

__all__ = [
    "AdaptiveDecay",
    "AdversarialPerturbation",
    "EigenvalueStop",
    "EntropyPenalty",
    "GradualPruning",
    "Guard",
    "OperationDropout",
    "RandomPerturbation",
    "Retry",
    "SkipStop",
    "StableRanking",
]
