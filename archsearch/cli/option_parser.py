"""The parser of a command's options: whatever is wrong with them is said in one line.

jsonargparse prints the usage of all options and then, over up to ten lines, what each type of a union thinks of the
value. Here a mistake is a ``UsageError`` of one line: which option, what was expected, what came, where to look.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import inspect
import os
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import jsonargparse
from jsonargparse import _loaders_dumpers

from archsearch.errors import UnknownName, UsageError
from archsearch.files.yaml_files import Loader, yaml_text

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "list": "a list such as [1, 2]",
    "Sequence": "a list such as [1, 2]",
    "dict": "a mapping such as {name: value}",
    "Mapping": "a mapping such as {name: value}",
}
"""How a type is called in messages."""

NO_CLASS = "Expected a dot import path string:"


class HelpFormatter(jsonargparse.DefaultHelpFormatter):
    """Adds types and defaults to the help, but no default to a text that says a truer one than the parser's null."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text: str = super()._get_help_string(action)
        return text.replace(", default: %(default)s", "") if "(default: " in (action.help or "") else text


class OptionParser(jsonargparse.ArgumentParser):
    """Parses the options of one command.

    Args:
        command: Name of the command.
        description: What it does; shown by ``--help``.
    """

    def __init__(self, *args: Any, command: str = "", description: str | None = None, **kwargs: Any) -> None:
        if command:
            # Names are not completed: which class an option belongs to is looked up before the options are parsed.
            kwargs |= {
                "prog": f"archsearch {command}",
                "allow_abbrev": False,
                "default_env": False,
            }
        super().__init__(*args, description=description, formatter_class=HelpFormatter, **kwargs)

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Also refuses what a file says of a flag that is neither true nor false, which jsonargparse lets pass.

        ``--controller.help`` without a name is about the class given, else the default; jsonargparse's page would be
        that of the base class, which is empty.

        Raises:
            UsageError: If anything is wrong with the options.
        """
        if "_ARGCOMPLETE" in os.environ:
            _offer_values(self)
        if args and args[0]:
            args = (self._help_named(args[0]), *args[1:])
        config = super().parse_args(*args, **kwargs)
        for action in self._actions:
            if isinstance(action, argparse._StoreTrueAction) and not isinstance(value := config[action.dest], bool):
                raise UsageError(f"{action.dest}: expected true or false, got {value!r}; see '{self.prog} --help'")
        return config

    def _help_named(self, arguments: Sequence[str]) -> list[str]:
        """The arguments, with the class that each ``--component.help`` without a name is about."""
        chosen = {f"--{action.dest}.help": getattr(action.default, "class_path", None) for action in self._actions}
        chosen = {name: cls for name, cls in chosen.items() if name in self._option_string_actions}
        named = list(arguments)
        for place, (name, after) in enumerate(zip(named, [*named[1:], "-"], strict=True)):
            if name in chosen and after.startswith("-"):
                if chosen[name] is None:
                    raise UsageError(f"{name}: expected the name of the class whose settings are to be shown, got none")
                named[place] = f"{name}={chosen[name]}"
        return named

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises ``UsageError`` with one line, where jsonargparse would print and exit.

        Raises:
            UsageError: Always, but for the parsers of nested classes, whose errors jsonargparse gathers.
        """
        if isinstance(ex, UsageError):  # said here before, or by a class about its own settings
            raise ex
        if not self.exit_on_error:
            super().error(message, ex)
        raise UsageError(f"{self._in_one_line(message)}; see '{self.prog} --help'") from None

    def _in_one_line(self, message: str) -> str:
        missing = re.match(r"the following arguments are required: (\w+)$", message)
        for action in self._actions:
            if missing and action.dest == missing[1]:
                return f"expected {action.dest}: {action.help}"
        return in_one_line(message, [option for action in self._actions for option in action.option_strings])


def _offer_values(parser: OptionParser) -> None:
    """Has argcomplete offer names of components, their settings, and words; files else.

    jsonargparse 4.53 has a completer of its own for each option, which answers None where it knows nothing, and
    argcomplete 3 stops at that.
    """
    from argcomplete.completers import FilesCompleter

    from archsearch.components import KINDS, entry_points, import_object

    for action in list(parser._actions):
        kind = f"{action.dest}s"
        if kind in KINDS:
            names: list[str] = list(entry_points(kind))
            if path := getattr(action.default, "class_path", None):
                for name in inspect.signature(import_object(path)).parameters:
                    argparse.ArgumentParser.add_argument(
                        parser, f"--{action.dest}.{name}", dest=f"{action.dest}_{name}"
                    )
        else:
            names = _words(getattr(action, "_typehint", None))
        vars(action)["completer"] = functools.partial(_among, names) if names else FilesCompleter()


