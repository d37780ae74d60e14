"""Cells run in the page: the script of every page, its files, and the list of exercises it reads.

With ``normcourse_live: true`` in _config.yml. Without npm the book is built all the same: cards
and cells are then complete as they stand, and say why nothing runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sphinx.domains.std import StandardDomain
from sphinx.util import logging
from sphinx.util.console import colorize

from normcourse.site import npm
from normcourse.site.exercise_data import Chapter, DataError, data_folder, load_chapters
from normcourse.site.live_build import LiveFiles, copy_runtime, prepare

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["LiveHost", "register"]

logger = logging.getLogger(__name__)


class LiveHost:
    """Makes the files before the build, names them on each page, copies them after it."""

    def __init__(self) -> None:
        self.node_modules: Path | None = None
        self.files: LiveFiles | None = None

    def make(self, app: Sphinx) -> None:
        """Bundle and pack; without npm say in one line what will be missing."""
        self.node_modules = self.files = None
        if app.builder.format != "html" or not app.config.normcourse_live:
            return
        cache, why = Path(app.outdir).parent, ""
        try:
            modules = npm.install(Path(app.srcdir), cache / "npm")
            self.files = prepare(modules, cache / "live")
            self.node_modules = modules
        except npm.NpmError as error:
            why = str(error)
            logger.info(colorize("yellow", f"Cells will not run in the pages: {why}"))
            self.files = prepare(None, cache / "live", why)

    def name_script(
        self, app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
    ) -> None:
        """Load the script on every page; modules wait until the page is read."""
        if self.files is not None:
            source = context["pathto"](f"live/{self.files.folder}/live.js", resource=True)
            tag = f'<script type="module" src="{source}"></script>\n'
            context["metatags"] = context.get("metatags", "") + tag

    def copy(self, app: Sphinx, exception: Exception | None) -> None:
        """Put the files into the built site."""
        if exception is not None or self.files is None:
            return
        site = Path(app.outdir)
        self.files.write(site)
        if self.node_modules is not None:
            copy_runtime(self.node_modules, site)
        text = json.dumps(course(app), ensure_ascii=False, separators=(",", ":"))
        (site / "live" / "course.json").write_text(text, encoding="utf-8")


def course(app: Sphinx) -> dict[str, Any]:
    """Return every exercise in order, with the page and place where its card stands."""
    configured = app.config.normcourse_exercise_data
    folder = Path(app.srcdir, configured) if configured else data_folder()
    try:
        chapters = load_chapters(folder)
    except DataError:
        return {"chapters": [], "exercises": []}  # the directive that needed it has complained
    listed = [{"notebook": chapter.notebook, "title": _heading(chapter)} for chapter in chapters]
    places = cast(StandardDomain, app.env.get_domain("std")).anonlabels
    exercises = []
    for chapter in chapters:
        for exercise in chapter.exercises:
            page, label = places.get(exercise.id, ("", ""))
            exercises.append(
                {
                    "id": exercise.id,
                    "title": exercise.title,
                    "chapter": chapter.notebook,
                    "runtime": exercise.runtime,
                    "version": exercise.version,
                    "page": f"{app.builder.get_target_uri(page)}#{label}" if page else "",
                }
            )
    return {"chapters": listed, "exercises": exercises}


def _heading(chapter: Chapter) -> str:
    title = chapter.title.removeprefix("Exercises of ").partition(": ")[2] or chapter.title
    return title[:1].upper() + title[1:]


def register(app: Sphinx) -> None:
    """Connect one host per build."""
    host = LiveHost()
    app.add_config_value("normcourse_live", False, "html", (bool,))
    app.connect("builder-inited", host.make)
    app.connect("html-page-context", host.name_script)
    app.connect("build-finished", host.copy)
