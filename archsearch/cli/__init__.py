"""The command line: ``archsearch run``, ``resume``, ``compare``, ``status``, ``report``, ``verify`` and so on.

Options come from the signatures and docstrings of the classes themselves. Only what a command needs is imported, so
that ``archsearch --help`` is quick.
"""

from archsearch.cli.commands import COMMANDS, console, main

__all__ = [
    "COMMANDS",
    "console",
    "main",
]
