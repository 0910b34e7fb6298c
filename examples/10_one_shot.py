"""Trains a super-network once, scores cells with its weights, and compares that with training each cell on its own."""

from scipy.stats import kendalltau

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import NASBench201

CELLS = 12

training = Training("digits", epochs=6, train_examples=200, skeleton={"channels": 4, "cells": 1})
one_shot = OneShot(training=training, epochs=30)
scores = {}
for evaluator in (one_shot, training):
    result = search(NASBench201(), RandomSearch(), evaluator, trials=CELLS, seed=0)
    name = type(evaluator).__name__
    scores[name] = [trial.score for trial in result.history]
    print(
        f"{name:<8} best {result.best.score:.1f} %, {result.setup_cost.examples:,.0f} training examples once,", end=" "
    )
    print(f"{result.cost.examples / CELLS:,.0f} and {result.cost.flops / CELLS:.2g} FLOPs for each cell")

# The same seed proposes the same cells to both. How well shared weights rank differs from space to space.
print(f"Kendall's tau {kendalltau(*scores.values()).statistic:.2f} over {CELLS} cells")
