"""A server whose default model is one file: it paints what the folder paints, with LoRAs on, and asks no hub."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import Server, server
from tests.kit.single_files import write_single_file

ASK = {"prompt": "a red circle on a blue ground", "size": "256x256", "steps": 6, "seed": 3}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    path = write_single_file(tmp_path_factory.mktemp("files") / "one.safetensors")
    with server(folder, default_model="one", checkpoints__one__path=str(path), checkpoints__one__config="demo") as one:
        yield one


def paint(one: Server, model: str | None) -> bytes:
    body = ASK if model is None else {**ASK, "model": model}
    answer = loopback.post(f"{one.url}/v1/images/generations", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


def test_the_default_model_is_a_file(served: Server) -> None:
    listed = loopback.get(f"{served.url}/v1/models").json()["data"]
    assert "one" in {model["id"] for model in listed}
    assert paint(served, None).startswith(b"\x89PNG")


def test_loras_of_the_folder_fit_it(served: Server) -> None:
    assert paint(served, "one+sunset:0.9") != paint(served, "one")


def test_its_log_is_quiet(served: Server) -> None:
    paint(served, "one")
    assert "Traceback" not in served.log
    assert "huggingface" not in served.log.lower()
