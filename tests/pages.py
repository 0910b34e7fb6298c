"""The fenced blocks of the documentation. As a program, it prints the commands of a page: `python tests/pages.py PAGE`.

`python` and `sh` blocks are run by `test_docs.py`; `bash` blocks, which take longer, by `scripts/wheel_check`; what a
block fenced as `output` shows is what the block before it prints.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """(number, language, text, output expected) of each fenced block of a page."""
    found = FENCE.findall(page.read_text())
    for number, (language, text) in enumerate(found):
        following = found[number + 1] if number + 1 < len(found) else ("", "")
        yield number, language, text, following[1] if following[0] == "output" else None


def commands(page):
    """The lines of the blocks with commands, in their order."""
    return [line for _, language, text, _ in blocks(page) if language in ("sh", "bash") for line in text.splitlines()]


if __name__ == "__main__":
    print("\n".join(commands(Path(sys.argv[1]))))
