"""Random search with weight sharing (Li & Talwalkar, UAI 2019): cheap scores for many cells, full ones for the best."""

from archsearch import search
from archsearch.controllers import Finalists, RandomSearch
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import NASBench201

# Budgets are batches of validation images. The paper: 1,000 cells on 10 batches, 10 finalists on all of them.
controller = Finalists(RandomSearch(), samples=60, finalists=5, budget=2)
training = Training("digits", train_examples=300, skeleton={"channels": 4, "cells": 1})
result = search(NASBench201(), controller, OneShot(training=training, epochs=20), trials=65, seed=0)

trials = list(result.history)
for trial in trials[-5:]:
    first = trials[trial.parent]
    print(f"cell {trial.parent:>2}: {first.score:5.1f} % on 2 batches, {trial.score:5.1f} % on all")
print(f"best {result.best_name}")
