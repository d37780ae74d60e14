"""The workshop: set up, run, build, serve and test the course.

``make`` is a thin front of this package. It runs on a bare Python 3.11 or newer (standard library
only) up to the point where the environment exists; what needs installed packages is imported
inside the functions that use them. The way of the data is in CONTRIBUTING.md:
notebooks are executed once, into ``_build/.jupyter_cache``, by :mod:`~normcourse.workshop.execute`
(``make book``) or by the tests through :mod:`~normcourse.workshop.nbval_plugin` (``make test``);
the pages are built from there.
"""

from __future__ import annotations

__all__ = ["WORDS"]

#: The first words of a command line that the workshop answers: word -> one line of help.
WORDS: dict[str, str] = {
    "course": "set up what is missing, build the book, serve it on this machine",
    "book": "the same without serving",
    "test": "everything that .ci/run runs",
    "lint": "ruff, format, stripped notebooks, generated files",
    "exercises": "write the learner's notebooks and the package data from the solutions",
    "setup": "only the environment (.venv)",
    "clean": "remove what was built; the environment and your progress stay",
}
