"""The built site on a free port, Chromium, and each page opened once."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from normcourse.site import npm
from normcourse.workshop.book import entries
from normcourse.workshop.serve import Handler
from normcourse.workshop.stages import find_chromium

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("NORMCOURSE_SITE", ROOT / "_build" / "html"))
PAGES = [f"{entry}.html" for entry in entries(ROOT)]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NO_WORKER = "Service Worker registration blocked by Playwright"  # said where it is blocked
PATIENCE = 60_000  # milliseconds: a busy machine is no failure
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these need the built site and Chromium."""
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@dataclass
class Visit:
    """A page that was opened, and what it asked for and complained of meanwhile."""

    page: Page
    path: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Collect from now on."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", self._lost)
        self.page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and message.text != NO_WORKER:
            self.complaints.append(f"console {message.type}: {message.text}")

    def _lost(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # left behind by going on to the next page
            self.complaints.append(f"lost: {request.url} ({request.failure})")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def paths(self) -> set[str]:
        """The paths asked for on our own host."""
        return {urlsplit(url).path for url in self.requests}


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site."""
    return SITE


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The site's address on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One Chromium for the whole run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, as package-lock.json pins it."""
    try:
        modules = npm.install(ROOT, ROOT / "_build" / "npm")
    except npm.NpmError as error:
        pytest.skip(f"axe-core cannot be had: {error}")
    return (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def runtime(site: Path) -> None:
    """Skip where the book was built without Python for the browser."""
    if not list(site.glob("live/pyodide-*/pyodide.mjs")):
        pytest.skip("the book was built without Python for the browser (npm could not be reached)")


def settled(page: Page) -> None:
    """Wait for the scripts, which a page asks for once its text is on the screen."""
    if page.evaluate("() => document.documentElement.dataset.scripts") == "waiting":
        page.wait_for_function("() => document.documentElement.dataset.scripts === 'run'")
        page.wait_for_load_state("networkidle")


def open_page(browser: Browser, address: str, path: str, **options: object) -> Visit:
    """Open ``path`` in a fresh context and wait until scripts have settled.

    Nothing is kept for times without a network, unless ``service_workers`` allows it: each context
    would fetch the whole site.
    """
    usual = {
        "viewport": {"width": 1280, "height": 900},
        "color_scheme": "light",
        "service_workers": "block",
    }
    context = browser.new_context(**{**usual, **options})  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    visit = Visit(context.new_page(), path)
    visit.listen()
    visit.page.goto(f"{address}/{path}", wait_until="networkidle")
    settled(visit.page)
    return visit


@pytest.fixture(scope="module", params=PAGES)
def visit(request: pytest.FixtureRequest, chromium: Browser, address: str) -> Iterator[Visit]:
    """Each page of the table of contents, opened once; tests put back what they change."""
    opened = open_page(chromium, address, request.param)
    yield opened
    opened.page.context.close()
