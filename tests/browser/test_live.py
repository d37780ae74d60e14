"""Exercises in the page: the judge, the learner's work, stop and time-out, mouse and keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from normcourse.checks import all_exercises
from normcourse.checks.page import PRINT_LIMIT, check_cell
from normcourse.checks.progress import Progress
from normcourse.checks.texts import text_of

from .cells import CHAPTER, HEAD, NAME, RIGHT, WRONG, exercise, lesson, to_try
from .conftest import PATIENCE, Visit, open_page, settled

pytestmark = pytest.mark.usefixtures("runtime")
CHAPTERS = {
    each.chapter: each for each in reversed(all_exercises()) if each.runtime == "numpy"
}  # the first of each chapter
KEPT = "name => localStorage.getItem('normcourse:' + name)"


@pytest.fixture(scope="module")
def warm(chromium: Browser, address: str) -> Iterator[Visit]:
    """Chapter 02, its Python started once for the tests of this file."""
    visit = lesson(chromium, address)
    exercise(visit.page).check()
    yield visit
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith((address, "data:", "blob:"))] == []
    visit.page.context.close()


AS_FOUND = """async () => {
  const buttons = [...document.querySelectorAll(".nc-live .nc-tools button")];
  for (const name of ["Stop", "Reset"]) {
    for (const button of buttons) if (button.textContent === name && !button.hidden) button.click();
  }
  await new Promise((resolve) => { setTimeout(resolve, 200); });
  document.querySelectorAll(".nc-result, .nc-state").forEach((place) => place.replaceChildren());
  localStorage.clear();
}"""


@pytest.fixture
def page(warm: Visit) -> Iterator[Page]:
    """The page as a learner finds it: nothing written, nothing kept."""
    yield warm.page
    warm.page.evaluate(AS_FOUND)


def progress(page: Page) -> Progress:
    """What the page keeps, read as the command line reads it."""
    return Progress.from_json(page.evaluate(KEPT, "progress") or '{"schema":1,"exercises":{}}')


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", sorted(CHAPTERS))
def test_one_exercise_of_each_chapter_is_judged(page: Page, chapter: str) -> None:
    """All in the one worker that is warm."""
    script = """async ([name, codes]) => {
      const live = document.querySelector("script[src*='/live.js']").src;
      const { ask } = await import(new URL("python.js", live).href);
      const answers = codes.map((code) => ask({ do: "check", exercise: name, code }));
      return (await Promise.all(answers)).map((answer) => answer.value.feedback.status);
    }"""
    each = CHAPTERS[chapter]
    codes = [text_of(each).stub, text_of(each).solution]
    assert page.evaluate(script, [each.id, codes]) == ["not_started", "passed"]


def test_a_mistake_is_named_in_the_words_of_the_notebook(page: Page) -> None:
    cell, feedback = exercise(page), check_cell(NAME, WRONG)
    said = cell.check(WRONG)
    assert said.startswith("✗ Not yet right")
    for part in (feedback.case, feedback.setting, feedback.comparison, feedback.causes[0]):
        assert part in said
    link = cell.place.locator(".nc-read a")
    assert link.inner_text() == feedback.next
    assert page.locator(link.get_attribute("href") or "").count() == 1
    assert progress(page).exercises[NAME].last == "failed"


def test_a_pass_shows_the_insight_and_what_is_next(page: Page) -> None:
    cell = exercise(page)
    said = cell.check(RIGHT)
    assert said.startswith("✓ Passed")
    assert "One thing more" in cell.place.locator(".nc-verdict-box .nc-insight").evaluate(
        "e => getComputedStyle(e, '::before').content"
    )
    expect(cell.place.locator(".nc-next a")).to_have_text("BatchNorm of images")
    expect(cell.place.locator(".nc-mark")).to_have_text("✓ passed")
    assert progress(page).passed(NAME)
    count = page.locator(".bd-links a[href$='02_batch_norm.html'], .bd-links .current > a")
    expect(count.locator(".nc-count").first).to_contain_text("1 of 4 exercises passed")


def test_a_pass_is_not_lost_by_a_later_mistake(page: Page) -> None:
    cell = exercise(page)
    cell.check(RIGHT)
    assert cell.check(WRONG).startswith("✗")
    entry = progress(page).exercises[NAME]
    assert (entry.best, entry.last, entry.attempts) == ("passed", "failed", 2)


def test_hints_that_were_read_are_counted(page: Page) -> None:
    cell = exercise(page)
    cell.check(WRONG)
    cell.button("Show hint 1 of 3").click()
    assert page.evaluate("document.activeElement.textContent.trim()") == "Hint 1 of 3"
    cell.place.locator("[data-hint='1']").evaluate("fold => { fold.open = true; }")
    page.wait_for_function(f"() => ({KEPT})('progress').includes('\"hints\": 1')")
    assert progress(page).exercises[NAME].hints == 1
    cell.place.locator("[data-hint='1']").evaluate("fold => { fold.open = false; }")


def test_an_error_shows_the_learners_own_line(page: Page) -> None:
    cell = exercise(page)
    said = cell.check(f"{HEAD}    return x / scale\n")
    assert "name 'scale' is not defined" in said
    assert "return x / scale" in said
    assert "Syntax error" in cell.check("def batch_norm_forward(x:\n")
    assert f"{NAME} is not defined" in cell.check("y = 1\n")


# --- the learner's work ---------------------------------------------------------------------------


def test_code_and_progress_are_there_after_a_reload(chromium: Browser, address: str) -> None:
    visit = lesson(chromium, address)
    cell = exercise(visit.page)
    cell.check(RIGHT)
    visit.page.reload(wait_until="networkidle")
    settled(visit.page)
    assert cell.code() == RIGHT
    expect(cell.place.locator(".nc-mark")).to_be_visible()
    assert cell.check().startswith("✓ Passed")
    visit.page.context.close()


def test_what_was_typed_a_moment_ago_is_kept(page: Page) -> None:
    exercise(page).write("# just typed")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert json.loads(page.evaluate(KEPT, f"code:{NAME}"))["code"] == "# just typed"


def test_reset_can_be_taken_back(page: Page) -> None:
    cell = exercise(page)
    cell.write("# mine")
    cell.button("Reset").click()
    assert cell.code().startswith(HEAD)
    cell.button("Bring mine back").click()
    assert cell.code() == "# mine"
    assert json.loads(page.evaluate(KEPT, f"code:{NAME}"))["code"] == "# mine"


def test_two_tabs_show_the_same_and_lose_nothing(chromium: Browser, address: str) -> None:
    one = lesson(chromium, address)
    other = one.page.context.new_page()
    other.goto(f"{address}/{CHAPTER}", wait_until="networkidle")
    settled(other)
    exercise(other).editor.wait_for()
    exercise(one.page).write("# written in the first tab")
    expect(exercise(other).editor).to_have_text("# written in the first tab")
    exercise(other).write("# and in the second")
    expect(exercise(one.page).editor).to_have_text("# written in the first tab")  # it has focus
    one.page.evaluate("document.activeElement.blur()")
    exercise(other).write("# and once more")
    expect(exercise(one.page).editor).to_have_text("# and once more")
    exercise(one.page).editor.click()
    one.page.keyboard.press("ControlOrMeta+z")
    expect(exercise(one.page).editor).to_have_text("# written in the first tab")
    one.page.context.close()


# --- running --------------------------------------------------------------------------------------


def test_run_shows_what_is_printed_while_it_runs(page: Page) -> None:
    cell = exercise(page)
    cell.write("print('first')\nwhile True:\n    pass\n")
    cell.button("Run").click()
    expect(cell.place.locator(".nc-live > .nc-printed")).to_have_text("first", timeout=PATIENCE)
    assert cell.button("Check").get_attribute("aria-disabled") == "true"
    cell.button("Stop").click()
    assert cell.result().startswith("· Stopped")
    expect(cell.button("Stop")).to_be_hidden()
    assert cell.code().startswith("print('first')")


def test_the_page_is_alive_while_code_hangs_and_python_comes_back(page: Page) -> None:
    cell = exercise(page)
    cell.write(f"{HEAD}    while True: pass\n")
    cell.button("Check").click()
    expect(cell.place.locator(".nc-state")).to_have_text("Running …", timeout=PATIENCE)
    fold = page.locator("#affine_to_undo details[data-part=solution]")
    fold.locator("summary").click()
    assert fold.evaluate("fold => fold.open")
    fold.locator("summary").click()
    cell.button("Stop").click()
    assert cell.check(RIGHT).startswith("✓ Passed")


def test_endless_printing_is_cut_and_ended_by_the_clock(page: Page) -> None:
    cell = exercise(page)
    cell.write("while True:\n    print('again and again')\n")
    cell.button("Run").click()
    assert "ran for more than 15 seconds and was stopped" in cell.result()
    printed = cell.printed()
    assert printed.endswith("… more was printed than a page shows\n")
    assert PRINT_LIMIT <= len(printed) <= PRINT_LIMIT + 100
    assert cell.code().startswith("while True")


def test_an_allocation_that_cannot_be_is_an_error(page: Page) -> None:
    cell = exercise(page)
    said = cell.check(f"{HEAD}    return [np.empty(2 * 10**8) for _ in range(9)]\n")
    assert "memory" in said.lower(), said
    assert cell.check(RIGHT).startswith("✓ Passed")


def test_python_that_breaks_down_is_replaced(page: Page, warm: Visit) -> None:
    cell = exercise(page)
    cell.write("import os\nos.abort()\n")
    cell.button("Run").click()
    said = cell.result()
    assert said.startswith("✗ Python broke down")
    assert "Your code is kept" in said
    assert cell.check(RIGHT).startswith("✓ Passed")
    warm.complaints.clear()  # the browser's console may name the abort


def test_a_cell_to_try_runs_and_goes_back(page: Page) -> None:
    cell = to_try(page)
    before = cell.place.locator("[data-part=output]")
    shown = before.inner_text()
    cell.button("Run").click()
    expect(cell.place.locator(".nc-live > .nc-printed")).to_have_text(shown, timeout=PATIENCE)
    expect(before).to_be_hidden()
    cell.write("np.arange(3) / 0")
    cell.button("Run").click()
    expect(cell.place.locator(".nc-live > .nc-printed")).to_have_text("array([nan, inf, inf])")
    cell.button("Reset").click()
    expect(before).to_be_visible()


# --- keyboard and screen reader -------------------------------------------------------------------


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    cell, keys = exercise(page), page.keyboard
    cell.editor.wait_for()
    cell.place.evaluate("card => { card.tabIndex = -1; card.focus(); }")  # as a link to it does
    for _ in range(6):  # links of the statement come before
        keys.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('cm-content')"):
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == (
        f"Code of the exercise {NAME}"
    )
    keys.press("ControlOrMeta+a")
    keys.insert_text(WRONG.rstrip())
    keys.press("Tab")  # indents: the editor keeps the key
    assert page.evaluate("document.activeElement.classList.contains('cm-content')")
    keys.press("ControlOrMeta+z")
    keys.press("ControlOrMeta+Enter")
    assert cell.result().startswith("✗ Not yet right")
    keys.press("Escape")
    focused = "document.activeElement.textContent"
    reached = []
    for _ in range(6):
        keys.press("Tab")
        reached.append(page.evaluate(focused).strip())
    assert reached[:3] == ["Check", "Run", "Reset"]
    assert "Show hint 1 of 3" in reached
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_stopped_run_leaves_the_focus_in_the_cell(page: Page) -> None:
    cell = exercise(page)
    cell.write("while True: pass\n")
    cell.button("Run").press("Enter")
    expect(cell.button("Stop")).to_be_visible()
    cell.button("Stop").press("Enter")
    cell.result()
    assert page.evaluate("document.activeElement.textContent") == "Run"


AXE = "place => axe.run(place, {preload: false, resultTypes: ['violations']})"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state_of_a_cell(page: Page, axe: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.evaluate(axe)
    cell, found = exercise(page), []

    def look(state: str) -> None:
        result = page.evaluate(AXE, f"#{NAME}")
        found.extend(
            f"{state}: {violation['id']} {node['target']} {node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"][:3]
        )

    cell.check(f"print('x')\n{WRONG}")
    look("failed")
    cell.check(RIGHT)
    look("passed")
    cell.check("x = 1")
    look("error")
    cell.write("print(1)\nwhile True: pass")
    cell.button("Run").click()
    expect(cell.place.locator(".nc-live > .nc-printed")).to_be_visible(timeout=PATIENCE)
    look("running")
    page.evaluate("() => { for (const b of document.querySelectorAll('.nc-tools button')) "
                  "if (b.textContent === 'Stop' && !b.hidden) b.click(); }")  # fmt: skip
    cell.result()
    look("stopped")
    page.emulate_media(color_scheme="light")
    assert found == [], "\n".join(found)


def test_cells_fit_a_phone(chromium: Browser, address: str) -> None:
    visit = lesson(chromium, address, viewport={"width": 390, "height": 844})
    cell = exercise(visit.page)
    cell.check(WRONG)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.page.context.close()


# --- exercises that do not run in a page ----------------------------------------------------------


def test_pytorch_exercises_say_where_they_run(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, "book/04_batch_norm_inference.html")
    card = visit.page.locator("[data-runtime=torch]").first
    expect(card.locator(".nc-elsewhere")).to_contain_text("needs PyTorch")
    expect(card.locator("dl.nc-check")).to_contain_text("normcourse check")
    assert card.locator(".nc-editor").count() == 0
    visit.page.context.close()


def test_asking_costs_nothing_before_a_cell_is_touched(
    warm: Visit, chromium: Browser, address: str
) -> None:
    visit: Any = lesson(chromium, address)
    assert not [path for path in visit.paths() if "pyodide" in path or path.endswith(".zip")]
    visit.page.context.close()
