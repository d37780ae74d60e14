"""``normcourse bench norms`` on a GPU: torch, torch.compile, Liger-Kernel and ours beside a copy.

CUDA's events take the times, so that what Python does meanwhile does not count: before every piece
of work a large array is overwritten, which empties the caches and gives Python its head start.

In *reused* memory results come from torch's own cache of it, for everyone alike. In *fresh* memory
the cache was emptied before every piece of work, so that the driver has to be asked; there is no
head start then, because the answer is part of the time.
"""

from __future__ import annotations

import datetime
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch._functorch.config as functorch_config
from torch import Tensor

from normcourse.kernels import liger
from normcourse.kernels.contenders import eager, fused
from normcourse.kernels.engines import why_not
from normcourse.kernels.gpu_cases import GPU_CASES, GpuCase

COMMAND = "normcourse bench norms --device cuda"
FLUSH = 2**30  # bytes that are overwritten before every piece of work
MEMORY = ("fresh", "reused")
Record = dict[str, Any]
Work = Callable[[], object]
Function = Callable[..., tuple[Tensor, ...]]


def run(
    *,
    rounds: int,
    compiles: bool = True,
    names: Sequence[str] = (),
    say: Callable[[str], object] = print,
) -> Record:
    """Return a record: the device, its software, the day, and a part for each kind of memory."""
    chosen = [case for case in GPU_CASES if not names or case.name in names]
    rows: dict[str, list[Record]] = {memory: [] for memory in MEMORY}
    for case in chosen:
        say(f"measuring on the GPU: {case.name}")
        found = measure(case, "cuda", rounds=rounds, compiles=compiles)
        for memory, row in found.items():
            rows[memory].append(row)
        torch.cuda.empty_cache()
    parts = [{"memory": memory, "rows": rows[memory]} for memory in MEMORY]
    return {"schema": 2, "machine": machine(), "rounds": rounds, "parts": parts}


def missing() -> str | None:
    """Return why nothing can be measured on a GPU here, or None."""
    return why_not("cuda")


def machine() -> Record:
    """Return what the times depend on."""
    import triton

    properties = torch.cuda.get_device_properties(torch.device("cuda"))
    return {
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "memory": f"{properties.total_memory / 2**30:.0f} GiB",
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "liger": liger.version(),
        "python": platform.python_version(),
        "system": platform.system(),
        "date": datetime.date.today().isoformat(),
        "command": COMMAND,
    }


def draw(case: GpuCase, device: str) -> list[Tensor]:
    """Return x, the residual stream where there is one, weight and bias, wanting gradients."""
    width = case.shape[-1] if len(case.shape) == 2 else case.shape[1]
    streams = 1 + (case.method == "add_rms_norm")
    parameters = 1 if case.method in ("rms_norm", "add_rms_norm") else 2
    shapes = [case.shape] * streams + [(width,)] * parameters
    generator = torch.Generator(device).manual_seed(0)
    options: dict[str, Any] = {"device": device, "dtype": case.kind, "generator": generator}
    tensors = [torch.randn(shape, **options) + 0.5 for shape in shapes]
    if case.channels_last:
        tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
    return [one.requires_grad_() for one in tensors]


def measure(case: GpuCase, device: str, *, rounds: int, compiles: bool) -> dict[str, Record]:
    """Return, for each kind of memory, seconds of everyone: best and median of the rounds."""
    tensors = draw(case, device)
    functions, left_out = _contenders(case, tensors, compiles)
    works = dict(_works(functions, tensors))
    for work in works.values():
        work()  # compiled, and its memory asked for
    rows = {}
    for memory in MEMORY:
        times: dict[str, dict[str, dict[str, float]]] = {}
        for (name, what), seconds in _turns(works, memory, device, rounds).items():
            row = {"best": min(seconds), "median": statistics.median(seconds)}
            times.setdefault(name, {})[what] = row
        rows[memory] = {"case": case.name, "seconds": times, "left out": left_out}
    return rows


def _turns(
    works: dict[tuple[str, str], Work], memory: str, device: str, rounds: int
) -> dict[tuple[str, str], list[float]]:
    clock = _seconds_on_gpu if device == "cuda" else _seconds_on_cpu
    flush = torch.empty(FLUSH if device == "cuda" else 0, dtype=torch.uint8, device=device)
    found: dict[tuple[str, str], list[float]] = {key: [] for key in works}
    for _ in range(rounds):
        for key, work in works.items():
            flush.zero_()
            if memory == "fresh" and device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
            found[key].append(clock(work))
    return found


def _contenders(
    case: GpuCase, tensors: list[Tensor], compiles: bool
) -> tuple[dict[str, Function], dict[str, str]]:
    """Return who takes part, and why someone else's kernels do not, where they fail."""
    functions: dict[str, Function] = {"torch": eager(case)}
    left_out = {}
    if compiles:
        torch._dynamo.reset()
        functorch_config.donated_buffer = False  # a backward pass that can be repeated
        functions["compiled"] = torch.compile(eager(case), fullgraph=True, dynamic=False)
    foreign = liger.liger(case)
    if foreign is not None:
        try:
            for work in _passes(foreign, tensors):
                work()
            functions["Liger"] = foreign
        except Exception as error:
            left_out["Liger"] = f"{type(error).__name__}: {error}"
    functions["fused"] = fused(case)
    return functions, left_out


def _works(
    functions: dict[str, Function], tensors: list[Tensor]
) -> Iterator[tuple[tuple[str, str], Work]]:
    source = tensors[0].detach()
    target = torch.empty_like(source)
    yield ("copy", "torch"), lambda: target.copy_(source)
    yield ("new copy", "torch"), source.clone
    for name, function in functions.items():
        forward, backward = _passes(function, tensors)
        yield (name, "forward"), forward
        yield (name, "backward"), backward


def _passes(function: Function, tensors: list[Tensor]) -> tuple[Work, Work]:
    outputs = function(*tensors)
    dys = [torch.ones_like(one) for one in outputs]
    frozen = [one.detach() for one in tensors]

    def forward() -> None:
        with torch.no_grad():
            function(*frozen)

    def backward() -> None:
        torch.autograd.grad(outputs, tensors, dys, retain_graph=True)

    return forward, backward


def _seconds_on_gpu(work: Work) -> float:
    event: Any = torch.cuda.Event
    begun, ended = event(enable_timing=True), event(enable_timing=True)
    begun.record()
    work()
    ended.record()
    torch.cuda.synchronize()
    milliseconds: float = begun.elapsed_time(ended)
    return milliseconds / 1e3


def _seconds_on_cpu(work: Work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _driver() -> str:
    """Return the version of the driver; torch does not know it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0].strip()
