"""The interactive figures: alive, told in words, worked by keyboard, mouse and finger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route

from normcourse.site.interactive import DATA
from normcourse.site.interactive.catalogue import CATALOGUE

from .conftest import Visit, open_page, settled

PAGE = "book/interactive.html"


@pytest.fixture(scope="module")
def figures(chromium: Browser, address: str) -> Iterator[Visit]:
    """The page of all figures; a test chooses anew what it needs."""
    visit = open_page(chromium, address, PAGE)
    yield visit
    visit.page.context.close()


def stored(name: str) -> Any:
    """The exported numbers of a figure."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def frame(page: Page, name: str) -> Locator:
    """One figure."""
    return page.locator(f"[data-figure={name}]")


def result(page: Page, name: str) -> str:
    """What a figure says."""
    return frame(page, name).locator(".nci-result").inner_text()


def choose(page: Page, name: str, label: str) -> None:
    """Choose a radio button by its label."""
    frame(page, name).get_by_role("radio", name=label, exact=True).check(force=True)


@pytest.mark.parametrize("name", CATALOGUE)
class TestEachFigure:
    def test_is_alive_and_has_put_its_still_picture_away(self, figures: Visit, name: str) -> None:
        here = frame(figures.page, name)
        assert here.locator(".nci-live").is_visible()
        assert not here.locator(".nci-still").is_visible()
        assert len(result(figures.page, name)) > 20
        assert figures.complaints == []

    def test_every_control_has_a_name_and_is_reached_by_tab(
        self, figures: Visit, name: str
    ) -> None:
        here = frame(figures.page, name)
        controls = here.locator(".nci-live :is(input, select, button):enabled:visible")
        names = controls.evaluate_all(
            "all => all.map(e => e.getAttribute('aria-label') || "
            "[...(e.labels ?? [])].map(l => l.textContent).join('') || e.textContent)"
        )
        assert all(text.strip() for text in names)
        controls.first.focus()
        visited = 1
        while visited < 60 and here.evaluate("e => e.contains(document.activeElement)"):
            ring = figures.page.evaluate(
                """() => { const e = document.activeElement;
                  const near = [e, e.nextElementSibling, e.parentElement].filter(Boolean);
                  return near.some(n => getComputedStyle(n).outlineStyle === 'solid'); }"""
            )
            assert ring, figures.page.evaluate("() => document.activeElement.outerHTML")
            figures.page.keyboard.press("Tab")
            visited += 1
        groups = here.locator("fieldset:enabled:visible .nci-pill").count()
        assert visited > 2 or groups

    def test_an_arrow_key_changes_what_it_shows(self, figures: Visit, name: str) -> None:
        shown = frame(figures.page, name).locator(".nci-stage, .nci-ranking")
        before = shown.inner_html()
        first = frame(figures.page, name).locator(".nci-live input:enabled:visible").first
        first.focus()
        kind = first.get_attribute("type")
        checked = frame(figures.page, name).locator(".nci-live input:checked").first
        if kind == "radio":
            checked.focus()
        figures.page.keyboard.press("Space" if kind == "checkbox" else "ArrowRight")
        assert shown.inner_html() != before

    def test_its_drawing_says_what_it_is(self, figures: Visit, name: str) -> None:
        drawings = frame(figures.page, name).locator(".nci-stage > svg")
        for drawing in drawings.all():
            assert drawing.get_attribute("role") == "img"
            assert len((drawing.get_attribute("aria-label") or "").split()) >= 8
        assert drawings.count() == (0 if name == "choose" else 1)

    def test_without_scripts_there_is_the_picture_and_a_sentence(
        self, chromium: Browser, address: str, name: str
    ) -> None:
        visit = open_page(chromium, address, PAGE, java_script_enabled=False)
        here = frame(visit.page, name)
        here.scroll_into_view_if_needed()
        assert here.locator("img").is_visible()
        assert here.locator("img").evaluate("i => i.decode().then(() => i.naturalWidth)") > 100
        assert here.locator(".nci-without").is_visible()
        assert not here.locator(".nci-live").is_visible()
        visit.page.context.close()

    def test_numbers_that_cannot_be_read_leave_the_picture(
        self, chromium: Browser, address: str, name: str
    ) -> None:
        context = chromium.new_context()
        page = context.new_page()

        def spoil(route: Route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, body=answer.text().replace('{"alt":', '{"alt"!'))

        page.route(f"**/{PAGE}", spoil)
        page.goto(f"{address}/{PAGE}", wait_until="networkidle")
        settled(page)
        here = frame(page, name)
        assert here.locator(".nci-still img").is_visible()
        assert not here.locator(".nci-live").is_visible()
        context.close()


