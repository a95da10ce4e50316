"""The admission gate for the demo checkpoint and a folder of small LoRAs, made by the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_gateway.admission.resolve import Admission, ResolvedAsk
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint, with_ip_adapter
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.side_models import SideModels
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, Embeddings, Loras, Settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.picture import Size
from sdxl_gateway.gateway.library import ModelLibrary
from tests.kit.decoders import decoders
from tests.kit.lora_files import file_bytes, lora_tensors, write

DEMO = Checkpoint(path="demo", steps=20, guidance_scale=4.5)


@cache
def demo() -> CheckpointEntry:
    return open_checkpoint("demo", DEMO, DEMO_MODEL)


def lora_file(salt: str) -> bytes:
    """A LoRA file that fits the demo checkpoint; each `salt` gives another digest."""
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    return file_bytes(lora_tensors({module: demo().shapes[module]}), {"salt": salt})


@dataclass(frozen=True)
class AdmissionKit:
    settings: Settings
    checkpoints: CheckpointCatalog
    adapters: LoraCatalog
    embeddings: EmbeddingCatalog
    admission: Admission
    library: ModelLibrary

    async def admit(self, prompt: str = "a cat", **fields: Any) -> ResolvedAsk:
        operation = fields.pop("operation", Operation.GENERATE)
        if "size" in fields:
            fields["size"] = Size.of(fields["size"])
        return await self.admission.resolve(Ask(operation, prompt, **fields))


def admission_kit(
    folder: Path, loras: Mapping[str, str] | None = None, *, prompt_tags: bool = True, **settings: Any
) -> AdmissionKit:
    """`loras` maps names to the text of their side-cars ("" for none)."""
    root = folder / "loras"
    root.mkdir(exist_ok=True)
    for name, sidecar in (loras or {}).items():
        write(root / f"{name}.safetensors", lora_file(name))
        if sidecar:
            write(root / f"{name}.toml", sidecar.encode())
    section = Loras(directory=root, prompt_tags=prompt_tags)
    settings.setdefault("checkpoints", {"demo": DEMO})
    settings.setdefault("embeddings", Embeddings(directory=folder / "embeddings"))
    return opened(Settings(data_directory=folder / "data", loras=section, **settings))


def opened(settings: Settings) -> AdmissionKit:
    demos = {name: _entry(name, section) for name, section in settings.checkpoints.items()}
    checkpoints = CheckpointCatalog(with_ip_adapter(demos, settings.ip_adapter), settings.checkpoint_folder)
    checkpoints.scan()
    adapters = LoraCatalog(settings.loras, settings.data_directory, checkpoints=checkpoints.values())
    adapters.scan()
    embeddings = EmbeddingCatalog(settings.embeddings, settings.data_directory, checkpoints.values())
    embeddings.scan()
    beside = SideModels.open(settings, checkpoints.guide_by, checkpoints.take)
    admission = Admission(
        settings,
        checkpoints,
        adapters,
        decoders(settings.limits),
        embeddings,
        beside,
    )
    library = ModelLibrary(settings, checkpoints, adapters, admission.names, embeddings, beside.controls)
    return AdmissionKit(settings, checkpoints, adapters, embeddings, admission, library)


def _entry(name: str, section: Checkpoint) -> CheckpointEntry:
    budget = section.native_pixels or demo().native_pixels
    area = min(demo().native_area, budget)
    return replace(demo(), name=name, native_pixels=budget, native_area=area, section=section)
