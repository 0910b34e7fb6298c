#!/usr/bin/env bash
# Optuna hands the objective one choice and records another, where two choices of a categorical are equal in Python.
#
# Package: optuna 5.0.0.
# Guess before it was run: the position among the choices is stored, so that 0 and False stay apart, or the distribution
#   refuses choices that it can't keep apart.
# Seen (2026-11-30): of [0, False, 2] the objective gets all three; each trial that got False is held by the study as 0,
#   though inside the objective trial.params said False. best_params is {"x": 0} with the value that only False had, and the
#   objective at FixedTrial(best_params) returns another. 1 and True likewise, and 1 and 1.0; "1" and 1 stay apart.
# Why it matters here: "none" as False beside a size of 0, or an int beside a float, in a searched space: the best
#   configuration reported is not the one that was measured, and samplers learn from the mixture.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optuna==5.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from collections import Counter

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def typed(value):
    return type(value).__name__, value


def run(choices):
    """What the objective got each time, what the study then held, and the best trial, evaluated once more."""
    got = []

    def objective(trial):
        got.append(typed(trial.suggest_categorical("x", choices)))
        assert typed(trial.params["x"]) == got[-1]
        return -1.0 if got[-1] == typed(choices[1]) else 1.0

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=20)
    seen, held, best = got[:], [typed(trial.params["x"]) for trial in study.trials], study.best_trial
    return seen, held, (typed(best.params["x"]), best.value, objective(optuna.trial.FixedTrial(best.params)))


for choices in ([0, False, 2], [1, True, 2], [1, 1.0, 2]):
    seen, held, best = run(choices)
    first, second, third = map(typed, choices)
    print("optuna", optuna.__version__, choices, "got", dict(Counter(seen)), "held", dict(Counter(held)), "best", best)
    assert set(seen) == {first, second, third}, "the suggestions have changed"
    assert held == [first if each == second else each for each in seen], "this has changed"
    assert best == (first, -1.0, 1.0), "this has changed"
seen, held, best = run(["1", 1, 2])
assert seen == held and best == (("int", 1), -1.0, -1.0)
PYTHON
