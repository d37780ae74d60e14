"""Every exercise of the course, NumPy and PyTorch, handed in as the notebook that learners get."""

from __future__ import annotations

import json

import pytest

from normcourse.checks.catalogue import chapters, listed
from normcourse.checks.handout import learner_notebook
from normcourse.checks.texts import text_of
from normcourse.grading.policy import FROM_SCRATCH
from normcourse.grading.sandbox import Limits
from normcourse.grading.verdict import Boxes, grade, read_papers, seeds
from tests.grading.conftest import SECRET

_ROOMY = Limits()  # torch needs more memory than the other tests' limits give
_NOTEBOOKS = sorted(chapters())


def _handed_in(chapter: str, *, solved: bool) -> dict[str, bytes]:
    """Return a learner's notebook, as handed out or with every answer filled in."""
    notebook = learner_notebook(chapters()[chapter])
    for cell in notebook["cells"]:
        tag = cell["metadata"].get("normcourse", {})
        if solved and tag.get("role") == "answer":
            cell["source"] = text_of(listed()[tag["exercise"]]).solution
    return {f"{chapter}.ipynb": json.dumps(notebook).encode()}


def _outcomes(boxes: Boxes, chapter: str, *, solved: bool) -> dict[str, str]:
    papers = read_papers(_handed_in(chapter, solved=solved), [])
    asked = [e.id for e in listed().values() if e.chapter == chapter]
    found = {}
    for name in asked:
        verdict = grade(boxes, papers, name, seeds(SECRET, chapter, name), _ROOMY)
        assert verdict.outcome != "infra_error", verdict.notes
        if solved and verdict.outcome != "not_started":
            assert verdict.sandbox["safe"]
        found[name] = verdict.outcome
    assert found
    return found


@pytest.mark.parametrize("chapter", _NOTEBOOKS)
def test_solutions_pass_in_the_sandbox(boxes: Boxes, chapter: str) -> None:
    assert set(_outcomes(boxes, chapter, solved=True).values()) == {"passed"}


@pytest.mark.parametrize("chapter", _NOTEBOOKS)
def test_the_notebook_as_handed_out_is_not_started(boxes: Boxes, chapter: str) -> None:
    assert set(_outcomes(boxes, chapter, solved=False).values()) == {"not_started"}


def test_both_runtimes_are_among_them() -> None:
    assert {exercise.runtime for exercise in listed().values()} == {"numpy", "torch"}


def test_layers_from_scratch_are_exercises() -> None:
    assert set(listed()) >= FROM_SCRATCH


def test_a_wrong_layer_in_torch_is_named(boxes: Boxes) -> None:
    """The diagnosis reaches the instructor from the sandbox, too."""
    notebook = _handed_in("batch_norm_inference", solved=True)
    ((name, data),) = notebook.items()
    book = json.loads(data)
    for cell in book["cells"]:
        if cell["metadata"].get("normcourse", {}).get("exercise") == "evaluate":
            source = "".join(cell["source"])
            if "model.eval()" in source:
                cell["source"] = source.replace("model.eval()", "model.train()")
    papers = read_papers({name: json.dumps(book).encode()}, [])
    verdict = grade(boxes, papers, "evaluate", seeds(SECRET, "d", "evaluate"), _ROOMY)
    assert verdict.outcome == "failed"
    assert verdict.feedback is not None
    assert verdict.feedback.mistakes
