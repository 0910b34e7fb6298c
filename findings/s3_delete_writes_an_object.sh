#!/usr/bin/env bash
# To delete an object, pyarrow's S3 file system writes another one: delete_file("bucket/a/b") is HEAD, DELETE, and then a PUT of
# an empty object "a/", always, whatever else lies below a/.
#
# Packages: pyarrow 26.0.1.
# Guess before it was run: one DELETE, perhaps a HEAD before it to tell a file that is missing.
# Seen (2026-11-30): three requests, the last of which writes. Without the right to write, the object is gone and the call
#   raises all the same. There is no setting against it.
# Why it matters here: a store from which what is no longer needed is deleted one by one pays three requests for each, two of
#   them at the price of a write, and keeps an empty object for every folder; so archsearch deletes in batches.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import http.server
import threading

import pyarrow
from pyarrow import fs

seen, refuse = [], False


class Store(http.server.BaseHTTPRequestHandler):
    """Answers every request as if there were such an object, and notes it."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen.append((self.command, self.path))
        no = refuse and self.command == "PUT"
        self.send_response(403 if no else 204 if self.command == "DELETE" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
place = {"endpoint_override": f"127.0.0.1:{server.server_address[1]}", "scheme": "http", "region": "us-east-1"}
files = fs.S3FileSystem(access_key="a", secret_key="b", **place)
files.delete_file("bucket/a/b")
print("pyarrow", pyarrow.__version__, seen)
assert seen == [("HEAD", "/bucket/a/b"), ("DELETE", "/bucket/a/b"), ("PUT", "/bucket/a/")], "this has changed"
seen.clear()
refuse = True
try:
    files.delete_file("bucket/a/b")
except OSError as error:
    print("without the right to write:", seen, str(error)[:120])
else:
    raise SystemExit("nothing is raised: this has changed")
assert ("DELETE", "/bucket/a/b") in seen, "this has changed"
server.shutdown()
PYTHON
