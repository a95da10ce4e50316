"""Takes a UNet's config, gives the number format for this CPU to paint in: float32, or bfloat16 if clearly faster."""

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
"""The largest share of float32's time worth it: bfloat16 rounds away a twentieth of a LoRA's effect."""
LEAST_PARAMETERS = 500_000_000
"""A smaller model paints within seconds anyhow: it stays in float32, and its start is not delayed by measuring."""


def format_for_cpu(
    parameters: int, unet: Mapping[str, Any], findings: Findings, clock: Clock = perf_counter
) -> torch.dtype:
    """The dtype for a checkpoint of that many `parameters` and that UNet config, measured now or before."""
    if parameters < LEAST_PARAMETERS or not bfloat16_works(torch.device("cpu")):
        return torch.float32
    ratio = findings.of(f"bfloat16 / float32: {what_computes(unet)}", partial(_measured, unet, clock))
    chosen = torch.bfloat16 if ratio <= CLEAR_GAIN else torch.float32
    message = "engine.dtype: on this CPU the UNet's blocks take %.2f of float32's time in bfloat16, so 'auto' means %s"
    log.info(message, ratio, str(chosen).removeprefix("torch."))
    return chosen


def what_computes(unet: Mapping[str, Any]) -> str:
    """What a measurement depends on: the processor, its threads, torch's version, and a digest of the UNet's config."""
    shapes = hashlib.sha256(json.dumps(dict(unet), sort_keys=True, default=str).encode()).hexdigest()[:16]
    capability = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    return f"{describe_device('cpu')}, {capability}, {threads} threads, torch {torch.__version__}, UNet {shapes}"


def _measured(unet: Mapping[str, Any], clock: Clock) -> float:
    levels, threads = levels_of(unet), torch.get_num_threads()
    size = int(unet.get("sample_size") or SDXL_SAMPLE_SIZE)
    half, whole = (blocks_of(levels, size, threads, dtype) for dtype in (torch.bfloat16, torch.float32))
    return time_ratio(half, whole, clock)