def _among(names: Sequence[str], prefix: str, **_: Any) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _words(hint: Any) -> list[str]:
    """The words that a type allows."""
    if typing.get_origin(hint) is typing.Literal:
        return [str(each) for each in typing.get_args(hint)]
    return [word for each in typing.get_args(hint) for word in _words(each)]


# Values and files of options are read as all YAML files of this package are. jsonargparse has no public name for that:
# its own loader is used for plain numbers whatever mode is set. Only programs that import this command line get it.
vars(_loaders_dumpers)["yaml_default_loader"] = Loader
jsonargparse.set_dumper("yaml", yaml_text)


def in_one_line(message: str, options: Iterable[str] = ()) -> str:
    r"""What is wrong with an option, from what jsonargparse says of it.

    Args:
        message: Of jsonargparse, of one line or many.
        options: Names of the options that there are, for a guess at a misspelt one.

    >>> in_one_line('Parser key "trials":\n  Expected a <class \'int\'>. Got value: many')
    "trials: expected a whole number, got 'many'"
    """
    lines = [line.strip().removeprefix("- ") for line in message.splitlines() if line.strip()]
    if lines and lines[0].startswith("unrecognized arguments: "):
        return _unrecognized(lines[0].removeprefix("unrecognized arguments: ").split(), options)
    where, got, said = _sorted_out(lines)
    path = ".".join(where)
    if len(said) > 1:  # what does not name a class may still have been meant as something else
        said = [line for line in said if not line.startswith(NO_CLASS)]
    elif said and (unknown := _unknown_class(where, said[0])):
        return f"{path}: {unknown}"
    if said and all(line.startswith("Expected a ") for line in said):
        kinds = dict.fromkeys(_kind(line.removeprefix("Expected a ")) for line in said)
        text = "expected " + " or ".join(kinds)
    else:
        # What one member of a union makes of the value says more than that it is of no other type.
        text = ", ".join(line for line in said if not line.startswith("Expected a ")) or " ".join(lines)
    text = f"{path}: {text}" if path else text
    return f"{text}, got {got!r}" if got is not None else text


def _sorted_out(lines: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Path to the option, the value that came (None: not said), and what is wrong with it."""
    where: list[str] = []
    said: list[str] = []
    got, cls = None, ""
    for line in lines:
        if key := re.fullmatch(r'Parser key "([^"]+)":\s*(.*)', line):
            where.append(key[1])
            line = key[2]
        if value := re.search(r"\.? ?Got value: (.*)|^Given value: (.*)", line):
            came = value[1] if value[1] is not None else value[2]
            nested = re.fullmatch(r"NestedArg\(key='(.*)', val='?(.*?)'?\)", came)
            got = got if got is not None else nested[2] if nested else came
            line = line[: value.start()]
        if of_class := re.match(r"Problem with given class_path '(.*)'", line):
            cls = of_class[1].rpartition(".")[2]
        elif line and "'NoneType'" not in line and not re.match(r"Does not validate|Subtypes:|Errors:|Given", line):
            said.append(_about_settings(line, cls))
    if any(re.match(r"\w+ has no|\w+ needs|there is no|No module", line) for line in said):
        got = None  # it was not the value that was wrong
    return where, got, said


def _about_settings(line: str, cls: str) -> str:
    """What is wrong with the settings of a class, in the words of this package."""
    line = re.sub(
        r"Option '(.*)' is not accepted", rf"{cls} has no setting '\1'" if cls else r"there is no option \1", line
    )
    return re.sub("the following arguments are required:", f"{cls} needs" if cls else "expected", line)


def _unrecognized(arguments: list[str], options: Iterable[str]) -> str:
    name = arguments[0].partition("=")[0]
    if not name.startswith("-"):
        return f"expected no further argument, got {' '.join(arguments)!r}"
    close = difflib.get_close_matches(name, list(options), n=1)
    return f"there is no option {name}" + (f"; did you mean {close[0]}?" if close else "")


def _unknown_class(where: list[str], said: str) -> str | None:
    """What to say of a class that cannot be found by its short name; None: that is not what is wrong."""
    from archsearch.components import KINDS, load, part

    if not said.startswith(NO_CLASS):
        return None
    name, role = said.removeprefix(NO_CLASS).strip(), where[-1] if where else ""
    try:
        if "." not in name:
            part(name, role)
        load(name, f"{role}s" if f"{role}s" in KINDS else None)
    except UnknownName as error:
        return str(error).removesuffix(".")
    return None


def _kind(text: str) -> str:
    """A type as a reader would name it."""
    if literal := re.fullmatch(r"(?:typing\.)?Literal\[(.*)\]", text):
        return "one of " + literal[1].replace("'", "")
    name = re.sub(r"<class '(.*)'>", r"\1", text).rpartition(".")[2]
    return TYPES.get(name, f"a {name}")
