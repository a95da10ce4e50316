"""Takes a server's address, has it keep things of each kind, gives their ids by the parameter that names them."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from sdxl_gateway.config import DEMO_LORAS, DEMO_MODEL

MANY = 20
"""Of each kind: some are deleted on the way."""
GENERATE = "/v1/images/generations"
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "a", "steps": 1}}'
ASKED = {"prompt": "a", "steps": 1, "size": "64x64"}
FLAGGED = "flagged"
"""The word of a prompt whose picture is to be looked at by somebody."""
_NUMBERS = itertools.count()


def checkpoints(folder: Path) -> Path:
    """The folder, with some of them."""
    for number in range(MANY // 4):
        shutil.copytree(DEMO_MODEL, folder / f"soft-{number}")
    return folder


def kept_things(url: str, key: str) -> dict[str, list[str]]:
    """At least one of each; `key` is an admin's."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as http:
        made = {name: [make(http) for _ in range(MANY)] for name, make in MAKERS.items()}
        deliveries = _said(http.get("/v1/webhooks/deliveries"))["data"]
        made["delivery_id"] = [one["id"] for one in deliveries]
        made["review_id"] = [one["id"] for one in _said(http.get("/v1/admin/reviews"))["data"]]
        made["name"] += [one["id"] for one in _said(http.get("/v1/checkpoints"))["data"]]
        return made | {"tenant": ["art"]}


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


def _flagged(http: httpx.Client) -> str:
    said = ASKED | {"prompt": FLAGGED, "response_format": "url"}
    return str(_said(http.post(GENERATE, json=said))["data"][0]["id"])


def _lora(http: httpx.Client) -> str:
    body, sent_as = (DEMO_LORAS / "sunset.safetensors").read_bytes(), {"content-type": "application/octet-stream"}
    name = f"art/ink-{next(_NUMBERS)}"
    return str(_said(http.post("/v1/loras", params={"name": name}, content=body, headers=sent_as))["id"])


def _key(http: httpx.Client) -> str:
    return str(_said(http.post("/v1/admin/keys", json={"tenant": "art"}))["id"])


MAKERS: dict[str, Callable[[httpx.Client], str]] = {
    "job_id": _job,
    "file_id": _file,
    "batch_id": _batch,
    "image_id": _image,
    "key_id": _key,
    "flagged": _flagged,
    "name": _lora,
}
