"""Takes a digest, gives the private copy of that file planned against one checkpoint, ready to be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.lora_format.module_names import CLIP_ENCODERS
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import Loras
from sdxl_gateway.engine.lora.cache import OpenAdapter
from sdxl_gateway.engine.lora.formats import AdapterFile


def stored_adapters(data_directory: Path, shapes: Mapping[str, tuple[int, ...]], loras: Loras) -> OpenAdapter:
    """Opens adapters by digest for the checkpoint of these `shapes`; the opener raises AdapterRefused."""

    def open_adapter(digest: str) -> AdapterFile:
        path = store_path(data_directory, digest)
        header = read_header(path, loras)
        plan = plan_lora(header, shapes)
        return AdapterFile(digest, path, header.tensors, plan.parts, _words(plan))

    return open_adapter


def _words(plan: LoraPlan) -> dict[str, dict[str, str]]:
    return {word: {CLIP_ENCODERS[name]: key for name, key in keys.items()} for word, keys in plan.tokens.items()}
