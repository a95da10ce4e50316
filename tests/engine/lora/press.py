"""Applies LoRA files, as trainers write them, to a model's own modules, through the private store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.catalog.lora_folder.copies import keep_copy
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL, Loras
from sdxl_gateway.core.recipe import NO_BLEND
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.delta import Delta
from sdxl_gateway.engine.lora.layers import Layer, layers_of
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from sdxl_gateway.engine.timing import Timings
from tests.engine.lora.kit import CPU, blend, snapshot

SHAPES = dict(module_shapes(DEMO_MODEL))
SMALL_UNET = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "cross_attention_dim": 64,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
SMALL_TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "projection_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def demo_components() -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {
        "unet": UNet2DConditionModel.from_pretrained(DEMO_MODEL, subfolder="unet"),
        "text_encoder": CLIPTextModel.from_pretrained(DEMO_MODEL, subfolder="text_encoder"),
        "text_encoder_2": CLIPTextModelWithProjection.from_pretrained(DEMO_MODEL, subfolder="text_encoder_2"),
    }
    return _at_rest(found)


def small_components() -> dict[str, nn.Module]:
    """Random modules of the same libraries, with the same names and classes, of some hundred kilobytes."""
    return _at_rest(
        {
            "unet": UNet2DConditionModel(**SMALL_UNET),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**SMALL_TEXT)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**SMALL_TEXT)),
        }
    )


def _at_rest(components: dict[str, nn.Module]) -> dict[str, nn.Module]:
    for module in components.values():
        module.float().requires_grad_(False)
    return components


@dataclass(frozen=True)
class Press:
    """A model's modules, and everything needed to apply files to them."""

    components: Mapping[str, nn.Module]
    data_directory: Path
    cache: AdapterCache
    switcher: BlendSwitcher
    layers: Mapping[str, Layer]
    parameters: Mapping[str, Tensor]
    base: dict[str, Tensor]

    def weight(self, name: str) -> Tensor:
        """The live parameter, with or without the "text_model." in the names of files."""
        return self.parameters[name if name in self.parameters else name.replace(".text_model.", ".", 1)]

    def base_weight(self, module: str) -> Tensor:
        return self._base(f"{module}.weight")

    def base_bias(self, module: str) -> Tensor:
        return self._base(f"{module}.bias")

    def _base(self, name: str) -> Tensor:
        return self.base[name if name in self.base else name.replace(".text_model.", ".", 1)]

    def changes(self, source: Path) -> Mapping[str, Delta]:
        """The changes of the file or folder, by parameter, as the engine reads them from the copy in the store."""
        return self.cache.use(keep_copy(source, self.data_directory)).deltas

    @contextmanager
    def printed(self, source: Path, strength: float) -> Iterator[None]:
        """The file or folder is applied at that weight in the context; then every bit is the model's own again."""
        digest = keep_copy(source, self.data_directory)
        self.switcher.put_on(blend((digest, strength)))
        yield
        self.switcher.put_on(NO_BLEND)
        assert self.changed() == set()

    def changed(self) -> set[str]:
        """The parameters that differ from the checkpoint's, in any bit."""
        return {name for name, now in self.parameters.items() if not torch.equal(now, self.base[name])}


def shapes_of(components: Mapping[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """The shapes that `module_shapes` would read from their checkpoint's headers."""
    parameters = {name: tuple(layer.parameter.shape) for name, layer in layers_of(components).items()}
    return {name.removesuffix(".weight"): shape for name, shape in parameters.items() if name.endswith(".weight")}


@contextmanager
def open_press(data_directory: Path, components: dict[str, nn.Module]) -> Iterator[Press]:
    ledger = Ledger({VRAM: 2**30, HOST: 2**30, PRISTINE_VRAM: None, PRISTINE_HOST: None})
    adapters = stored_adapters(data_directory, shapes_of(components), Loras())
    cache = AdapterCache(adapters, ledger, CPU, lambda _: None)
    switcher = BlendSwitcher(components, cache, ledger, Timings(lambda _: None))
    parameters = {
        f"{component}.{name}": parameter.detach()
        for component, module in components.items()
        for name, parameter in module.named_parameters()
    }
    yield Press(components, data_directory, cache, switcher, layers_of(components), parameters, snapshot(components))
    cache.close()
