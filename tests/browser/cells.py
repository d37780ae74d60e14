"""A cell of a page, as a learner uses it."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Browser, Locator, Page

from .conftest import PATIENCE, Visit, open_page

CHAPTER = "book/02_batch_norm.html"
NAME = "batch_norm_forward"
HEAD = f"def {NAME}(x, gamma, beta, eps=1e-5):\n"
RIGHT = f"{HEAD}    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta\n"
WRONG = f"{HEAD}    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + eps) + beta\n"


@dataclass(frozen=True)
class Cell:
    """The live cell of an exercise, or of a cell to try."""

    page: Page
    place: Locator

    def button(self, name: str) -> Locator:
        """One of its buttons."""
        return self.place.get_by_role("button", name=name, exact=True)

    @property
    def editor(self) -> Locator:
        """Where one types."""
        self.place.locator(".nc-tools").scroll_into_view_if_needed()
        return self.place.locator(".cm-content, .nc-plain-editor")

    def code(self) -> str:
        """What the editor holds."""
        lines = "[...e.querySelectorAll('.cm-line')].map(line => line.textContent)"
        code: str = self.editor.evaluate(f"e => e.value ?? {lines}.join('\\n')")
        return code

    def write(self, code: str) -> None:
        """Replace the code by typing."""
        self.editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(code)

    def result(self, *, start: float = 3 * PATIENCE) -> str:
        """The verdict, when it is there."""
        self.place.locator(".nc-verdict-box").wait_for(timeout=start)
        return self.place.locator(".nc-verdict-box").inner_text()

    def check(self, code: str = "") -> str:
        """Write code, check it, and read what is said."""
        if code:
            self.write(code)
        self.button("Check").click()
        return self.result()

    def printed(self) -> str:
        """What the code printed, as shown."""
        return self.place.locator(".nc-live > .nc-printed").inner_text()


def exercise(page: Page, name: str = NAME) -> Cell:
    """The cell of an exercise."""
    return Cell(page, page.locator(f"#{name}"))


def to_try(page: Page) -> Cell:
    """The first cell to try."""
    return Cell(page, page.locator(".nc-try").first)


def lesson(browser: Browser, address: str, **options: object) -> Visit:
    """Chapter 02 in a fresh context."""
    return open_page(browser, address, CHAPTER, **options)
