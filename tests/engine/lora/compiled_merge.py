"""Prints how the merge kernel of plain LoRAs loads and stores, compiled for a GPU that need not be present.

Run in a process of its own (`python -m tests.engine.lora.compiled_merge`): Triton's interpreter does not compile.
"""

from __future__ import annotations

import json
import re

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sdxl_gateway.engine.lora import table, triton_merge

H100 = GPUTarget("cuda", 90, 32)
NUMBERS = {"words": "*i64", "numbers": "*fp32", "shares_at": "i32", "items_at": "i32"}
PATTERNS = {
    "loads of 16 bytes": r"ld\.global[^ ]*\.v4\.b32",
    "stores of 16 bytes": r"st\.global[^ ]*\.v4\.b32",
    "of 2 bytes": r"(ld|st)\.global[^ ]*\.b16",
    "tensor cores": r"wgmma\.mma_async",
}


def ptx() -> str:
    """The PTX of the kernel for float16 factors and weights, as it is launched."""
    kernel, tiling = triton_merge._merge_products, table.TILINGS[table.DTYPES.index(torch.float16)]
    values = (tl.float16, tl.float16, tiling.rows, tiling.columns, tiling.blocks, tiling.depth)
    constants = dict(zip(kernel.arg_names[len(NUMBERS) :], values, strict=True))
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    signature = NUMBERS | dict.fromkeys(constants, "constexpr")
    aligned = {(at,): [["tt.divisibility", 16]] for at in range(2)}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places, attrs=aligned)
    compiled = triton.compile(source, target=H100, options={"num_warps": tiling.warps, "num_stages": 1})
    return str(compiled.asm["ptx"])


if __name__ == "__main__":
    code = ptx()
    print(json.dumps({what: len(re.findall(pattern, code)) for what, pattern in PATTERNS.items()}))
