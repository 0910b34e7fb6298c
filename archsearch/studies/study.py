"""A study: a claim, and how to find out whether it holds, in one YAML file.

    claim: Predictors agree with the truth globally and fail among the best.    # one sentence
    section: 3.3.5                        # of the survey, or where else the claim is made
    hypothesis: >                         # what is expected of the figure, and why
      ...
    fixed_on: 2026-11-30                  # when this was written; it must have been before it ran
    measure:                              # what is asked, see ``measure.py``: a class and its settings
      class_path: Agreement
      init_args: {space: {class_path: NASBench201}, evaluator: {class_path: Predictor}, ...}
    vary:                                 # optional; of several, all combinations
      evaluator.labels: [50, 100]         # values of a setting, dots lead inside
      model:                              # or by names of one's own: the settings that change
        trees: {evaluator.model: {class_path: RandomForest}}
        graph: {evaluator.model: {class_path: GraphNetwork}, evaluator.folds: 0}
    seeds: 10                             # each setting is measured under the seeds 0 to 9
    figure: drop                          # of those that the measure gives
    compare: [50 / trees, 100 / trees]    # one setting, or two: the figure of the first minus that of the second
    test: permutation                     # permutation, wilcoxon, t or binomial, see ``verdicts.py``
    direction: above                      # the claim holds if the effect is above the threshold, or below
    threshold: 0.1
    error: 0.05                           # optional: how often the interval may miss the true effect

A study without ``compare``, ``test``, ``direction`` and ``threshold`` claims nothing: it is a table. Classes are named
by their short names or import paths, and components are given as ``class_path`` and ``init_args`` throughout.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import difflib
import hashlib
import importlib.resources
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from archsearch.basics.checks import is_finite
from archsearch.components import build, with_paths
from archsearch.errors import UnknownName, UsageError
from archsearch.files.yaml_files import read_yaml_file, yaml_lines
from archsearch.studies.cells import Asked, Cells
from archsearch.studies.measure import Measure
from archsearch.studies.verdicts import Direction, Test

SUFFIX = ".yaml"
ERROR = 0.05
TEXTS = ("claim", "section", "hypothesis")
ASKING = ("compare", "test", "direction", "threshold")
NEEDED = (*TEXTS, "fixed_on", "measure", "seeds", "figure")
KEYS = (*NEEDED, "vary", *ASKING, "error")
BETWEEN = " / "
"""Between the names of a setting in several things that are varied."""
ALONE = "as it is"
"""Name of the only setting, where nothing is varied."""


class Question(NamedTuple):
    """How the claim is judged; see the text of this module."""

    compare: tuple[str, ...]
    test: Test
    direction: Direction
    threshold: float
    error: float = ERROR

    def __str__(self) -> str:
        effect = " minus ".join(self.compare).replace(ALONE, "it")
        return f"{effect} is {self.direction} {self.threshold:g} ({self.test}, error {self.error:g})"


@dataclasses.dataclass(frozen=True)
class Study:
    """A study as its file has it.

    Attributes:
        name: That of the file, without its suffix.
        path: The file.
        digest: SHA-256 of its content, as hexadecimal digits.
        claim: One sentence.
        section: Where the claim is made.
        hypothesis: What is expected, and why.
        fixed_on: When it was written.
        measures: What is asked, by the name of the setting.
        seeds: How many; each setting has the same.
        figure: The one that the claim is about.
        question: How the claim is judged; None: nothing is claimed.
    """

    name: str
    path: Path
    digest: str
    claim: str
    section: str
    hypothesis: str
    fixed_on: datetime.date
    measures: Mapping[str, Measure]
    seeds: int
    figure: str
    question: Question | None = None

    @property
    def space(self) -> Cells:
        """Its cells."""
        return Cells(list(self.measures), self.seeds)

    @property
    def evaluator(self) -> Asked:
        """Who fills them."""
        return Asked(dict(self.measures), self.figure)

    @property
    def kinds(self) -> Mapping[str, str]:
        """The figures of its measures, with what they mean."""
        return next(iter(self.measures.values())).figures


def shipped() -> dict[str, Path]:
    """The files of the studies that come with the package, by name."""
    folder = Path(str(importlib.resources.files("archsearch") / "studies" / "claims"))
    return {file.stem: file for file in sorted(folder.glob(f"*{SUFFIX}"))}


def read_study(study: str | Path, *, trust: bool = False) -> Study:
    """Reads a study.

    Args:
        study: Name of one that comes with the package, or the path of a file.
        trust: Whether code that the file names may be run, see ``components.build``.

    Raises:
        UsageError: If there is no such study, or something in the file is not as expected; the message names its line.
        NotTrusted: If it names something that is not installed, and is not trusted.
    """
    path = _path(study)
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected the YAML file of a study") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: no UTF-8; expected the YAML file of a study") from None
    content = read_yaml_file(str(path), text)
    digest = hashlib.sha256(data).hexdigest()
    return _Reader(path, yaml_lines(text) if text.strip() else {}, trust).study(content, digest)


def _path(study: str | Path) -> Path:
    known = shipped()
    if str(study) in known:
        return known[str(study)]
    if Path(study).suffix in (SUFFIX, ".yml"):
        return Path(study)
    close = difflib.get_close_matches(str(study), known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    raise UnknownName(
        f"no study is called {str(study)!r}{hint} Known: {', '.join(known)}. One of your own works by the path of its "
        f"{SUFFIX} file"
    )


class _Reader:
    """Reads one file, whose lines are named in errors."""

    def __init__(self, path: Path, lines: Mapping[tuple[str, ...], int], trust: bool) -> None:
        self._path, self._lines, self._trust = path, lines, trust

    def _refused(self, keys: Sequence[str], message: str) -> UsageError:
        line = next(
            (self._lines[tuple(keys[:n])] for n in range(len(keys), 0, -1) if tuple(keys[:n]) in self._lines), 1
        )
        name = f"{'.'.join(keys)}: " if keys else ""
        return UsageError(f"{self._path}, line {line}: {name}{message}")

    def study(self, content: Any, digest: str) -> Study:
        if not isinstance(content, Mapping):
            raise self._refused((), f"expected a mapping with {', '.join(NEEDED)}, got {content!r:.80}")
        for key in content:
            if key not in KEYS:
                raise self._refused((str(key),), _unknown("no key of a study", key, KEYS))
        if missing := [key for key in NEEDED if key not in content]:
            raise self._refused((), f"expected {', '.join(missing)}, got no such key")
        for key in TEXTS:
            if not isinstance(content[key], str) or not content[key].strip():
                raise self._refused((key,), f"expected a text (in quotes, if it is a number), got {content[key]!r}")
        seeds = content["seeds"]
        if type(seeds) is not int or seeds < 1:
            raise self._refused(("seeds",), f"expected a whole number >= 1, got {seeds!r}")
        measures = self._measures(content["measure"], content.get("vary", {}))
        figures = next(iter(measures.values())).figures
        if content["figure"] not in figures:
            raise self._refused(("figure",), _unknown("no figure of the measure", content["figure"], figures))
        return Study(
            name=self._path.stem,
            path=self._path,
            digest=digest,
            **{key: " ".join(content[key].split()) for key in TEXTS},
            fixed_on=self._date(content["fixed_on"]),
            measures=measures,
            seeds=seeds,
            figure=content["figure"],
            question=self._question(content, list(measures)),
        )

    def _date(self, given: Any) -> datetime.date:
        try:
            found = datetime.date.fromisoformat(str(given))
        except ValueError:
            raise self._refused(("fixed_on",), f"expected a date such as 2026-11-30, got {given!r}") from None
        if found > datetime.date.today():
            raise self._refused(
                ("fixed_on",), f"expected the day on which this was written, got {found}, still to come"
            )
        return found

    # -- what is measured --------------------------------------------------------------------------

    def _measures(self, description: Any, vary: Any) -> dict[str, Measure]:
        """A measure for each combination of what is varied."""
        if not isinstance(vary, Mapping):
            raise self._refused(("vary",), f"expected settings with their values, got {vary!r:.80}")
        axes = [self._axis(str(name), values) for name, values in vary.items()]
        found: dict[str, Measure] = {}
        for combination in itertools.product(*axes):
            label = BETWEEN.join(name for name, _, _ in combination) or ALONE
            plain = copy.deepcopy(description)
            keys: tuple[str, ...] = ("measure",)
            for _, changes, where in combination:
                for setting, value in changes.items():
                    plain, keys = self._changed(plain, setting, value, where), where
            if label in found:
                raise self._refused(("vary",), f"two settings are called {label!r}")
            found[label] = self._measure(plain, keys)
        return found

    def _axis(self, name: str, values: Any) -> list[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
        """The names of what is varied, each with the settings that change, and where that stands."""
        where = ("vary", name)
        if isinstance(values, list) and values:
            return [(_label(value), {name: value}, (*where, str(i))) for i, value in enumerate(values)]
        if isinstance(values, Mapping) and values:
            for label, changes in values.items():
                if not isinstance(changes, Mapping):
                    raise self._refused((*where, str(label)), f"expected the settings that change, got {changes!r:.80}")
            return [(str(label), changes, (*where, str(label))) for label, changes in values.items()]
        raise self._refused(
            where, f"expected a list of values, or names with the settings that change, got {values!r:.80}"
        )

    def _changed(self, description: Any, setting: str, value: Any, where: tuple[str, ...]) -> Any:
        """The description with one setting changed; its name leads inside by dots."""
        if not isinstance(description, Mapping) or "class_path" not in description:
            raise self._refused(where, f"{setting}: expected a component there, got {description!r:.80}")
        name, _, rest = setting.partition(".")
        arguments = dict(description.get("init_args") or {})
        if rest and name not in arguments:
            raise self._refused(where, f"{setting}: the measure has no {name} given; known: {', '.join(arguments)}")
        arguments[name] = self._changed(arguments[name], rest, value, where) if rest else copy.deepcopy(value)
        return {**description, "init_args": arguments}

    def _measure(self, description: Any, keys: tuple[str, ...]) -> Measure:
        try:
            plain = with_paths(description, "measures")
            found: Measure = build(plain, "measures", trust=self._trust, where=str(self._path))
        except UsageError as error:
            text = str(error).removeprefix(f"{self._path}: ")
            raise type(error)(str(self._refused(keys, text))) from None
        return found

    # -- what is asked -----------------------------------------------------------------------------

    def _question(self, content: Mapping[str, Any], settings: Sequence[str]) -> Question | None:
        given = [key for key in (*ASKING, "error") if key in content]
        if not given:
            return None
        if missing := [key for key in ASKING if key not in content]:
            raise self._refused((given[0],), f"expected {', '.join(missing)} beside it, or none of {', '.join(ASKING)}")
        compare, error = content["compare"], content.get("error", ERROR)
        compare = [_label(each) for each in (compare if isinstance(compare, list) else [compare])]
        for each in compare:
            if each not in settings:
                raise self._refused(("compare",), _unknown("no setting", each, settings))
        if not 1 <= len(compare) <= 2 or len(set(compare)) < len(compare):
            raise self._refused(("compare",), f"expected one setting, or two different ones, got {compare}")
        for key, known in (("test", get_args(Test)), ("direction", get_args(Direction))):
            if content[key] not in known:
                raise self._refused((key,), _unknown(f"no {key}", content[key], known))
        if content["test"] == "binomial" and len(compare) == 2:
            raise self._refused(("compare",), "the test binomial is of a share: expected one setting, got two")
        if not is_finite(content["threshold"]):
            raise self._refused(("threshold",), f"expected a finite number, got {content['threshold']!r}")
        if not is_finite(error) or not 0 < error < 1:
            raise self._refused(("error",), f"expected a number between 0 and 1, got {error!r}")
        threshold = float(content["threshold"])
        return Question(tuple(compare), content["test"], content["direction"], threshold, float(error))


def _unknown(what: str, given: Any, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(given), known, n=1)
    return f"{what} is called {given!r}{f'; did you mean {close[0]}?' if close else '.'} Known: {', '.join(known)}"


def _label(value: Any) -> str:
    """What a value of a setting is called."""
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    return str(value).lower() if isinstance(value, bool) else str(value)
