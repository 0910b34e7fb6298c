"""What pre-commit asks before a commit is what `make lint` asks."""

import shutil
import subprocess

import pytest
import yaml
from pages import ROOT

HOOKS = {
    hook["id"]: (repo["repo"], hook)
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_commands_are_those_of_make_lint():
    printed = subprocess.run(
        ["make", "--dry-run", "-o", "setup", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    linting = [line.removeprefix(".venv/bin/") for line in printed.splitlines() if "ruff" in line]
    assert [f"{hook['entry']} ." for _, hook in HOOKS.values()] == linting


def test_the_version_is_the_pinned_one_and_comes_from_the_package_index():
    (pin,) = [line for line in (ROOT / "constraints.txt").read_text().split() if line.startswith("ruff==")]
    for source, hook in HOOKS.values():
        assert source == "local"  # nothing is fetched from a git host
        assert hook["language"] == "python"
        assert hook["additional_dependencies"] == [pin]


def test_all_of_a_commits_python_files_are_looked_at():
    for _, hook in HOOKS.values():
        assert set(hook["types_or"]) >= {"python", "pyi"}
        assert not {"files", "exclude", "args", "stages"} & hook.keys()
        assert hook.get("pass_filenames", True)
