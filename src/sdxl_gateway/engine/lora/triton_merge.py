"""Takes a merge table on a CUDA device, writes the weights of all its layers, each number read and written once.

A program writes a band of rows over a span of columns of one layer, which the table's items assign to it. One kernel is
for plain LoRAs of one number format: 16-bit factors are multiplied directly, which is exact. The other is for all
others, in float32. A product of float32 numbers is three TF32 products, as exact as float32; sums are float32, scales
are applied to sums, and the weight is rounded once. With Triton's interpreter (TRITON_INTERPRET=1) the same code runs
on a CPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sdxl_gateway.engine.lora import table
from sdxl_gateway.engine.lora.table import ALIGNED, DTYPES, GENERAL, TILINGS, Launch, MergeTable

LAYER_FIELDS = tl.constexpr(table.LAYER_FIELDS)
PRISTINE = tl.constexpr(table.PRISTINE)
WEIGHT = tl.constexpr(table.WEIGHT)
ROWS = tl.constexpr(table.ROWS)
COLUMNS = tl.constexpr(table.COLUMNS)
WINDOW = tl.constexpr(table.WINDOW)
FIRST_SHARE = tl.constexpr(table.FIRST_SHARE)
SHARES = tl.constexpr(table.SHARES)

SHARE_FIELDS = tl.constexpr(table.SHARE_FIELDS)
HALF_COUNT = tl.constexpr(table.HALF_COUNT)
HALVES = tl.constexpr(table.HALVES)
HALF_FIELDS = tl.constexpr(table.HALF_FIELDS)
DTYPE = tl.constexpr(table.DTYPE)
LEFT = tl.constexpr(table.LEFT)
RIGHT = tl.constexpr(table.RIGHT)
RANK = tl.constexpr(table.RANK)
WIDTH = tl.constexpr(table.WIDTH)
ROW_DIVISOR = tl.constexpr(table.ROW_DIVISOR)
ROW_MODULUS = tl.constexpr(table.ROW_MODULUS)
COLUMN_DIVISOR = tl.constexpr(table.COLUMN_DIVISOR)
GAINS = tl.constexpr(table.GAINS)
GAIN_COLUMNS = tl.constexpr(table.GAIN_COLUMNS)
SCALE = tl.constexpr(table.SCALE)
STRENGTH = tl.constexpr(table.STRENGTH)

FLOAT16 = tl.constexpr(DTYPES.index(torch.float16))
BFLOAT16 = tl.constexpr(DTYPES.index(torch.bfloat16))
TRITON_DTYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


def launch(merge: MergeTable, device: torch.device) -> None:
    """Issue one copy, and one kernel for each group of layers, without waiting."""
    words = merge.words.to(device, non_blocking=True)
    for group in merge.launches:
        _issue(merge, group, words)


def _issue(merge: MergeTable, group: Launch, words: Tensor) -> None:
    tiling, stored = TILINGS[group.group], TRITON_DTYPES[merge.dtype]
    general = group.group in GENERAL
    kernel = _merge_changes if general else _merge_products
    special = group.group == ALIGNED if general else TRITON_DTYPES[DTYPES[group.group]]
    kernel[(group.items,)](
        words,
        words.view(torch.float32),
        merge.shares_at,
        merge.items_at + group.first_item,
        stored,
        special,
        tiling.rows,
        tiling.columns,
        tiling.blocks,
        tiling.depth,
        num_warps=tiling.warps,
        num_stages=1,
    )


# Triton would otherwise compile the kernel again for integers that are divisible by 16.
@triton.jit(do_not_specialize=("shares_at", "items_at"))
def _merge_products(
    words: tl.tensor,
    numbers: tl.tensor,
    shares_at: tl.tensor,
    items_at: tl.tensor,
    stored: tl.constexpr,
    factors: tl.constexpr,
    band: tl.constexpr,
    block: tl.constexpr,
    blocks: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    """W = round(P + Σ strength · scale · left · right), everything read and written 16 bytes at once."""
    layer, rows, row, start = _place(words, items_at, band, block * blocks)
    # The hint is on a load in this function, as one on a call's result is lost when the call is inlined.
    columns = tl.multiple_of(tl.load(layer + COLUMNS).to(tl.int32), 8)
    in_rows = row < rows
    old = tl.load(layer + PRISTINE).to(tl.pointer_type(stored))
    new = tl.load(layer + WEIGHT).to(tl.pointer_type(stored))
    share_at = shares_at + tl.load(layer + FIRST_SHARE) * SHARE_FIELDS
    count = tl.load(layer + SHARES).to(tl.int32)
    for n in range(tl.minimum(blocks, tl.cdiv(columns - start, block))):
        column = start + n * block + tl.arange(0, block)
        in_columns = column < columns
        inside = in_rows[:, None] & in_columns[None, :]
        at = row[:, None] * columns + column[None, :]
        total = tl.load(tl.multiple_of(old + at, [1, 16]), mask=inside, other=0.0).to(tl.float32)
        for s in range(count):
            share = words + share_at + s * SHARE_FIELDS
            number = numbers + 2 * (share_at + s * SHARE_FIELDS)
            ups = tl.load(share + HALVES + LEFT).to(tl.pointer_type(factors))
            downs = tl.load(share + HALVES + RIGHT).to(tl.pointer_type(factors))
            rank = tl.multiple_of(tl.load(share + HALVES + RANK).to(tl.int32), 8)
            change = tl.zeros((band, block), tl.float32)
            for first in range(0, rank, depth):
                k = first + tl.arange(0, depth)
                left = tl.multiple_of(ups + row[:, None] * rank + k[None, :], [1, 16])
                right = tl.multiple_of(downs + k[:, None] * columns + column[None, :], [1, 16])
                up = tl.load(left, mask=in_rows[:, None] & (k < rank)[None, :], other=0.0)
                down = tl.load(right, mask=(k < rank)[:, None] & in_columns[None, :], other=0.0)
                if factors == tl.float16:
                    change = tl.dot(up, down, change)
                elif factors == tl.bfloat16:
                    # Exact in TF32; the interpreter has no bfloat16 products.
                    change = tl.dot(up.to(tl.float32), down.to(tl.float32), change, input_precision="tf32")
                else:
                    change = tl.dot(up, down, change, input_precision="tf32x3")
            total += tl.load(number + 2 * STRENGTH) * tl.load(number + 2 * SCALE) * change
        tl.store(tl.multiple_of(new + at, [1, 16]), total.to(stored), mask=inside)


@triton.jit(do_not_specialize=("shares_at", "items_at"))
def _merge_changes(
    words: tl.tensor,
    numbers: tl.tensor,
    shares_at: tl.tensor,
    items_at: tl.tensor,
    stored: tl.constexpr,
    aligned: tl.constexpr,
    band: tl.constexpr,
    block: tl.constexpr,
    blocks: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    """W = round(P + Σ strength · (gain · (P + scale · change) - P)), for changes of one half or the product of two."""
    layer, rows, row, start = _place(words, items_at, band, block * blocks)
    columns = tl.load(layer + COLUMNS).to(tl.int32)
    if aligned:
        columns = tl.multiple_of(columns, 8)
    window = tl.load(layer + WINDOW).to(tl.int32)
    in_rows = row < rows
    share_at = shares_at + tl.load(layer + FIRST_SHARE) * SHARE_FIELDS
    count = tl.load(layer + SHARES).to(tl.int32)
    for n in range(tl.minimum(blocks, tl.cdiv(columns - start, block))):
        stored_column = start + n * block + tl.arange(0, block)
        in_columns = stored_column < columns
        inside = in_rows[:, None] & in_columns[None, :]
        # The storage may be channels-last, while pristine weights and factors have the kernel window last.
        column = stored_column
        if not aligned:
            column = (stored_column % (columns // window)) * window + stored_column // (columns // window)
        old = tl.load(layer + PRISTINE).to(tl.pointer_type(stored)) + row[:, None] * columns + column[None, :]
        new = tl.load(layer + WEIGHT).to(tl.pointer_type(stored)) + row[:, None] * columns + stored_column[None, :]
        if aligned:
            old = tl.multiple_of(old, [1, 16])
            new = tl.multiple_of(new, [1, 16])
        pristine = tl.load(old, mask=inside, other=0.0).to(tl.float32)
        total = pristine
        for s in range(count):
            share = words + share_at + s * SHARE_FIELDS
            number = numbers + 2 * (share_at + s * SHARE_FIELDS)
            change = tl.load(number + 2 * SCALE) + tl.zeros((band, block), tl.float32)
            for h in range(tl.load(share + HALF_COUNT).to(tl.int32)):
                change *= _half(share, share + HALVES + h * HALF_FIELDS, row, in_rows, column, in_columns, depth)
            change = _gained(share, change, pristine, row, in_rows, column, in_columns)
            total += tl.load(number + 2 * STRENGTH) * change
        tl.store(new, total.to(stored), mask=inside)


@triton.jit
def _place(
    words: tl.tensor, items_at: tl.tensor, band: tl.constexpr, span: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """The address of this program's layer in the table, that layer's number of rows, this program's rows and column."""
    item = tl.load(words + items_at + tl.program_id(0))
    layer = words + (item >> 32) * LAYER_FIELDS
    place = (item & 0xFFFFFFFF).to(tl.int32)
    rows = tl.load(layer + ROWS).to(tl.int32)
    columns = tl.load(layer + COLUMNS).to(tl.int32)
    spans = tl.cdiv(columns, span)
    row = (place // spans) * band + tl.arange(0, band)
    return layer, rows, row, (place % spans) * span


@triton.jit
def _half(
    share: tl.tensor,
    half: tl.tensor,
    row: tl.tensor,
    in_rows: tl.tensor,
    column: tl.tensor,
    in_columns: tl.tensor,
    depth: tl.constexpr,
) -> tl.tensor:
    """left · right, or right alone for rank 0, for these rows and columns of the layer; float32."""
    dtype = tl.load(share + DTYPE)
    left = tl.load(half + LEFT)
    right = tl.load(half + RIGHT)
    rank = tl.load(half + RANK).to(tl.int32)
    width = tl.load(half + WIDTH).to(tl.int32)
    r = (row // tl.load(half + ROW_DIVISOR).to(tl.int32)) % tl.load(half + ROW_MODULUS).to(tl.int32)
    c = (column // tl.load(half + COLUMN_DIVISOR).to(tl.int32)) % width
    found = tl.zeros((row.shape[0], column.shape[0]), tl.float32)
    if rank == 0:
        inside = in_rows[:, None] & in_columns[None, :]
        found = _numbers(right, r[:, None] * width + c[None, :], inside, dtype)
    for first in range(0, rank, depth):
        k = first + tl.arange(0, depth)
        up = _numbers(left, r[:, None] * rank + k[None, :], in_rows[:, None] & (k < rank)[None, :], dtype)
        down = _numbers(right, k[:, None] * width + c[None, :], (k < rank)[:, None] & in_columns[None, :], dtype)
        found = tl.dot(up, down, found, input_precision="tf32x3")
    return found


@triton.jit
def _numbers(address: tl.tensor, at: tl.tensor, mask: tl.tensor, dtype: tl.tensor) -> tl.tensor:
    found = tl.zeros(at.shape, tl.float32)
    if dtype == FLOAT16:
        found = tl.load(address.to(tl.pointer_type(tl.float16)) + at, mask=mask, other=0.0).to(tl.float32)
    elif dtype == BFLOAT16:
        found = tl.load(address.to(tl.pointer_type(tl.bfloat16)) + at, mask=mask, other=0.0).to(tl.float32)
    else:
        found = tl.load(address.to(tl.pointer_type(tl.float32)) + at, mask=mask, other=0.0)
    return found


@triton.jit
def _gained(
    share: tl.tensor,
    change: tl.tensor,
    pristine: tl.tensor,
    row: tl.tensor,
    in_rows: tl.tensor,
    column: tl.tensor,
    in_columns: tl.tensor,
) -> tl.tensor:
    """gain · (P + change) - P, by row or input channel, if the share has gains."""
    address = tl.load(share + GAINS)
    if address != 0:
        gains = address.to(tl.pointer_type(tl.float32))
        channel = tl.load(share + GAIN_COLUMNS).to(tl.int32)
        if channel == 0:
            by_row = tl.load(gains + row, mask=in_rows, other=1.0)[:, None]
            change = by_row * change + (by_row - 1.0) * pristine
        else:
            by_column = tl.load(gains + column // channel, mask=in_columns, other=1.0)[None, :]
            change = by_column * change + (by_column - 1.0) * pristine
    return change
