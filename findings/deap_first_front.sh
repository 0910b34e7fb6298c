#!/usr/bin/env bash
# DEAP's two non-dominated sorts return different shapes for first_front_only=True.
#
# Package: deap 1.4.4.
# Guess before it was run: the same result from both, as both say that they return a list of fronts, and selNSGA2 takes
#   either by a name (nd="standard", nd="log").
# Seen: sortNondominated gives a list that holds one front; sortLogNondominated gives the front itself, so that [0] is
#   an individual. Without first_front_only both give lists of fronts, and the same ones (3,000 random sets with ties).
# Why it matters here: a user's toolbox that exchanges one for the other takes the genes of one individual for a front.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet deap==1.4.4 numpy==2.4.2
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import random

from deap import base, tools


class Fitness(base.Fitness):
    weights = (-1.0, -1.0)


class Individual(list):
    def __init__(self, genes, values):
        super().__init__(genes)
        self.fitness = Fitness(values)


random.seed(0)
for _ in range(3000):
    n = random.randint(1, 12)
    given = [Individual([i], (random.randint(0, 2), random.randint(0, 2))) for i in range(n)]
    fronts = [sorted(sorted(each[0] for each in front) for front in sort(given, n)) for sort in
              (tools.sortNondominated, tools.sortLogNondominated)]
    assert fronts[0] == fronts[1], "the fronts differ"
given = [Individual([7], (0, 1)), Individual([8], (1, 0)), Individual([9], (2, 2))]
standard = tools.sortNondominated(given, 3, first_front_only=True)
log = tools.sortLogNondominated(given, 3, first_front_only=True)
print("deap", importlib.metadata.version("deap"), "standard:", standard, "log:", log)
assert [list(map(list, front)) for front in standard] == [[[7], [8]]], "this has changed"
assert sorted(map(list, log)) == [[7], [8]], "this has changed"
PYTHON
