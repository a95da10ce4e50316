"""The rows about LoRAs alone, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.adapter_files import kept_adapter, rank_of_bytes
from benchmarks.loras import listing_rows
from sdxl_gateway.catalog.lora_folder.copies import store_path

SHAPES = {
    "unet.mid_block.q": (320, 640),
    "unet.mid_block.conv": (8, 8, 3, 3),
    "unet.mid_block.norm": (8,),
    "text_encoder.q": (8, 8),
}


def test_a_folder_is_listed(tmp_path: Path) -> None:
    first, again = listing_rows(tmp_path, files=3, repeats=1)

    assert first.name == "3 LoRA files listed for the first time, seconds"
    assert again.name == "3 LoRA files listed again, seconds"


def test_a_file_has_the_size_asked_for_and_its_own_digest(tmp_path: Path) -> None:
    rank = rank_of_bytes(SHAPES, 100_000)
    digests = {kept_adapter(tmp_path, SHAPES, rank, seed) for seed in range(2)}

    assert len(digests) == 2
    for digest in digests:
        assert store_path(tmp_path, digest).stat().st_size == pytest.approx(100_000, rel=0.02)
