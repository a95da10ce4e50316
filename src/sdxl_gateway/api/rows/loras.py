"""Takes the services, gives the rows of the route table about LoRAs."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import loras
from sdxl_gateway.api.http.route import Access, BodyLimit, Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def lora_rows(services: Services) -> tuple[Route, ...]:
    """What lies in the LoRA folder, and what is put there."""
    settings = services.settings
    return (
        Route(
            "GET",
            openai_paths("/loras"),
            loras.list_endpoint(services),
            label="loras",
            summary="The LoRAs in the LoRA folder, and the files there that cannot be used.",
            description=loras.LIST_LORAS,
        ),
        Route(
            "POST",
            openai_paths("/loras"),
            loras.add_endpoint(services),
            label="loras",
            summary="Add a LoRA, a safetensors file; needs a key for LoRAs. A form's fields come before its file.",
            description=loras.CREATE_LORA,
            access=Access.LORAS,
            body=BodyLimit(
                settings.loras.max_file_bytes + loras.FORM_OVERHEAD_BYTES,
                settings.server.receive_timeout_seconds,
                each_piece=True,
            ),
        ),
        Route(
            "GET",
            openai_paths("/loras/{name:path}"),
            loras.one_endpoint(services),
            label="loras",
            summary="One LoRA with its load report.",
            description=loras.RETRIEVE_LORA,
        ),
        Route(
            "POST",
            openai_paths("/loras/{name:path}"),
            loras.change_endpoint(services),
            label="loras",
            summary="Change what a LoRA's side-car says; null takes a word back, what is not given stays. Needs a key"
            " for LoRAs.",
            description=loras.UPDATE_LORA,
            access=Access.LORAS,
        ),
        Route(
            "DELETE",
            openai_paths("/loras/{name:path}"),
            loras.remove_endpoint(services),
            label="loras",
            summary="Remove a LoRA and its file; needs a key for LoRAs.",
            description=loras.DELETE_LORA,
            access=Access.LORAS,
        ),
    )
