"""What is remembered: answers to quizzes, progress as a file, the site without a network."""

from __future__ import annotations

import functools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from normcourse.checks.progress import Progress
from normcourse.site.offline import service_worker, sort_files
from normcourse.workshop.serve import Handler

from .cells import CHAPTER, NAME, RIGHT, exercise, lesson
from .conftest import PATIENCE, open_page, settled

# --- quizzes --------------------------------------------------------------------------------------


def question(page: Page, name: str) -> Locator:
    return page.locator(f"[data-question='02_batch_norm/{name}']")


@pytest.fixture
def quiz(chromium: Browser, address: str) -> Iterator[Page]:
    visit = lesson(chromium, address)
    visit.page.locator(".nc-score").wait_for()
    yield visit.page
    assert visit.complaints == []
    visit.page.context.close()


def test_a_number_is_judged_and_its_mistakes_are_known(quiz: Page) -> None:
    place = question(quiz, "values-per-mean")
    field = place.get_by_label("Your answer")
    for typed, said in (
        ("", "Type a number"),
        ("17", "Try again"),
        ("1,024", "Layer normalization may pool that"),
        ("2,048", "One mean per channel"),
    ):
        field.fill(typed)
        field.press("Enter")
        expect(place.locator(".nc-said")).to_contain_text(said)
    expect(place.locator(".nc-answered")).to_have_text("✓ right in the end")
    expect(quiz.locator(".nc-score")).to_have_text("1 of 5 answered, 0 right at the first try.")


def test_an_option_is_explained_and_counts(quiz: Page) -> None:
    place = question(quiz, "fresh-layer")
    place.locator("summary").first.press("Enter")
    expect(place.locator(".nc-answered")).to_have_text("✓ right")
    expect(place.locator(".nc-option .nc-verdict").first).to_be_visible()
    expect(quiz.locator(".nc-score")).to_have_text("1 of 5 answered, 1 right at the first try.")


def test_lines_are_put_into_order_by_keyboard_and_remembered(quiz: Page) -> None:
    place = question(quiz, "steps")
    place.get_by_role("button", name="Check the order").press("Enter")
    expect(place.locator(".nc-said")).to_contain_text("Not yet")
    order = "lines => lines.map(line => Number(line.dataset.position))"
    lines = place.locator(".nc-movable > li")
    for target in range(1, lines.count() + 1):
        while (at := lines.evaluate_all(order).index(target)) > target - 1:
            up = lines.nth(at).get_by_role("button").first
            up.press("Enter")
            assert quiz.evaluate("document.activeElement.getAttribute('aria-label')") == (
                up.get_attribute("aria-label")
                if lines.evaluate_all(order).index(target) == at
                else lines.nth(at - 1).get_by_role("button").first.get_attribute("aria-label")
            )
    place.get_by_role("button", name="Check the order").press("Enter")
    expect(place.locator(".nc-said")).to_contain_text("Right.")
    quiz.reload(wait_until="networkidle")
    settled(quiz)
    assert lines.evaluate_all(order) == list(range(1, 8))
    expect(place.locator(".nc-answered")).to_have_text("✓ right in the end")
    quiz.get_by_role("button", name="Answer anew").click()
    assert lines.evaluate_all(order) != list(range(1, 8))
    expect(quiz.locator(".nc-score")).to_contain_text("5 questions")
    assert quiz.evaluate("Object.keys(localStorage).filter(k => k.includes('quiz'))") == []


# --- the progress file ----------------------------------------------------------------------------

STATE = """([progress, code]) => {
  localStorage.setItem("normcourse:progress", progress);
  localStorage.setItem("normcourse:code:batch_norm_forward", code);
}"""
WHEN = "2026-01-01T10:00:00+00:00"
CODE = json.dumps({"code": "# mine", "version": 1, "saved": WHEN})


