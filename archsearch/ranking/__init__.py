"""How well cheap scores agree with the truth: the *optimization gap* of weight sharing, in figures.

The true quality of an architecture is what training it alone gives; an evaluator that shares weights, trains briefly or
predicts gives a cheap score, and the two may rank architectures differently. For both, higher is better (negate a
loss). All figures but the regrets and nDCG depend on the order only. Everything is exact and draws no random number,
except ``bootstrap`` and ``agreement``, which redraw architectures with a generator of their own.

Sources: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap", 2020, section
3 (the gap, and tau between rankings); Kendall, "The treatment of ties in ranking problems", Biometrika 1945 (tau-b);
Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval); Dodge et al., "Show Your
Work: Improved Reporting of Experimental Results", EMNLP 2019 (expected best of n; here drawn without replacement);
Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM Transactions on Information Systems 2002
(nDCG); Vigna, "A weighted correlation index for rankings with ties", WWW 2015 (tau with weights); Demšar, "Statistical
Comparisons of Classifiers over Multiple Data Sets", JMLR 2006 (Friedman, Wilcoxon and Holm).
"""

from archsearch.ranking.figures import (
    TauWithin,
    best_of,
    kendall_tau,
    misorder_probability,
    noise_ceiling,
    regret,
    regret_of_best,
    spearman,
    tau_within,
)
from archsearch.ranking.intervals import Interval, bootstrap
from archsearch.ranking.rank_tests import RankTest, rank_test
from archsearch.ranking.summary import Agreement, agreement
from archsearch.ranking.top import ndcg, top_k_precision, top_k_recall, weighted_tau

__all__ = [
    "Agreement",
    "Interval",
    "RankTest",
    "TauWithin",
    "agreement",
    "best_of",
    "bootstrap",
    "kendall_tau",
    "misorder_probability",
    "ndcg",
    "noise_ceiling",
    "rank_test",
    "regret",
    "regret_of_best",
    "spearman",
    "tau_within",
    "top_k_precision",
    "top_k_recall",
    "weighted_tau",
]
