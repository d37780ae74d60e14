"""Serve the built book on this machine."""

from __future__ import annotations

import errno
import functools
import os
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from normcourse.workshop.console import Trouble, say

__all__ = ["Handler", "bind", "serve"]

HOST = "127.0.0.1"
PORT = 8000
TRIES = 50


class Handler(SimpleHTTPRequestHandler):
    """Files with the types a browser insists on, never stale, without a line per request."""

    extensions_map = {  # noqa: RUF012 - the base class declares it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal shows the address and stays readable."""


class Server(ThreadingHTTPServer):
    """On Windows two programs may share an address that is "reused"; there it must not be."""

    allow_reuse_address = os.name != "nt"
    daemon_threads = True


def bind(folder: Path, port: int = PORT) -> Server:
    """A server for ``folder`` on the first free port from ``port`` on.

    Raises:
        Trouble: the port is none, or all of the next ``TRIES`` are taken.
    """
    if not 0 <= port <= 65535:
        raise Trouble(f"PORT={port} is no port; use a number from 1024 to 65535")
    handler = functools.partial(Handler, directory=str(folder))
    for candidate in range(port, min(port + TRIES, 65536)):
        try:
            return Server((HOST, candidate), handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise Trouble(f"no free port from {port} to {port + TRIES - 1}; name another with PORT=")


def serve(folder: Path, port: int = PORT) -> None:
    """Serve ``folder`` until Ctrl-C."""
    with bind(folder, port) as server:
        actual = server.server_address[1]
        if port not in (0, actual):
            say(f"Port {port} is in use; taking {actual}.")
        say(f"The book is at  http://{HOST}:{actual}/  (Ctrl-C ends)")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("\nGood-bye.")