@pytest.fixture
def overview(chromium: Browser, address: str) -> Iterator[Page]:
    visit = open_page(chromium, address, "book/progress.html")
    kept = Progress().with_verdict(NAME, 1, "passed", WHEN).with_hint(NAME, 1, 2, WHEN)
    visit.page.evaluate(STATE, [kept.to_json(), CODE])
    visit.page.reload(wait_until="networkidle")
    settled(visit.page)
    yield visit.page
    assert visit.complaints == []
    visit.page.context.close()


def test_the_page_lists_what_was_done(overview: Page) -> None:
    expect(overview.locator(".nc-facts-line")).to_contain_text("1 of ")
    row = overview.locator(".nc-exercises li", has_text="BatchNorm of a table")
    expect(row).to_contain_text("passed · 1 attempt · 2 hints")
    address = row.get_by_role("link").get_attribute("href") or ""
    assert address.endswith(f"/{CHAPTER}#{NAME}")


def test_the_file_is_read_by_the_command_line_and_back(overview: Page, tmp_path: Path) -> None:
    with overview.expect_download() as download:
        overview.get_by_role("button", name="Export to a file").click()
    file = tmp_path / "mine.json"
    download.value.save_as(file)
    kept = Progress.from_json(file.read_text(encoding="utf-8"))
    assert kept.passed(NAME)
    assert json.loads(file.read_text(encoding="utf-8"))["page"]["code"] == {NAME: CODE}

    later = "2026-02-01T10:00:00+00:00"
    other = tmp_path / "terminal.json"
    other.write_text(
        Progress()
        .with_verdict(NAME, 1, "failed", later)
        .with_verdict("standardize", 1, "passed", later)
        .to_json(),
        encoding="utf-8",
    )
    overview.locator("#nc-import").set_input_files(other)
    expect(overview.get_by_text("New here: 1 passed. Nothing was lost.")).to_be_visible()
    merged = Progress.from_json(overview.evaluate("localStorage.getItem('normcourse:progress')"))
    both = kept.merged(Progress.from_json(other.read_text(encoding="utf-8")))
    assert merged == both
    assert merged.exercises[NAME].best == "passed"


def test_a_file_that_is_none_changes_nothing(overview: Page, tmp_path: Path) -> None:
    file = tmp_path / "holiday.json"
    file.write_text('{"schema": 7}', encoding="utf-8")
    before = overview.evaluate("localStorage.getItem('normcourse:progress')")
    overview.locator("#nc-import").set_input_files(file)
    expect(overview.get_by_text("holiday.json was not read: it is of schema 7")).to_be_visible()
    assert overview.evaluate("localStorage.getItem('normcourse:progress')") == before


def test_forgetting_asks_first(overview: Page) -> None:
    kept = "Object.keys(localStorage).filter(key => key.startsWith('normcourse:')).length"
    overview.get_by_role("button", name="Forget everything").click()
    assert overview.evaluate("document.activeElement.textContent") == "Keep it"
    overview.keyboard.press("Enter")
    assert overview.evaluate(kept) == 2
    overview.get_by_role("button", name="Forget everything").click()
    overview.get_by_role("button", name="Forget all of it").click()
    assert overview.evaluate(kept) == 0
    expect(overview.locator(".nc-facts-line")).to_contain_text("0 of ")


# --- without a network ----------------------------------------------------------------------------

STATE_OF_CACHE = """async () => {
  const { active } = await navigator.serviceWorker.ready;
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data.pages.bytes + data.python.bytes);
    active.postMessage({ type: "state" }, [port2]);
  });
}"""


class Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[int]:
    server = Server(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def wait_until_all_is_kept(page: Page) -> None:
    page.wait_for_function("navigator.serviceWorker?.controller", timeout=2 * PATIENCE)
    for _ in range(240):
        if page.evaluate(STATE_OF_CACHE) == 0:
            return
        page.wait_for_timeout(500)
    raise AssertionError("not everything was kept")


def copy_of(site: Path, folder: Path) -> Path:
    """The site again, its files linked, not copied."""
    shutil.copytree(site, folder, copy_function=os.link, ignore=shutil.ignore_patterns("_sources"))
    return folder


@pytest.mark.usefixtures("runtime")
def test_after_the_first_visit_everything_works_without_a_network(
    chromium: Browser, site: Path
) -> None:
    with served(site) as port:
        address = f"http://127.0.0.1:{port}"
        visit = lesson(chromium, address, service_workers="allow")
        page = visit.page
        wait_until_all_is_kept(page)
    page.context.set_offline(True)  # and the server is gone
    page.goto(f"{address}/{CHAPTER}", wait_until="load")
    settled(page)
    assert exercise(page).check(RIGHT).startswith("✓ Passed")
    page.goto(f"{address}/book/judges.html")
    settled(page)
    expect(page.locator("article h1")).to_contain_text("How good are the judges?")
    page.goto(f"{address}/search.html?q=variance")
    settled(page)
    page.locator("#search-results li a").first.wait_for()
    page.goto(f"{address}/book/progress.html")
    settled(page)
    expect(page.locator(".nc-offline")).to_contain_text("Everything is kept in this browser")
    expect(page.locator(".nc-facts-line")).to_contain_text("1 of ")
    page.context.close()


def test_a_new_version_is_offered_and_takes_no_work_with_it(
    chromium: Browser, site: Path, tmp_path: Path
) -> None:
    folder = copy_of(site, tmp_path / "site")
    with served(folder) as port:
        visit = lesson(chromium, f"http://127.0.0.1:{port}", service_workers="allow")
        page = visit.page
        page.wait_for_function("navigator.serviceWorker?.controller", timeout=2 * PATIENCE)
        page.reload(wait_until="networkidle")
        settled(page)
        exercise(page).write("# mine")

        source = folder / CHAPTER
        text = source.read_text(encoding="utf-8").replace(
            "What exactly does", "What precisely does"
        )
        source.unlink()  # the link, not the site's own file
        source.write_text(text, encoding="utf-8")
        (folder / "sw.js").unlink()
        (folder / "sw.js").write_text(service_worker(sort_files(folder)), encoding="utf-8")
        page.evaluate("navigator.serviceWorker.getRegistration().then(found => found.update())")

        offer = page.locator(".nc-notice")
        expect(offer).to_contain_text("A newer version", timeout=2 * PATIENCE)
        assert exercise(page).code() == "# mine"
        offer.get_by_role("button", name="Load it").click()
        expect(page.locator("article")).to_contain_text("What precisely does")
        assert exercise(page).code() == "# mine"
    page.context.set_offline(True)
    page.reload(wait_until="load")
    settled(page)
    expect(page.locator("article")).to_contain_text("What precisely does")
    page.context.close()


def test_a_file_that_arrives_broken_is_not_kept(
    chromium: Browser, site: Path, tmp_path: Path
) -> None:
    folder = copy_of(site, tmp_path / "site")
    broken = folder / "book" / "glossary.html"
    broken.unlink()
    broken.write_text("<h1>half a p", encoding="utf-8")  # not what sw.js lists
    with served(folder) as port:
        visit = lesson(chromium, f"http://127.0.0.1:{port}", service_workers="allow")
        page = visit.page
        page.wait_for_function("navigator.serviceWorker?.controller", timeout=2 * PATIENCE)
        names = page.evaluate(
            "caches.keys().then(([name]) => caches.open(name)).then(c => c.keys())"
            ".then(keys => keys.map(key => new URL(key.url).pathname))"
        )
        assert f"/{CHAPTER}" in names
        assert "/book/glossary.html" not in names
        page.context.close()


def test_the_book_can_be_installed(chromium: Browser, address: str) -> None:
    visit = lesson(chromium, address, service_workers="allow")
    visit.page.wait_for_function("navigator.serviceWorker?.controller", timeout=2 * PATIENCE)
    session = visit.page.context.new_cdp_session(visit.page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []
    visit.page.context.close()
