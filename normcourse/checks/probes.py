"""What runs beside the learner's code: inputs in, a :class:`Trial` out.

A probe calls the learner's function or class in one fixed way and returns what came of it. The
notebook, the command line's child process and the sandboxed grader all run the probes of this file,
so a verdict does not depend on where it is reached. Nothing here knows a right answer.

The file stands alone (standard library, NumPy and :mod:`codec`).
"""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

OUTPUT_LIMIT = 20_000


class TimeLimitReached(BaseException):
    """Raised inside the learner's code when its time is up; no ``except Exception`` catches it."""


@dataclass
class Trial:
    """What one call of the learner's code came to.

    Args:
        status: "returned", "raised", "timeout", "crashed" or "memory".
        value: what was returned, as the codec delivers it.
        error: for "raised": type, message, the learner's own line and its number.
        output: what was printed, cut at ``OUTPUT_LIMIT`` characters.
        changed: names of the arguments that the call changed.
    """

    status: str
    value: Any = None
    error: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    changed: list[str] = field(default_factory=list)

    def to_wire(self) -> dict[str, Any]:
        """Return the trial as plain data for the codec."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @classmethod
    def from_wire(cls, wire: Any) -> Trial:
        """Return the trial that ``wire`` describes; a malformed one counts as crashed."""
        names = {"status": str, "error": dict, "output": str, "changed": list}
        if not isinstance(wire, dict) or set(wire) != {"value", *names}:
            return cls("crashed", error={"message": "the answer's process sent no result"})
        if not all(isinstance(wire[name], kind) for name, kind in names.items()):
            return cls("crashed", error={"message": "the answer's process sent no result"})
        return cls(**wire)


def call(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Call a function with the inputs in order; inputs after a left-out one go by name."""
    return function(*inputs.values())


def exhaust(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Call a function whose first argument is a stream: an iterator that can be read once."""
    name, *others = inputs
    stream = (np.array(chunk) for chunk in inputs[name])
    return function(stream, *(inputs[other] for other in others))


def exhaust_long(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Hand over a stream that is made on the way; say besides whether all of it was kept."""
    rng = np.random.default_rng(inputs["seed"])  # here, since loading it takes memory too

    def stream() -> Iterator[Any]:
        for _ in range(inputs["chunks"]):
            yield rng.normal(inputs["mean"], inputs["spread"], inputs["size"])

    result, peak = _with_peak(lambda: function(stream()))
    whole = 8 * inputs["chunks"] * inputs["size"]
    return {"var": result, "keeps the whole stream": peak > whole // 4}


def _with_peak(run: Callable[[], Any]) -> tuple[Any, int]:
    """Return what a function returns and how many bytes it held at most."""
    import tracemalloc

    begun = tracemalloc.is_tracing()
    if not begun:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        result = run()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        if not begun:
            tracemalloc.stop()


def call_with_functions(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Call a function some of whose arguments are functions, given by their names."""
    return function(*(with_functions(value) for value in inputs.values()))


def with_functions(value: Any) -> Any:
    """Return the value with each name of :data:`FUNCTIONS` replaced by its function."""
    if isinstance(value, list | tuple):
        return type(value)(with_functions(item) for item in value)
    return FUNCTIONS[value] if isinstance(value, str) else value


def _pooling(*axes: int) -> Callable[[Any], Any]:
    """Return a function that standardizes over the axes, eps = 1e-5."""

    def norm(x: Any) -> Any:
        mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5)

    return norm


def _pooling_so_far(x: Any) -> Any:
    """Standardize each position of (B, T, D) over the features of all positions up to it."""
    parts = [x[:, : t + 1] for t in range(x.shape[1])]
    mean = np.stack([part.mean(axis=(1, 2)) for part in parts], axis=1)[..., None]
    var = np.stack([part.var(axis=(1, 2)) for part in parts], axis=1)[..., None]
    return (x - mean) / np.sqrt(var + 1e-5)


def _minus_next(x: Any) -> Any:
    """Subtract from each position of (B, T, D) the one after it; the last stays."""
    following = np.concatenate([x[:, 1:], np.zeros_like(x[:, :1])], axis=1)
    return x - following


def _feed_forward(x: Any) -> Any:
    """Apply a hidden layer of tanh units and a linear one; the weights are fixed."""
    width = x.shape[-1]
    steps = np.arange(2.0 * width * width).reshape(width, 2 * width)
    inner, outer = np.sin(1.0 + 1.7 * steps), np.cos(0.5 + 2.3 * steps.T)
    return np.tanh(x @ inner.astype(x.dtype) + 0.3) @ outer.astype(x.dtype)


def _attention(x: Any) -> Any:
    """Mix the positions of (..., T, D) by self-attention without weights."""
    scores = x @ np.swapaxes(x, -1, -2) / x.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ x


def _scaled_norm(x: Any) -> Any:
    """Standardize over the features, then scale by 3 and shift by -1."""
    return 3.0 * _pooling(-1)(x) - 1.0


def _root_mean_square_norm(x: Any) -> Any:
    """Divide by the root mean square of the features, eps = 1e-5."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "norm over the features": _pooling(-1),
    "norm over batch and time": _pooling(0, 1),
    "norm over time": _pooling(1),
    "norm over time with a shift": lambda x: 1.5 * _pooling(1)(x) - 0.7,
    "norm over the sequence": _pooling(1, 2),
    "norm over the past": _pooling_so_far,
    "difference to the next": _minus_next,
    "squaring": lambda x: x * x,
    "doubling": lambda x: 2.0 * x,
    "a constant zero": lambda x: 0.0 * x,
    "a feed-forward layer": _feed_forward,
    "attention": _attention,
    "subtract the mean": lambda x: x - x.mean(axis=-1, keepdims=True),
    "leave as it is": lambda x: x + 0.0,
    "a norm with gamma and beta": _scaled_norm,
    "root mean square norm": _root_mean_square_norm,
}

PROBES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "call": call,
    "call with functions": call_with_functions,
    "exhaust": exhaust,
    "exhaust long": exhaust_long,
}


def _strided(array: Any) -> Any:
    """Return a copy whose elements lie two apart in memory."""
    if array.ndim == 0:
        return array.copy()
    room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    room[..., ::2] = array
    return room[..., ::2]


def _read_only(array: Any) -> Any:
    copied = array.copy()
    copied.flags.writeable = False
    return copied


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda array: array.copy(),
    "strided": _strided,
    "fortran": lambda array: array.copy(order="F"),
    "read-only": _read_only,
}


