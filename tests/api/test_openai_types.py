"""Whatever OpenAI's own library can say of pictures is known here, and what it reads of them is told."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from openai import types
from openai.types import image_create_variation_params, image_edit_params, image_generate_params

from sdxl_gateway.api.asks.field import Field
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.api.replies.batches import BatchObject
from sdxl_gateway.api.replies.images import ImageEntry, ImagesResponse
from sdxl_gateway.api.replies.models import Model
from sdxl_gateway.api.replies.stored_files import FileObject
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation

PARAMS = [
    (Operation.GENERATE, image_generate_params.ImageGenerateParamsStreaming),
    (Operation.EDIT, image_edit_params.ImageEditParamsStreaming),
    (Operation.VARY, image_create_variation_params.ImageCreateVariationParams),
]
REFUSED = {"gif", "svg"}
"""Values of `output_format`."""


def known(operation: Operation) -> dict[str, Field]:
    return {word: row for row in fields_of(wire_fields(Limits()), operation) for word in row.spellings}


@pytest.mark.parametrize(("operation", "params"), PARAMS)
def test_every_field_of_a_request_is_known(operation: Operation, params: Any) -> None:
    assert set(get_type_hints(params)) - known(operation).keys() == set()


@pytest.mark.parametrize(("operation", "params"), PARAMS)
def test_every_word_for_a_choice_is_known(operation: Operation, params: Any) -> None:
    for name, hint in get_type_hints(params).items():
        if choices := known(operation)[name].choices:
            assert set(words(hint)) - REFUSED <= set(choices), name


def words(hint: Any) -> list[str]:
    """The strings in a Literal, wherever it stands in the type."""
    found = get_args(hint)
    return [word for one in found for word in ([one] if isinstance(one, str) else words(one))]


@pytest.mark.parametrize(
    ("read", "told", "not_told"),
    [
        (types.ImagesResponse, ImagesResponse, {"svg_usage"}),
        (types.Image, ImageEntry, set()),
        (types.Model, Model, {"shutdown_date"}),
        (types.Batch, BatchObject, {"usage"}),
        (types.FileObject, FileObject, {"status_details"}),
    ],
)
def test_everything_that_is_read_is_told(read: Any, told: Any, not_told: set[str]) -> None:
    assert set(read.model_fields) - set(get_type_hints(told)) == not_told
