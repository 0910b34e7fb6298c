"""The card of an exported network: what it is, where it comes from, what it cost, and how far to trust it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.util
import inspect
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archsearch.basics.text_graphs import text_graph
from archsearch.basics.words import fenced, markdown, plain
from archsearch.bridges.exported import SAID_OF, Chosen, Forms, Weights
from archsearch.bridges.load_network import components
from archsearch.components import describe, entry_points, import_path, installed, not_installed, one_line
from archsearch.devices.exports import Compared
from archsearch.errors import RunFolderError
from archsearch.keeping.columns import RESERVED_COLUMNS
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.ledger import total_cost
from archsearch.showing.rows import component_text, number_text, without_none
from archsearch.showing.verified import Verification, verification_folder
from archsearch.space import Space
from archsearch.trial import NO_COST

if TYPE_CHECKING:
    import pyarrow as pa


# -- the model card ----------------------------------------------------------------------------


class Card:
    """What people should know of an export, in Markdown.

    Args:
        folder: The run.
        space: Its space.
        history: Its trials.
        verification: The newest.
        chosen: What is exported.
        weights: Its network.
    """

    def __init__(
        self,
        folder: RunFolder,
        space: Space,
        history: pa.Table,
        verification: Verification | None,
        chosen: Chosen,
        weights: Weights | None,
    ) -> None:
        self.folder = folder
        self.config = folder.config()
        self.space = space
        self.history = history
        self.verification = verification
        self.chosen = chosen
        self.weights = weights

    def text(self, forms: Forms, compared: Mapping[str, Compared]) -> str:
        """The card.

        Args:
            forms: As what else the network was written.
            compared: The files of these, each with how it agrees with the network.
        """
        use = self._use(compared)
        parts = [self._head(), self._scores(), self._cost(), self._provenance(forms), use, self._limits()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        kind = type(self.space).__name__
        what = f"An architecture of the space {kind}, found by neural architecture search with archsearch"
        if self.weights is None:
            what += ". There are no weights."
        else:
            task = self.weights.trained.task
            what += f", and its network with weights: {task.described[0]} (task {task.name})."
        graph = text_graph(self.space.graph(self.chosen.architecture))
        name = self.folder.path.resolve().name
        return f"# {kind}: trial {self.chosen.trial} of {markdown(name)}\n\n{what}\n\n" + fenced(
            f"{plain(self.chosen.row['name'])}\n\n{graph}"
        )

    def _scores(self) -> str:
        row, verified, weights = self.chosen.row, self.chosen.verified, self.weights
        metrics = {name: row[name] for name in row if name not in RESERVED_COLUMNS}
        columns: dict[str, Mapping[str, Any]] = {"the search": {"score": row["score"], **metrics}}
        if verified is not None and self.verification is not None:
            columns[f"verification {self.verification.number}"] = {"score": verified.score, **verified.metrics}
        if weights is not None:
            found = weights.trained.evaluation
            columns["these weights"] = {"score": found.score, **found.metrics}
        names = dict.fromkeys(name for figures in columns.values() for name in figures)
        lines = ["## Scores", "", f"| figure | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for name in names:
            cells = [markdown(name), *(number_text(each.get(name)) for each in columns.values())]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", *(f"- {text}" for text in self._meanings())])

    def _meanings(self) -> Iterator[str]:
        """What the scores are."""
        yield f"The search: {_meaning(self.config['evaluator'])}"
        if self.verification is not None:
            where = f"Verification {self.verification.number} ({self.verification.date[:10]})"
            tau = self.verification.kendall_tau
            agreement = "" if tau is None else f"; Kendall's tau between the two orders is {tau:.3g}"
            yield f"{where}: {self.verification.evaluator}; {self.verification.sentence}{agreement}."
        if self.weights is not None:
            yield f"These weights: {_meaning(self.weights.evaluator)} The score is {self.weights.comparison}."
            task = self.weights.trained.task
            of_test = f"; test_{task.goal.metric} is of the part test, which no search uses"
            tested = f"test_{task.goal.metric}" in self.weights.trained.evaluation.metrics
            yield f"{task.examples.capitalize()}: {task!r}. Scores are of the part valid{of_test * tested}."

    def _cost(self) -> str:
        from archsearch.basics.words import format_cost

        lines = ["## Cost", "", f"- the search: {format_cost(total_cost(self.history))}"]
        lines.append(f"- its set-up: {format_cost(self.folder.setup_cost())}")
        if self.verification is not None:
            lines.append(f"- the verification: {format_cost(self.verification.cost)}")
        if self.weights is not None:
            recorded = self.weights.recorded
            cost = self.weights.trained.evaluation.cost if recorded is None else recorded.cost
            lines.append(f"- these weights: {format_cost(cost)}")
            if self.weights.set_up != NO_COST:
                lines.append(f"- their set-up: {format_cost(self.weights.set_up)}")
        return "\n".join(lines)

    def _provenance(self, forms: Forms) -> str:
        config, weights = self.config, self.weights
        facts = {what: component_text(config[what]) for what in ("space", "controller", "evaluator")}
        facts |= {"trial": str(self.chosen.trial), "seed of the search": str(config["seed"])}
        facts["versions of the search"] = _versions(config["versions"])
        options = forms.options
        if weights is not None:
            facts["weights"] = f"{weights.origin}, by {component_text(dict(weights.evaluator))}, seed {weights.seed}"
            if weights.recorded is None:
                options = f" {_option('evaluator', weights.evaluator)}{options}"
        here = {name: importlib.metadata.version(name) for name in ("archsearch", "torch")}
        facts["exported"] = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d} with {_versions(here)}"
        lines = [f"- {name}: {markdown(text)}" for name, text in facts.items()]
        from_run = f"archsearch export {shlex.quote(str(self.folder.path.resolve()))} --trial {self.chosen.trial}"
        for text, commands in (
            ("Export again, from the folder of the run:", [from_run + options]),
            ("All of it again, in a new folder:", self._all_again(options)),
        ):
            lines += ["", text, "", "```", *commands, "```"]
        return "\n".join(["## Provenance", "", *lines])

    def _all_again(self, options: str) -> Iterator[str]:
        """The commands that search, verify and export as it was done for this card."""
        yield _run_command(self.config)
        if self.verification is not None:
            below = RunFolder(verification_folder(self.folder, self.verification.number))
            top, seed = len(self.verification.architectures), self.verification.seed
            # Where that folder is damaged, what was verified is known all the same.
            with contextlib.suppress(RunFolderError, LookupError, TypeError, AttributeError):
                evaluator = _option("evaluator", below.config()["evaluator"])
                yield f"archsearch verify NEW_FOLDER {evaluator} --top {top} --seed {seed}"
        # Only where the path of the search depends on the seed alone has a trial the same number again.
        same = self.config["executor"] != "ray" or self.config["settings"].get("lag") is not None
        yield f"archsearch export NEW_FOLDER{f' --trial {self.chosen.trial}' if same else ''}{options}"

    def _use(self, compared: Mapping[str, Compared]) -> str:
        if self.weights is None:
            return ""
        task = self.weights.trained.task
        lines = [
            "## Use",
            "",
            *task.described[1].split("\n"),
            "",
            "```python",
            *self._loading(),
            f"logits = network({task.examples})",
            "```",
        ]
        for file, found in compared.items():
            lines += ["", f"`{file}` {SAID_OF[file]}, for any number of images. R{str(found)[1:]}."]
        return "\n".join(lines)

    def _loading(self) -> list[str]:
        """Python that loads the network; a space that is not installed is given, since no file can have it imported."""
        description = describe(self.space)
        lines, given = ["from archsearch.bridges.export import load_network"], ""
        if not_installed(description, ("spaces",)) is not None:
            for path in dict.fromkeys(each["class_path"] for each in components(description)):
                module, _, name = path.rpartition(".")
                lines.append(f"from {module} import {name}")
            given = f", space={one_line(description)}"
        return [*lines, "", f"network = load_network({self.folder_name!r}{given})"]

    @property
    def folder_name(self) -> str:
        """Of the export."""
        return f"{self.chosen.place}-{self.chosen.trial}"

    def _limits(self) -> str:
        import pyarrow.compute as pc

        completed = pc.sum(pc.equal(self.history["status"], "completed")).as_py()
        lines = [
            "## Limits of use",
            "",
            f"The best of a search have the highest of its scores, here of {completed:,} on the same data, which are "
            "therefore optimistic; a test part that the search never used, or a verification, says more.",
        ]
        if self.weights is None:
            lines.append("Nothing was trained for this export.")
        else:
            name = self.weights.trained.task.name
            lines.append(
                f"The weights are of one training with seed {self.weights.seed}; with other seeds they and their score "
                f"differ. Nothing here says how well the network does on images other than those of {name}."
            )
            if self.weights.trained.note:
                lines.append(self.weights.trained.note)
        return "\n".join(lines)


def _meaning(description: Mapping[str, Any]) -> str:
    """Who scored, and what its class says of its score."""
    cls = installed(description["class_path"], ("evaluators",))
    text = "" if cls is None else (inspect.getdoc(cls) or "").split("\n\n")[0]
    return f"{component_text(dict(description))}. {' '.join(text.split())}".strip()


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _run_command(config: Mapping[str, Any]) -> str:
    """What begins such a search."""
    from archsearch.running.settings import Settings

    options = [_option(what, config[what]) for what in ("space", "controller", "evaluator")]
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name, value in config["settings"].items():
        if value != defaults.get(name):
            text = json.dumps(value) if isinstance(value, Mapping) else str(value)
            options.append(f"--{name} {shlex.quote(text)}")
    options += [f"--executor {config['executor']} --workers {config['workers']}"] if config["workers"] > 1 else []
    return f"archsearch run {' '.join(options)} --seed {config['seed']} --out NEW_FOLDER"


def _option(what: str, description: Mapping[str, Any]) -> str:
    """A component as an option of the command line."""
    given = without_none(dict(description))
    name = given["class_path"].rpartition(".")[2]
    known = entry_points(f"{what}s")
    if name in known and import_path(known[name].load()) == given["class_path"] and not given["init_args"]:
        return f"--{what} {name}"
    return f"--{what} {shlex.quote(json.dumps(given))}"
