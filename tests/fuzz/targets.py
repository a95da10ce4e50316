"""Takes bytes nobody meant well with, gives them to the parsers that meet such: a refusal is fine, nothing else is."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from sdxl_gateway.admission.prompts.lora_tags import cut_prompt_tags
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.api.asks.forms import collect, read_form
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import read_ask
from sdxl_gateway.api.http.json_body import parse_object
from sdxl_gateway.api.http.multipart import parts
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.model_files import UNET
from sdxl_gateway.catalog.model_grammar import split_model
from sdxl_gateway.catalog.safetensors_header import parse_header
from sdxl_gateway.config import Limits, Loras
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import GatewayError

RULES = Rules(Limits())
SHAPES = {f"{UNET}.conv_in": (320, 4, 3, 3), f"{UNET}.mid_block.attentions.0.proj_in": (1280, 1280)}
FIELDS = fields_of(wire_fields(Limits()), Operation.EDIT)
FORM = "multipart/form-data; boundary=b"

Target = Callable[[bytes], None]


def json_body(data: bytes) -> None:
    """The body of a request to paint."""
    read_ask(Operation.GENERATE, {"prompt": "a", **parse_object(data)}, RULES)


def form_body(data: bytes) -> None:
    """The same as a form, in chunks of seven bytes."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 7):
            yield data[start : start + 7]

    async def read() -> None:
        read_form(await collect(parts(FORM, chunks()), 2**20), FIELDS)

    asyncio.run(read())


def data_url(data: bytes) -> None:
    """A picture as text."""
    read_ask(Operation.EDIT, {"prompt": "a", "image": data.decode("utf-8", "replace")}, RULES)


def model_name(data: bytes) -> None:
    """A model's name, and the same as a prompt with LoRA tags."""
    text = data.decode("utf-8", "replace")
    split_model(text)
    cut_prompt_tags(text)


def lora_header(data: bytes) -> None:
    """A file that says it is a LoRA."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        file.seek(0)
        plan_lora(parse_header(file, Loras()), SHAPES)


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (json_body, form_body, data_url, model_name, lora_header)
}


def survives(target: Target, data: bytes) -> None:
    """Raises whatever is no refusal."""
    with suppress(GatewayError):
        target(data)
