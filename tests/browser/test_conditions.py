"""Bad conditions: the page stays usable, work is kept, and one sentence says what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from .cells import CHAPTER, HEAD, NAME, RIGHT, exercise, lesson
from .conftest import PATIENCE, settled

pytestmark = pytest.mark.usefixtures("runtime")
KEPT = "name => localStorage.getItem('normcourse:' + name)"
MINE = f"{HEAD}    return x  # mine\n"


@contextmanager
def visited(
    chromium: Browser, address: str, *, before: str = "", broken: str = "", by: str = ""
) -> Iterator[Page]:
    """Chapter 02, after the script ``before`` ran; files like ``broken`` do not come whole."""
    context = chromium.new_context(service_workers="block")
    context.set_default_timeout(PATIENCE)
    if before:
        context.add_init_script(before)
    if broken:
        context.route(broken, BREAK[by])
    page = context.new_page()
    page.goto(f"{address}/{CHAPTER}", wait_until="networkidle")
    settled(page)
    yield page
    context.close()


def missing(route: Route) -> None:
    route.fulfill(status=404, body="not here")


def halved(route: Route) -> None:
    response = route.fetch()
    body = response.body()
    route.fulfill(response=response, body=body[: len(body) // 2])


BREAK = {"missing": missing, "cut": halved, "lost": lambda route: route.abort()}


@pytest.fixture(scope="module")
def chapter(chromium: Browser, address: str) -> Iterator[Page]:
    with visited(chromium, address) as page:
        yield page


@pytest.mark.parametrize(
    ("file", "by"),
    [
        ("worker.js", "missing"),
        ("normcourse.zip", "missing"),
        ("pyodide.mjs", "cut"),
        ("pyodide.asm.wasm", "missing"),
        ("pyodide.asm.wasm", "cut"),
        ("pyodide-lock.json", "cut"),
        ("python_stdlib.zip", "cut"),
        ("numpy-*.whl", "cut"),
    ],
)
def test_python_that_does_not_arrive_whole(chapter: Page, file: str, by: str) -> None:
    """Each time a new worker, in one page."""
    page, cell = chapter, exercise(chapter)
    page.context.route(f"**/live/**/{file}", BREAK[by])
    said = cell.check(MINE)
    page.context.unroute_all()
    assert said.startswith("✗ Python could not be started")
    assert "Your code is kept" in said
    assert cell.code() == MINE
    assert json.loads(page.evaluate(KEPT, f"code:{NAME}"))["code"] == MINE
    expect(cell.button("Stop")).to_be_hidden()
    fold = page.locator(f"#{NAME} details[data-part=solution]")
    fold.locator(":scope > summary").click()  # still a page
    assert fold.evaluate("fold => fold.open")
    fold.locator(":scope > summary").click()


def test_once_the_files_come_python_starts(chapter: Page) -> None:
    assert exercise(chapter).check(RIGHT).startswith("✓ Passed")


def test_without_the_editor_there_is_a_text_field(chromium: Browser, address: str) -> None:
    with visited(chromium, address, broken="**/editor.js", by="missing") as page:
        cell = exercise(page)
        cell.write(MINE)
        assert cell.editor.evaluate("e => e.localName") == "textarea"
        assert cell.editor.get_attribute("aria-label") == f"Code of the exercise {NAME}"
        page.reload(wait_until="networkidle")
        settled(page)
        assert cell.code() == MINE
        cell.button("Reset").click()
        assert cell.code().startswith(f'{HEAD}    """')
        cell.button("Bring mine back").click()
        assert cell.code() == MINE


OLD_BROWSER = "Worker = class { constructor(address) {} terminate() {} }"


def test_an_old_browser_without_module_workers(chromium: Browser, address: str) -> None:
    with visited(chromium, address, before=OLD_BROWSER) as page:
        cell = exercise(page)
        said = cell.check(MINE)
        assert said.startswith("✗ This browser cannot run Python in a page")
        assert "in the notebook or on the terminal" in said
        assert cell.code() == MINE


BLOCKED = """Object.defineProperty(window, "localStorage", {
  get() { throw new DOMException("blocked", "SecurityError"); } });"""
FULL = """Storage.prototype.setItem = function () {
  throw new DOMException("no room", "QuotaExceededError"); };"""


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (BLOCKED, "This browser keeps nothing for this site"),
        (FULL, "The browser's storage is full"),
    ],
    ids=["blocked", "full"],
)
def test_storage_that_takes_nothing(
    chromium: Browser, address: str, before: str, sentence: str
) -> None:
    with visited(chromium, address, before=before) as page:
        cell = exercise(page)
        cell.write(MINE)
        expect(page.locator(".nc-notice")).to_contain_text(sentence)
        assert page.locator(".nc-notice").count() == 1
        page.locator(".nc-notice").get_by_role("button", name="Close").click()
        option = page.locator(".nc-option").first
        option.locator("summary").click()
        expect(page.locator(".nc-score")).to_contain_text("1 of 5 answered")
        assert cell.code() == MINE


DAMAGED = f"""for (const [key, text] of Object.entries({{
  "progress": '{{"schema": 1, "exercises": {{"a": ', "code:{NAME}": "def half(", "theme": "x",
  "quiz:02_batch_norm/steps": "3" }})) localStorage.setItem("normcourse:" + key, text);"""


def test_damaged_state_is_put_aside(chromium: Browser, address: str) -> None:
    with visited(chromium, address) as page:
        page.evaluate(DAMAGED)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.reload(wait_until="networkidle")
        settled(page)
        cell = exercise(page)
        assert cell.code().startswith(f'{HEAD}    """')
        expect(page.locator(".nc-notice")).to_contain_text("It was put aside, not deleted")
        aside = page.evaluate(KEPT, f"damaged:code:{NAME}")
        assert aside == "def half("
        assert page.evaluate(KEPT, "damaged:progress").startswith('{"schema": 1')
        page.locator(f"#{NAME} [data-part=hint] > summary").first.click()
        page.wait_for_function(f"() => ({KEPT})('progress')?.includes('{NAME}')")
        assert complaints == []


def test_without_scripts_the_card_is_complete(chromium: Browser, address: str) -> None:
    visit = lesson(chromium, address, java_script_enabled=False)
    card = visit.page.locator(f"#{NAME}")
    expect(card.locator("[data-part=stub] pre")).to_contain_text("raise NotImplementedError")
    expect(card.locator("[data-part=check]")).to_contain_text(
        "normcourse check 02_batch_norm.ipynb"
    )
    expect(card.locator("[data-part=check]")).to_contain_text("where scripts run")
    card.locator("details[data-part=hint] > summary").first.click()
    expect(card.locator("[data-hint='1'] .nc-fold-body p").first).to_be_visible()
    output = visit.page.locator(".nc-try [data-part=output]").first
    expect(output).to_contain_text("mean")
    visit.page.context.close()


def test_opened_as_a_file_the_page_is_readable(chromium: Browser, site: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto((site / CHAPTER).resolve().as_uri())
    card = page.locator(f"#{NAME}")
    expect(card.locator("[data-part=stub] pre")).to_contain_text("raise NotImplementedError")
    expect(card.locator("[data-part=check]")).to_contain_text("served over http")
    assert page.locator(".nc-tools").count() == 0
    context.close()
