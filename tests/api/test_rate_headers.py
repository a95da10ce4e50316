"""Durations are spelled as OpenAI's gateways, written in Go, spell them."""

from __future__ import annotations

import pytest

from sdxl_gateway.api.http.rate_headers import duration


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (8.64, "8.64s"),
        (58.891, "58.891s"),
        (59.9999, "1m0s"),
        (60.0, "1m0s"),
        (90.2, "1m31s"),
        (3600.0, "1h0m0s"),
        (25_391.5, "7h3m12s"),
    ],
)
def test_a_duration(seconds: float, told: str) -> None:
    assert duration(seconds) == told
