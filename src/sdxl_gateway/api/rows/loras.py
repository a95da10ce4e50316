"""Takes the services, gives the rows of the route table about LoRAs."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import loras
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.rows.resource import Row, resource, upload_limit
from sdxl_gateway.api.services import Services

ALL, ONE = "/loras", "/loras/{name:path}"
_LIST = "The LoRAs in the LoRA folder, and the files there that cannot be used."
_ADD = "Add a LoRA, a safetensors file; needs a key for LoRAs. A form's fields come before its file."
_CHANGE = "Change a LoRA's side-car; null removes a value, absent fields stay. Needs a key for LoRAs."
_REMOVE = "Remove a LoRA and its file; needs a key for LoRAs."


def lora_rows(services: Services) -> tuple[Route, ...]:
    """What lies in the LoRA folder, and what is put there."""
    manager, upload = Access.LORAS, upload_limit(services, services.settings.loras.max_file_bytes)
    return resource(
        services,
        "loras",
        openai_paths,
        Row("GET", ALL, loras.list_endpoint, _LIST, loras.LIST_LORAS),
        Row("POST", ALL, loras.add_endpoint, _ADD, loras.CREATE_LORA, manager, upload),
        Row("GET", ONE, loras.one_endpoint, "One LoRA with its load report.", loras.RETRIEVE_LORA),
        Row("POST", ONE, loras.change_endpoint, _CHANGE, loras.UPDATE_LORA, manager),
        Row("DELETE", ONE, loras.remove_endpoint, _REMOVE, loras.DELETE_LORA, manager),
    )
