"""Fuzz targets: files that strangers made, pictures and weights."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

from starlette.responses import JSONResponse

from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import read_ask
from sdxl_gateway.api.replies.recipes import written_recipe as recipe_reply
from sdxl_gateway.catalog.checkpoint_folder.upload import receive
from sdxl_gateway.catalog.lora_folder.sidecar import Defaults, told_defaults, with_sidecar
from sdxl_gateway.catalog.lora_folder.sidecar_edit import edited
from sdxl_gateway.catalog.lora_format.alphas import ARGUMENTS_KEY, TOLD_IN, told_alpha
from sdxl_gateway.catalog.lora_format.base_models import told_family
from sdxl_gateway.catalog.lora_format.peft_config import DIFFUSERS_CONFIG_KEY, FOLDER_CONFIG_KEY, read_scales
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.lora_format.report import make_report, metadata_summary
from sdxl_gateway.catalog.model_files import UNET
from sdxl_gateway.catalog.safetensors_header import parse_header
from sdxl_gateway.config import Limits, Loras
from sdxl_gateway.core.ask import Operation, Upload
from sdxl_gateway.core.files import IncomingFile
from sdxl_gateway.pictures.jpeg_scans import scan_count
from sdxl_gateway.pictures.scrub import scrubbed
from sdxl_gateway.pictures.written import Written, read_written, recipe_in

SHAPES = {f"{UNET}.conv_in": (320, 4, 3, 3), f"{UNET}.mid_block.attentions.0.proj_in": (1280, 1280)}
BETWEEN = b"\0"
METADATA_KEYS = (
    *("ss_tag_frequency", FOLDER_CONFIG_KEY, DIFFUSERS_CONFIG_KEY, ARGUMENTS_KEY, *TOLD_IN),
    *("ss_output_name", "modelspec.title", "modelspec.trigger_phrase", "modelspec.architecture"),
)
MOST_BYTES = 2**20


def lora_header(data: bytes) -> None:
    """A file that says it is a LoRA."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        file.seek(0)
        header = parse_header(file, Loras())
    JSONResponse(asdict(make_report(plan_lora(header, SHAPES), header, trigger_words=())))


def lora_metadata(data: bytes) -> None:
    """What a LoRA's file says of itself: a text a key, in the order of METADATA_KEYS."""
    texts = (text.decode("utf-8", "replace") for text in data.split(BETWEEN))
    metadata = dict(zip(METADATA_KEYS, texts, strict=False))
    JSONResponse([asdict(told_defaults(metadata)), told_family(metadata), dict(metadata_summary(metadata))])
    if (told := told_alpha(metadata)) is not None:
        told.scale((8, 8, 3, 3), 8)
    read_scales(metadata).scale(f"{UNET}.conv_in", 8)


@cache
def _made() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def _folder() -> Path:
    """One for all, gone with the process."""
    return Path(_made().name)


def side_car(data: bytes) -> None:
    """What lies beside a LoRA's file, as it is read and as it is changed."""
    path = _folder() / "ink.toml"
    path.write_bytes(data)
    defaults, _ = with_sidecar(Defaults(), path)
    JSONResponse(asdict(defaults))
    edited(data.decode("utf-8", "replace"), {"description": "ink", "steps": None})


def checkpoint_file(data: bytes) -> None:
    """A file that says it is a checkpoint, as it comes; the configs are the demo's."""

    async def content() -> AsyncIterator[bytes]:
        yield data

    target = _folder() / "checkpoint.safetensors"
    target.with_suffix(".toml").write_text('config = "demo"')
    with IncomingFile(target.parent) as file:
        asyncio.run(receive(file, target, content(), MOST_BYTES))


def picture_file(data: bytes) -> None:
    """A picture that is kept without what it tells; and asked what that is."""
    scan_count(data)
    upload = Upload("image", data)
    found = read_written(upload)
    if found is not None:
        JSONResponse(recipe_reply(found))
    clean = scrubbed(upload)
    assert read_written(Upload("image", clean)) is None


def written_recipe(data: bytes) -> None:
    """What a picture's file says of how it was made, told, and sent back to be painted again."""
    text = data.decode("utf-8", "replace")
    JSONResponse(recipe_reply(Written("", recipe_in(text))))
    read_ask(Operation.GENERATE, {"recipe": text}, Rules(Limits()))
