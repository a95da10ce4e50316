"""What a stored job remembers comes back as it was."""

from __future__ import annotations

import pytest

from sdxl_gateway.api.http.errors import error_body
from sdxl_gateway.core.errors import Busy, EngineFault, GatewayError, InvalidRequest, ModerationBlocked, PictureUnjudged
from sdxl_gateway.gateway.packed import pack_error, unpack_error


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("No.", param="size"),
        Busy("Later.", retry_after_seconds=3.0),
        EngineFault("Oh.", code="not_finite"),
        PictureUnjudged("Nobody looked."),
        ModerationBlocked("No.", stage="output", categories=("sexual", "deny_list")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_tells_the_same(error: GatewayError) -> None:
    again = unpack_error(pack_error(error))
    assert type(again) is type(error)
    assert error_body(again) == error_body(error)
