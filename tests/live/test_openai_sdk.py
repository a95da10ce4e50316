"""The official SDK on a live socket: every picture call it has, against painted pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from PIL import Image
from pydantic import SecretStr

from tests.kit.live_pictures import b64, distance, farthest, pixels, png
from tests.kit.loopback import loopback
from tests.kit.servers import Server
from tests.live.conftest import Paint

FEW = {"steps": 4, "seed": 7}
PROMPT = "a red circle"


@pytest.fixture(scope="module")
def base(paint: Paint) -> str:
    return paint()


@pytest.fixture(scope="module")
def upload(base: str) -> bytes:
    return base64.b64decode(base)


def mask_of(box: tuple[int, int, int, int]) -> bytes:
    """Transparent, to be repainted, inside the box."""
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), box)
    return png(mask)


def test_base64(openai: OpenAI, base: str) -> None:
    reply = openai.images.generate(model="demo", prompt=PROMPT, response_format="b64_json", extra_body=FEW)

    assert reply.data is not None
    assert reply.data[0].url is None
    assert b64(reply) == base
    assert pixels(base).shape == (256, 256, 3)
    assert np.unique(pixels(base).reshape(-1, 3), axis=0).shape[0] > 1000
    assert reply.usage is not None
    assert reply.usage.output_tokens == 4 * 4


def test_url_needs_no_key(openai: OpenAI, base: str) -> None:
    reply = openai.images.generate(model="demo", prompt=PROMPT, response_format="url", extra_body=FEW)

    assert reply.data is not None
    assert reply.data[0].b64_json is None
    assert reply.data[0].url is not None
    fetched = loopback.get(reply.data[0].url)
    assert fetched.headers["content-type"] == "image/png"
    assert fetched.content == base64.b64decode(base)


def test_formats_are_what_they_say(openai: OpenAI) -> None:
    for kind in ("png", "jpeg", "webp"):
        reply = openai.images.generate(
            model="gpt-image-1", prompt=PROMPT, output_format=kind, size="256x256", extra_body=FEW
        )
        with Image.open(io.BytesIO(base64.b64decode(b64(reply)))) as image:
            assert image.format == kind.upper()
            assert image.size == (256, 256)


def test_two_pictures_are_those_of_the_two_seeds(openai: OpenAI, base: str, paint: Paint) -> None:
    reply = openai.images.generate(model="demo", prompt=PROMPT, n=2, response_format="b64_json", extra_body=FEW)

    first, second = pixels(b64(reply, 0)), pixels(b64(reply, 1))
    assert farthest(first, pixels(base)) <= 1
    assert farthest(second, pixels(paint(seed=8))) <= 1
    assert farthest(first, second) > 40


def test_the_same_seed_gives_the_same_bytes(base: str, paint: Paint) -> None:
    assert paint() == base
    assert paint(seed=9) != base


def test_extra_body_decides_the_picture(openai: OpenAI, base: str) -> None:
    def painted(**extra: Any) -> Any:
        body = {**FEW, **extra}
        return pixels(
            b64(openai.images.generate(model="demo", prompt=PROMPT, response_format="b64_json", extra_body=body))
        )

    guided = painted(guidance_scale=2.0)
    assert farthest(guided, pixels(base)) > 2
    assert farthest(painted(guidance_scale=2.0, negative_prompt="red, a circle"), guided) > 2
    assert farthest(painted(steps=5), pixels(base)) > 2
    assert farthest(painted(loras=[{"name": "sunset", "weight": 0.7}]), pixels(base)) > 2


def test_loras_and_the_name_of_a_blend_say_the_same(paint: Paint) -> None:
    said = paint(loras=[{"name": "sunset", "weight": 0.5}, "outline:0.8"])
    assert said == paint(model="demo+outline:0.8+sunset:0.5")


def test_block_weights_act_block_by_block(http: httpx.Client, paint: Paint, base: str) -> None:
    def painted(**said: object) -> dict[str, Any]:
        body = {"prompt": PROMPT, "response_format": "b64_json", **FEW, **said}
        one: dict[str, Any] = http.post("/v1/images/generations", json=body).json()["data"][0]
        return one

    ups = [0.5] + [0] * 10 + [1] * 9
    by_field = painted(loras=[{"name": "outline", "weight": 0.8, "blocks": ups}])
    by_tag = painted(prompt=f"{PROMPT} <lora:outline:0.8:lbw={','.join(map(str, ups))}>")
    by_recipe = painted(loras=by_field["recipe"]["loras"])
    whole = paint(loras=["outline:0.8"])
    assert by_field["b64_json"] == by_tag["b64_json"] == by_recipe["b64_json"]
    assert by_field["recipe"]["loras"] == by_recipe["recipe"]["loras"]
    assert len({by_field["b64_json"], whole, base}) == 3
    assert paint(loras=[{"name": "outline", "weight": 0.8, "blocks": [1] * 20}]) == whole
    assert paint() == base


def test_stream_sends_openais_events(openai: OpenAI, base: str) -> None:
    with openai.images.generate(
        model="demo", prompt=PROMPT, stream=True, partial_images=2, extra_body=FEW | {"steps": 6}
    ) as stream:
        told = list(stream)

    kinds = [event.type for event in told]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in told if event.type == "image_generation.partial_image"] == [0, 1]
    first, second, last = (pixels(event.b64_json) for event in told)
    assert first.shape == second.shape == last.shape == (256, 256, 3)
    assert distance(first, last) > distance(second, last) > 0


def test_the_streamed_picture_is_the_one_not_streamed(openai: OpenAI, base: str) -> None:
    with openai.images.generate(model="demo", prompt=PROMPT, stream=True, extra_body=FEW) as stream:
        (last,) = list(stream)

    assert last.type == "image_generation.completed"
    assert last.b64_json == base


def test_edit_starts_from_the_upload(openai: OpenAI, upload: bytes) -> None:
    reply = openai.images.edit(
        model="demo", image=upload, prompt="a blue square", extra_body=FEW | {"strength": 0.6}, size="256x256"
    )

    edited = pixels(b64(reply))
    assert edited.shape == (256, 256, 3)
    assert distance(edited, pixels(upload)) > 1


def test_edit_with_a_mask_keeps_the_rest_bit_for_bit(openai: OpenAI, upload: bytes) -> None:
    reply = openai.images.edit(
        model="demo", image=upload, mask=mask_of((64, 64, 192, 192)), prompt="a blue square", extra_body=FEW
    )

    edited, before = pixels(b64(reply)), pixels(upload)
    kept = np.ones((256, 256), dtype=bool)
    kept[64:192, 64:192] = False
    assert np.array_equal(edited[kept], before[kept])
    assert distance(edited[64:192, 64:192], before[64:192, 64:192]) > 1


def test_edit_as_json_with_data_urls_is_the_same(openai: OpenAI, upload: bytes) -> None:
    mask = mask_of((0, 0, 128, 256))
    form = openai.images.edit(model="demo", image=upload, mask=mask, prompt="a blue square", extra_body=FEW)

    def data_url(data: bytes) -> dict[str, str]:
        return {"image_url": "data:image/png;base64," + base64.b64encode(data).decode()}

    said = {"model": "demo", "prompt": "a blue square", "images": [data_url(upload)], "mask": data_url(mask), **FEW}
    reply = openai.post("/images/edits", body=said, cast_to=httpx.Response).json()

    assert reply["data"][0]["b64_json"] == b64(form)
    assert reply["data"][0]["recipe"]["task"] == "inpaint"


def test_an_edit_of_a_list_paints_its_first_and_names_the_others(openai: OpenAI, upload: bytes) -> None:
    said: dict[str, Any] = {"model": "demo", "prompt": "a blue square", "extra_body": FEW}
    alone = openai.images.edit(image=upload, **said)
    several = openai.images.with_raw_response.edit(image=[upload, png(Image.new("RGB", (64, 64)))], **said)
    with openai.images.edit(image=[upload, upload], stream=True, **said) as stream:
        (completed,) = list(stream)

    assert b64(several.parse()) == b64(alone)
    assert "image[1]" in several.headers["x-sdxl-gateway-warning"]
    (warning,) = (completed.model_extra or {})["warnings"]
    assert "image[1]" in warning


def test_a_markup_is_named_where_nothing_can_use_it(openai: OpenAI, upload: bytes) -> None:
    said: dict[str, Any] = {"model": "demo", "prompt": "a blue square", "image": upload, "extra_body": FEW}
    marked = openai.images.with_raw_response.edit(markup=mask_of((0, 0, 9, 9)), **said)

    assert b64(marked.parse()) == b64(openai.images.edit(**said))
    assert "markup" in marked.headers["x-sdxl-gateway-warning"]


def test_an_edit_of_a_list_in_json_is_the_same(http: httpx.Client, upload: bytes) -> None:
    url = "data:image/png;base64," + base64.b64encode(upload).decode()
    said = {"prompt": "a blue square", "images": [{"image_url": url}, url], "response_format": "b64_json", **FEW}
    several = http.post("/v1/images/edits", json=said)
    alone = http.post("/v1/images/edits", json=said | {"images": [url]})

    assert several.json()["data"] == alone.json()["data"]
    assert "images[1]" in several.headers["x-sdxl-gateway-warning"]
    assert "x-sdxl-gateway-warning" not in alone.headers


def test_streamed_edit(openai: OpenAI, upload: bytes) -> None:
    with openai.images.edit(
        model="demo", image=upload, prompt="a blue square", stream=True, partial_images=1, extra_body=FEW
    ) as stream:
        assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_variation(openai: OpenAI, upload: bytes) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        reply = openai.images.create_variation(image=upload, response_format="b64_json", size="256x256", extra_body=FEW)

    assert distance(pixels(b64(reply)), pixels(upload)) > 1


def test_models(openai: OpenAI, live: Server) -> None:
    names = {model.id for model in openai.models.list()}

    assert {"demo"} | {path.stem for path in live.loras.glob("*.safetensors")} <= names
    blends = ("demo+outline:0.8+sunset:0.5", "gpt-image-1+outline:0.8")
    for name in ("demo", "outline", "sunset:0.3", "gpt-image-1", *blends):
        assert openai.models.retrieve(name).id == name
    for base in ("demo", "gpt-image-1"):
        with pytest.raises(NotFoundError, match="'no-such-lora'") as refused:
            openai.models.retrieve(f"{base}+no-such-lora")
        assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


def test_loras_go_on_openais_own_names(openai: OpenAI, paint: Paint) -> None:
    assert paint(model="gpt-image-1+outline:0.8") == paint(model="demo+outline:0.8")
    with pytest.raises(NotFoundError, match="'no-such-lora'"):
        openai.images.generate(model="gpt-image-1+no-such-lora", prompt=PROMPT)


def test_refusals_are_the_sdks_own_errors(openai: OpenAI) -> None:
    with pytest.raises(NotFoundError) as missing:
        openai.images.generate(model="no-such-model", prompt=PROMPT)
    with pytest.raises(BadRequestError) as wrong:
        openai.images.generate(model="demo", prompt=PROMPT, extra_body={"steps": 1000})

    assert missing.value.code == "model_not_found"
    assert (wrong.value.param, wrong.value.code) == ("steps", "integer_above_max_value")


def test_large_pictures_are_painted_at_the_models_size(http: httpx.Client) -> None:
    said = {"prompt": PROMPT, "size": "1024x1024", "response_format": "b64_json", **FEW}
    reply = http.post("/v1/images/generations", json=said).json()

    assert reply["size"] == "1024x1024"
    assert pixels(reply["data"][0]["b64_json"]).shape == (1024, 1024, 3)
    recipe = reply["data"][0]["recipe"]
    assert (recipe["size"], recipe["painted_size"]) == ("1024x1024", "256x256")
    assert recipe["resized_with"] == "lanczos"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchains_picture_tool_gets_an_address(live: Server) -> None:
    from langchain_community.tools.openai_dalle_image_generation import OpenAIDALLEImageGenerationTool
    from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

    wrapper = DallEAPIWrapper(base_url=f"{live.url}/v1", api_key=SecretStr("unused"), model="dall-e-2", size="256x256")
    said = OpenAIDALLEImageGenerationTool(api_wrapper=wrapper).run(PROMPT)

    assert said.startswith(f"{live.url}/files/")
    assert pixels(loopback.get(said).content).shape == (256, 256, 3)


def test_as_a_job(openai: OpenAI, live: Server, base: str) -> None:
    """What the SDK has no call for it still sends and hands out: the picture is the one that is answered at once."""
    raw = openai.images.with_raw_response.generate(
        model="demo",
        prompt=PROMPT,
        response_format="b64_json",
        extra_body=FEW,
        extra_headers={"Prefer": "respond-async"},
    )
    job = f"{live.url}{raw.headers['location']}"

    assert raw.http_response.status_code == 202
    assert loopback.get(f"{job}/events", timeout=60).text.rpartition("event: ")[2].startswith("job.completed\n")
    assert loopback.get(job).json()["result"]["data"][0]["b64_json"] == base
