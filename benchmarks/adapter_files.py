"""Takes a checkpoint's shapes, gives LoRA files of random numbers on its UNet's linear layers; times need no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from sdxl_gateway.catalog.lora_folder.copies import keep_copy, store_path

Shapes = Mapping[str, tuple[int, ...]]
BYTES_PER_NUMBER = 2


def kept_adapter(data: Path, shapes: Shapes, rank: int, seed: int) -> str:
    """Writes such a file in diffusers' layout, float16, and puts it into the store; gives its digest."""
    path = data / "written.safetensors"
    save_file(dict(_factors(shapes, rank, torch.Generator().manual_seed(seed))), path)
    try:
        return keep_copy(path, data)
    finally:
        path.unlink()


def kept_variants(data: Path, digest: str, numbers: range) -> list[str]:
    """Digests of files like that one, each with another last number; `numbers` are within a byte."""
    content = bytearray(store_path(data, digest).read_bytes())
    return [_kept_with(data, content, number) for number in numbers]


def _kept_with(data: Path, content: bytearray, number: int) -> str:
    # The lower byte of a float16, away from its exponent.
    content[-2] = number
    path = data / "written.safetensors"
    path.write_bytes(content)
    try:
        return keep_copy(path, data)
    finally:
        path.unlink()


def rank_of_bytes(shapes: Shapes, size_bytes: int) -> int:
    """The rank with which such a file has about `size_bytes`."""
    return max(1, round(size_bytes / BYTES_PER_NUMBER / sum(sum(shape) for shape in _linears(shapes).values())))


def _linears(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in shapes.items() if name.startswith("unet.") and len(shape) == 2}


def _factors(shapes: Shapes, rank: int, generator: torch.Generator) -> Iterator[tuple[str, torch.Tensor]]:
    for name, (rows, columns) in _linears(shapes).items():
        yield f"{name}.lora_A.weight", (torch.randn(rank, columns, generator=generator) / 100).half()
        yield f"{name}.lora_B.weight", (torch.randn(rows, rank, generator=generator) / 100).half()


def write_small_files(folder: Path, count: int) -> None:
    """`count` files of one layer each, which the demo model can take."""
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    text = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            f"{name}.lora_A.weight": {"dtype": "F16", "shape": [1, 160], "data_offsets": [0, 320]},
            f"{name}.lora_B.weight": {"dtype": "F16", "shape": [64, 1], "data_offsets": [320, 448]},
        }
    )
    content = len(text).to_bytes(8, "little") + text.encode() + bytes(448)
    folder.mkdir()
    for number in range(count):
        (folder / f"style-{number:05}.safetensors").write_bytes(content)
