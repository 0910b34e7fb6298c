"""ENAS (Pham et al., ICML 2018): a policy and the weights that its proposals share are trained in turn."""

from archsearch import search
from archsearch.controllers import Reinforce
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import NASBench201

EPOCHS, PROPOSALS = 16, 60  # the paper's script: 150 epochs, and 300 proposals after each

space = NASBench201()
training = Training("digits", batch_size=64, train_examples=400, skeleton={"channels": 4, "cells": 1})
# The script's settings; its entropy weight of 1e-4 is for accuracies from 0 to 1, ours are in percent.
adam = {"learning_rate": 3.5e-3, "batch_size": 10, "entropy_weight": 0.01}
policy = Reinforce("lstm", hidden_size=64, layers=1, baseline_decay=0.99, scale_advantage=False, **adam)
# The reward is the accuracy on one batch of validation images, with the statistics of that batch.
shared = {"sampler": "controller", "trials_per_epoch": PROPOSALS, "statistics": "batch", "validation_batches": 1}
evaluator = OneShot(training=training, epochs=EPOCHS, **shared)
result = search(space, policy, evaluator, trials=EPOCHS * PROPOSALS, seed=0)

trials = list(result.history)
for epoch in (1, 4, 8, 12, 16):
    proposals = trials[(epoch - 1) * PROPOSALS : epoch * PROPOSALS]
    reward, different = sum(trial.score for trial in proposals) / PROPOSALS, len({t.architecture for t in proposals})
    print(f"epoch {epoch:>2}: mean reward {reward:4.1f} %, {different} different cells")

# Rewards of different epochs cannot be compared, so the best is one of the last; its own weights are trained anew.
best = max(trials[-PROPOSALS:], key=lambda trial: trial.score)
training.start(space)
alone = training.evaluate(best.architecture, seed=0)
print(f"{space.format(best.architecture)}: reward {best.score:.1f} %, trained individually {alone.score:.1f} %")
