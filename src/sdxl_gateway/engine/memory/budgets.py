"""Takes the `[memory]` section and a device, gives the memory to plan with and the ledger's budgets, in bytes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sdxl_gateway.config import Memory
from sdxl_gateway.engine.memory.ledger import HOST, VRAM
from sdxl_gateway.scheduling.memory_plan import PAINT_SHARE, UNLIMITED_BYTES, MemoryPlan, left_for_ledger

FREE_RAM_SHARE = 0.25
PRISTINE_HOST = "pristine_host"
"""Tier of pristine copies in host memory: counted but not limited, as weights cannot be restored without them."""
PRISTINE_VRAM = "pristine_vram"
"""Tier of pristine copies on the device, counted in VRAM too: as they are never evicted, they have their own limit."""
WEIGHTS_HOST = "weights_host"
"""Tier of offloaded weights: counted but not limited, as this is their only copy."""


def usable_now(device: torch.device) -> int:
    """Free device bytes, for planning before anything is loaded; unlimited where the device shares host memory."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else UNLIMITED_BYTES


def ledger_budgets(memory: Memory, device: torch.device, plan: MemoryPlan, ram_bytes: int) -> dict[str, int | None]:
    """Bytes by tier for everything beside the first checkpoint, which must be loaded by now: "auto" divides what memory
    is left, of the host's `ram_bytes`."""
    vram, host = memory.vram_budget_bytes, memory.host_budget_bytes
    return {
        VRAM: _free_device_bytes(device, plan, ram_bytes) if vram == "auto" else vram,
        HOST: int(ram_bytes * FREE_RAM_SHARE) if host == "auto" else host,
        PRISTINE_VRAM: _pristine_budget(memory, plan),
        PRISTINE_HOST: None,
        WEIGHTS_HOST: None,
    }


def _pristine_budget(memory: Memory, plan: MemoryPlan) -> int | None:
    """None (unlimited) if the device keeps every copy, also other checkpoints' and those of rarely changed layers."""
    return None if plan.pristine_on_device or memory.pristine == "device" else plan.pristine_device_bytes


def with_room_for(size_bytes: int, budgets: Mapping[str, int | None]) -> dict[str, int | None]:
    """The budgets with VRAM raised by `size_bytes`, for a model that is loaded whatever `[memory]` says."""
    budget = budgets[VRAM]
    return {**budgets, VRAM: None if budget is None else budget + size_bytes}


def _free_device_bytes(device: torch.device, plan: MemoryPlan, ram_bytes: int) -> int:
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return left_for_ledger(free_bytes - plan.staging_bytes, plan.paint_bytes)
    if device.type == "mps":
        unused_bytes = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return int(max(unused_bytes, 0) * (1 - PAINT_SHARE))
    return int(ram_bytes * FREE_RAM_SHARE)
