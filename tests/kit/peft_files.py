"""LoRAs for a model of two modules, and the settings of a folder with them."""

from __future__ import annotations

import json
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from tests.kit.lora_files import file_bytes, lora_tensors, write

MODULES = {"unet.mid_block.q": (32, 16), "text_encoder.text_model.q": (8, 8)}
GOOD = file_bytes(lora_tensors(MODULES), {"ss_output_name": "trained_ink", "modelspec.trigger_phrase": "ink style"})
OTHER = file_bytes(lora_tensors(MODULES, rank=2))


def names(catalog: LoraCatalog) -> list[str]:
    return [entry.name for entry in catalog.entries()]


def peft_adapter(folder: Path, module: str, config: dict[str, object]) -> None:
    """The adapter that PEFT saves for `module`, which is one of `MODULES`."""
    tensors = lora_tensors(
        {module: MODULES[module]},
        lambda name: f"base_model.model.{name.partition('.')[2]}",
        down=".lora_A.weight",
        up=".lora_B.weight",
        alpha=None,
    )
    write(folder / "adapter_model.safetensors", file_bytes(tensors))
    write(folder / "adapter_config.json", json.dumps(config).encode())
