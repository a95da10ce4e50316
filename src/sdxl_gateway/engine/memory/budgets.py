"""Takes the `[memory]` section and a device, gives what may be planned with, and the ledger's budgets, in bytes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sdxl_gateway.config import Memory
from sdxl_gateway.engine.memory.ledger import HOST, VRAM
from sdxl_gateway.scheduling.memory_plan import PAINT_SHARE, UNLIMITED_BYTES, MemoryPlan, left_for_ledger

FREE_RAM_SHARE = 0.25
PRISTINE_HOST = "pristine_host"
"""Pristine copies in host memory: counted, never limited, as no weight could be put back without them."""
PRISTINE_VRAM = "pristine_vram"
"""Those on the device, which its tier counts too: they never leave, so that others need a share without them."""
WEIGHTS_HOST = "weights_host"
"""Weights that come to the device when they compute: counted, never limited, as they are nowhere else."""


def usable_now(device: torch.device) -> int:
    """Bytes to plan with before anything is loaded. A device that shares the host's memory has no limit of its own."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else UNLIMITED_BYTES


def ledger_budgets(memory: Memory, device: torch.device, plan: MemoryPlan, ram_bytes: int) -> dict[str, int | None]:
    """Bytes by tier for what joins the first checkpoint; ask once that is on the device: "auto" is by what is left,
    of host memory `ram_bytes`."""
    vram, host = memory.vram_budget_bytes, memory.host_budget_bytes
    return {
        VRAM: _free_device_bytes(device, plan, ram_bytes) if vram == "auto" else vram,
        HOST: int(ram_bytes * FREE_RAM_SHARE) if host == "auto" else host,
        PRISTINE_VRAM: _pristine_budget(memory, plan),
        PRISTINE_HOST: None,
        WEIGHTS_HOST: None,
    }


def _pristine_budget(memory: Memory, plan: MemoryPlan) -> int | None:
    """None where the device keeps all: another checkpoint's too, and those of layers that few LoRAs change."""
    return None if plan.pristine_on_device or memory.pristine == "device" else plan.pristine_device_bytes


def with_room_for(size_bytes: int, budgets: Mapping[str, int | None]) -> dict[str, int | None]:
    """The budgets, the device's raised by `size_bytes`: for what is there whatever `[memory]` says."""
    beside = budgets[VRAM]
    return {**budgets, VRAM: None if beside is None else beside + size_bytes}


def _free_device_bytes(device: torch.device, plan: MemoryPlan, ram_bytes: int) -> int:
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return left_for_ledger(free_bytes - plan.staging_bytes, plan.paint_bytes)
    if device.type == "mps":
        unused_bytes = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return int(max(unused_bytes, 0) * (1 - PAINT_SHARE))
    return int(ram_bytes * FREE_RAM_SHARE)
