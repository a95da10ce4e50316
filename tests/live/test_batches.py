"""A file of requests is painted by a running server, as OpenAI's own client has it done."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Literal
from zipfile import ZipFile

import httpx
from openai import OpenAI
from openai.types import Batch

from tests.live.conftest import Paint

EDITS: Literal["/v1/images/edits"] = "/v1/images/edits"


def over(client: OpenAI, batch_id: str) -> Batch:
    while (batch := client.batches.retrieve(batch_id)).status in ("validating", "in_progress", "finalizing"):
        time.sleep(0.1)
    return batch


def test_edits_of_a_file_in_a_batch(openai: OpenAI, http: httpx.Client, paint: Paint) -> None:
    picture = base64.b64decode(paint(output_format="png"))
    circle = openai.files.create(file=("circle.png", picture), purpose="vision")
    bodies = [
        {"prompt": "a blue circle", "images": [{"file_id": circle.id}], "steps": 4, "response_format": "b64_json"},
        {"prompt": "a green circle", "images": [{"file_id": circle.id}], "steps": 4, "response_format": "url"},
        {"prompt": "no circle", "images": [{"file_id": "file-none"}]},
    ]
    lines = [
        json.dumps({"custom_id": f"line {number}", "method": "POST", "url": EDITS, "body": body}).encode()
        for number, body in enumerate(bodies)
    ]
    file = openai.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
    batch = openai.batches.create(input_file_id=file.id, endpoint=EDITS, completion_window="24h")
    done = over(openai, batch.id)
    assert done.request_counts is not None
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 2, 1)
    first, second = map(json.loads, openai.files.content(done.output_file_id or "").text.splitlines())
    by_address = http.get(second["response"]["body"]["data"][0]["url"]).content
    by_data = base64.b64decode(first["response"]["body"]["data"][0]["b64_json"])
    archive = ZipFile(io.BytesIO(http.get(f"/v1/batches/{batch.id}/archive").content))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "00001-line_0.png": by_data,
        "00002-line_1.png": by_address,
    }
    (bad,) = map(json.loads, openai.files.content(done.error_file_id or "").text.splitlines())
    assert bad["response"]["body"]["error"]["code"] == "image_file_not_found"
    assert openai.files.delete(circle.id).deleted
