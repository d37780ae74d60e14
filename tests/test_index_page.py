"""The entry page shows what the judge really says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from normcourse import check

_PAGE = Path(__file__).parents[1] / "book" / "index.md"


def test_the_message_on_the_entry_page_is_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMCOURSE_PROGRESS", "off")
    page = _PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (said,) = re.findall(r"```text\n(.*?)\n```", page, flags=re.DOTALL)
    scope = {"np": np}
    exec(code, scope)
    assert (
        said.split() == str(check(scope["batch_norm_forward"])).split()
    )  # lines are shorter there
