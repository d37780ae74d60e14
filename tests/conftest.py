"""What every test shares: one thread each, no progress recorded, and when a browser is there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before NumPy or PyTorch is imported anywhere: tests run side by side, one thread each.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["NORMCOURSE_PROGRESS"] = "off"
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)

from normcourse.workshop.stages import find_chromium  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"  # NORMCOURSE_SITE names another one


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the course."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the browser tests, with the reason, where they cannot run."""
    browser = [item for item in items if item.get_closest_marker("browser")]
    if not browser:
        return
    reason = None
    if find_chromium() is None:
        reason = "no Chromium here (Debian: sudo apt-get install chromium)"
    elif not (Path(os.environ.get("NORMCOURSE_SITE", SITE)) / "index.html").is_file():
        reason = "the book is not built (make book)"
    for item in browser:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
