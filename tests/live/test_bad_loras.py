"""Files that are no LoRA, of every kind, in a running server's folder: refused before the model is touched.

One of each family is asked for here; tests/catalog/test_bad_loras.py and the engine's test_bad_numbers.py try them all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest

from tests.kit.bad_loras import BadLora, catalogue
from tests.kit.servers import TROUBLE, Server, until

GENERATE = "/v1/images/generations"
BAD = catalogue()
ASKED_FOR = {
    "header-deep-nesting",
    "container-pickle",
    "container-half-a-download",
    "place-link-out",
    "place-pipe",
    "place-folder",
    "folder-another-tuner",
    "folder-config-cut",
    "misfit-wide",
    "family-sd1",
    "kind-oft-blocks",
    "numbers-nan-up",
    "numbers-nan-embedding",
}
TOUCHED = ("sdxl_gateway_denoise_steps_total", "sdxl_gateway_lora_layers_rewritten_total")


def request(http: httpx.Client, **said: object) -> httpx.Response:
    body = {"prompt": "a red circle", "size": "64x64", "steps": 2, "seed": 7, "response_format": "b64_json", **said}
    return http.post(GENERATE, json=body)


def base(http: httpx.Client) -> object:
    return request(http).json()["data"]


@pytest.fixture(scope="module")
def littered(live: Server, http: httpx.Client) -> Iterator[Server]:
    """The server with all of them in its folder, looked at; the base picture is the same before, during and after."""
    golden = base(http)
    folder = live.loras / "bad"
    folder.mkdir()
    for bad in BAD:
        bad.lay(folder)
    told = {f"bad/{bad.name}" for bad in BAD if bad.status == 400}
    until(lambda: told <= seen(http), seconds=60)
    assert base(http) == golden
    yield live
    assert base(http) == golden
    shutil.rmtree(folder)
    until(lambda: not any(name.startswith("bad/") for name in seen(http)), seconds=60)
    assert base(http) == golden


def seen(http: httpx.Client) -> set[str]:
    """The names of everything in the folder that is a LoRA, or none."""
    listed = http.get("/v1/loras").json()
    return {lora["id"] for lora in listed["data"]} | {
        problem["file"].removesuffix(".safetensors").removesuffix(".pt") for problem in listed["problems"]
    }


def test_every_family_is_asked_for() -> None:
    assert {bad.family for bad in BAD if bad.name in ASKED_FOR} == {bad.family for bad in BAD}


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.name in ASKED_FOR], ids=lambda bad: bad.name)
def test_it_is_refused_before_the_model_is_touched(littered: Server, http: httpx.Client, bad: BadLora) -> None:
    before, logged = [littered.metric(name) for name in TOUCHED], len(littered.log)

    answer = request(http, model=f"demo+bad/{bad.name}:0.8")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (bad.status, bad.code, "model"), error
    assert error["type"] == "invalid_request_error"
    assert str(littered.folder) not in answer.text
    assert len(error["message"]) < 1000
    assert [littered.metric(name) for name in TOUCHED] == before
    assert TROUBLE.findall(littered.log[logged:]) == []


def test_the_list_tells_broken_files_from_loras(littered: Server, http: httpx.Client) -> None:
    listed = http.get("/v1/loras").json()
    loras = {lora["id"] for lora in listed["data"]}
    problems = {
        problem["file"].removesuffix(".safetensors").removesuffix(".pt"): problem for problem in listed["problems"]
    }

    for bad in BAD:
        name = f"bad/{bad.name}"
        assert (name in loras, name in problems) == (bad.listed, bad.status == 400 and not bad.listed), name
    assert {problem["code"] for problem in problems.values()} == {"invalid_lora"}
    assert all(problem["message"] for problem in problems.values())
    assert str(littered.folder) not in str(listed)


@pytest.mark.parametrize("field", ["loras", "prompt"])
def test_the_field_that_asked_is_named(littered: Server, http: httpx.Client, field: str) -> None:
    name = "bad/misfit-wide"
    said = {"loras": ["sunset", name]} if field == "loras" else {"prompt": f"a <lora:{name}:1>"}

    error = request(http, **said).json()["error"]

    assert (error["code"], error["param"]) == ("invalid_lora", "loras[1]" if field == "loras" else "prompt")
