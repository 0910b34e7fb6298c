"""What `scripts/docs` would refuse, without Sphinx: public names without arguments or errors, dead links."""

import builtins
import importlib
import importlib.util
import inspect
import re

import docstring_parser
import pytest
from pages import PAGES, ROOT
from script_lab import load_script

from archsearch import errors
from archsearch.testing.suite import ContractError

docs = load_script("docs")
_spec = importlib.util.spec_from_file_location("docs_conf", ROOT / "docs" / "conf.py")
conf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(conf)

NAMES = [
    pytest.param(getattr(importlib.import_module(package), name), id=f"{package}.{name}")
    for package in docs.PACKAGES
    for name in docs.public_names(package)
]
SITE = [*PAGES, *(ROOT / name for name in docs.PAGES if name.endswith(".md") and name != "README.md")]


@pytest.mark.parametrize("item", NAMES)
def test_a_public_name_says_what_it_takes_and_what_it_raises(item):
    if not callable(item) or not (inspect.isclass(item) or inspect.isfunction(item)):
        assert not inspect.ismodule(item), "a module has the name"
        return
    assert item.__doc__
    said = conf.documented(item) | (conf.elsewhere(item) if inspect.isclass(item) else {})
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(item).parameters.values()
    assert [each.name for each in parameters if each.name not in said and each.kind not in variable] == []
    parsed = docstring_parser.parse(inspect.getdoc(item), style=docstring_parser.DocstringStyle.GOOGLE)
    arguments = [name for each in parsed.params if each.args[0] == "param" for name in each.arg_name.split(", ")]
    assert [name for name in arguments if name.lstrip("*") not in inspect.signature(item).parameters] == []
    for each in parsed.raises:
        assert (
            any(hasattr(home, each.type_name) for home in (errors, builtins))
            or each.type_name == ContractError.__name__
        )


def anchors(page):
    """Of headings, as GitHub and myst-parser write them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", SITE, ids=lambda path: path.name)
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_has_its_place_at_the_side():
    placed = {f"docs/{name}" for names in docs.PARTS.values() for name in names}
    pages = {page.relative_to(ROOT).with_suffix("").as_posix() for page in PAGES if page.parent == ROOT / "docs"}
    assert pages <= placed
    assert placed - pages == {"docs/tutorials/*", "docs/studies/results"}
    index = docs.index()
    assert all(f"\n{name}\n" in index for name in pages)


def test_a_tutorial_is_short_and_says_what_one_can_do_after_it():
    tutorials = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    assert [page.stem for page in tutorials] == ["author", "engineer", "researcher"]
    for page in tutorials:
        lines = page.read_text().splitlines()
        assert len(lines) <= 120
        assert lines[2].startswith("After this page you")


def test_what_is_said_elsewhere_is_written_where_it_is_looked_for():
    from archsearch.controllers import Hyperband
    from archsearch.models import RandomForest

    assert set(conf.elsewhere(Hyperband)) == {"controller", "reduction"}
    assert set(conf.elsewhere(RandomForest)) == {"encodings", "path_columns"}
    lines = ["A forest.", "", "Args:", "    trees: How many."]
    conf._with_all_arguments(None, "class", "", RandomForest, None, lines)
    assert lines[3].startswith("    encodings: ")
    assert lines[-1] == "    trees: How many."
