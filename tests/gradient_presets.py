"""The presets of search by gradient, and their parts: relaxation, optimisation, guards, resource."""

PARTS = {
    "darts": ("Softmax", "SecondOrder", [], None),
    "darts_first": ("Softmax", "FirstOrder", [], None),
    "darts_plus": ("Softmax", "FirstOrder", ["SkipStop", "StableRanking"], None),
    "fair_darts": ("Sigmoid", "FirstOrder", [], None),
    "fbnet": ("Gumbel", "FirstOrder", [], "Resource"),
    "gdas": ("Gumbel", "FirstOrder", [], None),
    "gold_nas": ("Softmax", "OneLevel", ["GradualPruning"], "RisingResource"),
    "milenas": ("Softmax", "MixedLevel", [], None),
    "p_darts": ("Softmax", "FirstOrder", [], None),
    "pc_darts": ("PartialChannels", "FirstOrder", [], None),
    "proxylessnas": ("TwoPaths", "FirstOrder", [], "Resource"),
    "r_darts": ("Softmax", "FirstOrder", ["EigenvalueStop"], None),
    "sdarts_adv": ("Softmax", "FirstOrder", ["AdversarialPerturbation"], None),
    "sdarts_rs": ("Softmax", "FirstOrder", ["RandomPerturbation"], None),
    "single_path": ("KernelThresholds", "OneLevel", [], "Resource"),
    "snas": ("Gumbel", "OneLevel", [], "Resource"),
    "xnas": ("ExponentiatedGradient", "FirstOrder", [], None),
}
