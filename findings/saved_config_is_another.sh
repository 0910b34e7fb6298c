#!/usr/bin/env bash
# The config that jsonargparse saves of a run is not the run's: a default ["1:30"] of type list[int | str] is dumped as [90],
# in JSON mode too; and parse_object writes such numbers into the lists and dictionaries that its caller passed.
#
# Packages: jsonargparse 4.53.0, PyYAML 6.0.4.
# Guess before it was run: dump writes the values as they are, so that parsing what was dumped gives the same values; a parser
#   leaves its input alone; with parser_mode="json" YAML has no part in it.
# Seen (2026-11-30): a default list stays as it is, ["1:30", "0x10"]; dump of that very namespace has [90, 16], and the
#   program that starts from the dump gets these. Strings that are Python objects or quoted in JSON are read once more as
#   YAML 1.1, where int stands in the union before str (with str | int they stay). After parse_object({"l": ["1:30"]}) the
#   caller's list is [90]; it is changed even if parsing then fails (list[int], ["1:30", "x"] becomes [90, "x"]).
# Why it matters here: the saved config is what makes a search reproducible, and its hash is the key of a resume: both are
#   of other values than the search had, and one dictionary of settings that is used for two parsers has changed between.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jsonargparse==4.53.0 PyYAML==6.0.4
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata

from jsonargparse import ArgumentError, ArgumentParser

for mode in ("json", "yaml"):
    parser = ArgumentParser(parser_mode=mode, exit_on_error=False)
    parser.add_argument("--l", type=list[int | str], default=["1:30", "0x10"])
    parser.add_argument("--t", type=list[str | int], default=["1:30", "0x10"])
    parser.add_argument("--n", type=list[int], default=[])
    run = parser.parse_args([])
    again = parser.parse_string(parser.dump(run))
    print("jsonargparse", importlib.metadata.version("jsonargparse"), mode, "run", run, "saved and read", again)
    assert run.l == run.t == ["1:30", "0x10"], "defaults have changed"
    assert again.l == [90, 16] and again.t == run.t, "this has changed"
    given = {"l": ["1:30", "a"]}
    assert parser.parse_object(given).l == [90, "a"], "this has changed"
    assert given == {"l": [90, "a"]}, "the caller's list is left alone: this has changed"
    wrong = {"n": ["1:30", "x"]}
    try:
        parser.parse_object(wrong)
    except ArgumentError:
        print("refused, and left as", wrong)
    else:
        raise SystemExit("a list of int takes x: this has changed")
    assert wrong == {"n": [90, "x"]}, "the caller's list is left alone: this has changed"
PYTHON
