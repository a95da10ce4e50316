"""ControlNets through the whole server: in JSON and in a form, on every route, beside blends, and told in the reply."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from PIL import Image, ImageDraw

from tests.kit.control_folders import control_folder, union_folder
from tests.kit.servers import TROUBLE, Server, server

SIDE = 128


@dataclass
class Controlled:
    server: Server
    http: httpx.Client

    def post(self, path: str = "generations", **request: Any) -> httpx.Response:
        return self.http.post(f"/v1/images/{path}", **request)

    def paint(self, **fields: Any) -> httpx.Response:
        answer = self.post(json=asked(**fields))
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    folders = tmp_path_factory.mktemp("controls")
    settings = {
        "controls__canny__path": str(control_folder(folders / "canny", 1)),
        "controls__canny__preprocessor": "canny",
        "controls__depth__path": str(union_folder(folders / "union", 2)),
    }
    with server(tmp_path_factory.mktemp("server"), None, **settings) as one:
        with httpx.Client(base_url=one.url, timeout=120) as http:
            yield Controlled(one, http)
        assert TROUBLE.findall(one.log) == []


def asked(**fields: Any) -> dict[str, Any]:
    common = {"prompt": "a red circle", "size": f"{SIDE}x{SIDE}", "steps": 4, "seed": 7, "response_format": "b64_json"}
    return common | fields


def drawn(width: int = SIDE, height: int = SIDE) -> bytes:
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).ellipse((width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill="navy")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def pixels(answer: httpx.Response) -> str:
    return str(answer.json()["data"][0]["b64_json"])


def entry(kind: str = "canny", **more: Any) -> dict[str, Any]:
    return {"type": kind, "image": url(drawn()), **more}


def test_the_picture_follows_and_the_reply_says_what(room: Controlled) -> None:
    plain, followed = room.paint(), room.paint(controls=[entry(weight=0.8, end=0.75)])
    assert pixels(plain) != pixels(followed)
    told = followed.json()["data"][0]["recipe"]["controls"]
    assert [(one["type"], one["weight"], one["end"], one["preprocess"]) for one in told] == [
        ("canny", 0.8, 0.75, "canny")
    ]
    assert followed.json()["usage"]["input_tokens_details"]["image_tokens"] == 1
    assert pixels(room.paint()) == pixels(plain)
    assert "x-sdxl-gateway-warning" not in followed.headers


def test_a_form_says_the_same_as_json(room: Controlled) -> None:
    expected = pixels(room.paint(controls=[entry(weight=0.8), entry("depth")]))
    controls = json.dumps([{"type": "canny", "weight": 0.8}, {"type": "depth"}])
    files = [("control_image[]", ("a.png", drawn())), ("control_image[]", ("b.png", drawn()))]
    answer = room.post(data=asked(controls=controls), files=files)
    assert answer.status_code == 200, answer.text
    assert pixels(answer) == expected


def test_openais_client_reaches_them_by_extra_body(room: Controlled) -> None:
    with OpenAI(base_url=f"{room.server.url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        extra = {"controls": [entry()], "steps": 4, "seed": 7}
        edited = client.images.edit(
            image=drawn(), prompt="a red circle", size="auto", response_format="b64_json", extra_body=extra
        )
        made = client.images.generate(
            prompt="a red circle",
            size="auto",
            response_format="b64_json",
            extra_body=extra | {"size": f"{SIDE}x{SIDE}"},
        )
    assert made.data is not None
    assert made.data[0].b64_json == pixels(room.paint(controls=[entry()]))
    assert edited.data is not None
    assert edited.data[0].b64_json != made.data[0].b64_json


@pytest.mark.parametrize("path", ["edits", "variations"])
def test_other_routes_have_them_too(room: Controlled, path: str) -> None:
    said = {"image": url(drawn()), "steps": 4, "seed": 7, "response_format": "b64_json"}
    if path == "edits":
        said["prompt"] = "a red circle"
    plain, followed = (room.post(path, json=said | more) for more in ({}, {"controls": [entry("depth")]}))
    assert plain.status_code == followed.status_code == 200
    assert pixels(plain) != pixels(followed)


def test_beside_a_blend_and_in_several_pictures(room: Controlled) -> None:
    answer = room.paint(model="demo+sunset:0.8", n=3, controls=[entry(), entry("depth", start=0.25)])
    assert len({one["b64_json"] for one in answer.json()["data"]}) == 3
    assert room.server.metric('sdxl_gateway_control_requests_total{control="depth"}') >= 1


def test_another_aspect_is_told_in_the_header(room: Controlled) -> None:
    answer = room.paint(controls=[{"type": "canny", "image": url(drawn(300, 100))}])
    assert "300x100 was cut evenly" in answer.headers["x-sdxl-gateway-warning"]


def test_the_recipe_of_a_reply_paints_it_again_from_the_same_map(room: Controlled) -> None:
    first = room.paint(controls=[entry(weight=0.7)])
    recipe = first.json()["data"][0]["recipe"]
    said = {"recipe": recipe, "response_format": "b64_json"}
    again = room.post(json=said | {"control_image": url(drawn())})
    assert again.status_code == 200, again.text
    assert pixels(again) == pixels(first)
    other = room.post(json=said | {"control_image": url(drawn(SIDE, SIDE // 2))})
    assert (other.status_code, other.json()["error"]["param"]) == (409, "recipe.inputs")
    without = room.post(json=said)
    assert (without.status_code, without.json()["error"]["param"]) == (400, "recipe.controls[0].image")


def test_refusals_harm_nobody(room: Controlled) -> None:
    golden, held = pixels(room.paint()), room.server.metric('sdxl_gateway_memory_held_bytes{engine="0",tier="vram"}')
    for control, param in (
        (entry("pose"), "controls[0].type"),
        (entry(mode=1), "controls[0].mode"),
        (entry("depth", mode="tile"), "controls[0].mode"),
        (entry("depth", preprocess=True), "controls[0].preprocess"),
        (entry() | {"image": url(drawn()[:200])}, "controls[0].image"),
    ):
        answer = room.post(json=asked(controls=[control]))
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert room.server.metric('sdxl_gateway_memory_held_bytes{engine="0",tier="vram"}') == held
    assert pixels(room.paint()) == golden


def test_a_client_can_ask_before(room: Controlled) -> None:
    told = room.http.get("/v1/models/demo").json()["capabilities"]
    assert told["controls"]["canny"] == {"modes": [], "preprocessor": "canny"}
    assert "depth" in told["controls"]["depth"]["modes"]


def test_a_file_that_is_no_controlnet_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"controls\.canny: .*neither"),
        server(tmp_path / "server", controls__canny__path=str(tmp_path)),
    ):
        pass
