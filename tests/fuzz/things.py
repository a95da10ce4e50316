"""Takes a server's address, has it keep things of each kind, gives their ids by the parameter that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

MANY = 20
"""Of each kind: some are deleted on the way."""
GENERATE = "/v1/images/generations"
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "a", "steps": 1}}'
ASKED = {"prompt": "a", "steps": 1, "size": "64x64"}


def kept_things(url: str, key: str) -> dict[str, list[str]]:
    """At least one of each; `key` is an admin's."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as http:
        made = {name: [make(http) for _ in range(MANY)] for name, make in MAKERS.items()}
        deliveries = _said(http.get("/v1/webhooks/deliveries"))["data"]
        return made | {"delivery_id": [one["id"] for one in deliveries], "tenant": ["art"]}


def _said(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()


def _job(http: httpx.Client) -> str:
    """Over, with a delivery to a receiver that is not there."""
    said, asynchronous = ASKED | {"webhook_url": "http://127.0.0.1:9/"}, {"prefer": "respond-async"}
    job = str(_said(http.post(GENERATE, json=said, headers=asynchronous))["id"])
    http.get(f"/v1/jobs/{job}/events").raise_for_status()
    return job


def _file(http: httpx.Client) -> str:
    return str(_said(http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", LINE)}))["id"])


def _batch(http: httpx.Client) -> str:
    said = {"input_file_id": _file(http), "endpoint": GENERATE, "completion_window": "24h"}
    return str(_said(http.post("/v1/batches", json=said))["id"])


def _image(http: httpx.Client) -> str:
    return str(_said(http.post(GENERATE, json=ASKED | {"response_format": "url"}))["data"][0]["id"])


def _key(http: httpx.Client) -> str:
    return str(_said(http.post("/v1/admin/keys", json={"tenant": "art"}))["id"])


MAKERS: dict[str, Callable[[httpx.Client], str]] = {
    "job_id": _job,
    "file_id": _file,
    "batch_id": _batch,
    "image_id": _image,
    "key_id": _key,
}
