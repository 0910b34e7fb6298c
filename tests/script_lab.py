"""Scripts without a suffix as modules."""

import functools
import importlib.machinery
import importlib.util
import sys

from pages import ROOT


@functools.cache
def load_script(name):
    """The module that ``scripts/NAME`` would be."""
    loader = importlib.machinery.SourceFileLoader(f"script_{name}", str(ROOT / "scripts" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no __pycache__ beside the scripts
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module
