"""Build the pages of the book and make sure that none is missing."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normcourse.workshop.console import Trouble, duration, meter, say, stream
from normcourse.workshop.execute import execute
from normcourse.workshop.notebooks import environment, files, tree_hash

__all__ = ["Book", "check_pages", "entries", "sources"]

PROGRESS = re.compile(r"^(reading sources|writing output)\.\.\. *\[ *(\d+)%\] *(.*)$")
PROBLEM = re.compile(r"\b(WARNING|ERROR|CRITICAL|SEVERE)\b|^Traceback|Error:")
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"  # it has no __main__
SHOWN = 20  # of the pages that are wrong
EXECUTED = "Executed notebook in"
CONFIG = (
    "_config.yml",
    "_toc.yml",
    "requirements.txt",
    "constraints.txt",
    "pyproject.toml",
    "package.json",
    "package-lock.json",
)


def entries(root: Path) -> list[str]:
    """The pages that ``_toc.yml`` lists, in order, without file endings."""
    import yaml

    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [name.removesuffix(".md").removesuffix(".ipynb") for name in _walk(toc)]


def _walk(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("root", "file"):
                yield value
            elif key == "glob":
                raise Trouble(f"_toc.yml: name each page instead of glob: {value}")
            else:
                yield from _walk(value)
    elif isinstance(node, list):
        for item in node:
            yield from _walk(item)


def sources(root: Path) -> list[Path]:
    """The file of each page of the table of contents.

    Raises:
        Trouble: a page is listed and there is no such file.
    """
    found = []
    for entry in entries(root):
        here = [p for p in (root / f"{entry}.ipynb", root / f"{entry}.md") if p.exists()]
        if len(here) != 1:
            what = "both .md and .ipynb" if here else "neither .md nor .ipynb"
            raise Trouble(f"_toc.yml lists {entry}: there is {what} of that name")
        found.append(here[0])
    return found


def check_pages(root: Path, html: Path) -> int:
    """Compare the built pages with the table of contents.

    Returns:
        The number of pages.

    Raises:
        Trouble: a page is missing, empty or has no heading, is listed twice, or was built unlisted.
    """
    listed = entries(root)
    twice = sorted({name for name in listed if listed.count(name) > 1})
    problems = [f"{name}: listed twice" for name in twice]
    for name in listed:
        page = html / f"{name}.html"
        if not page.is_file():
            problems.append(f"{name}: not built")
        elif "<h1" not in page.read_text(encoding="utf-8"):
            problems.append(f"{name}: built without a heading")
    kept = html / "_sources"  # Sphinx keeps a copy of each document's source
    built = {p.relative_to(kept).with_suffix("").as_posix() for p in files(kept)}
    problems += [f"{name}: built, but not in _toc.yml" for name in sorted(built - set(listed))]
    if problems:
        head = f"_toc.yml lists {len(listed)} pages; the built book differs:"
        more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise Trouble("\n  ".join([head, *problems[:SHOWN], *more]))
    return len(listed)


@dataclass(frozen=True)
class Book:
    """The book of the course in ``root``; a light one is built without running notebooks.

    A light book has the text, the exercises and the quizzes; without PyTorch the cells of its
    chapters show no outputs, so references to figures stay open and are no error there.
    """

    root: Path
    light: bool = False

    @property
    def build(self) -> Path:
        """Folder of everything that is built for this kind of book."""
        return self.root / "_build" / "light" / "_build" if self.light else self.root / "_build"

    @property
    def html(self) -> Path:
        """Folder of the built pages."""
        return self.build / "html"

    @property
    def stamp(self) -> Path:
        """File that says from which inputs the pages were built."""
        return self.build / "html.json"

    def ensure(self) -> None:
        """Build the book if anything it is made from has changed since the last good build."""
        if self.html.is_dir() and self._stamped() == self._inputs():
            say(f"Book: nothing changed, {len(entries(self.root))} pages are up to date")
        else:
            self.make()

    def make(self, *, fresh: bool = False) -> int:
        """Run the notebooks that changed and build the pages.

        Args:
            fresh: build every page, also the unchanged ones, so that each warning shows again.

        Returns:
            How many notebooks were executed.

        Raises:
            Trouble: a notebook failed, Sphinx warned, or a page is missing.
        """
        before, now = self._stamped(), self._inputs()
        self.stamp.unlink(missing_ok=True)
        if fresh or before.get("shared") != now["shared"]:
            for folder in (self.html, self.build / ".doctrees"):
                shutil.rmtree(folder, ignore_errors=True)
        pages = sources(self.root)
        executed = 0 if self.light else execute(self.root, self._chapters(pages))
        if executed:  # Sphinx looks at the file alone, not at its outputs
            self._forget_doctrees()
        executed += self._sphinx(len(pages))
        count = check_pages(self.root, self.html)
        say(f"Book: {count} pages, as many as _toc.yml lists")
        self.stamp.write_text(json.dumps(now), encoding="utf-8")
        return executed

    def _chapters(self, pages: list[Path]) -> list[Path]:
        return [page for page in pages if page.suffix == ".ipynb"]

    def _forget_doctrees(self) -> None:
        for page in self._chapters(sources(self.root)):
            name = page.relative_to(self.root).with_suffix(".doctree")
            (self.build / ".doctrees" / name).unlink(missing_ok=True)

    def _inputs(self) -> dict[str, str]:
        """Hashes of the pages' own files and of everything that all pages share."""
        pages = sources(self.root)
        folders = (self.root / name for name in ("book", "exercises", "normcourse"))
        config = (self.root / name for name in CONFIG)
        places = [place for place in (*config, *folders) if place.exists()]
        shared = sorted(set(files(*places)) - set(pages))
        return {"pages": tree_hash(self.root, pages), "shared": tree_hash(self.root, shared)}

    def _stamped(self) -> dict[str, str]:
        try:
            found = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _sphinx(self, pages: int) -> int:
        """Build with jupyter-book; return how many notebooks it ran (none, if all were stored)."""
        log = self.build / "log" / "book.txt"
        seen: list[str] = []
        start = time.monotonic()
        with meter("Building pages", 2 * pages) as display:  # each is read, then written

            def on_line(line: str) -> None:
                seen.append(line)
                if match := PROGRESS.match(line):
                    display.step(f"{match[1]}: {match[3]}")

            code = stream(
                self._command(),
                cwd=self.root,
                log=log,
                on_line=on_line,
                on_idle=lambda: display.show("working"),
                env=environment(self.root),
            )
            if code:
                shutil.rmtree(self.build / ".doctrees", ignore_errors=True)
                problems = list(dict.fromkeys(line for line in seen if PROBLEM.search(line)))
                text = "\n  ".join(problems or seen[-25:])
                raise Trouble(
                    f"jupyter-book failed after {duration(time.monotonic() - start)}:\n"
                    f"  {text}\nThe whole output is in {log}."
                )
        return sum(EXECUTED in line for line in seen)

    def _command(self) -> list[str]:
        command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(self.root)]
        if not self.light:
            return [*command, "-W", "-n", "--keep-going"]
        config = self.build.parent / "_config.yml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(self._light_config(), encoding="utf-8")
        return [*command, "--config", str(config), "--path-output", str(self.build.parent)]

    def _light_config(self) -> str:
        import yaml

        config = yaml.safe_load((self.root / "_config.yml").read_text(encoding="utf-8"))
        config["execute"] = {**config.get("execute", {}), "execute_notebooks": "off"}
        text: str = yaml.safe_dump(config, allow_unicode=True)
        return text
