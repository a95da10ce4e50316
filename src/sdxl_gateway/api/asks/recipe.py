"""Reads the recipe of an earlier reply: as fields of a request, and as a Replay with the digests of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.references import guide_of
from sdxl_gateway.api.asks.sizes import read_size
from sdxl_gateway.api.asks.values import checked_digest, json_text, missing, text, wrong_type
from sdxl_gateway.core.ask import Operation, Replay
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import LANCZOS, Task
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.core.text import shown

RECIPE = "recipe"
_SIDES = ("width", "height")
MAX_CHARS = 256 * 1024
_NAME = Field("name", Kind.TEXT, "A model name.", max_chars=200)
_FOLLOWS_FROM_THE_REST = (
    "task",
    "checkpoint",
    "checkpoint_digest",
    "painted_size",
    "matte_digest",
    "resized_with",
    "refiner_digest",
    "upscaler_digest",
    "version",
    "inputs",
    "embeddings",
    "ip_adapter",
    "rollout",
)


@dataclass(frozen=True, slots=True)
class FoldedIn:
    """What a recipe adds to a request: `fields` by name, and the digests of what it was painted from."""

    fields: dict[str, Any] = field(default_factory=dict)
    replay: Replay | None = None


def recipe_in(given: Mapping[str, Any], table: Iterable[Field], operation: Operation, max_pixels: int) -> FoldedIn:
    """The recipe, from an object, or its JSON in a form, without fields that the request gives itself. A size that
    cannot be requested is that of an upload, and left out, to be determined from the upload again.

    Raises InvalidRequest naming what is wrong in it.
    """
    if given.get(RECIPE, "") == "":
        return FoldedIn()
    recipe = _object(given[RECIPE])
    task = _task(recipe, operation)
    fields = _fields(recipe, task)
    if task is not Task.TEXT_TO_IMAGE and not _can_be_asked_for(fields.get("size"), max_pixels):
        fields.pop("size", None)
    for row in table:
        if any(given.get(word, "") != "" for word in row.spellings):
            fields.pop("size" if row.name in _SIDES else row.name, None)
    checkpoint = _digest(recipe, "checkpoint_digest") if "model" in fields else None
    matte = _digest(recipe, "matte_digest") if "background" in fields else None
    same_texts = fields.keys() >= {"prompt", "negative_prompt"}
    adapter, weights = guide_of(recipe, f"{RECIPE}.ip_adapter")
    replay = Replay(
        task,
        checkpoint,
        _digests(recipe, "inputs"),
        "prompt" in fields,
        _digests(recipe, "embeddings") if same_texts else None,
        adapter,
        weights,
        matte,
        _digest(recipe, "refiner_digest") if "refiner" in fields else None,
        _digest(recipe, "upscaler_digest") if "upscaler" in fields else None,
        _arm(recipe) if "model" in fields else None,
    )
    return FoldedIn(fields, replay)


def _digest(recipe: Mapping[str, Any], key: str) -> str | None:
    return None if key not in recipe else checked_digest(recipe[key], f"{RECIPE}.{key}")


def _arm(recipe: Mapping[str, Any]) -> Arm | None:
    given, param = recipe.get("rollout"), f"{RECIPE}.rollout"
    if given is None:
        return None
    if not isinstance(given, dict):
        raise wrong_type(param, "an object", given)
    return Arm(*(text(_NAME, given.get(key), f"{param}.{key}") for key in ("name", "arm")))


def _fields(recipe: Mapping[str, Any], task: Task) -> dict[str, Any]:
    fields = {key: value for key, value in recipe.items() if key not in _FOLLOWS_FROM_THE_REST}
    if "checkpoint" in recipe:
        fields["model"] = recipe["checkpoint"]
    fields = {"detail": 0, "guidance_end": 1} | fields
    if recipe.get("resized_with") == LANCZOS:
        fields["upscaler"] = LANCZOS
    if task is Task.TEXT_TO_IMAGE:
        fields.pop("strength", None)
    return fields


def _can_be_asked_for(size: Any, max_pixels: int) -> bool:
    try:
        found = read_size(size, max_pixels) if isinstance(size, str) else None
    except InvalidRequest:
        return False
    return found is None or found.width * found.height <= max_pixels


def _object(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        given = _from_text(given)
    if not isinstance(given, dict):
        raise wrong_type(RECIPE, "an object", given)
    return {key: value for key, value in given.items() if value is not None}


def _from_text(given: str) -> Any:
    if len(given) > MAX_CHARS:
        message = f"Invalid '{RECIPE}': a recipe has at most {MAX_CHARS} characters."
        raise InvalidRequest(message, param=RECIPE, code="string_above_max_length")
    return json_text(given, RECIPE)


def _task(recipe: Mapping[str, Any], operation: Operation) -> Task:
    """The recipe's task. Raises InvalidRequest if `operation` cannot do it; generations are text-to-image only."""
    said = recipe.get("task")
    if said is None:
        raise missing(f"{RECIPE}.task")
    if said not in list(Task):
        known = ", ".join(f"'{task}'" for task in Task)
        message = f"Invalid value: {shown(str(said))}. Supported values are: {known}."
        raise InvalidRequest(message, param=f"{RECIPE}.task")
    task = Task(said)
    if (task is Task.TEXT_TO_IMAGE) is not (operation is Operation.GENERATE):
        route = "generations" if task is Task.TEXT_TO_IMAGE else "edits"
        raise InvalidRequest(f"A recipe of the task '{task}' is painted by /v1/images/{route}.", param=f"{RECIPE}.task")
    return task


def _digests(recipe: Mapping[str, Any], key: str) -> tuple[tuple[str, str], ...] | None:
    given, param = recipe.get(key), f"{RECIPE}.{key}"
    if given is None:
        return None
    if not isinstance(given, dict):
        raise wrong_type(param, "an object", given)
    return tuple((role, checked_digest(given[role], f"{param}.{role}")) for role in sorted(given))