class TestWords:
    def test_a_screen_reader_hears_nothing_at_first_and_one_sentence_after_a_burst(
        self, chromium: Browser, address: str
    ) -> None:
        visit = open_page(chromium, address, PAGE)
        page = visit.page
        page.evaluate(
            """() => { window.said = [];
              document.querySelectorAll('.nci-spoken').forEach(e => new MutationObserver(
                () => window.said.push(e.textContent)).observe(e, { childList: true })); }"""
        )
        page.wait_for_timeout(900)
        assert page.evaluate("said") == []
        slider = frame(page, "running-statistics").get_by_role("slider", name="Training step")
        slider.focus()
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("said.length > 0")
        page.wait_for_timeout(900)
        assert page.evaluate("said") == [result(page, "running-statistics")]
        assert page.evaluate("said[0]").startswith("After 78 steps")
        page.context.close()


class TestAxes:
    def test_a_click_chooses_a_value_and_the_method_says_what_is_pooled(
        self, figures: Visit
    ) -> None:
        page = figures.page
        here = frame(page, "axes-explorer")
        counts = {}
        for method in ("BatchNorm", "InstanceNorm", "LayerNorm"):
            choose(page, "axes-explorer", method)
            here.locator(".nci-cell").first.click()
            counts[method] = here.locator(".nci-cell.nci-pooled").count()
        assert counts == {"BatchNorm": 12, "InstanceNorm": 4, "LayerNorm": 4}
        chosen = [
            here.get_by_role("combobox", name=name).input_value() for name in ("Example", "Channel")
        ]
        assert all(value.isdigit() for value in chosen)

    def test_a_moved_value_moves_its_pool(self, figures: Visit) -> None:
        page = figures.page
        choose(page, "axes-explorer", "BatchNorm")
        slider = frame(page, "axes-explorer").get_by_role("slider", name="Move this input")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert "You moved one input by +0.1: 12 outputs of 48 moved." in result(
            page, "axes-explorer"
        )

    def test_by_finger(self, chromium: Browser, address: str) -> None:
        size = {"width": 390, "height": 844}
        visit = open_page(chromium, address, PAGE, viewport=size, has_touch=True, is_mobile=True)
        here = frame(visit.page, "axes-explorer")
        before = result(visit.page, "axes-explorer")
        here.locator(".nci-cell").first.tap()
        assert result(visit.page, "axes-explorer") != before
        assert visit.complaints == []
        visit.page.context.close()


