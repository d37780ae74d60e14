"""Output on every kind of terminal: nothing but text, in letters that it can show."""

from __future__ import annotations

import io
from typing import Any

import pytest

from normcourse.terminal.screen import WIDEST, screen
from tests.cli.conftest import Terminal, fancy_screen, shown


class Latin(Terminal):
    """A terminal without UTF-8."""

    encoding = "iso-8859-1"  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("stream", "variables", "fancy"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (Latin, {}, False),
        (io.StringIO, {}, False),
    ],
)
def test_colours_and_symbols_only_where_they_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, stream: Any, variables: dict[str, str], fancy: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = screen(stream())
    out.line("✓ γ · x̂ ≤ “1”", "good")
    wanted = "\x1b[32m✓ γ · x̂ ≤ “1”\x1b[0m\n" if fancy else '[ok] gamma * x <= "1"\n'
    assert (out.fancy, shown(out)) == (fancy, wanted)


def test_markup_is_text() -> None:
    out = fancy_screen()
    out.line("[red]x[/red] :smile: [link=a]")
    out.wrapped("[bold]y[/bold]")
    assert shown(out) == "[red]x[/red] :smile: [link=a]\n  [bold]y[/bold]\n"


def test_control_characters_are_left_out() -> None:
    out = fancy_screen()
    out.line("a\x1b[31mb\x07\rc\x00\x9b2Jd\u202ee")
    out.wrapped("f\x1b]8;;http://x\x1b\\g")
    out.table(["h\x1b[1m"], [["i\x08"]])
    assert shown(out) == "abc2Jde\n  fg\n\x1b[1mh\x1b[0m\n-\ni\n"


@pytest.mark.parametrize(("columns", "width"), [("60", 59), ("500", WIDEST), ("3", 20)])
def test_width_follows_the_terminal_up_to_what_reads_well(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    out = screen(Terminal())
    assert out.width == width
    out.wrapped("word " * 60)
    assert max(map(len, shown(out).splitlines())) <= width


@pytest.mark.parametrize("columns", ["", "wide", "0", "-5"])
def test_an_unknown_width_is_wide(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert screen(Terminal()).width == WIDEST - 1


def test_an_encoding_that_lacks_letters_is_no_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    out = screen(stream)
    out.line("µ → ☃")
    out.code("# β ☃\nx = 1")
    stream.flush()
    assert raw.getvalue() == b"mu -> ?\n# ? ?\nx = 1\n"
