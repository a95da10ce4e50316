"""Takes LoRA files as trainers write them, puts them on the demo model's own modules by way of the private store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.catalog.lora_folder.copies import keep_copy
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL, Loras
from sdxl_gateway.core.recipe import NO_BLEND
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from tests.engine.lora.kit import CPU, blend, parameter, snapshot

SHAPES = dict(module_shapes(DEMO_MODEL))


def demo_components() -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {
        "unet": UNet2DConditionModel.from_pretrained(DEMO_MODEL, subfolder="unet"),
        "text_encoder": CLIPTextModel.from_pretrained(DEMO_MODEL, subfolder="text_encoder"),
        "text_encoder_2": CLIPTextModelWithProjection.from_pretrained(DEMO_MODEL, subfolder="text_encoder_2"),
    }
    for module in found.values():
        module.float().requires_grad_(False)
    return found


@dataclass(frozen=True)
class Press:
    """The demo model's modules and all it takes to put files on them."""

    components: Mapping[str, nn.Module]
    data_directory: Path
    cache: AdapterCache
    switcher: BlendSwitcher
    base: dict[str, Tensor]

    def weight(self, name: str) -> Tensor:
        return parameter(self.components, name)

    def base_weight(self, module: str) -> Tensor:
        return self._base(f"{module}.weight")

    def base_bias(self, module: str) -> Tensor:
        return self._base(f"{module}.bias")

    def _base(self, name: str) -> Tensor:
        return self.base[name if name in self.base else name.replace(".text_model.", ".", 1)]

    @contextmanager
    def printed(self, source: Path, strength: float) -> Iterator[None]:
        """The file or folder on the model at that weight; afterwards every bit is the model's own again."""
        digest = keep_copy(source, self.data_directory)
        self.switcher.put_on(blend((digest, strength)))
        yield
        self.switcher.put_on(NO_BLEND)
        assert self.changed() == set()

    def changed(self) -> set[str]:
        """The parameters that differ from the checkpoint's, in any bit."""
        return {
            f"{component}.{name}"
            for component, module in self.components.items()
            for name, now in module.named_parameters()
            if not torch.equal(now, self.base[f"{component}.{name}"])
        }


@contextmanager
def open_press(data_directory: Path) -> Iterator[Press]:
    components = demo_components()
    ledger = Ledger({VRAM: 2**30, HOST: 2**30, PRISTINE_HOST: None})
    cache = AdapterCache(stored_adapters(data_directory, SHAPES, Loras()), ledger, CPU, lambda _: None)
    switcher = BlendSwitcher(components, cache, ledger, lambda _: None)
    yield Press(components, data_directory, cache, switcher, snapshot(components))
    cache.close()
