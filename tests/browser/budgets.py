"""What pages weigh and how long a verdict takes: ``python -m tests.browser.budgets``.

Needs the built site and Chromium. Writes ``book/generated/budgets.json`` and, from it,
``book/generated/budgets.md``, which the page of budgets shows. Bytes and requests are the same on
every machine; seconds are not, so the table says what they were measured on.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import statistics
import threading
import time
from collections.abc import Iterable
from datetime import date
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from normcourse.site.live_build import BUDGET as RUNTIME_BUDGET
from normcourse.site.weight import BUDGET as PAGE_BUDGET
from normcourse.site.weight import FREE, weigh
from normcourse.workshop.serve import Handler
from normcourse.workshop.stages import find_chromium

from .cells import RIGHT, exercise, lesson
from .conftest import ARGUMENTS, ROOT, SITE, open_page

FILE = ROOT / "book" / "generated" / "budgets.json"
WARM = 5  # verdicts after the first, of which the median counts


def pages_of(site: Path) -> list[str]:
    """The pages of the book in a built site."""
    return sorted(path.relative_to(site).as_posix() for path in site.glob("book/**/*.html"))


def loaded(browser: Browser, address: str, page: str) -> dict[str, int]:
    """Open a page with an empty cache: requests of the first view, without the offline copy."""
    visit = open_page(browser, address, page, service_workers="block")
    count = len([url for url in visit.requests if not url.startswith("data:")])
    visit.page.context.close()
    return {"requests": count}


def page_row(site: Path, browser: Browser, address: str, page: str) -> dict[str, Any]:
    """What one page weighs."""
    weight = weigh(site, page)
    sizes = {
        "own": weight.own_bytes,
        "own_gzipped": weight.own_compressed,
        "whole": weight.whole_bytes,
    }
    return {"page": page, **sizes, **loaded(browser, address, page)}


def runtime(site: Path) -> dict[str, Any]:
    """The files of Python for the browser, as stored and as a server sends them."""
    (folder,) = site.glob("live/pyodide-*")
    files = [path for path in folder.iterdir() if path.suffix in (".mjs", ".wasm", ".zip", ".whl")]
    sent = sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)
    return {
        "folder": folder.name,
        "files": len(files),
        "stored": sum(path.stat().st_size for path in files),
        "gzipped": sent,
    }


def verdicts(browser: Browser, address: str) -> dict[str, float]:
    """Seconds from Check to the verdict: the first ever, and once Python runs."""
    visit = lesson(browser, address, service_workers="block")
    cell = exercise(visit.page)
    seconds = []
    for _ in range(WARM + 1):
        cell.write(RIGHT)
        visit.page.evaluate("() => document.querySelector('.nc-verdict-box')?.remove()")
        start = time.perf_counter()
        cell.button("Check").click()
        cell.result()
        seconds.append(time.perf_counter() - start)
    visit.page.context.close()
    return {"cold": round(seconds[0], 2), "warm": round(statistics.median(seconds[1:]), 2)}


def measure(site: Path) -> dict[str, Any]:
    """Measure everything on a server of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        measured = {
            "date": date.today().isoformat(),
            "browser": f"Chromium {browser.version}",
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "pages": [page_row(site, browser, address, page) for page in pages_of(site)],
            "runtime": runtime(site),
            "verdict": verdicts(browser, address),
        }
        browser.close()
    server.shutdown()
    server.server_close()
    return measured


def rendered(measured: dict[str, Any]) -> str:
    """The measured numbers as the page shows them."""
    part, verdict = measured["runtime"], measured["verdict"]
    table = [
        ("Python and NumPy, as stored", _mega(part["stored"]), _mega(RUNTIME_BUDGET)),
        ("Python and NumPy, gzipped", _mega(part["gzipped"]), "–"),
        ("heaviest page, read to its end", _kilo(heaviest(measured)), _kilo(PAGE_BUDGET)),
        ("most own bytes of a first view", _kilo(max(_of(measured, "own"))), "–"),
        ("most requests of a first view", str(max(_of(measured, "requests"))), "–"),
        ("first verdict, nothing stored", f"{verdict['cold']:.1f} s", "none: machines differ"),
        ("each further verdict", f"{verdict['warm']:.2f} s", "none: machines differ"),
    ]
    where = (
        f"Measured on {measured['date']} with {measured['browser']} on {measured['cores']} cores, "
        f"load average {measured['load']:g}, the site served from the same machine."
    )
    names = [row["page"].removeprefix("book/").removesuffix(".html") for row in measured["pages"]]
    rows = [
        (
            f"`{name}`",
            *(_kilo(row[size]) for size in ("own", "own_gzipped", "whole")),
            str(row["requests"]),
        )
        for name, row in zip(names, measured["pages"], strict=True)
    ]
    return (
        "\n\n".join(
            [
                where,
                _table(("what", "measured", "budget"), table),
                "Page by page:",
                _table(("page", "own bytes", "gzipped", "to its end", "requests"), rows),
            ]
        )
        + "\n"
    )


def heaviest(measured: dict[str, Any]) -> int:
    """The bytes of the heaviest page that has a budget, with all its pictures."""
    return max(row["whole"] for row in measured["pages"] if row["page"] not in FREE)


def _of(measured: dict[str, Any], column: str) -> list[int]:
    return [row[column] for row in measured["pages"]]


def _kilo(count: int) -> str:
    return f"{count / 1000:,.0f} kB"


def _mega(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rule = ("---", *("---:",) * (len(head) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def main() -> int:
    """Measure and write."""
    if not pages_of(SITE):
        print(f"{SITE}: no pages; build the book first (make book)")
        return 2
    measured = measure(SITE)
    FILE.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    FILE.with_suffix(".md").write_text(rendered(measured), encoding="utf-8")
    print(rendered(measured))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
