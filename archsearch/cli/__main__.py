"""``python -m archsearch.cli``."""

import os
import sys

if __name__ == "__main__":
    # 'python -m' puts the current folder first: a file numpy.py there would stand for the package.
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]
    from archsearch.cli import console

    console()
