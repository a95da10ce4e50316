"""End to end on a real folder: kohya's names, the private store, diffusers' and transformers' own modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL, Loras
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from sdxl_gateway.engine.timing import Timings
from tests.engine.lora.kit import CPU, blend, same_bits, snapshot
from tests.engine.lora.press import demo_components

DIGEST = "0123456789abcdef" * 4
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


@pytest.fixture(scope="module")
def components() -> dict[str, nn.Module]:
    return demo_components()


def kohya_file(shapes: dict[str, tuple[int, ...]], rank: int = 2) -> dict[str, Tensor]:
    """Factors for every linear layer and convolution of the checkpoint."""
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        component, _, module = name.partition(".")
        if len(shape) >= 2 and "embedding" not in module and "text_projection" not in module:
            key = PREFIXES[component] + module.replace(".", "_")
            tensors[f"{key}.lora_up.weight"] = torch.randn(shape[0], rank, *[1] * (len(shape) - 2)) * 0.1
            tensors[f"{key}.lora_down.weight"] = torch.randn(rank, *shape[1:]) * 0.1
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
    return tensors


def test_every_layer_of_the_demo_checkpoint_takes_a_lora_and_gives_it_back(
    components: dict[str, nn.Module], tmp_path: Path
) -> None:
    shapes = dict(module_shapes(DEMO_MODEL))
    tensors = kohya_file(shapes)
    path = store_path(tmp_path, DIGEST)
    path.parent.mkdir()
    save_file(tensors, path)
    ledger = Ledger({VRAM: 2**30, HOST: 2**30, PRISTINE_VRAM: None, PRISTINE_HOST: None})
    cache = AdapterCache(stored_adapters(tmp_path, shapes, Loras()), ledger, CPU, lambda _: None)
    switcher = BlendSwitcher(components, cache, ledger, Timings(lambda _: None))
    before = snapshot(components)
    cache.prefetch([DIGEST]).result(timeout=60)
    switcher.put_on(blend((DIGEST, 1.0)))
    after = snapshot(components)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) == len(tensors) // 3
    switcher.put_on(blend())
    assert same_bits(snapshot(components), before)
    cache.close()