class TestBatch:
    def test_the_outputs_are_those_of_the_reference(self, figures: Visit) -> None:
        page, data = figures.page, stored("batch-composition")
        here = frame(page, "batch-composition")
        texts = {"only ones": 0, "only zeros": 1, "everyone": 2, "alone": 3}
        for label, place in texts.items():
            here.get_by_role("button", name=label).click()
            shown = here.locator("text.nci-number").all_text_contents()
            expected = data["expected"]["batches"][place]["batch_norm"]
            assert shown[0::2] == [f"{value:.2f}".replace("-", "−") for value in expected]
            layer = data["expected"]["layer_norm"][0]
            assert shown[1::2] == [f"{value:.2f}".replace("-", "−") for value in layer]

    def test_an_image_is_dragged_out_and_put_back_by_keyboard(self, figures: Visit) -> None:
        page = figures.page
        here = frame(page, "batch-composition")
        here.get_by_role("button", name="only ones").click()
        inside, outside = here.locator(".nci-tray").all()
        image = inside.get_by_role("checkbox").first
        name = image.get_attribute("aria-label") or ""
        image.scroll_into_view_if_needed()
        start, end = image.bounding_box(), outside.bounding_box()
        assert start is not None
        assert end is not None
        page.mouse.move(start["x"] + 20, start["y"] + 20)
        page.mouse.down()
        page.mouse.move(end["x"] + end["width"] - 30, end["y"] + 30, steps=6)
        page.mouse.up()
        moved = here.get_by_role("checkbox", name=name, exact=True)
        assert not moved.is_checked()
        assert outside.get_by_role("checkbox", name=name, exact=True).count() == 1
        assert result(page, "batch-composition").startswith("Batch of 4")
        moved.focus()
        page.keyboard.press("Space")
        assert inside.get_by_role("checkbox", name=name, exact=True).is_checked()
        assert moved.evaluate("e => e === document.activeElement")
        assert result(page, "batch-composition").startswith("Batch of 5")


class TestRunning:
    def test_play_runs_and_stops(self, figures: Visit) -> None:
        page = figures.page
        here = frame(page, "running-statistics")
        step = here.get_by_role("slider", name="Training step")
        here.get_by_role("button", name="Play").click()
        before = int(step.input_value())
        page.wait_for_function(
            "([e, from]) => Number(e.value) > from + 2", arg=[step.element_handle(), before]
        )
        here.get_by_role("button", name="Pause").click()
        at = step.input_value()
        page.wait_for_timeout(300)
        assert step.input_value() == at

    def test_training_has_no_gap(self, figures: Visit) -> None:
        choose(figures.page, "running-statistics", "training")
        assert "mean 0 and standard deviation 1" in result(figures.page, "running-statistics")
        choose(figures.page, "running-statistics", "evaluation")
        assert "the running ones are used" in result(figures.page, "running-statistics")


def test_depth_tells_what_is_recorded(figures: Visit) -> None:
    choose(figures.page, "depth", "BatchNorm, no skips")
    choose(figures.page, "depth", "64")
    (plain,) = [s for s in stored("depth")["stacks"] if s["name"] == "plain_batch_norm"]
    median = plain["depths"]["64"]["gradient"]["median"]
    ratio = float(f"{median[0] / median[-1]:.2g}")
    assert f"is {ratio:,.0f} times as long as that of the last" in result(figures.page, "depth")


def test_choosing_gives_the_judges_answer(figures: Visit) -> None:
    page, data = figures.page, stored("choose")
    here = frame(page, "choose")
    titles = {method["key"]: method["title"] for method in data["methods"]}
    for name, right in data["expected"].items():
        here.get_by_role("combobox", name="Start from").select_option(label=name)
        works = here.locator(".nci-method:not(.nci-out) strong").all_inner_texts()
        assert works == [titles[key] for key in right]
    here.get_by_role("combobox", name="Start from").select_option(label="a language model")
    assert here.get_by_label("padded").is_enabled()
    choose(page, "choose", "images")
    assert here.get_by_label("padded").is_disabled()


def test_the_last_step_of_the_gradient_is_the_reference(figures: Visit) -> None:
    page = figures.page
    choose(page, "backward", "divide by σ")
    last = stored("backward")["expected"][0]["stages"][-1]
    said = ", ".join(f"{value:.2f}".replace("-", "−") for value in last)
    frame(page, "backward").get_by_role("slider", name="Turn the view").focus()
    page.keyboard.press("Home")
    assert f"dx = ({said})" in result(page, "backward")


def test_less_motion_when_asked_for(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, PAGE, reduced_motion="reduce")
    page = visit.page
    durations = page.locator(".nci-glide, .nci-cell rect").evaluate_all(
        "all => [...new Set(all.map(e => getComputedStyle(e).transitionDuration))]"
    )
    assert durations == ["0s"]
    here = frame(page, "choose")
    here.get_by_role("combobox", name="Start from").select_option(label="a language model")
    assert page.evaluate("document.getAnimations().length") == 0
    page.context.close()
