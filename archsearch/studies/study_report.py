"""All studies of a folder on one page, as Markdown, and as one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from archsearch.basics.words import format_seconds, markdown
from archsearch.errors import RunFolderError, UsageError
from archsearch.files.parquet import to_parquet
from archsearch.files.writing import write_whole
from archsearch.showing import page
from archsearch.studies.finding import Finding, ends
from archsearch.studies.records import FINDING, document, read_finding, table

TITLE = "Studies"
HEAD = ("study", "verdict", "effect", "expected", "seeds", "processor", "section")


def found_in(out: str | Path) -> list[Finding]:
    """What came of all studies in a folder, claims first.

    Raises:
        RunFolderError: If one cannot be read.
        UsageError: If there is none.
    """
    folders = sorted(path.parent for path in Path(out).glob(f"*/{FINDING}"))
    if not folders:
        raise UsageError(f"{out}: no study was run here; expected a folder that 'archsearch study run' has written to")
    return sorted(map(read_finding, folders), key=lambda finding: finding.question is None)


def report_studies(out: str | Path = "studies", target: str | Path | None = None, command: str = "") -> Path:
    """Writes ``index.html``, ``results.md``, ``results.json`` and ``results.parquet`` of all studies.

    Args:
        out: Folder of the studies.
        target: Where to write; None: there.
        command: What makes this page again; empty leaves it out.

    Returns:
        The page.

    Raises:
        UsageError: If there is no study.
        RunFolderError: If something cannot be read or written.
    """
    findings = found_in(out)
    target = Path(out if target is None else target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        write_whole(target / "results.parquet", to_parquet(table(findings), compression="zstd"))
        write_whole(target / "results.json", (json.dumps([*map(document, findings)], indent=1) + "\n").encode())
        write_whole(target / "results.md", _markdown(findings, command).encode())
        write_whole(target / "index.html", _page(findings, command).encode())
    except OSError as error:
        raise RunFolderError(f"{target}: cannot write the report ({error.strerror})") from None
    return target / "index.html"


def summary(findings: Sequence[Finding]) -> list[list[str]]:
    """A line for each study, with a head."""
    rows = [list(HEAD)]
    for each in findings:
        effect, question = each.effect, each.question
        rows.append(
            [
                each.name,
                each.verdict,
                "-" if effect is None else f"{effect.value:.3g} {ends(effect)}",
                "-" if question is None else f"{question.direction} {question.threshold:g}",
                str(each.seeds),
                format_seconds(each.processor_seconds),
                each.section,
            ]
        )
    return rows


def _facts(finding: Finding) -> dict[str, str]:
    """What stands above the table of a study."""
    question = finding.question
    dates = sorted({session.date for session in finding.sessions})
    versions = sorted({session.versions for session in finding.sessions})
    return {
        "Claim": f"{finding.claim} ({finding.section})",
        "Expected": finding.hypothesis,
        **({} if question is None else {"Judged by": f"{finding.figure}: {question}"}),
        "Fixed on": f"{finding.fixed_on}, file {finding.digest[:16]}",
        "Measured": f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}, by {'; '.join(versions)}" if dates else "no",
        "Found": " ".join(finding.sentences),
    }


def _page(findings: Sequence[Finding], command: str) -> str:
    head, *rows = summary(findings)
    parts = [page.contents(head, rows)]
    for finding in findings:
        parts += [page.heading(finding.name, linked=True), page.terms(_facts(finding))]
        parts += [page.table(rows[0], rows[1:]) for rows in (finding.grid(), finding.rows()) if rows]
        parts.append(page.terms(finding.shown))
    if command:
        parts += [page.heading("Again"), page.command(command)]
    return page.page(TITLE, *parts)


def _markdown(findings: Sequence[Finding], command: str) -> str:
    lines = [f"# {TITLE}", "", *_table(summary(findings)), ""]
    for finding in findings:
        lines += [f"## {markdown(finding.name)}", ""]
        lines += [f"- **{name}.** {markdown(text)}" for name, text in _facts(finding).items()]
        lines += [line for rows in (finding.grid(), finding.rows()) if rows for line in ("", *_table(rows))]
        said = "; ".join(f"{markdown(name)}: {markdown(text)}" for name, text in finding.shown.items())
        lines += ["", f"{said}.", ""]
    if command:
        lines += [f"Made by `{command}`.", ""]
    return "\n".join(lines)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(map(markdown, row))} |" for row in rows]
    return [lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]]
