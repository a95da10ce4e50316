"""Reads `references`, from JSON or a form: pictures that guide the painting, with their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.pictures import read_picture, too_many
from sdxl_gateway.api.asks.values import checked_digest, missing, number, wrong_type
from sdxl_gateway.api.http.json_body import parse_json
from sdxl_gateway.core.ask import Place, Reference, Upload
from sdxl_gateway.core.limits import REFERENCE_WEIGHT, REFERENCES

PICTURE_KEYS = ("image", "image_url", "url", "b64_json", Place.FILE)
WEIGHT = Field("weight", Kind.NUMBER, "How strongly the picture guides.", low=0, high=REFERENCE_WEIGHT)


def read_references(
    given: Any, param: str, beside: Iterator[Upload], max_bytes: int, ignored: list[str]
) -> tuple[Reference, ...]:
    """Up to 16 pictures; none for an empty text. Entries without a picture take those `beside`, in order.

    Unknown keys of an entry go to `ignored`. Raises InvalidRequest, InvalidImage or BodyTooLarge naming the entry.
    """
    if given == "":
        return ()
    given = _from_text(given, param) if isinstance(given, str) else given
    if not isinstance(given, list):
        return (_reference(given, param, beside, max_bytes, ignored),)
    if not given:
        raise missing(param, given=True)
    if len(given) > REFERENCES:
        raise too_many(param, REFERENCES)
    return tuple(_reference(one, f"{param}[{index}]", beside, max_bytes, ignored) for index, one in enumerate(given))


def _from_text(given: str, param: str) -> Any:
    """The text's JSON if it looks like JSON, as in a form; else a picture as text."""
    if given.lstrip()[:1] not in ("[", "{"):
        return given
    return parse_json(given.encode("utf-8", "surrogatepass"), param=param)


def _reference(entry: Any, param: str, beside: Iterator[Upload], max_bytes: int, ignored: list[str]) -> Reference:
    if isinstance(entry, str):
        return Reference(read_picture(entry, param, max_bytes))
    if not isinstance(entry, dict):
        raise wrong_type(param, "a string or an object", entry)
    said = {key: value for key, value in entry.items() if value is not None}
    key = next((key for key in PICTURE_KEYS if key in said), None)
    weight = number(WEIGHT, said["weight"], f"{param}.weight") if said.get("weight", "") != "" else None
    ignored.extend(f"{param}.{name}" for name in said if name not in (key, "weight"))
    return Reference(_picture(said, key, param, beside, max_bytes), weight)


def _picture(said: dict[str, Any], key: str | None, param: str, beside: Iterator[Upload], max_bytes: int) -> Upload:
    if key == Place.FILE:
        return read_picture({key: said[key]}, param, max_bytes)
    if key is not None:
        return read_picture(said[key], f"{param}.{key}", max_bytes)
    found = next(beside, None)
    if found is None:
        raise missing(f"{param}.image")
    return found


def guide_of(recipe: Mapping[str, Any], param: str) -> tuple[str | None, tuple[float, ...]]:
    """A recipe's `ip_adapter`: its digest, and the weights of its reference pictures."""
    said = recipe.get("ip_adapter") or {}
    if not isinstance(said, dict):
        raise wrong_type(param, "an object", said)
    weights = said.get("weights") or []
    if not isinstance(weights, list) or len(weights) > REFERENCES:
        raise wrong_type(f"{param}.weights", f"at most {REFERENCES} numbers", weights)
    digest = checked_digest(said["digest"], f"{param}.digest") if said.get("digest") is not None else None
    return digest, tuple(number(WEIGHT, one, f"{param}.weights[{index}]") for index, one in enumerate(weights))
