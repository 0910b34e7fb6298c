"""Successive halving around evolution: many cells for one epoch, the best third for three, and so on."""

from collections import Counter

from archsearch import search
from archsearch.controllers import RegularizedEvolution, SuccessiveHalving
from archsearch.evaluators import Training
from archsearch.spaces import NASBench201

training = Training("digits", epochs=9, train_examples=100, skeleton={"channels": 4, "cells": 1})
halving = SuccessiveHalving(RegularizedEvolution(population_size=8, tournament_size=3), max_budget=9)
result = search(NASBench201(), halving, training, trials=26, seed=0)

trials = list(result.history)
for epochs, number in sorted(Counter(trial.budget.stop for trial in trials).items()):
    print(f"{number:>3} trials up to epoch {epochs}")
paid = sum(trial.budget.stop - trial.budget.start for trial in trials)
full = 9 * sum(trial.budget.start == 0 for trial in trials)
print(f"{paid} epochs paid; training every cell in full would have cost {full}")
print(f"best after {result.best.budget.stop} epochs: {result.best.score:.1f} %")
