"""Takes the `[memory]` section and a device, gives the ledger's budgets in bytes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sdxl_gateway.config import Memory
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, available_ram_bytes

FREE_VRAM_SHARE = 0.6
"""The rest stays for activations and the VAE's peak."""
FREE_RAM_SHARE = 0.25
PRISTINE_HOST = "pristine_host"
"""Pristine copies in host memory: counted, never limited, as no weight could be put back without them."""


def ledger_budgets(memory: Memory, device: torch.device) -> dict[str, int | None]:
    """Bytes by tier for what joins the first checkpoint; ask once that is on the device: "auto" is by what is left."""
    vram, host = memory.vram_budget_bytes, memory.host_budget_bytes
    return {
        VRAM: _free_device_bytes(device) if vram == "auto" else vram,
        HOST: int(available_ram_bytes() * FREE_RAM_SHARE) if host == "auto" else host,
        PRISTINE_HOST: None,
    }


def with_room_for(size_bytes: int, budgets: Mapping[str, int | None]) -> dict[str, int | None]:
    """The budgets, the device's raised by `size_bytes`: for what is there whatever `[memory]` says."""
    beside = budgets[VRAM]
    return {**budgets, VRAM: None if beside is None else beside + size_bytes}


def _free_device_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return int(free_bytes * FREE_VRAM_SHARE)
    if device.type == "mps":
        unused_bytes = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return int(max(unused_bytes, 0) * FREE_VRAM_SHARE)
    return int(available_ram_bytes() * FREE_RAM_SHARE)
