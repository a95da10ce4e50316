"""The whole catalogue of bad requests against a running server: refused as written, and nothing is left of them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.kit.bad_requests import BadRequest, catalogue
from tests.kit.servers import TROUBLE, Server


def problem(http: httpx.Client, bad: BadRequest) -> str | None:
    """What is wrong with the answer, if anything is."""
    answer = http.request(bad.method, bad.path, headers=bad.headers, content=bad.body)
    if answer.headers.get("content-type") != "application/json":
        return f"{bad.name}: {answer.status_code} without JSON"
    error = answer.json().get("error", {})
    found = (answer.status_code, error.get("param"), error.get("code"))
    shaped = set(error) == {"message", "type", "param", "code"} and "x-request-id" in answer.headers
    expected = (bad.status, bad.param, bad.code)
    return None if shaped and found == expected else f"{bad.name}: {found}, not {expected}: {answer.text[:200]}"


def good(http: httpx.Client) -> dict[str, Any]:
    said = {"prompt": "a red circle", "steps": 3, "seed": 7, "response_format": "b64_json"}
    answer = http.post("/v1/images/generations", json=said)
    assert answer.status_code == 200
    return {**answer.json(), "created": 0}


def test_each_is_refused_and_none_leaves_a_trace(live: Server, http: httpx.Client) -> None:
    golden, logged = good(http), len(live.log)
    painted = live.metric("sdxl_gateway_denoise_steps_total")

    problems = [found for bad in catalogue() if (found := problem(http, bad))]

    assert problems == []
    assert live.metric("sdxl_gateway_denoise_steps_total") == painted
    assert good(http) == golden
    assert TROUBLE.findall(live.log[logged:]) == []
