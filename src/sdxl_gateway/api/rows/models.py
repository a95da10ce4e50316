"""Takes the services, gives the rows of the route table about models."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import checkpoints, models
from sdxl_gateway.api.endpoints.loras import FORM_OVERHEAD_BYTES
from sdxl_gateway.api.http.route import Access, BodyLimit, Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def model_rows(services: Services) -> tuple[Route, ...]:
    """What may be asked for."""
    return (
        Route(
            "GET",
            openai_paths("/models"),
            models.list_endpoint(services),
            label="models",
            summary="Checkpoints, aliases, styles and LoRAs.",
            description=models.LIST_MODELS,
        ),
        Route(
            "GET",
            openai_paths("/models/{model:path}"),
            models.one_endpoint(services),
            label="models",
            summary="One model.",
            description=models.RETRIEVE_MODEL,
        ),
        Route(
            "GET",
            openai_paths("/checkpoints"),
            checkpoints.list_endpoint(services),
            label="checkpoints",
            summary="The checkpoints, and what in their folder cannot be used.",
            description=checkpoints.LIST_CHECKPOINTS,
        ),
        Route(
            "POST",
            openai_paths("/checkpoints"),
            checkpoints.add_endpoint(services),
            label="checkpoints",
            summary="Add a checkpoint to the folder, a single safetensors file; needs an admin's key. A form's name"
            " comes before its file.",
            description=checkpoints.CREATE_CHECKPOINT,
            access=Access.ADMIN,
            body=BodyLimit(
                services.settings.checkpoint_folder.max_file_bytes + FORM_OVERHEAD_BYTES,
                services.settings.server.receive_timeout_seconds,
                each_piece=True,
            ),
        ),
        Route(
            "POST",
            openai_paths("/checkpoints/{name:path}"),
            checkpoints.change_endpoint(services),
            label="checkpoints",
            summary="Change what the side-car of a checkpoint of the folder says; null takes a word back, what is not"
            " given stays. Needs an admin's key.",
            description=checkpoints.UPDATE_CHECKPOINT,
            access=Access.ADMIN,
        ),
        Route(
            "DELETE",
            openai_paths("/checkpoints/{name:path}"),
            checkpoints.remove_endpoint(services),
            label="checkpoints",
            summary="Remove a checkpoint of the folder and its side-car, unless it is in use; needs an admin's key.",
            description=checkpoints.DELETE_CHECKPOINT,
            access=Access.ADMIN,
        ),
    )
