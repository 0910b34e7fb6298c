"""How predictions are rounded does not depend on their company."""

import os
import subprocess
import sys

import pytest

CODE = """
import numpy as np
from archsearch.models import GaussianProcess
from archsearch.spaces import NASBench201
space, rng = NASBench201(), np.random.default_rng(0)
asked = [space.sample(rng) for _ in range(150)]
model = GaussianProcess()
model.fit(space, asked[:60], rng.normal(size=60))
together = model.predict(asked)
for place in range(150):
    alone = model.predict([asked[place]])
    assert (alone.mean[0], alone.spread[0]) == (together.mean[place], together.spread[place]), place
"""


@pytest.mark.parametrize("kernels", ["Haswell", None])
def test_equal_rows_are_predicted_alike_wherever_they_stand(kernels):
    # OpenBLAS's Haswell kernels round the last rows of a block of a matrix product in another way.
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    if kernels:
        environment["OPENBLAS_CORETYPE"] = kernels
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
