"""What GPUs of each size keep warm, by the ledger's own arithmetic for the published model, without values."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.config import Memory
from sdxl_gateway.engine.lora.layers import Layer, PristineStore, layers_of
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM, ledger_budgets
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.memory.offload import HostMemory
from sdxl_gateway.scheduling.memory_plan import LORA_BYTES, MemoryPlan, Wanted, plan_memory, usable_bytes
from sdxl_gateway.scheduling.weight_sizes import sizes_of
from tests.kit.sdxl_shapes import sdxl_shapes
from tools.full_size_model import CLIP, CLIP_L, OPEN_CLIP_G, UNET

GIB = 2**30
CARD = torch.device("cuda", 0)
SIZES = sizes_of(sdxl_shapes())


@pytest.fixture(scope="module")
def components() -> dict[str, nn.Module]:
    with torch.device("meta"):
        found: dict[str, nn.Module] = {
            "unet": UNet2DConditionModel.from_config(UNET),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP, **CLIP_L)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**CLIP, **OPEN_CLIP_G)),
        }
    return {name: model.half() for name, model in found.items()}


@pytest.fixture
def layers(components: dict[str, nn.Module]) -> list[Layer]:
    """The layers that a usual LoRA changes."""
    found = layers_of(components).values()
    return [layer for layer in found if layer.parameter.dim() == 2 and "embedding" not in layer.name]


def planned(gib: int, monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryPlan, Ledger]:
    """The plan for a GPU with this much memory, and the ledger after the checkpoint was loaded."""
    usable = usable_bytes(gib * GIB)
    plan = plan_memory(SIZES, usable, Wanted())
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (usable - plan.weights_bytes, gib * GIB))
    return plan, Ledger(ledger_budgets(Memory(host_budget_bytes=0), CARD, plan, 0))


def warm_after(ledger: Ledger, loras: int) -> int:
    """How many of these LoRAs are still on the device after each was used once."""
    for number in range(loras):
        ledger.hold(VRAM, ("factors", number), LORA_BYTES)
    return sum(isinstance(key, tuple) and key[0] == "factors" for key in ledger.keys(VRAM))


@pytest.mark.parametrize(("gib", "warm"), [(8, 3), (10, 6), (12, 10), (16, 15), (24, 27), (80, 230)])
def test_loras_stay_warm_beside_pristine_copies(
    gib: int, warm: int, layers: list[Layer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def piece(_: HostMemory, size_bytes: int) -> Tensor:
        return torch.empty(size_bytes, dtype=torch.uint8, device="meta")

    monkeypatch.setattr(HostMemory, "piece", piece)
    plan, ledger = planned(gib, monkeypatch)
    store = PristineStore(ledger, "auto", "sdxl")
    for layer in layers:
        store.keep([layer])
    copies = [ledger.held_bytes(tier) for tier in (PRISTINE_VRAM, PRISTINE_HOST)]
    assert sum(copies) == sum(layer.parameter.nbytes for layer in layers)
    assert warm_after(ledger, 300) >= warm
    assert copies[0] <= max(0.5 * plan.ledger_bytes, plan.pristine_device_bytes)
    assert (copies[1] == 0) == (gib >= 24), "a card that has room keeps them all"


@pytest.mark.parametrize("gib", [8, 10, 12, 16, 24, 80])
def test_there_is_always_room_to_paint_in(gib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, ledger = planned(gib, monkeypatch)
    taken = plan.weights_bytes + plan.staging_bytes + (ledger.budget_bytes(VRAM) or 0)
    assert taken + plan.paint_bytes <= plan.usable_bytes
    assert plan.lanes >= 1


def test_a_usual_lora_is_as_large_as_assumed(layers: list[Layer]) -> None:
    painted = [
        layer.shape for layer in layers if layer.name.startswith("unet.") and ".transformer_blocks." in layer.name
    ]
    assert 2 * 32 * sum(chain.from_iterable(painted)) == pytest.approx(LORA_BYTES, rel=0.1)
