"""How predictions are rounded does not depend on their company."""

import os
import subprocess
import sys

import pytest

CODE = """
import numpy as np
from archsearch import Query
from archsearch.evaluators import Function, Predictor
from archsearch.models import GaussianProcess, GradientBoosting, LSTM, RandomForest
from archsearch.spaces import DARTS, NASBench201
rng = np.random.default_rng(0)
for space in (NASBench201(), DARTS()):
    asked = [space.sample(rng) for _ in range(150)]
    for model in (GaussianProcess(), RandomForest(5), GradientBoosting(2, 5)):
        assert model.rounds_alike
        model.fit(space, asked[:60], rng.normal(size=60))
        together = model.predict(asked)
        for place in range(150):
            alone = model.predict([asked[place]])
            assert (alone.mean[0], alone.spread[0]) == (together.mean[place], together.spread[place]), (model, place)
for model in (GaussianProcess(), LSTM(networks=1, epochs=1)):
    predictor = Predictor(Function(lambda cell: sum(map(ord, repr(cell)))), labels=20, model=model, folds=0)
    predictor.start(space)
    predictor.prepare()
    queries = [Query(place, each, 0) for place, each in enumerate(asked)]
    together = predictor.evaluate_batch(queries)
    for place, query in enumerate(queries):
        (alone,) = predictor.evaluate_batch([query])
        assert (alone.score, alone.metrics) == (together[place].score, together[place].metrics), (model, place)
"""


@pytest.mark.parametrize("kernels", ["Haswell", None])
def test_equal_rows_are_predicted_alike_wherever_they_stand(kernels):
    # OpenBLAS's Haswell kernels round the last rows of a block of a matrix product in another way.
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    if kernels:
        environment["OPENBLAS_CORETYPE"] = kernels
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
