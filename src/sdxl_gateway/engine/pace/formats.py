"""Takes a UNet's config, gives the number format that this CPU had better paint in: float32, or bfloat16 if it pays."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import Any

import torch

from sdxl_gateway.catalog.checkpoints import SDXL_SAMPLE_SIZE
from sdxl_gateway.engine.device import bfloat16_works
from sdxl_gateway.engine.pace.blocks import Clock, blocks_of, levels_of, time_ratio
from sdxl_gateway.engine.pace.findings import Findings
from sdxl_gateway.telemetry.device import describe_device

log = logging.getLogger(__name__)

CLEAR_GAIN = 0.8
"""bfloat16 rounds away a twentieth of a LoRA's effect, which a few hundredths of the time would not be worth."""
LEAST_PARAMETERS = 500_000_000
"""A smaller model is painted within seconds anyhow; it keeps its exactness, and its start is not held up."""


def format_for_cpu(
    parameters: int, unet: Mapping[str, Any], findings: Findings, clock: Clock = perf_counter
) -> torch.dtype:
    """For a checkpoint of so many `parameters` and its UNet's config, as measured now or at an earlier start."""
    if parameters < LEAST_PARAMETERS or not bfloat16_works(torch.device("cpu")):
        return torch.float32
    ratio = findings.of(f"bfloat16 / float32: {what_computes(unet)}", partial(_measured, unet, clock))
    chosen = torch.bfloat16 if ratio <= CLEAR_GAIN else torch.float32
    told = "engine.dtype: blocks of the UNet take %.2f of float32's time in bfloat16 here: it paints in %s"
    log.info(told, ratio, str(chosen).removeprefix("torch."))
    return chosen


def what_computes(unet: Mapping[str, Any]) -> str:
    """The processor, its threads, torch, and a UNet's shapes as a digest: what a measurement depends on."""
    shapes = hashlib.sha256(json.dumps(dict(unet), sort_keys=True, default=str).encode()).hexdigest()[:16]
    capability = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    return f"{describe_device('cpu')}, {capability}, {threads} threads, torch {torch.__version__}, UNet {shapes}"


def _measured(unet: Mapping[str, Any], clock: Clock) -> float:
    levels, threads = levels_of(unet), torch.get_num_threads()
    size = int(unet.get("sample_size") or SDXL_SAMPLE_SIZE)
    half, whole = (blocks_of(levels, size, threads, dtype) for dtype in (torch.bfloat16, torch.float32))
    return time_ratio(half, whole, clock)
