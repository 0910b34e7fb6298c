"""Evolution in which a child starts from its parent's weights, against training each child from scratch."""

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Inherit, Training
from archsearch.spaces import NASBench201

TRIALS = 12

for inherits in (False, True):
    training = Training("digits", epochs=6, train_examples=200, skeleton={"channels": 4, "cells": 1})
    evaluator = Inherit(training) if inherits else training
    evolution = RegularizedEvolution(population_size=4, tournament_size=2)
    result = search(NASBench201(), evolution, evaluator, trials=TRIALS, seed=0)
    last = [trial.score for trial in result.history][-4:]
    name = type(evaluator).__name__
    print(f"{name:<8} last four {sum(last) / 4:.1f} %, {result.cost.examples:,.0f} training examples")
