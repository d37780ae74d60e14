"""The same site in Firefox: an exercise checked, work kept, nothing asked of another host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from .cells import CHAPTER, NAME, RIGHT, WRONG
from .firefox import Firefox, find_firefox

PROGRAM = find_firefox()
pytestmark = [
    pytest.mark.usefixtures("runtime"),
    pytest.mark.skipif(PROGRAM is None, reason="no Firefox is installed (Debian: firefox-esr)"),
]
CELL = f"document.getElementById('{NAME}')"
SAID = f"() => {CELL}.querySelector('.nc-verdict-box')?.innerText"


@pytest.fixture(scope="module")
def firefox(address: str) -> Iterator[Firefox]:
    """One Firefox for this file, on chapter 02."""
    assert PROGRAM is not None
    with Firefox(PROGRAM) as browser:
        browser.open(f"{address}/{CHAPTER}")
        yield browser


def _write(firefox: Firefox, code: str) -> None:
    """Replace the code of the exercise, by key and clipboard."""
    firefox.run(f"() => {{ {CELL}.scrollIntoView(); }}")
    editor = ".cm-content, .nc-plain-editor"
    firefox.until(f"() => {CELL}.querySelector('{editor}') !== null")
    firefox.run(f"() => {CELL}.querySelector('{editor}').focus()")
    firefox.press("\ue009", "a")  # control
    firefox.run(  # Firefox takes what is pasted in words of its own
        "() => { const event = new ClipboardEvent('paste', {dataType: 'text/plain',"
        f" data: {json.dumps(code)}, bubbles: true, cancelable: true}});"
        " document.activeElement.dispatchEvent(event); }"
    )


def _check(firefox: Firefox) -> str:
    """Press Check and return the verdict."""
    firefox.run(
        f"() => {{ {CELL}.querySelector('.nc-verdict-box')?.remove();"
        f" [...{CELL}.querySelectorAll('button')]"
        ".find(button => button.textContent === 'Check').click(); }"
    )
    return str(firefox.until(SAID))


def test_a_wrong_answer_is_named_and_a_right_one_passes(firefox: Firefox) -> None:
    _write(firefox, WRONG)
    assert "You divide by n − 1" in _check(firefox)
    _write(firefox, RIGHT)
    assert "Passed" in _check(firefox)


def test_work_and_progress_are_there_after_a_reload(firefox: Firefox, address: str) -> None:
    _write(firefox, WRONG)
    firefox.until("() => localStorage.length > 0")
    firefox.open(f"{address}/{CHAPTER}")
    firefox.run(f"() => {{ {CELL}.scrollIntoView(); }}")
    assert firefox.until(f"() => {CELL}.innerText.includes('ddof=1')")
    kept = firefox.run("() => localStorage.getItem('normcourse:progress')")
    assert json.loads(kept)["exercises"][NAME]["best"] == "passed"


def test_no_complaint_and_no_other_host(firefox: Firefox, address: str) -> None:
    firefox.run("() => null")  # what came in the meantime is noted
    assert firefox.complaints == []
    assert firefox.hosts <= {urlsplit(address).netloc}
