"""Tests api/asks/: what real clients send, written out as they send it, becomes the Ask they meant."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from sdxl_gateway.core.ask import Ask, LoraRef
from sdxl_gateway.core.errors import ModerationBlocked
from sdxl_gateway.core.picture import Size
from tests.kit.api import FakeGateway, ServedApi, failing, official_client, served_api
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import DATA_URL, JPEG, MASK, PNG, WEBP

PROMPT = "a cat"

JSON_CLIENTS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ("langchain", {"model": "dall-e-2", "prompt": PROMPT, "n": 1, "size": "1024x1024"}, {"size": Size(1024, 1024)}, ()),
    (
        "langchain-js",
        {
            "model": "dall-e-3",
            "prompt": PROMPT,
            "n": 1,
            "size": "1024x1024",
            "response_format": "url",
            "style": "vivid",
            "quality": "standard",
            "user": "u1",
        },
        {"response_format": "url", "quality": "medium", "user": "u1", "style": "vivid"},
        (),
    ),
    (
        "llama-index",
        {"prompt": PROMPT, "model": "dall-e-3", "n": 1, "quality": "hd", "size": "1792x1024", "style": "natural"},
        {"quality": "high", "size": Size(1792, 1024), "style": "natural"},
        (),
    ),
    (
        "open-webui",
        {"model": "sdxl", "prompt": PROMPT, "n": 1, "size": "512x512", "response_format": "b64_json", "steps": 20},
        {"size": Size(512, 512), "response_format": "b64_json", "steps": 20},
        (),
    ),
    (
        "librechat",
        {
            "model": "gpt-image-1",
            "prompt": PROMPT,
            "n": 1,
            "background": "auto",
            "output_format": "webp",
            "output_compression": 80,
            "quality": "auto",
            "size": "auto",
        },
        {"output_format": "webp", "output_compression": 80, "quality": None, "size": None},
        (),
    ),
    (
        "openai-with-nulls",
        {"prompt": PROMPT, "n": None, "size": None, "quality": None, "stream": None, "partial_images": None},
        {"n": 1, "size": None},
        (),
    ),
    (
        "ai-sdk",
        {
            "model": "sdxl",
            "prompt": PROMPT,
            "n": 3,
            "size": "1024x1024",
            "loras": [{"name": "ink", "weight": 0.8}],
            "complexity": "low",
            "safety_identifier": "s1",
            "moderation": "low",
        },
        {"n": 3, "loras": (LoraRef("ink", 0.8),), "user": "s1"},
        ("complexity", "moderation"),
    ),
    (
        "lobechat",
        {"model": "sdxl", "prompt": PROMPT, "n": 1, "seed": 5, "width": 768, "height": 1024, "steps": 9, "cfg": 4.5},
        {"seed": 5, "size": Size(768, 1024), "steps": 9, "guidance_scale": 4.5},
        (),
    ),
    (
        "vllm-omni-curl",
        {
            "prompt": PROMPT,
            "seed": 1,
            "extra_body": {
                "num_inference_steps": 12,
                "true_cfg_scale": 4,
                "seed": 2,
                "negative_prompt": "dog",
                "n": None,
            },
        },
        {"seed": 1, "steps": 12, "negative_prompt": "dog"},
        ("true_cfg_scale",),
    ),
    ("pydantic-ai", {"model": "sdxl", "prompt": PROMPT, "size": "672x1456"}, {"size": Size(672, 1456)}, ()),
    (
        "numbers-as-strings",
        {"prompt": PROMPT, "n": "2", "steps": "20", "guidance_scale": "5.5", "seed": "9", "output_compression": "50"},
        {"n": 2, "steps": 20, "guidance_scale": 5.5, "seed": 9, "output_compression": 50},
        ("output_compression",),
    ),
    ("whole-floats", {"prompt": PROMPT, "n": 2.0, "seed": 7.0}, {"n": 2, "seed": 7}, ()),
    ("random-seed", {"prompt": PROMPT, "seed": -1}, {"seed": None}, ()),
    ("jpg", {"prompt": PROMPT, "output_format": "JPG"}, {"output_format": "jpeg"}, ()),
    (
        "partials-without-stream",
        {"prompt": PROMPT, "partial_images": 3},
        {"partial_images": 0, "stream": False},
        ("partial_images",),
    ),
    ("compressed-png", {"prompt": PROMPT, "output_compression": 50}, {"output_format": "png"}, ("output_compression",)),
    ("whole-png", {"prompt": PROMPT, "output_compression": "100"}, {"output_format": "png"}, ()),
    ("empty-image", {"prompt": PROMPT, "image": "", "images": [], "mask": None}, {"images": (), "mask": None}, ()),
    ("size-said-twice", {"prompt": PROMPT, "size": "64x64", "width": 64, "height": 64}, {"size": Size(64, 64)}, ()),
    (
        "sizes-that-differ",
        {"prompt": PROMPT, "size": "64x64", "width": 64, "height": 128},
        {"size": Size(64, 64)},
        ("height",),
    ),
    ("auto-size", {"prompt": PROMPT, "size": "auto", "width": 64, "height": 128}, {"size": Size(64, 128)}, ()),
    (
        "steps-that-differ",
        {"prompt": PROMPT, "num_inference_steps": 30, "steps": 20},
        {"steps": 20},
        ("num_inference_steps",),
    ),
    ("steps-said-twice", {"prompt": PROMPT, "num_inference_steps": 20, "steps": 20}, {"steps": 20}, ()),
    ("strength-without-an-image", {"prompt": PROMPT, "strength": 0.5}, {"strength": None}, ("strength",)),
    ("both-users", {"prompt": PROMPT, "user": "a", "safety_identifier": "b"}, {"user": "b"}, ()),
    ("one-user-silent", {"prompt": PROMPT, "safety_identifier": "", "user": "a"}, {"user": "a"}, ()),
    ("steps-said-once", {"prompt": PROMPT, "steps": "", "num_inference_steps": 9}, {"steps": 9}, ()),
    ("xhigh", {"prompt": PROMPT, "quality": "xhigh"}, {"quality": "max"}, ()),
    ("spoken-null", {"prompt": "null", "negative_prompt": ""}, {"prompt": "null", "negative_prompt": ""}, ()),
]

LORAS: list[tuple[Any, tuple[LoraRef, ...]]] = [
    ([{"name": "a", "weight": 0.8}], (LoraRef("a", 0.8),)),
    ([{"name": "a", "scale": 0.8}], (LoraRef("a", 0.8),)),
    ([{"name": "a", "strength": "-0.8"}], (LoraRef("a", -0.8),)),
    ([{"path": "a", "scale": 1}], (LoraRef("a", 1.0),)),
    ([{"model_name": "a", "strength": 1}], (LoraRef("a", 1.0),)),
    ([{"model": "a", "weight": None}], (LoraRef("a"),)),
    ([{"name": "a", "weight": 1, "text_encoder_weight": 0}], (LoraRef("a", 1.0, 0.0),)),
    ([{"name": "a", "strength_model": 1, "strength_clip": 0.5}], (LoraRef("a", 1.0, 0.5),)),
    ([{"name": "a", "weight": "", "scale": 0.5, "strength": "0.5"}], (LoraRef("a", 0.5),)),
    ([{"name": "a", "blocks": [1] * 19 + [0.5]}], (LoraRef("a", blocks=(*[1.0] * 19, 0.5)),)),
    ([{"name": "a", "weight": 1, "lbw": "1," * 19 + " .5"}], (LoraRef("a", 1.0, blocks=(*[1.0] * 19, 0.5)),)),
    ([{"name": "a", "blocks": None, "lbw": ""}], (LoraRef("a"),)),
    (["a:0.8", "b"], (LoraRef("a", 0.8), LoraRef("b"))),
    ("a:0.8", (LoraRef("a", 0.8),)),
    ("a:0.8+b:-.5", (LoraRef("a", 0.8), LoraRef("b", -0.5))),
    ('[{"name":"a","weight":0.8}]', (LoraRef("a", 0.8),)),
    ({"name": "a", "weight": 2}, (LoraRef("a", 2.0),)),
    ({"a": 0.8, "b": 1}, (LoraRef("a", 0.8), LoraRef("b", 1.0))),
    (["style:v2"], (LoraRef("style:v2"),)),
    ([], ()),
    ("", ()),
]

FORM_LORAS: list[tuple[list[bytes], tuple[LoraRef, ...]]] = [
    ([part("loras", '[{"name":"a","weight":0.8},"b"]')], (LoraRef("a", 0.8), LoraRef("b"))),
    ([part("loras", "a:0.8")], (LoraRef("a", 0.8),)),
    ([part("loras", "a:0.8"), part("loras", "b")], (LoraRef("a", 0.8), LoraRef("b"))),
    ([part("loras[]", "a:0.8"), part("loras[]", "b:1")], (LoraRef("a", 0.8), LoraRef("b", 1.0))),
    (
        [
            part("loras[][name]", "a"),
            part("loras[][name]", "b"),
            part("loras[][weight]", "1"),
            part("loras[][weight]", ".5"),
        ],
        (LoraRef("a", 1.0), LoraRef("b", 0.5)),
    ),
    ([part("loras[][name]", "a"), part("loras[][name]", "b")], (LoraRef("a"), LoraRef("b"))),
    (
        [part("loras[1][name]", "b"), part("loras[0][name]", "a"), part("loras[0][weight]", "2")],
        (LoraRef("a", 2.0), LoraRef("b")),
    ),
    ([part("loras", "")], ()),
]


@pytest.fixture
def served() -> ServedApi:
    return served_api()


async def asked(served: ServedApi, path: str, headers: dict[str, str], body: bytes) -> tuple[Ask, httpx.Response]:
    transport = httpx.ASGITransport(app=served.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gw") as client:
        answer = await client.post(path, headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    return served.gateway.asks[-1], answer


async def edited(served: ServedApi, *parts: bytes) -> Ask:
    ask, _ = await asked(served, "/v1/images/edits", FORM, form(*parts))
    return ask


@pytest.mark.parametrize(("name", "body", "expected", "ignored"), JSON_CLIENTS, ids=[row[0] for row in JSON_CLIENTS])
async def test_json(
    served: ServedApi, name: str, body: dict[str, Any], expected: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    ask, answer = await asked(served, "/v1/images/generations", {}, json.dumps(body).encode())
    assert {key: getattr(ask, key) for key in expected} == expected
    assert served.seen[-1].ignored == ignored
    assert ask.prompt == body["prompt"]
    assert answer.headers.get("x-sdxl-gateway-ignored", "") == ", ".join(ignored)


@pytest.mark.parametrize(("said", "expected"), LORAS, ids=str)
async def test_loras_in_json(served: ServedApi, said: Any, expected: tuple[LoraRef, ...]) -> None:
    body = json.dumps({"prompt": PROMPT, "loras": said}).encode()
    ask, _ = await asked(served, "/v1/images/generations", {}, body)
    assert ask.loras == expected


@pytest.mark.parametrize(
    ("said", "params"),
    [
        ({"loras": ["a+b", "c", {"name": "d"}]}, ["loras[0]", "loras[0]", "loras[1]", "loras[2]"]),
        ({"loras": "a+b", "lora_scale": 0.5}, ["loras[0]", "loras[1]"]),
        ({"lora": [{"name": "a"}, "b"]}, ["lora[0]", "lora[1]"]),
    ],
    ids=str,
)
async def test_a_lora_remembers_the_entry_that_asked_for_it(
    served: ServedApi, said: dict[str, Any], params: list[str]
) -> None:
    ask, _ = await asked(served, "/v1/images/generations", {}, json.dumps({"prompt": PROMPT, **said}).encode())
    assert [lora.param for lora in ask.loras] == params


@pytest.mark.parametrize(("parts", "expected"), FORM_LORAS, ids=str)
async def test_loras_in_forms(served: ServedApi, parts: list[bytes], expected: tuple[LoraRef, ...]) -> None:
    ask = await edited(served, part("prompt", PROMPT), *parts, file("image", PNG))
    assert ask.loras == expected


async def test_lora_scale_weighs_the_unweighed(served: ServedApi) -> None:
    body = json.dumps({"prompt": PROMPT, "lora": ["a", "b:1"], "lora_scale": 0.5}).encode()
    ask, _ = await asked(served, "/v1/images/generations", {}, body)
    assert ask.loras == (LoraRef("a", 0.5), LoraRef("b", 1.0))


async def test_go_openai_sends_empty_scalars(served: ServedApi) -> None:
    ask = await edited(
        served,
        part("image", PNG, filename=""),
        part("prompt", PROMPT),
        part("n", "0"),
        part("size", ""),
        part("response_format", ""),
        part("mask", ""),
    )
    assert (ask.n, ask.size, ask.response_format, ask.mask) == (1, None, None, None)
    assert [image.data for image in ask.images] == [PNG]


async def test_async_openai_repeats_a_scalar(served: ServedApi) -> None:
    twice = [part("output_compression", "80"), part("output_compression", "90"), part("output_compression", "")]
    ask = await edited(served, part("prompt", PROMPT), file("image", PNG), *twice)
    assert ask.output_compression == 90


async def test_litellm_repeats_file_fields_as_text(served: ServedApi) -> None:
    texts = [part("image[]", "<file>"), part("mask[]", "None")]
    ask = await edited(served, part("prompt", PROMPT), *texts, file("image[]", PNG), file("mask[]", MASK))
    assert [image.field for image in ask.images] == ["image"]
    assert ask.mask is not None
    assert ask.mask.data == MASK


async def test_browsers_send_a_file_field_left_open_as_an_empty_part(served: ServedApi) -> None:
    left_open = [file(name, b"", filename="") for name in ("mask", "image[]", "control", "markup")]
    ask = await edited(served, part("prompt", PROMPT), *left_open[:2], file("image[]", PNG), *left_open[2:])
    assert ([image.field for image in ask.images], ask.mask, served.seen[-1].ignored) == (["image"], None, ())
    ask, _ = await asked(served, "/v1/images/generations", FORM, form(part("prompt", PROMPT), *left_open))
    assert (ask.images, ask.mask) == ((), None)


async def test_images_said_in_two_words_are_named(served: ServedApi) -> None:
    body = json.dumps({"prompt": PROMPT, "image": DATA_URL, "images": [DATA_URL, DATA_URL]}).encode()
    ask, answer = await asked(served, "/v1/images/edits", {}, body)
    assert ([image.field for image in ask.images], answer.headers["x-sdxl-gateway-ignored"]) == (["image"], "images")


@pytest.mark.parametrize(
    "names", [("image", "image"), ("image[]", "image[]"), ("image[0]", "image[1]"), ("images", "images")]
)
async def test_images_in_every_spelling(served: ServedApi, names: tuple[str, str]) -> None:
    ask = await edited(served, file(names[0], PNG), part("prompt", PROMPT), file(names[1], JPEG), file("mask[]", MASK))
    assert [(image.field, image.data) for image in ask.images] == [("image[0]", PNG), ("image[1]", JPEG)]
    assert ask.mask is not None
    assert ask.mask.data == MASK


async def test_nameless_bytes_and_texts_are_pictures_too(served: ServedApi) -> None:
    assert (await edited(served, part("prompt", PROMPT), part("image", WEBP))).images[0].data == WEBP
    assert (await edited(served, part("prompt", PROMPT), part("image", DATA_URL))).images[0].data == PNG


@pytest.mark.parametrize(
    "images",
    [
        {"images": [{"image_url": DATA_URL}]},
        {"images": [{"image_url": {"url": DATA_URL}}]},
        {"images": [{"type": "image_url", "image_url": {"url": DATA_URL}, "file_id": None}]},
        {"image": DATA_URL},
        {"image": [DATA_URL.split(",")[1]]},
        {"image": {"url": DATA_URL, "type": "image_url"}},
    ],
    ids=str,
)
async def test_json_edits(served: ServedApi, images: dict[str, Any]) -> None:
    body = {"prompt": PROMPT, "mask": {"image_url": DATA_URL}, "input_fidelity": "high", "strength": 0.4, **images}
    ask, _ = await asked(served, "/v1/images/edits", {"content-type": "application/json"}, json.dumps(body).encode())
    assert [image.data for image in ask.images] == [PNG]
    assert ask.mask is not None
    assert (ask.strength, served.seen[-1].ignored) == (0.4, ("input_fidelity",))


async def test_a_variation_needs_no_prompt(served: ServedApi) -> None:
    ask, _ = await asked(served, "/v1/images/variations", FORM, form(file("image", PNG), part("n", "2")))
    assert (ask.operation.value, ask.n, ask.prompt) == ("vary", 2, "")


async def test_curl_without_a_content_type(served: ServedApi) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    ask, _ = await asked(served, "/images/generations", headers, b'{"prompt":"a cat"}')
    assert ask.prompt == PROMPT
    ask, _ = await asked(served, "/images/generations?api-version=1", headers, b"prompt=a+c%C3%A4t&n=2&stream=")
    assert (ask.prompt, ask.n) == ("a cät", 2)


async def test_azure_names_the_model_in_the_address(served: ServedApi) -> None:
    path = "/openai/deployments/sdxl+org%2Fink:0.8/images/generations?api-version=2026-01-01"
    ask, _ = await asked(served, path, {"api-key": "x"}, b'{"prompt":"a"}')
    assert ask.model == "sdxl+org/ink:0.8"
    ask, _ = await asked(served, path, {}, b'{"prompt":"a","model":"mine"}')
    assert ask.model == "mine"


async def test_strict_refuses_what_it_does_not_know_but_not_what_openai_does() -> None:
    strict = served_api(server={"strict": True})
    transport = httpx.ASGITransport(app=strict.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gw") as client:
        refused = await client.post("/v1/images/generations", json={"prompt": "a", "foo": 1})
        inner = await client.post("/v1/images/generations", json={"prompt": "a", "loras": [{"name": "a", "x": 1}]})
        taken = await client.post("/v1/images/generations", json={"prompt": "a", "style": "vivid", "svg": {}})
    assert refused.json()["error"]["code"] == inner.json()["error"]["code"] == "unknown_parameter"
    assert (refused.json()["error"]["param"], inner.json()["error"]["param"]) == ("foo", "loras[0].x")
    assert taken.status_code == 200


async def test_strict_takes_a_forms_spelling_of_openais_fields() -> None:
    strict = served_api(server={"strict": True})
    async with official_client(strict) as client:
        with pytest.raises(openai.BadRequestError, match=r"Unknown parameter: 'tags\[\]'"):
            await client.images.edit(image=PNG, prompt=PROMPT, extra_body={"tags": ["x"]})
        svg: Any = {"model": "m", "reasoning": {"effort": "low"}}
        raw = await client.images.with_raw_response.edit(image=PNG, prompt=PROMPT, svg=svg, complexity="low")
    assert raw.headers["x-sdxl-gateway-ignored"] == "complexity, svg[model], svg[reasoning][effort]"


async def test_hostile_field_names_stay_out_of_the_header(served: ServedApi) -> None:
    said = {"prompt": "a", "x\r\nset-cookie: a=b": 1, "é" * 100: 2, **{f"f{i}": 1 for i in range(100)}}
    _, answer = await asked(served, "/v1/images/generations", {}, json.dumps(said).encode())
    named = answer.headers["x-sdxl-gateway-ignored"]
    assert named.isascii()
    assert "\n" not in named
    assert len(named) <= 2000
    assert len(served.seen[-1].ignored) == 102


def client_of(gateway: FakeGateway) -> openai.AsyncOpenAI:
    return official_client(served_api(gateway))


async def test_the_official_client() -> None:
    gateway = FakeGateway()
    async with client_of(gateway) as client:
        made = await client.images.generate(prompt=PROMPT, n=2, extra_body={"seed": 7, "loras": ["ink:0.8"]})
        edit = await client.images.edit(
            image=[("a.png", PNG, "image/png")],
            mask=("m.png", MASK, "image/png"),
            prompt="hat",
            extra_body={"loras": [{"name": "x", "weight": 0.5}, {"name": "y", "weight": 1}]},
        )
        names = [model.id for model in (await client.models.list()).data]
        one = await client.models.retrieve("org/ink")
    assert made.data is not None
    assert [image.b64_json is not None and image.url is not None for image in made.data] == [True, True]
    assert made.usage is not None
    assert edit.size == "1024x1024"
    assert gateway.asks[1].loras == (LoraRef("x", 0.5), LoraRef("y", 1.0))
    assert (names, one.id) == (["demo", "org/ink"], "org/ink")


async def test_the_official_clients_list_of_images() -> None:
    gateway = FakeGateway(warnings=("Not used: image[1], image[2].",))
    images = [("a.png", PNG, "image/png"), ("b.jpg", JPEG, "image/jpeg"), ("c.webp", WEBP, "image/webp")]
    async with client_of(gateway) as client:
        whole = await client.images.with_raw_response.edit(image=images, prompt=PROMPT)
        stream = await client.images.edit(image=images, prompt=PROMPT, stream=True)
        (completed,) = [event async for event in stream]
    for ask in gateway.asks:
        assert [image.field for image in ask.images] == ["image[0]", "image[1]", "image[2]"]
        assert [image.data for image in ask.images] == [PNG, JPEG, WEBP]
    assert whole.headers["x-sdxl-gateway-warning"] == "Not used: image[1], image[2]."
    assert (completed.model_extra or {})["warnings"] == ["Not used: image[1], image[2]."]


async def test_a_reply_repeats_the_end_user() -> None:
    async with client_of(FakeGateway()) as client:
        one = await client.images.generate(prompt="a", user="old", safety_identifier="u-1")
        other = await client.images.generate(prompt="a", user="old")
        nobody = await client.images.generate(prompt="a")
    assert [one.safety_identifier, other.safety_identifier, nobody.safety_identifier] == ["u-1", "old", None]


async def test_the_official_client_streams() -> None:
    async with client_of(FakeGateway()) as client:
        stream = await client.images.generate(prompt=PROMPT, stream=True, partial_images=2)
        kinds = [event.type async for event in stream]
        edits = await client.images.edit(image=PNG, prompt=PROMPT, stream=True, partial_images=1)
        edit_kinds = [event.type async for event in edits]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert edit_kinds == ["image_edit.partial_image", "image_edit.completed"]


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
async def test_a_response_format_gives_that_field_alone(served: ServedApi, response_format: str) -> None:
    body = json.dumps({"prompt": PROMPT, "response_format": response_format}).encode()
    _, answer = await asked(served, "/v1/images/generations", {}, body)
    entry = answer.json()["data"][0]
    assert {key for key in entry if key in ("url", "b64_json")} == {response_format}


BLOCKED = ModerationBlocked("Rejected by the safety system.", stage="input", categories=("sexual",))


async def test_the_official_client_hears_of_a_refusal_as_of_openais() -> None:
    async with client_of(failing(BLOCKED)) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.generate(prompt=PROMPT)
    body = refused.value.body
    assert (refused.value.code, refused.value.type, refused.value.param) == (
        "moderation_blocked",
        "image_generation_user_error",
        None,
    )
    assert isinstance(body, dict)
    assert body["moderation_details"] == {"moderation_stage": "input", "categories": ["sexual"]}


async def test_the_official_client_hears_of_it_within_a_stream_too() -> None:
    async with client_of(failing(BLOCKED, late=True)) as client:
        stream = await client.images.generate(prompt=PROMPT, stream=True, partial_images=1)
        with pytest.raises(openai.APIError) as refused:
            _ = [event async for event in stream]
    assert (refused.value.code, refused.value.type) == ("moderation_blocked", "image_generation_user_error")
