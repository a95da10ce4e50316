"""Takes bytes nobody meant well with, gives them to the parsers that meet such: a refusal is fine, nothing else is."""

from __future__ import annotations

from collections.abc import Callable

from sdxl_gateway.api.http.errors import error_response
from sdxl_gateway.core.errors import GatewayError
from tests.fuzz import bodies, files, heads

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        *(bodies.json_body, bodies.large_json, bodies.form_body, bodies.file_form, bodies.lora_form),
        *(bodies.compressed_body, bodies.data_url, bodies.model_name, bodies.prompt, bodies.batch_lines),
        *(files.lora_header, files.lora_metadata, files.side_car, files.checkpoint_file, files.picture_file),
        *(files.written_recipe, heads.http_head, heads.header_fields),
    )
}


def survives(target: Target, data: bytes) -> None:
    """Raises whatever is no refusal, or is one that cannot be sent."""
    try:
        target(data)
    except GatewayError as refusal:
        error_response(refusal)
