"""A server with an IP-Adapter: pictures guide what is painted, from the official SDK and over plain HTTP."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI
from PIL import Image

from tests.kit.forms import FORM, file, form, part
from tests.kit.ip_adapters import section
from tests.kit.live_pictures import b64, farthest, pixels, png
from tests.kit.servers import TROUBLE, Server, server

FEW: dict[str, Any] = {"steps": 3, "seed": 7}
SAID = {"prompt": "a red circle", "response_format": "b64_json", "size": "64x64", **FEW}
GENERATE, EDIT = "/v1/images/generations", "/v1/images/edits"


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    files = section(tmp_path_factory.mktemp("adapter"), plus=True)
    folder = tmp_path_factory.mktemp("guided")
    with server(folder, ip_adapter__path=files.path, ip_adapter__image_encoder=files.image_encoder) as one:
        yield one
    assert TROUBLE.findall(one.log) == []


@pytest.fixture
def http(guided: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guided.url, timeout=120) as one:
        yield one


@pytest.fixture
def openai(guided: Server) -> OpenAI:
    return OpenAI(base_url=f"{guided.url}/v1", api_key="unused", timeout=120, max_retries=0)


def picture(seed: int, size: tuple[int, int] = (96, 64)) -> bytes:
    colours = [((seed * 37 + x) % 256, (seed * 91 + 3 * x) % 256, (x * x) % 256) for x in range(size[0])]
    image = Image.new("RGB", (size[0], 1))
    image.putdata(colours)
    return png(image.resize(size))


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def painted(http: httpx.Client, path: str = GENERATE, **said: Any) -> dict[str, Any]:
    answer = http.post(path, json=SAID | said)
    assert answer.status_code == 200, answer.text
    assert "x-sdxl-gateway-warning" not in answer.headers
    one: dict[str, Any] = answer.json()["data"][0]
    return one


def test_references_of_a_generation_and_the_plain_picture_as_before(http: httpx.Client, guided: Server) -> None:
    plain = painted(http)
    counted = guided.metric("sdxl_gateway_references_total")
    references = [{"image": url(picture(1)), "weight": 0.9}, url(picture(2))]
    both = painted(http, references=references)
    other = painted(http, references=references[:1])
    assert len({plain["b64_json"], both["b64_json"], other["b64_json"]}) == 3
    assert farthest(pixels(plain["b64_json"]), pixels(both["b64_json"])) > 5
    assert (both["recipe"]["ip_adapter"]["name"], both["recipe"]["ip_adapter"]["weights"]) == ("adapter", [0.9, 0.6])
    assert set(both["recipe"]["inputs"]) == {"reference:0", "reference:1"}
    assert "ip_adapter" not in plain["recipe"]
    assert painted(http)["b64_json"] == plain["b64_json"]
    assert guided.metric("sdxl_gateway_references_total") == counted + 3
    again = painted(http, references=[url(picture(1)), url(picture(2))], recipe=both["recipe"])
    assert again["b64_json"] == both["b64_json"]


def test_a_recipe_with_another_picture_is_refused(http: httpx.Client) -> None:
    recipe = painted(http, references=[url(picture(1))])["recipe"]
    answer = http.post(GENERATE, json={"recipe": recipe, "references": [url(picture(2))]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (409, "recipe.inputs")


def test_a_form_says_the_same_as_json(http: httpx.Client) -> None:
    fields = [part(name, str(value)) for name, value in SAID.items()]
    files = [file("reference_image[]", picture(seed)) for seed in (1, 2)]
    answer = http.post(GENERATE, content=form(*fields, *files, part("input_fidelity", "0.8")), headers=FORM)
    references = [{"image": url(picture(seed)), "weight": 0.8} for seed in (1, 2)]
    assert answer.json()["data"][0]["b64_json"] == painted(http, references=references)["b64_json"]


def test_an_edit_of_a_list_of_images(openai: OpenAI, http: httpx.Client) -> None:
    images: list[Any] = [picture(1, (64, 64)), picture(2), picture(3)]
    said: dict[str, Any] = {"model": "demo", "prompt": "a tree", "extra_body": FEW}
    raw = openai.images.with_raw_response.edit(image=images, input_fidelity="high", **said)
    alone = openai.images.edit(image=images[0], **said)
    assert "x-sdxl-gateway-warning" not in raw.headers
    assert "x-sdxl-gateway-ignored" not in raw.headers
    assert farthest(pixels(b64(raw.parse())), pixels(b64(alone))) > 5
    recipe = raw.http_response.json()["data"][0]["recipe"]
    assert recipe["ip_adapter"]["weights"] == [1.0, 1.0]
    same = painted(
        http,
        EDIT,
        prompt="a tree",
        images=[{"image_url": url(images[0])}],
        references=[{"image": url(one), "weight": 1} for one in images[1:]],
    )
    assert same["b64_json"] == b64(raw.parse())


def test_a_markup_guides(openai: OpenAI) -> None:
    said: dict[str, Any] = {"model": "demo", "prompt": "a tree", "extra_body": FEW, "image": picture(1, (64, 64))}
    stroke = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    stroke.paste((250, 20, 20, 255), (10, 10, 50, 30))
    marked = openai.images.with_raw_response.edit(markup=png(stroke), **said)
    assert "x-sdxl-gateway-warning" not in marked.headers
    assert b64(marked.parse()) != b64(openai.images.edit(**said))


def test_a_variation(openai: OpenAI) -> None:
    extra = FEW | {"steps": 4}
    with pytest.warns(DeprecationWarning, match="deprecated"):
        raw = openai.images.with_raw_response.create_variation(
            image=picture(1), response_format="b64_json", extra_body=extra
        )
    recipe = raw.http_response.json()["data"][0]["recipe"]
    assert (recipe["strength"], recipe["ip_adapter"]["weights"]) == (1.0, [1.0])
    assert Image.open(io.BytesIO(base64.b64decode(b64(raw.parse())))).size == (96, 64)


def test_with_a_lora_and_in_company(http: httpx.Client) -> None:
    blend = painted(http, model="demo+sunset:0.8", references=[url(picture(1))])
    assert blend["b64_json"] != painted(http, references=[url(picture(1))])["b64_json"]
    several = http.post(GENERATE, json=SAID | {"n": 3, "references": [url(picture(1))]}).json()["data"]
    assert len({one["b64_json"] for one in several}) == 3


def test_a_client_can_ask_before_it_sends(http: httpx.Client) -> None:
    told = http.get("/v1/models/demo").json()["capabilities"]["references"]
    assert (told["kind"], told["max_pictures"]) == ("plus", 16)


def test_a_picture_that_is_none_harms_nobody(http: httpx.Client, openai: OpenAI) -> None:
    before = painted(http, references=[url(picture(1))])
    broken = picture(1)[:-40]
    answer = http.post(GENERATE, json=SAID | {"references": [url(picture(2)), {"image": url(broken)}]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "references[1].image")
    many = http.post(EDIT, json=SAID | {"images": [url(picture(1))] * 16, "references": [url(picture(2))] * 2})
    assert (many.status_code, many.json()["error"]["param"]) == (400, "references[1]")
    with pytest.raises(BadRequestError) as refused:
        openai.images.generate(model="demo", prompt="a", extra_body={"references": [{"weight": 1}]})
    assert refused.value.param == "references[0].image"
    assert painted(http, references=[url(picture(1))])["b64_json"] == before["b64_json"]
