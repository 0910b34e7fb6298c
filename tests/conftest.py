"""What all tests share: one thread per process, so that torch sums in the same order everywhere."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
