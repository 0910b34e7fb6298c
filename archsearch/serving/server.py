"""The server behind the page: it answers the user of this machine who started it, reads, and does nothing else.

It listens at 127.0.0.1 alone. Its address has a key that is new with each start, since other users of a machine reach
127.0.0.1, too. The name by which it is asked must be that of this machine: a page of a stranger whose name was made
to lead here ("DNS rebinding") gets nothing. Runs are found by ids that this process gives them, never by paths.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import secrets
import threading
import time
import urllib.parse
import warnings
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from archsearch.basics.descriptions import json_value
from archsearch.basics.words import plain
from archsearch.errors import ArchsearchError, UsageError
from archsearch.files.damage import DamageWarning
from archsearch.serving.documents import LEISURE, drawing, run_document, runs_document, trials_document
from archsearch.serving.runs import Runs

HERE = Path(__file__).parent
PORT = 8237
LONGEST_PAUSE = 60.0
"""Seconds that the page waits at most before it asks again."""

NAMES = frozenset(("127.0.0.1", "localhost"))
"""By which the server may be asked; any port, since ``ssh -L`` may have another one."""

PAGE_FILES = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
DRAWING_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Of a drawing that is opened by itself: no script, whatever the names of its operations hold."""


class Reply(NamedTuple):
    """What is sent.

    Attributes:
        status: Of HTTP.
        kind: Its media type.
        body: The content.
    """

    status: HTTPStatus
    kind: str
    body: bytes


class PageServer:
    """A page over runs, served until it is closed.

    Args:
        folders: Run folders, or folders above some.
        port: Where to listen at 127.0.0.1; 0: a free one.
        trust: See ``archsearch.resume``.

    Attributes:
        address: Of the page, with its key.

    Raises:
        UsageError: If one of ``folders`` is none, or the port is taken.
    """

    def __init__(self, folders: Sequence[str | Path], port: int = PORT, *, trust: bool = False) -> None:
        if not 0 <= port < 65_536:
            raise UsageError(f"port: expected 0 to 65535, got {port}")
        self._runs = Runs(folders, trust)
        self._lock = threading.Lock()
        self._key = secrets.token_urlsafe(16)
        owner = self

        class Handler(_Handler):
            page = owner

        try:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UsageError(
                f"port {port}: cannot listen there ({error.strerror}); --port 0 takes a free one"
            ) from None
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/{self._key}/"

    def serve(self) -> None:
        """Answers until ``close`` is called by another thread, or an exception, such as by Ctrl-C, ends it."""
        with self._server:
            self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Ends ``serve``."""
        self._server.shutdown()

    def reply(self, host: str, target: str) -> Reply:
        """What is answered to a request.

        Args:
            host: By which name it was asked.
            target: The path that was asked for, with what follows it.
        """
        if host.rpartition(":")[0] not in NAMES and host not in NAMES:
            return _text(HTTPStatus.FORBIDDEN, "ask for this page by the address that 'archsearch serve' has printed")
        path, _, query = target.partition("?")
        key, *rest = path.removeprefix("/").split("/")
        if not secrets.compare_digest(key.encode(), self._key.encode()) or len(rest) != 1:
            return _text(
                HTTPStatus.NOT_FOUND, "nothing is here; the address is the one that 'archsearch serve' has printed"
            )
        if rest[0] in PAGE_FILES:
            name, kind = PAGE_FILES[rest[0]]
            return Reply(HTTPStatus.OK, f"{kind}; charset=utf-8", (HERE / name).read_bytes())
        try:
            asked = dict(urllib.parse.parse_qsl(query, max_num_fields=10, keep_blank_values=True))
            with self._lock, warnings.catch_warnings():
                warnings.simplefilter("ignore", DamageWarning)  # the page tells of it
                return self._read(rest[0], asked)
        except ArchsearchError as error:
            return _json({"error": plain(str(error))}, HTTPStatus.NOT_FOUND)
        except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
            return _json({"error": plain(f"{type(error).__name__}: {error}")[:300]}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _read(self, what: str, asked: Mapping[str, str]) -> Reply:
        began = time.process_time()
        if what == "runs.json":
            found = runs_document(self._runs)
            return _json(found | {"pause": min(LEISURE * (time.process_time() - began), LONGEST_PAUSE)})
        look = self._runs.look(asked.get("run", ""))
        if what == "run.json":
            return _json(run_document(self._runs, look))
        if what == "trials.json":
            return _json(trials_document(self._runs, look, asked))
        if what == "drawing.svg":
            return Reply(HTTPStatus.OK, "image/svg+xml", drawing(self._runs, look, asked.get("trial", "")))
        return _text(HTTPStatus.NOT_FOUND, "nothing is here")


class _Handler(http.server.BaseHTTPRequestHandler):
    """Hands requests to a page."""

    page: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "archsearch", ""
    timeout = 60

    def do_GET(self) -> None:
        self._send(self.page.reply(self.headers.get("Host", ""), self.path))

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Whatever is no GET or HEAD."""
        self.close_connection = True
        self._send(_text(HTTPStatus(code), "only GET and HEAD are answered here"))

    def _send(self, reply: Reply) -> None:
        headers = {**HEADERS, "Content-Type": reply.kind, "Content-Length": str(len(reply.body))}
        if reply.kind.startswith("image/svg"):
            headers["Content-Security-Policy"] = DRAWING_POLICY
        with contextlib.suppress(ConnectionError, TimeoutError):  # the browser has gone on
            self.send_response(reply.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


def _json(document: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Reply:
    return Reply(status, "application/json", json.dumps(json_value(document), allow_nan=False).encode())


def _text(status: HTTPStatus, text: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode())
