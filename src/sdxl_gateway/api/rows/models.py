"""Takes the services, gives the rows of the route table about models."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import checkpoints, models
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.rows.resource import Row, resource, upload_limit
from sdxl_gateway.api.services import Services

ALL, ONE = "/checkpoints", "/checkpoints/{name:path}"
_LIST = "The checkpoints, and the files in their folder that cannot be used."
_ADD = (
    "Add a checkpoint to the folder, a single safetensors file; needs an admin's key. A form's name comes before its"
    " file."
)
_CHANGE = (
    "Change the side-car of a checkpoint in the folder; null removes a value, absent fields stay. Needs an admin's key."
)
_REMOVE = "Remove a checkpoint of the folder and its side-car, unless it is in use; needs an admin's key."


def model_rows(services: Services) -> tuple[Route, ...]:
    """What may be asked for."""
    names = resource(
        services,
        "models",
        openai_paths,
        Row("GET", "/models", models.list_endpoint, "Checkpoints, aliases, styles and LoRAs.", models.LIST_MODELS),
        Row("GET", "/models/{model:path}", models.one_endpoint, "One model.", models.RETRIEVE_MODEL),
    )
    return *names, *_checkpoint_rows(services)


def _checkpoint_rows(services: Services) -> tuple[Route, ...]:
    admin, upload = Access.ADMIN, upload_limit(services, services.settings.checkpoint_folder.max_file_bytes)
    return resource(
        services,
        "checkpoints",
        openai_paths,
        Row("GET", ALL, checkpoints.list_endpoint, _LIST, checkpoints.LIST_CHECKPOINTS),
        Row("POST", ALL, checkpoints.add_endpoint, _ADD, checkpoints.CREATE_CHECKPOINT, admin, upload),
        Row("POST", ONE, checkpoints.change_endpoint, _CHANGE, checkpoints.UPDATE_CHECKPOINT, admin),
        Row("DELETE", ONE, checkpoints.remove_endpoint, _REMOVE, checkpoints.DELETE_CHECKPOINT, admin),
    )
