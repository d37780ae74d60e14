"""Every page: loads from its own host alone, complete, readable by all, on any width."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from normcourse.site.weight import weigh

from .conftest import Visit, open_page

UNFOLD = """() => {
  document.querySelectorAll('details').forEach(fold => { fold.open = true; });
  document.querySelectorAll('.toggle-hidden').forEach(fold => {
    fold.classList.replace('toggle-hidden', 'was-hidden');
  });
}"""
FOLD = """() => {
  document.querySelectorAll('main details').forEach(fold => { fold.open = false; });
  document.querySelectorAll('.was-hidden').forEach(fold => {
    fold.classList.replace('was-hidden', 'toggle-hidden');
  });
}"""
# The words of a page; those on the controls of interactive figures and of live cells stand for a
# picture and for plain code there, those of the progress table are the reader's own.
TEXT = """article => {
  const copy = article.cloneNode(true);
  const live = '.nci-live, .nc-live, [data-progress-overview]';
  copy.querySelectorAll(live).forEach(part => part.remove());
  return copy.textContent;
}"""
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def test_no_complaint_and_no_other_host(visit: Visit, address: str) -> None:
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith((address, "data:"))] == []


def test_mathematics_is_typeset(visit: Visit, site: Path) -> None:
    if not (site / "vendor" / "mathjax").is_dir():
        pytest.skip("the book was built without MathJax (npm could not be reached)")
    raw = visit.page.evaluate(
        "() => [...document.querySelectorAll('.math')]"
        ".filter(e => !e.querySelector('mjx-container mjx-assistive-mml math'))"
        ".map(e => e.textContent)"
    )
    assert raw == []
    assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0


def test_every_picture_has_an_alternative_text(visit: Visit) -> None:
    texts = visit.page.locator("img").evaluate_all("images => images.map(i => i.alt)")
    assert all(text.strip() and not text.endswith((".svg", ".png")) for text in texts), texts
    longest = max((len(text.split()) for text in texts), default=0)
    assert longest <= 30


def test_folds_open_and_close_by_keyboard(visit: Visit) -> None:
    page = visit.page
    stuck = []
    for fold in page.locator("main details").all():
        summary = fold.locator(":scope > summary")
        fold.evaluate("e => { for (let p = e.parentElement; p; p = p.parentElement) "
                      "if (p.localName === 'details') p.open = true; }")  # fmt: skip
        before = fold.evaluate("e => e.open")
        summary.focus()
        page.keyboard.press("Enter")
        opened = fold.evaluate("e => e.open")
        page.keyboard.press("Space")
        if opened == before or fold.evaluate("e => e.open") != before:
            stuck.append(summary.inner_text())
    page.evaluate(FOLD)
    assert stuck == []


def test_folded_boxes_open_and_close_by_keyboard(visit: Visit) -> None:
    """Admonitions of the class dropdown, which sphinx-togglebutton folds."""
    stuck = []
    for box in visit.page.locator("main .admonition.dropdown").all():
        button = box.locator("button.toggle-button").first
        looks = [box.evaluate("box => box.classList.contains('toggle-hidden')")]
        for key in ("Enter", "Space"):
            button.press(key)
            looks.append(box.evaluate("box => box.classList.contains('toggle-hidden')"))
        if looks[0] == looks[1] or looks[0] != looks[2]:
            stuck.append(box.inner_text())
    assert stuck == []


@pytest.mark.parametrize("width", [390, 320])
def test_nothing_is_wider_than_a_phone(visit: Visit, width: int) -> None:
    """At 390 pixels, and at 320 (a desktop page zoomed to 400 %)."""
    page = visit.page
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate(UNFOLD)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    page.evaluate(FOLD)
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide <= width


# What differs between the three: colours between light and dark, the layout between wide and phone.
LOOKS: dict[str, tuple[str, int, dict[str, object]]] = {
    "light": ("light", 1280, {"runOnly": AXE_RULES}),
    "dark": ("dark", 1280, {"runOnly": ["cat.color"]}),
    "phone": (
        "light",
        390,
        {"runOnly": AXE_RULES, "rules": {"color-contrast": {"enabled": False}}},
    ),
}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_violation(visit: Visit, axe: str, look: str) -> None:
    """With all folds open, so that what they hold is looked at too."""
    theme, width, options = LOOKS[look]
    page = visit.page
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
    page.evaluate(UNFOLD)
    page.evaluate("() => scrollTo(0, 0)")  # else the header may lie over a button at that moment
    page.evaluate("() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")
    page.evaluate(axe)
    kinds = "['violations', 'incomplete']"
    run = f"options => axe.run({{...options, preload: false, resultTypes: {kinds}}})"
    result = page.evaluate(run, options)
    page.evaluate(FOLD)
    page.set_viewport_size({"width": 1280, "height": 900})
    found = [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in result["violations"]
        for node in violation["nodes"][:3]
    ]
    found += [  # axe leaves text in the colour of its ground for a person to look at
        f"{unsure['id']}: {node['target']} has the colour of its ground"
        for unsure in result["incomplete"]
        for node in unsure["nodes"]
        if any((one.get("data") or {}).get("messageKey") == "equalRatio" for one in node["any"])
    ]
    assert found == [], "\n".join(found)


def test_the_weight_of_a_page_is_within_its_budget(visit: Visit, site: Path) -> None:
    """A megabyte to its end beside what is shared; the measure misses nothing that is loaded."""
    weight = weigh(site, visit.path)
    own, later = (
        {f"/{path.relative_to(site.resolve()).as_posix()}" for path in paths}
        for paths in (weight.own, weight.later)
    )
    shared = ("/_static/", "/vendor/", "/live/")
    loaded = {path for path in visit.paths() if not path.startswith(shared)}
    assert loaded - later == own
    assert weight.own_bytes <= 1_000_000
    assert not weight.is_heavy


def test_a_page_is_complete_without_scripts(visit: Visit, chromium: Browser, address: str) -> None:
    """Text, folds and quiz do not need a script; formulas are there as TeX."""
    plain = open_page(chromium, address, visit.path, java_script_enabled=False)
    texts = [view.page.locator("main article").first.evaluate(TEXT) for view in (plain, visit)]
    plain.page.context.close()
    words = [len(text.split()) for text in texts]
    assert words[0] >= 0.8 * words[1] > 20
