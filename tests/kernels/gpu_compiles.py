"""Compile every GPU kernel for a device that is not there; test_triton.py starts this.

The interpreter is Python and forgives what the compiler does not. Each kernel is compiled twice:
for general sizes, and for sizes of 1, which Triton makes constants of.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from normcourse.kernels.gpu import columns, pools, rows

TARGET = GPUTarget("cuda", 90, 32)  # an H100 or H200
DOUBLE = {"mean_ptr", "var_ptr", "inv_std_ptr", "found_ptr", "slope_ptr", "offset_ptr"}
SINGLE = {"weight_ptr", "bias_ptr", "sums_ptr"}
OPTIONS = {
    "eps": 1e-5,
    "CENTERED": True,
    "ADDS": True,
    "ACROSS": True,
    "BY_ROW": False,
    "ROWS": 2,
    "ITEMS": 4,
    "SEGMENTS": 2,
    "BLOCK": 256,
    "ACC": tl.float32,
}


def compiled(kernel: triton.JITFunction, dtype: str, kind: int, ones: bool) -> int:
    """Return the size of the code for the device."""
    signature, constants = {}, {}
    for parameter in kernel.params:
        name = parameter.name
        if parameter.is_constexpr:
            signature[name], constants[name] = "constexpr", {**OPTIONS, "KIND": kind}[name]
        elif name.endswith("_ptr"):
            kinds = {"*fp64": DOUBLE, "*fp32": SINGLE}
            signature[name] = next((k for k, names in kinds.items() if name in names), f"*{dtype}")
        elif ones:
            signature[name], constants[name] = "constexpr", 1
        else:
            signature[name] = "i32"
    source = ASTSource(kernel, signature, constants)
    return len(triton.compile(source, target=TARGET, options={"num_warps": 4}).asm["cubin"])


for module in (rows, pools, columns):
    for name, kernel in vars(module).items():
        own = isinstance(kernel, triton.JITFunction) and kernel.__module__ == module.__name__
        if own and not name.startswith("_"):
            sizes = compiled(kernel, "bf16", 3, False), compiled(kernel, "fp32", 0, True)
            print(module.__name__.rpartition(".")[2], name, *sizes)