def run_trial(answer: Any, probe: str, inputs: dict[str, Any], layout: str = "plain") -> Trial:
    """Run one probe on the learner's answer and report what happened.

    Args:
        answer: the learner's function or class.
        probe: key of :data:`PROBES`.
        inputs: argument name to value; the answer gets copies.
        layout: key of :data:`LAYOUTS`, how the copies of the arrays lie in memory.

    Returns:
        The trial. Nothing that the answer raises escapes but a keyboard interrupt.
    """
    given = {name: _copy(value, LAYOUTS[layout]) for name, value in inputs.items()}
    captured = _Capture()
    try:
        with _quiet(captured):
            value = find_probe(probe)(answer, given)
    except KeyboardInterrupt:
        raise
    except TimeLimitReached:
        return Trial("timeout", output=captured.text())
    except MemoryError as error:
        return Trial("memory", error=describe_error(error, answer), output=captured.text())
    except BaseException as error:
        return Trial("raised", error=describe_error(error, answer), output=captured.text())
    changed = [name for name in given if not _unchanged(given[name], inputs[name])]
    return Trial("returned", value, output=captured.text(), changed=changed)


def describe_signature(answer: Any) -> dict[str, Any]:
    """Return what can be said of an answer without calling it: its kind and its parameters.

    Example:
        >>> describe_signature(lambda x, eps=1e-5: x)["parameters"]
        [['x', 'positional', False], ['eps', 'positional', True]]
    """
    kind = "class" if inspect.isclass(answer) else "function" if callable(answer) else "other"
    try:
        parameters = inspect.signature(answer).parameters.values()
    except (TypeError, ValueError):
        return {"kind": kind, "parameters": None}
    kinds: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "rest",
        inspect.Parameter.VAR_KEYWORD: "options",
        inspect.Parameter.KEYWORD_ONLY: "keyword",
    }
    listed = [
        [p.name, kinds.get(p.kind, "positional"), p.default is not inspect.Parameter.empty]
        for p in parameters
    ]
    return {"kind": kind, "parameters": listed}


def find_probe(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    """Return a probe; those for PyTorch are loaded when first asked for."""
    if name.startswith("torch:"):
        from normcourse.checks.torch.probes import PROBES as torch_probes

        return torch_probes[name]
    return PROBES[name]


class _Capture(io.TextIOBase):
    """Keeps the first characters of what is printed and counts the rest."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room, self._lost = OUTPUT_LIMIT, 0

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        kept = text[: self._room]
        self._room -= len(kept)
        self._lost += len(text) - len(kept)
        if kept:
            self._parts.append(kept)
        return len(text)

    def text(self) -> str:
        tail = f"\n… {self._lost} more characters" if self._lost else ""
        return "".join(self._parts) + tail


@contextlib.contextmanager
def _quiet(captured: _Capture) -> Iterator[None]:
    with (
        contextlib.redirect_stdout(captured),
        contextlib.redirect_stderr(captured),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield


def _copy(value: Any, lay: Callable[[Any], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return lay(value)
    if isinstance(value, list):
        return [_copy(item, lay) for item in value]
    if isinstance(value, dict):
        return {key: _copy(item, lay) for key, item in value.items()}
    return value


def _unchanged(now: Any, before: Any) -> bool:
    if isinstance(before, np.ndarray):
        return (
            type(now) is np.ndarray
            and now.shape == before.shape
            and now.dtype == before.dtype
            and now.tobytes() == before.tobytes()
        )
    if isinstance(before, list):
        return (
            type(now) is list
            and len(now) == len(before)
            and all(_unchanged(a, b) for a, b in zip(now, before, strict=True))
        )
    if isinstance(before, dict):
        return (
            type(now) is dict
            and set(now) == set(before)
            and all(_unchanged(now[key], before[key]) for key in before)
        )
    return True


def describe_error(error: BaseException, answer: Any) -> dict[str, Any]:
    """Return type, message and the learner's own line; the error's own methods are not trusted."""
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    home = code.co_filename if code is not None else _home_of_class(answer)
    line, lineno, traceback = "", 0, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == home:
            lineno = traceback.tb_lineno
            line = linecache.getline(home, lineno, traceback.tb_frame.f_globals).strip()
        traceback = traceback.tb_next
    return {
        "type": type(error).__name__[:200],
        "message": _text_of(error),
        "line": line[:300],
        "lineno": lineno,
    }


def _home_of_class(answer: Any) -> str:
    for member in vars(answer).values() if inspect.isclass(answer) else ():
        code = getattr(member, "__code__", None)
        if code is not None:
            return str(code.co_filename)
    return ""


def _text_of(error: BaseException) -> str:
    parts = [part for part in error.args if type(part) in (str, int, float)]
    if parts:
        return " ".join(str(part)[:1000] for part in parts)[:2000]
    try:
        return str(error)[:2000]
    except BaseException:
        return ""
