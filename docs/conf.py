"""How Sphinx makes the site out of the pages and the docstrings; `scripts/docs` runs it, with warnings as errors."""

import importlib.metadata
import inspect
import re
import sys

import docstring_parser

project = "archsearch"
author = "The archsearch authors"
release = version = importlib.metadata.version("archsearch")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a page may leave out a level of headings
html_theme = "furo"
html_title = f"archsearch {release}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_use_ivar = True


def documented(item):
    """Arguments and attributes that a docstring names, with what it says of them, on one line each."""
    parsed = docstring_parser.parse(inspect.getdoc(item) or "", style=docstring_parser.DocstringStyle.GOOGLE)
    found = {}
    for each in parsed.params:
        for name in each.arg_name.split(", "):
            found[name.lstrip("*")] = " ".join((each.description or "").split())
    return found


def elsewhere(cls):
    """Arguments of a class that its docstring leaves to a class that it is built on, or that it names."""
    own = documented(cls)
    home = sys.modules[cls.__module__]
    named = [getattr(home, name, None) for name in re.findall(r"``(\w+)``", cls.__doc__ or "")]
    others = [each for each in (*cls.__mro__[1:-1], *named) if inspect.isclass(each)]
    arguments = [name for name in inspect.signature(cls).parameters if name not in own]
    return {name: text for name in arguments for each in others for text in [documented(each).get(name)] if text}


def _with_all_arguments(_app, what, _name, item, _options, lines):
    """Writes what is said elsewhere where it is looked for."""
    if what == "class" and (missing := elsewhere(item)):
        if "Args:" not in lines:
            lines += ["", "Args:"]
        at = lines.index("Args:") + 1
        lines[at:at] = [f"    {argument}: {text}" for argument, text in missing.items()]


def setup(app):
    """Called by Sphinx: before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", _with_all_arguments, priority=400)
