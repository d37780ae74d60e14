"""The examples of the docstrings run and give the values shown."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch

import normcourse.modules
import normcourse.surgery

FILES = [
    info.name
    for package in (normcourse.modules, normcourse.surgery)
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
]
PUBLIC = [
    pytest.param(getattr(package, name), id=name)
    for package in (normcourse.modules, normcourse.surgery)
    for name in package.__all__
]


@pytest.mark.parametrize("name", FILES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    # Public examples bring their own imports, as on the API page; private ones need torch alone.
    globs = {} if not name.rpartition(".")[2].startswith("_") else {"torch": torch}
    own = [
        value
        for value in vars(module).values()
        if getattr(value, "__module__", None) == name and callable(value)
    ]
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    finder = doctest.DocTestFinder()
    for value in own:
        for example in finder.find(value, value.__name__, globs={**globs, value.__name__: value}):
            runner.run(example)
    assert runner.failures == 0


@pytest.mark.parametrize("thing", PUBLIC)
def test_docstrings_are_complete(thing: object) -> None:
    text = inspect.getdoc(thing)
    assert text is not None
    wanted = ["Example:", ">>> ", "Source:"]
    if inspect.isclass(thing):
        wanted += ["Formula:", "Shape:", "Differs from torch in:"]
    for section in wanted:
        assert section in text, section
