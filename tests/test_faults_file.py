"""Lines of ``faults.jsonl`` are whole, or not there."""

import json
import subprocess
import sys

from archsearch.keeping.folder import RunFolder

WRITES_UNTIL_IT_IS_FULL = """
import resource, signal, sys
from archsearch.errors import StorageError
from archsearch.keeping.folder import RunFolder
folder = RunFolder(sys.argv[1])
folder.add_fault({"kind": "exception", "error": "first"})
size = (folder.path / "faults.jsonl").stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    folder.add_fault({"kind": "exception", "error": "second"})
except StorageError:
    print("refused", (folder.path / "faults.jsonl").stat().st_size - size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
folder.add_fault({"kind": "timeout", "error": "third"})
"""


def test_a_line_for_which_there_is_no_room_leaves_no_part_behind(tmp_path):
    command = [sys.executable, "-c", WRITES_UNTIL_IT_IS_FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "refused 0\n"
    lines = (tmp_path / "faults.jsonl").read_text().splitlines()
    assert [json.loads(line)["error"] for line in lines] == ["first", "third"]
    folder = RunFolder(tmp_path)
    assert folder.faults() == {"exception": 1, "timeout": 1}
    assert not folder.notices.lines
