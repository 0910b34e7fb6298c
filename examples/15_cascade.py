"""A cascade on digits: untrained networks, a predictor, inherited weights, training; only the better half goes on."""

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Cascade, OneShot, Predictor, Training, ZeroCost
from archsearch.spaces import NASBench201

CELLS = 40

training = Training("digits", epochs=6, train_examples=200, skeleton={"channels": 4, "cells": 1})
stages = [
    ZeroCost("synflow", training=training),
    Predictor(training, labels=20, features=[ZeroCost("naswot", training=training)]),
    OneShot(training=training, epochs=12),
    training,
]
cascade = Cascade(stages, keep=0.5, reference=16)
result = search(NASBench201(), RegularizedEvolution(10, 3), cascade, trials=CELLS, seed=0, batch=10)
print(result)

for number, stage in enumerate(stages, 1):
    reached = [trial for trial in result.history if trial.metrics["stage"] >= number]
    print(f"{type(stage).__name__:<9} scored {len(reached)} of {CELLS} cells")
