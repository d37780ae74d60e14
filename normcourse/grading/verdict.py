"""One submission, judged: files in, one verdict per exercise out.

The learner's code runs in the sandbox. Everything else, reading the file, drawing the inputs,
computing what is right, comparing and naming mistakes, happens here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from normcourse.checks import find
from normcourse.checks.exercise import Exercise
from normcourse.checks.feedback import Feedback
from normcourse.checks.judge import judge, not_loaded, not_started
from normcourse.checks.source import BadSource, Source, same_code, source_of
from normcourse.checks.texts import supplied_code, text_of
from normcourse.grading.policy import policy_of, violations
from normcourse.grading.runner import Answer, NotLoaded, SandboxRunner
from normcourse.grading.sandbox import Kind, Limits, Sandbox, SandboxLost

OUTCOMES = (
    *("passed", "failed", "error", "timeout", "memory", "crashed", "protocol"),
    *("not_submitted", "not_started", "infra_error"),
)
TRIALS = 2  # sets of inputs; one case of each is run twice
MAX_CELLS, MAX_CHARACTERS = 2000, 1_000_000  # of code, pictures and texts aside


@dataclass(frozen=True)
class Verdict:
    """What came of one exercise of one submission.

    Args:
        exercise: its id.
        outcome: one of ``OUTCOMES``.
        feedback: for the learner, None where nothing was judged.
        notes: for the learner and the instructor: what was left out or retried.
        sandbox: what held the code; empty where none ran.
        seeds: of the inputs, so that the verdict can be reached again.
    """

    exercise: str
    outcome: str
    feedback: Feedback | None = None
    notes: tuple[str, ...] = ()
    sandbox: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        feedback = json.loads(self.feedback.to_json()) if self.feedback else None
        return {
            "exercise": self.exercise,
            "outcome": self.outcome,
            "feedback": feedback,
            "notes": list(self.notes),
            "sandbox": self.sandbox,
            "seeds": list(self.seeds),
        }


def seeds(secret: bytes, digest: str, exercise: str) -> tuple[int, ...]:
    """Return the seeds of an exercise's inputs: nobody without the secret can foresee them.

    Args:
        secret: the grader's own.
        digest: of the submission, so that another submission meets other inputs.
        exercise: id.

    Example:
        >>> seeds(b"k", "d", "f") == seeds(b"k", "d", "f"), len(seeds(b"k", "d", "f"))
        (True, 2)
    """
    words = (f"{digest}|{exercise}|{trial}".encode() for trial in range(TRIALS))
    sums = (hmac.new(secret, word, hashlib.sha256).digest() for word in words)
    return tuple(int.from_bytes(digest[:6], "little") for digest in sums)


class Boxes:
    """The warm sandboxes of one grading process, one for each runtime, renewed when lost.

    Args:
        kind: how they are built.
        warm: those that are there already.
    """

    def __init__(self, kind: Kind, *warm: Sandbox) -> None:
        self._kind = kind
        self._warm = {sandbox.runtime: sandbox for sandbox in warm}

    def get(self, runtime: str) -> Sandbox:
        """Return a warm sandbox.

        Raises:
            SandboxLost: none can be started.
        """
        if runtime in self._warm and self._warm[runtime].worn:
            self.drop(runtime)
        if runtime not in self._warm:
            self._warm[runtime] = Sandbox(self._kind, runtime)
        return self._warm[runtime]

    def drop(self, runtime: str) -> None:
        """End a sandbox; the next one asked for is new."""
        sandbox = self._warm.pop(runtime, None)
        if sandbox is not None:
            with suppress(OSError):
                sandbox.close()

    def close(self) -> None:
        """End all of them."""
        for runtime in list(self._warm):
            self.drop(runtime)


@dataclass
class Papers:
    """A submission's files, read once for all exercises.

    Args:
        sources: the files with code that could be read, by path.
        files: every file by path.
        problems: what could not be read.
    """

    sources: dict[str, Source]
    files: dict[str, bytes]
    problems: list[str]

    def holding(self, name: str) -> tuple[str, Source] | None:
        """Return the file that defines an exercise: notebooks before modules, the last wins."""
        found = [(path, source) for path, source in self.sources.items() if source.defines(name)]
        found.sort(key=lambda item: (item[0].endswith(".ipynb"), item[0]))
        return found[-1] if found else None


def read_papers(files: dict[str, bytes], problems: list[str]) -> Papers:
    """Read notebooks and Python files; what cannot be read is said and costs nothing else."""
    sources: dict[str, Source] = {}
    said = list(problems)
    for name, data in files.items():
        path = PurePosixPath(name)
        if path.suffix.lower() not in (".ipynb", ".py"):
            continue
        try:
            sources[name] = _source(path, data)
        except BadSource as error:
            said.append(str(error))
    return Papers(sources, files, said)


def _source(path: PurePosixPath, data: bytes) -> Source:
    from pathlib import Path

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSource(f"{path}: not UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    if path.suffix.lower() == ".py" and len(text) > MAX_CHARACTERS:
        raise BadSource(f"{path}: more than {MAX_CHARACTERS:,} characters of code.")
    if path.suffix.lower() == ".ipynb":
        _measure(path, text)
    try:
        return source_of(Path(f"{path.with_suffix('')}{path.suffix.lower()}"), text)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise BadSource(f"{path}: cannot be read ({error or type(error).__name__}).") from None


def _measure(path: PurePosixPath, text: str) -> None:
    """Refuse a notebook with more code than anybody writes before it is parsed."""
    try:
        cells = json.loads(text).get("cells")
        codes = [c.get("source", "") for c in cells if c.get("cell_type") == "code"]
        size = sum(len(c) if isinstance(c, str) else sum(map(len, c)) for c in codes)
    except (ValueError, RecursionError, AttributeError, TypeError):
        return  # not a notebook: reading it says so
    if len(codes) > MAX_CELLS or size > MAX_CHARACTERS:
        raise BadSource(f"{path}: more than {MAX_CELLS} cells or {MAX_CHARACTERS:,} characters.")


def grade(
    boxes: Boxes,
    papers: Papers,
    exercise_id: str,
    seeds: tuple[int, ...],
    limits: Limits,
    *,
    enforce: bool = True,
) -> Verdict:
    """Return the verdict on one exercise.

    Args:
        boxes: the sandboxes.
        papers: the submission.
        exercise_id: what was asked.
        seeds: one for each set of inputs.
        limits: of the answer's process.
        enforce: whether an answer that goes round the exercise fails; else it is noted only.
    """
    exercise = find(exercise_id)
    held = papers.holding(exercise_id)
    if held is None:
        return _absent(exercise, papers)
    path, source = held
    skipped = sum(len(cell.skipped) for cell in source.cells)
    notes = [f"{path}: {skipped} lines with magics or shell commands were left out."]
    notes = (notes if skipped else []) + [f"Left out: {p}" for p in papers.problems]
    early = _before_running(exercise, source)
    if early is not None:
        return Verdict(exercise_id, early.status, early, tuple(notes))
    own = frozenset(PurePosixPath(name).parts[0].removesuffix(".py") for name in papers.files)
    forbidden = violations(exercise, source, own)
    if forbidden:
        message = _ruled_out(exercise, forbidden)
        if enforce:
            feedback = not_loaded(exercise, message)
            feedback = Feedback(**{**vars(feedback), "status": "failed", "stage": "policy"})
            return Verdict(exercise_id, "failed", feedback, tuple(notes))
        notes.append(f"To look at: {message}")
    helpers = {n: d for n, d in papers.files.items() if n != path and not n.endswith(".ipynb")}
    answer = Answer(exercise, source, helpers, supplied_code(exercise), limits)
    return _with_retry(boxes, answer, seeds, notes)


def _absent(exercise: Exercise, papers: Papers) -> Verdict:
    """Return the verdict where no file that could be read defines the exercise."""
    notes = tuple(f"Left out: {problem}" for problem in papers.problems)
    code = [n for n in papers.files if n.lower().endswith((".ipynb", ".py"))]
    unread = [n for n in code if n not in papers.sources]
    if unread and not papers.sources:
        feedback = not_loaded(exercise, papers.problems[-1])
        return Verdict(exercise.id, "error", feedback, notes)
    return Verdict(exercise.id, "not_submitted", None, notes)


def _before_running(exercise: Exercise, source: Source) -> Feedback | None:
    """Return the feedback on an answer that need not be run: broken, or still the stub."""
    cell = source.defines(exercise.id)
    assert cell is not None
    if cell.problem:
        return not_loaded(exercise, f"{cell.label}: {cell.problem}")
    definition = source.definition(exercise.id)
    if definition is not None and same_code(definition, text_of(exercise).stub):
        return not_started(exercise)
    return None


def _ruled_out(exercise: Exercise, names: list[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names[:5])
    words = policy_of(exercise).words
    return f"your answer uses {listed}; this exercise is solved with {words}."


def _with_retry(boxes: Boxes, answer: Answer, seeds: tuple[int, ...], notes: list[str]) -> Verdict:
    """Judge; where the sandbox itself fails, once more in a new one; then say so, never 0."""
    problem = ""
    for attempt in range(2):
        try:
            verdict = _judge(boxes, answer, seeds, notes)
        except SandboxLost as lost:
            problem = str(lost)
        except Exception:  # the grader's own fault: a verdict of it would be the learner's loss
            problem = traceback.format_exc(limit=-3)[-1500:]
        else:
            again = [f"Judged a second time after: {problem}"] if attempt else []
            return Verdict(**{**vars(verdict), "notes": (*verdict.notes, *again)})
        boxes.drop(answer.exercise.runtime)
    return Verdict(answer.exercise.id, "infra_error", None, (*notes, problem), seeds=seeds)


def _judge(boxes: Boxes, answer: Answer, seeds: tuple[int, ...], notes: list[str]) -> Verdict:
    exercise = answer.exercise
    sandbox = boxes.get(exercise.runtime)
    runner = SandboxRunner(sandbox, answer)
    try:
        feedback, outcome = _feedback(exercise, runner, seeds)
    finally:
        _leave(boxes, runner, exercise.runtime)
    held = {"kind": str(sandbox.kind), "safe": sandbox.kind.safe, **runner.in_force}
    held["cgroup"] = sandbox.in_group
    return Verdict(exercise.id, outcome, feedback, (*notes, *runner.notes), held, seeds)


def _feedback(
    exercise: Exercise, runner: SandboxRunner, seeds: tuple[int, ...]
) -> tuple[Feedback, str]:
    """Judge on one set of inputs after the other, until one fails."""
    for seed in seeds:
        try:
            feedback = judge(exercise, runner, seed=seed)
        except NotLoaded as problem:
            return not_loaded(exercise, str(problem)), problem.outcome
        if not feedback.passed:
            break
    fate = runner.fates.get(feedback.case, "")
    if feedback.status in ("error", "timeout") and fate:
        return feedback, fate
    return feedback, feedback.status


def _leave(boxes: Boxes, runner: SandboxRunner, runtime: str) -> None:
    """End the process; a sandbox that does not answer is replaced, the verdict stands."""
    try:
        runner.close()
    except SandboxLost:
        boxes.drop(runtime)
