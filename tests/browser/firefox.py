"""A Firefox that is on the machine, driven by WebDriver BiDi over its own WebSocket."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import websocket

PATIENCE = 180.0  # seconds: a first start with Python on a busy machine


def find_firefox() -> str | None:
    """Return the path of a Firefox on this machine, or None."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """One headless Firefox with one tab, and what the tab asked for and complained of.

    Args:
        program: path of the browser.

    Raises:
        RuntimeError: it does not come up, or refuses a command.
    """

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="normcourse-firefox-")
        quiet = {"app.update.auto": "false", "browser.shell.checkDefaultBrowser": "false"}
        lines = (f'user_pref("{name}", {value});\n' for name, value in quiet.items())
        Path(self._profile.name, "user.js").write_text("".join(lines), encoding="utf-8")
        words = [program, "--headless", "--no-remote", "--profile", self._profile.name]
        self._process = subprocess.Popen(
            [*words, "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._number = itertools.count(1)
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self._socket = websocket.create_connection(
            f"{self._address()}/session", timeout=PATIENCE, suppress_origin=True
        )
        self.do("session.new", capabilities={})
        (tree,) = self.do("browsingContext.getTree")["contexts"]
        self._tab = tree["context"]
        self.do("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(websocket.WebSocketException, OSError):
            self._socket.close()
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        with suppress(OSError):  # a process of its own may still write into it
            self._profile.cleanup()

    def open(self, url: str) -> None:
        """Open a page and wait until it has loaded."""
        self.do("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def run(self, script: str) -> Any:
        """Return what a function of JavaScript gives; a promise is waited for.

        Raises:
            RuntimeError: the function throws.
        """
        answer = self.do(
            "script.callFunction",
            functionDeclaration=script,
            target={"context": self._tab},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Return what a function gives as soon as it is something.

        Raises:
            TimeoutError: it stays nothing.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := self.run(script):
                return found
            time.sleep(0.2)
        raise TimeoutError(f"nothing came of {script}")

    def press(self, *keys: str) -> None:
        """Press some keys together, in the element that has the focus."""
        down = [{"type": "keyDown", "value": key} for key in keys]
        up = [{"type": "keyUp", "value": key} for key in reversed(keys)]
        actions = [{"type": "key", "id": "keys", "actions": [*down, *up]}]
        self.do("input.performActions", context=self._tab, actions=actions)

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are noted.

        Raises:
            RuntimeError: the browser refuses.
        """
        number = next(self._number)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                break
            self._note(message)
        if message["type"] == "error":
            raise RuntimeError(f"{method}: {message['error']}: {message['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def _note(self, message: dict[str, Any]) -> None:
        method, content = message.get("method"), message.get("params", {})
        if method == "log.entryAdded" and content["level"] in ("warn", "error"):
            self.complaints.append(f"{content['level']}: {content['text']}")
        elif method == "network.beforeRequestSent":
            host = urlsplit(content["request"]["url"]).netloc
            self.hosts |= {host} if host else set()

    def _address(self) -> str:
        """Return the address that the browser prints when it listens."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                return found[1]
        raise RuntimeError("Firefox ended before it listened.")
