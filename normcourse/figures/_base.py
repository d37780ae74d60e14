"""What every figure shares: the card, the style, the alt text, and how Jupyter shows it."""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

WIDTH = 4.8  # inches: type keeps its size in a column of text, and stays legible on a phone
MAX_ALT_WORDS = 30

_STYLE = mpl.rc_params_from_file(
    str(files("normcourse.figures") / "course.mplstyle"), use_default_template=False
)

FIGURES: dict[str, Callable[..., CourseFigure]] = {}


def style() -> AbstractContextManager[None]:
    """Return the context in which matplotlib draws as the course does."""
    return mpl.rc_context(_STYLE)


class CourseFigure(Figure):
    """A matplotlib figure with an alt text, shown as SVG; it needs no pyplot and no window."""

    alt: str = ""

    def svg(self) -> str:
        """Return the figure as SVG text, the same for the same content."""
        buffer = io.StringIO()
        with mpl.rc_context(_STYLE):
            self.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return buffer.getvalue()

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Return what Jupyter shows, with the alt text beside the picture."""
        data = {"image/svg+xml": self.svg(), "text/plain": self.alt}
        return data, {"image/svg+xml": {"alt": self.alt}}


def figure(*, alt: str) -> Callable[[Callable[P, CourseFigure]], Callable[P, CourseFigure]]:
    """Turn a drawing function into a figure of the course.

    The function runs in the course's style and is listed in ``FIGURES``.

    Args:
        alt: what the picture shows, at most 30 words. It may name arguments of the function as a
            format string: "{row.title}".

    Raises:
        ValueError: the alt text is empty or, once filled in, longer than 30 words.
    """
    if "{" not in alt:
        alt_text(alt, {})

    def decorate(draw: Callable[P, CourseFigure]) -> Callable[P, CourseFigure]:
        signature = inspect.signature(draw)

        @functools.wraps(draw)
        def drawn(*args: P.args, **kwargs: P.kwargs) -> CourseFigure:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            with mpl.rc_context(_STYLE):
                result = draw(*args, **kwargs)
            result.alt = alt_text(alt, bound.arguments)
            return result

        FIGURES[draw.__name__] = drawn
        return drawn

    return decorate


def alt_text(template: str, arguments: dict[str, Any]) -> str:
    """Fill in an alt text and check its length.

    Example:
        >>> alt_text("{count} dots on a line.", {"count": 4})
        '4 dots on a line.'
    """
    text = template.format(**arguments).strip()
    words = len(text.split())
    if not 0 < words <= MAX_ALT_WORDS:
        raise ValueError(f"alt: expected 1 to {MAX_ALT_WORDS} words, got {words}: {text!r}.")
    return text


def card(height: float, *, width: float = WIDTH) -> CourseFigure:
    """Return an empty card of the given size in inches. Call it inside a figure function."""
    return CourseFigure(figsize=(width, height))


def bare(ax: Axes) -> None:
    """Remove ticks and spines, for pictures that are no plots."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def signed(value: float, digits: int) -> str:
    """Return a number with a real minus sign, without trailing zeros and without minus zero.

    Example:
        >>> signed(-1.3416, 2), signed(-0.01, 1), signed(5.0, 2), signed(20, 0)
        ('−1.34', '0', '5', '20')
    """
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")
