"""``xse dashboard``: the page of ``xse report``, made anew while the run goes on, for a browser on this host."""

from __future__ import annotations

import argparse
import secrets
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from xse.cli.report import record_of
from xse.cli.runs import RUN, checked
from xse.live.runs import NoRun
from xse.record import open_record
from xse.report.page import NoCharts, page
from xse.report.summary import Summary

AGAIN_S = 10  # the page asks for itself
LEAST_S = 2.0  # between two readings of the record, however many browsers ask


class Pages:
    """The page of the record at ``path``, not older than LEAST_S."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._made_at = -LEAST_S
        self._page = b""

    def get(self) -> bytes:
        with self._lock:
            if time.monotonic() - self._made_at >= LEAST_S:
                text = page(Summary(open_record(self._path)))
                again = f"<head><meta http-equiv=refresh content={AGAIN_S}>"
                self._page = text.replace("<head>", again, 1).encode()
                self._made_at = time.monotonic()
            return self._page


def server(pages: Pages, token: str, port: int = 0) -> ThreadingHTTPServer:
    """Answers on the loopback address alone, and only those who know the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
            if not secrets.compare_digest(given.encode(), token.encode()):
                self.send_error(403, "the address lacks the token that xse dashboard has printed")
                return
            data = pages.get()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="xse dashboard",
        description="Serve the page of 'xse report' on this host while the run goes on, until Ctrl-C.",
        allow_abbrev=False,
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    parser.add_argument("--port", type=int, default=0, help="the port, on 127.0.0.1 [a free one]")
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65_535:
        parser.error("--port must be from 0 to 65535")

    def command() -> int:
        pages = Pages(record_of(options.run).path)
        try:
            pages.get()
        except NoCharts as e:
            raise NoRun(str(e)) from None
        token = secrets.token_urlsafe(16)
        with server(pages, token, options.port) as http:
            port = http.server_address[1]
            print(f"http://127.0.0.1:{port}/?token={token}")
            print(f"From another host: ssh -L {port}:127.0.0.1:{port} HOST, and the same address.", flush=True)
            http.serve_forever()
        return 0

    return checked(command)
