"""A catalogue of requests that must be refused, by kind, with the status, field and code of the refusal.

They can be sent to any running server with the default limits; none needs a key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kit.bad_controls import bad_controls
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import DATA_URL, JPEG, PNG

GENERATE, EDIT, VARY = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class BadRequest:
    """One request and its refusal; for None as `param` or `code` null is expected."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    param: str | None
    code: str | None

    @property
    def kind(self) -> str:
        return self.name.split("/")[0]


def _json(
    name: str, said: Any, param: str | None, code: str | None, *, path: str = GENERATE, status: int = 400
) -> BadRequest:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return BadRequest(name, "POST", path, JSON, body, status, param, code)


def _form(
    name: str, body: bytes, param: str | None, code: str | None, *, path: str = EDIT, status: int = 400
) -> BadRequest:
    return BadRequest(name, "POST", path, FORM, body, status, param, code)


def _field(
    name: str, value: Any, code: str, *, field: str, param: str | None = None, path: str = GENERATE
) -> BadRequest:
    said: dict[str, Any] = {"prompt": "a cat", field: value}
    if path == EDIT:
        said["images"] = [{"image_url": DATA_URL}]
    return _json(name, said, param or field, code, path=path)


def catalogue() -> list[BadRequest]:
    """All of them, with unique names."""
    return [
        *_bodies(),
        *_prompts(),
        *_integers(),
        *_numbers(),
        *_choices(),
        *_flags(),
        *_texts(),
        *_sizes(),
        *_loras(),
        *_controls(),
        *_references(),
        *_foreign_pictures(),
        *_json_images(),
        *_forms(),
        *_truncated(),
        *_routes(),
    ]


def _bodies() -> Iterator[BadRequest]:
    value: Any
    yield _json("empty-body", b"", None, "invalid_json")
    yield _json("empty-body/spaces", b"   ", None, "invalid_json")
    for name, raw in {
        "cut-short": b'{"prompt": "a',
        "trailing-comma": b'{"prompt": "a",}',
        "single-quotes": b"{'prompt': 'a'}",
        "words": b"prompt=a cat",
        "two-values": b'{"prompt":"a"}{"prompt":"b"}',
        "nan": b'{"prompt":"a","guidance_scale":NaN}',
        "infinity": b'{"prompt":"a","guidance_scale":Infinity}',
        "minus-infinity": b'{"prompt":"a","guidance_scale":-Infinity}',
        "nan-in-unknown-field": b'{"prompt":"a","whatever":NaN}',
        "control-character": b'{"prompt":"a\nb"}',
        "not-utf8": b'{"prompt":"\xff\xfe"}',
        "utf16": '{"prompt":"a"}'.encode("utf-16"),
        "utf32": '{"prompt":"a"}'.encode("utf-32"),
        "huge-integer": b'{"prompt":"a","seed":' + b"9" * 5000 + b"}",
        "deep-arrays": b'{"prompt":"a","x":' + b"[" * 200_000 + b"}",
        "deep-objects": b'{"a":' * 100_000,
        "deep-and-whole": b'{"prompt":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    }.items():
        yield _json(f"bad-json/{name}", raw, None, "invalid_json")
    for name, said in {"array": [], "string": "a cat", "number": 7, "null": None, "true": True}.items():
        yield _json(f"not-an-object/{name}", said, None, "invalid_type")
    for value in ("x", 7, [], True):
        yield _json(f"extra-body/{value}", {"prompt": "a", "extra_body": value}, "extra_body", "invalid_type")
    yield _json("too-many-fields", {"prompt": "a"} | {f"f{i}": i for i in range(400)}, None, "too_many_fields")
    for media in ("application/xml", "image/png", "application/x-protobuf", "multipart/mixed; boundary=x"):
        yield BadRequest(
            f"content-type/{media}",
            "POST",
            GENERATE,
            {"content-type": media},
            b"{}",
            415,
            None,
            "unsupported_media_type",
        )
    for encoding in ("gzip", "deflate"):
        headers = JSON | {"content-encoding": encoding}
        yield BadRequest(f"compressed/{encoding}", "POST", GENERATE, headers, b"x", 400, None, "invalid_encoding")
    for encoding in ("br", "zstd", "gzip, gzip"):
        headers = JSON | {"content-encoding": encoding}
        yield BadRequest(f"compressed/{encoding}", "POST", GENERATE, headers, b"x", 415, None, "unsupported_media_type")


def _prompts() -> Iterator[BadRequest]:
    value: Any
    image: dict[str, Any]
    said: dict[str, Any]
    missing = "missing_required_parameter"
    for path in (GENERATE, EDIT):
        image = {"images": [DATA_URL]} if path == EDIT else {}
        silent: dict[str, dict[str, Any]] = {
            "absent": {},
            "null": {"prompt": None},
            "empty": {"prompt": ""},
            "blank": {"prompt": " \n"},
        }
        for name, said in silent.items():
            yield _json(f"prompt-missing/{name}{path}", said | image, "prompt", missing, path=path)
        for value in (7, True, ["a"], {"text": "a"}, 1.5):
            yield _json(f"prompt-type/{value}{path}", {"prompt": value} | image, "prompt", "invalid_type", path=path)
        yield _json(
            f"prompt-too-long{path}", {"prompt": "a" * 32_001} | image, "prompt", "string_above_max_length", path=path
        )
    yield _field("negative-too-long", "a" * 32_001, "string_above_max_length", field="negative_prompt")
    yield _field("negative-type", 3, "invalid_type", field="negative_prompt")


def _integers() -> Iterator[BadRequest]:
    value: Any
    fields = {
        "n": (0, 11),
        "steps": (0, 151),
        "output_compression": (-1, 101),
        "seed": (-2, 2**53),
        "partial_images": (-1, 4),
        "clip_skip": (0, 13),
    }
    for field, (low, high) in fields.items():
        for value in (low, str(low), -10, -(10**15)):
            yield _field(f"{field}-too-small/{value!r}", value, "integer_below_min_value", field=field)
        for value in (high, str(high), 10**18, float(10**17)):
            yield _field(f"{field}-too-large/{value!r}", value, "integer_above_max_value", field=field)
        yield _field(f"{field}-too-large/40-digits", 10**40, "integer_above_max_value", field=field)
        for value in (True, "two", 1.5, "1.5", [1], {"value": 1}, "0x10", "1e2", "١", "1_0", "9" * 30):
            yield _field(f"{field}-type/{value!r}", value, "invalid_type", field=field)
        raw = f'{{"prompt":"a","{field}":1e999}}'.encode()
        yield _json(f"{field}-overflow", raw, field, "invalid_type")
    yield _field("alias-range", 0, "integer_below_min_value", field="num_inference_steps")


def _numbers() -> Iterator[BadRequest]:
    value: Any
    for path, field, low, high in (
        (GENERATE, "guidance_scale", -0.1, 50.1),
        (GENERATE, "cfg_scale", -1, 51),
        (EDIT, "strength", -0.01, 1.01),
        (EDIT, "denoising_strength", -1, 2),
        (GENERATE, "lora_scale", -4.1, 4.1),
        (GENERATE, "eta", -0.1, 1.1),
        (GENERATE, "guidance_rescale", -0.1, 1.1),
        (GENERATE, "guidance_end", -0.1, 1.1),
        (GENERATE, "refiner_at", -0.1, 1.1),
    ):
        for value in (low, str(low), -1e300):
            yield _field(f"{field}-too-small/{value!r}", value, "decimal_below_min_value", field=field, path=path)
        for value in (high, str(high), 1e300):
            yield _field(f"{field}-too-large/{value!r}", value, "decimal_above_max_value", field=field, path=path)
        for value in (False, "much", "nan", "inf", "1e999", [0.5], {}, "0.5.5", 10**400):
            yield _field(f"{field}-type/{str(value)[:20]}", value, "invalid_type", field=field, path=path)
        image = f',"image":"{DATA_URL}"' if path == EDIT else ""
        yield _json(
            f"{field}-overflow", f'{{"prompt":"a","{field}":1e999{image}}}'.encode(), field, "invalid_type", path=path
        )


def _choices() -> Iterator[BadRequest]:
    value: Any
    for field in ("quality", "background", "response_format", "output_format", "prompt_syntax"):
        yield _field(f"{field}-unknown", "purple", "invalid_value", field=field)
        yield _field(f"{field}-unknown/long", "x" * 5000, "invalid_value", field=field)
        yield _field(f"{field}-unknown/markup", "<script>alert(1)</script>", "invalid_value", field=field)
        for value in (1, True, ["png"], {"a": 1}):
            yield _field(f"{field}-type/{value}", value, "invalid_type", field=field)
    for value in ("gif", "svg", "GIF"):
        yield _field(f"output-format-impossible/{value}", value, "invalid_value", field="output_format")
    for path in (GENERATE, EDIT):
        yield _transparent_jpeg(path)


def _transparent_jpeg(path: str) -> BadRequest:
    said: dict[str, Any] = {"prompt": "a cat", "background": "transparent", "output_format": "jpeg"}
    if path == EDIT:
        said["images"] = [{"image_url": DATA_URL}]
    return _json(f"transparent-jpeg{path}", said, "background", "invalid_value", path=path)


def _flags() -> Iterator[BadRequest]:
    value: Any
    for value in ("maybe", 2, -1, [], {}, 1.5, "yes"):
        yield _field(f"stream-type/{value}", value, "invalid_type", field="stream")
    for path in (GENERATE, EDIT):
        image = {"image": DATA_URL} if path == EDIT else {}
        said = {"prompt": "a", "stream": True, "n": 2} | image
        yield _json(f"stream-of-many{path}", said, "n", "invalid_value", path=path)


def _texts() -> Iterator[BadRequest]:
    value: Any
    for field in ("prompt", "negative_prompt", "model", "sampler", "schedule", "user", "safety_identifier", "size"):
        yield _json(f"text-nul/{field}", {"prompt": "a", field: "a\0b"}, field, "invalid_value")
        raw = f'{{"prompt":"a","{field}":"\\ud800"}}'.encode()
        yield _json(f"text-half-character/{field}", raw, field, "invalid_value")
        if field != "prompt":
            yield _field(f"text-type/{field}", 5, "invalid_type", field=field)
    yield _field("model-too-long", "m" * 513, "string_above_max_length", field="model")
    for value in ([], {}, 1.5, 2):
        yield _field(f"refiner-type/{value}", value, "invalid_type", field="refiner")
    yield _field("refiner-too-long", "m" * 513, "string_above_max_length", field="refiner")
    yield _field("sampler-too-long", "m" * 65, "string_above_max_length", field="sampler")
    yield _field("schedule-too-long", "m" * 65, "string_above_max_length", field="schedule")
    yield _field("user-too-long", "m" * 513, "string_above_max_length", field="user")


def _sizes() -> Iterator[BadRequest]:
    spellings = ("big", "1024", "1024x", "x1024", "1024x1024x3", "-64x64", "1024.0x1024", "1e3x1e3", "١٠٢٤x1024", "0x0")
    for value in spellings:
        yield _field(f"size-spelling/{value}", value, "invalid_value", field="size")
    for value in ("32x1024", "1024x4104", "99999x64", "8x8"):
        yield _field(f"size-outside/{value}", value, "invalid_value", field="size")
    for value in ("1001x1024", "1024x516"):
        yield _field(f"size-step/{value}", value, "invalid_value", field="size")
    for value in ("64x4096", "2048x504"):
        yield _field(f"size-aspect/{value}", value, "invalid_value", field="size")
    yield _field("size-too-long", "1" * 100, "string_above_max_length", field="size")
    yield _json("width-alone", {"prompt": "a", "width": 512}, "height", "missing_required_parameter")
    yield _json("height-alone", {"prompt": "a", "height": 512}, "width", "missing_required_parameter")
    yield _json("width-and-height", {"prompt": "a", "width": 513, "height": 512}, "size", "invalid_value")


def _references() -> Iterator[BadRequest]:
    value: Any

    def refused(name: str, given: Any, param: str, code: str) -> BadRequest:
        return _field(f"reference-{name}", given, code, field="references", param=param)

    missing = "missing_required_parameter"
    picture = {"image": DATA_URL}
    for value in (1, True, 0.5):
        yield refused(f"type/{value}", value, "references", "invalid_type")
        yield refused(f"entry-type/{value}", [value], "references[0]", "invalid_type")
        yield refused(f"image-type/{value}", [{"image": value}], "references[0].image", "invalid_type")
    for value in (-0.1, -1e300, "-1"):
        yield refused(
            f"weight-small/{value}", [picture | {"weight": value}], "references[0].weight", "decimal_below_min_value"
        )
    for value in (2.1, "3", 1e300):
        yield refused(
            f"weight-large/{value}", [picture | {"weight": value}], "references[0].weight", "decimal_above_max_value"
        )
    for value in ("much", "nan", [1], True, {}):
        yield refused(f"weight-type/{value}", [picture | {"weight": value}], "references[0].weight", "invalid_type")
    yield refused("none", [], "references", missing)
    yield refused("no-image", [{"weight": 1}], "references[0].image", missing)
    yield refused("no-image/none", [{"image": None}], "references[0].image", missing)
    yield refused("too-many", [picture] * 17, "references", "array_above_max_length")
    yield refused("rubbish", [picture, {"image": "aGVsbG8="}], "references[1].image", "invalid_image_file")
    yield refused("text", ["hello, there!"], "references[0]", "invalid_base64_image")
    yield refused("remote", [{"image": "https://x/a.png"}], "references[0].image", "invalid_image_url")
    yield refused("remote/url", [{"image_url": "https://x/"}], "references[0].image_url", "invalid_image_url")
    yield refused("json", "[1,", "references", "invalid_json")
    yield _field("reference-bare", [DATA_URL] * 17, "array_above_max_length", field="reference_image")
    for value in ("medium", " ", [1], True):
        code = "invalid_value" if isinstance(value, str) else "invalid_type"
        yield _field(f"fidelity/{value!r}", value, code, field="input_fidelity", path=EDIT)
    yield _field("fidelity-large", 2.5, "decimal_above_max_value", field="input_fidelity", path=EDIT)
    yield _field("fidelity-small", "-1", "decimal_below_min_value", field="input_fidelity")
    form_of = form(part("prompt", "a"), file("reference_image[]", PNG), file("reference_image[]", b"x"))
    yield _form("form-reference", form_of, "reference_image[1]", "invalid_image_file", path=GENERATE)
    rubbish = {"prompt": "a", "image": DATA_URL, "markup": "aGVsbG8="}
    yield _json("markup-rubbish", rubbish, "markup", "invalid_image_file", path=EDIT)
    yield _json("markup-foreign", {"prompt": "a", "markup": DATA_URL}, "markup", "unsupported_parameter")
    for name, guide in (
        ("type", "all"),
        ("weights", {"weights": 1}),
        ("weights/long", {"weights": [1] * 17}),
        ("weight", {"weights": [True]}),
        ("digest", {"digest": 1}),
    ):
        recipe = {"task": "text_to_image", "prompt": "a", "ip_adapter": guide}
        where = "recipe.ip_adapter" + {"type": "", "weight": ".weights[0]", "digest": ".digest"}.get(name, ".weights")
        yield _json(f"recipe-guide/{name}", {"recipe": recipe}, where, "invalid_type")


def _foreign_pictures() -> Iterator[BadRequest]:
    """Pictures sent to an operation that would otherwise ignore them."""
    code = "unsupported_parameter"
    for field in ("image", "images", "mask"):
        for value in (DATA_URL, [DATA_URL], [{"image_url": DATA_URL}], "https://x/a.png"):
            yield _field(f"foreign-picture/{field}/{str(value)[:20]}", value, code, field=field)
    yield _field("foreign-picture/extra", {"image": DATA_URL}, code, field="extra_body", param="image")
    yield _json("foreign-picture/vary", {"image": DATA_URL, "mask": DATA_URL}, "mask", code, path=VARY)
    prompt = part("prompt", "a cat")
    for field, name in (("image", "image"), ("image", "image[]"), ("image", "images[0]"), ("mask", "mask")):
        sent = form(prompt, file(name, PNG))
        yield _form(f"foreign-picture/form/{name}", sent, field, code, path=GENERATE)
    masked = form(file("image", PNG), file("mask", PNG))
    yield _form("foreign-picture/form/vary", masked, "mask", code, path=VARY)


def _loras() -> Iterator[BadRequest]:
    value: Any
    weight: Any
    missing = "missing_required_parameter"
    for value in (7, True, 1.5):
        yield _field(f"loras-type/{value}", value, "invalid_type", field="loras")
    for value in ([7], [None], [["a"]], [True]):
        yield _field(f"loras-entry-type/{value}", value, "invalid_type", field="loras", param="loras[0]")
    yield _field("loras-no-name", [{"weight": 1}], missing, field="loras", param="loras[0].name")
    yield _field("loras-no-name/second", ["a", {"weight": 1}], missing, field="loras", param="loras[1].name")
    yield _field("loras-empty-name", [{"name": " "}], missing, field="loras", param="loras[0].name")
    yield _field("loras-empty-name/word", [""], missing, field="loras", param="loras[0]")
    yield _field("loras-name-type", [{"name": 5}], "invalid_type", field="loras", param="loras[0].name")
    yield _field(
        "loras-name-long", [{"name": "x" * 600}], "string_above_max_length", field="loras", param="loras[0].name"
    )
    yield _field("loras-name-nul", [{"name": "a\0"}], "invalid_value", field="loras", param="loras[0].name")
    for key in ("weight", "scale", "strength", "text_encoder_weight"):
        for weight in (4.5, -4.5, 1e308, "5"):
            entry = [{"name": "a", key: weight}]
            yield _field(
                f"loras-{key}-range/{weight!r}", entry, "invalid_value", field="loras", param=f"loras[0].{key}"
            )
        for weight in ("heavy", True, [], "nan"):
            entry = [{"name": "a", key: weight}]
            yield _field(f"loras-{key}-type/{weight!r}", entry, "invalid_type", field="loras", param=f"loras[0].{key}")
    for key, other in (("weight", "scale"), ("strength", "lora_scale"), ("text_encoder_weight", "strength_clip")):
        entry = [{"name": "a", key: 1, other: 0.5}]
        yield _field(f"loras-two-weights/{key}", entry, "invalid_value", field="loras", param=f"loras[0].{other}")
    for name, given, code, at in (
        ("count", [1, 1], "invalid_value", "blocks"),
        ("empty", [], "invalid_value", "blocks"),
        ("type", 7, "invalid_type", "blocks"),
        ("words", "OUTALL", "invalid_type", "blocks[0]"),
        ("range", [1] * 11 + [5], "invalid_value", "blocks[11]"),
    ):
        blocked = [{"name": "a", "blocks": given}]
        yield _field(f"loras-blocks/{name}", blocked, code, field="loras", param=f"loras[0].{at}")
    yield _field("loras-word-weight", ["a:9"], "invalid_value", field="loras", param="loras[0]")
    yield _field("loras-mapping-weight", {"ink": "much"}, "invalid_type", field="loras", param="loras[0].weight")
    yield _field("loras-bad-json", "[{", "invalid_json", field="loras")
    yield _field("loras-deep-json", "[" * 100_000, "invalid_json", field="loras")
    yield _field("loras-too-many", ["a"] * 65, "array_above_max_length", field="loras")


def _controls() -> Iterator[BadRequest]:
    for name, value, param, code in bad_controls():
        yield _field(f"controls-{name}", value, code, field="controls", param=param)
    named = {"prompt": "a cat", "controls": [{"type": "canny", "image": {"file_id": "a"}}]}
    yield _json("controls-file-id", named, "controls[0].image.file_id", "image_file_not_found", status=404)
    spare = {"prompt": "a cat", "control_image": DATA_URL}
    yield _json("controls-spare-picture", spare, "control_image", "invalid_value")
    two = spare | {"control_image": [DATA_URL, DATA_URL], "controls": "canny"}
    yield _json("controls-spare-picture/second", two, "control_image[1]", "invalid_value")
    entry = part("controls", '[{"type": "canny"}]')
    base = (part("prompt", "a cat"), file("image", PNG))
    missing = "missing_required_parameter"
    yield _form("controls-form-no-picture", form(*base, entry), "controls[0].image", missing)
    bad = file("control_image[]", b"no picture")
    yield _form("controls-form-picture", form(*base, entry, bad), "control_image", "invalid_image_file")
    odd = (part("controls[][type]", "canny"), part("controls[][type]", "depth"), part("controls[][weight]", "1"))
    yield _form("controls-form-columns", form(*base, *odd), "controls", "invalid_value")


def _json_images() -> Iterator[BadRequest]:
    def edit(name: str, images: Any, param: str, code: str, *, status: int = 400, key: str = "images") -> BadRequest:
        return _json(f"edit-{name}", {"prompt": "a", key: images}, param, code, path=EDIT, status=status)

    yield _json("edit-no-image", {"prompt": "a"}, "image", "missing_required_parameter", path=EDIT)
    yield _json("vary-no-image", {}, "image", "missing_required_parameter", path=VARY)
    yield edit("empty-list", [], "images", "missing_required_parameter")
    yield edit("too-many", [DATA_URL] * 17, "images", "array_above_max_length")
    for value in (7, True):
        yield edit(f"type/{value}", value, "images", "invalid_type")
        yield edit(f"entry-type/{value}", [value], "images[0]", "invalid_type")
    yield edit("file-id", [{"file_id": "file-1"}], "images[0].file_id", "image_file_not_found", status=404)
    yield edit("both", [{"file_id": "f", "image_url": DATA_URL}], "images[0].file_id", "invalid_value")
    yield edit("file-number", [{"file_id": 1}], "images[0].file_id", "invalid_type")
    yield edit("file-long", [{"file_id": "f" * 65}], "images[0].file_id", "string_above_max_length")
    yield edit("unknown-key", [{"image_url": DATA_URL, "x": 1}], "images[0]", "unknown_parameter")
    yield edit("no-url", [{}], "images[0].image_url", "missing_required_parameter")
    yield edit("url-type", [{"image_url": 7}], "images[0].image_url", "invalid_type")
    for address in (
        "http://x/a.png",
        "https://x/a.png",
        "file:///etc/passwd",
        "ftp://x/a",
        "gopher://127.0.0.1/",
        "HTTP://[::1]/",
    ):
        yield edit(f"remote/{address}", [{"image_url": address}], "images[0].image_url", "invalid_image_url")
    yield edit("remote-text", "http://169.254.169.254/", "image", "invalid_image_url", key="image")
    for name, text in {
        "words": "not base64!",
        "data": "data:image/png;base64,@@@",
        "odd": "data:image/png;base64,A",
        "percent": "data:image/png,%89PNG",
    }.items():
        yield edit(f"base64/{name}", [{"image_url": text}], "images[0].image_url", "invalid_base64_image")
    for name, data in {
        "text": b"Example data",
        "html": b"<html>",
        "gif": b"GIF89a" + bytes(20),
        "svg": b"<svg/>",
        "tiff": b"II*\0" + bytes(9),
    }.items():
        said = "data:image/png;base64," + base64.b64encode(data).decode()
        yield edit(f"not-an-image/{name}", [said], "images[0]", "invalid_image_file")
    yield edit("empty-image", ["data:image/png;base64,"], "images[0]", "empty_image_file")
    mask = {"prompt": "a", "image": DATA_URL}
    named = mask | {"mask": {"file_id": "f"}}
    yield _json("mask-file-id", named, "mask.file_id", "image_file_not_found", path=EDIT, status=404)
    yield _json(
        "mask-remote", mask | {"mask": {"image_url": "http://x/"}}, "mask.image_url", "invalid_image_url", path=EDIT
    )
    yield _json("mask-type", mask | {"mask": 4}, "mask", "invalid_type", path=EDIT)
    yield _json("mask-rubbish", mask | {"mask": "aGVsbG8="}, "mask", "invalid_image_file", path=EDIT)


def _forms() -> Iterator[BadRequest]:
    prompt, image = part("prompt", "a cat"), file("image", PNG)
    missing = "missing_required_parameter"
    yield _form("form-no-image", form(prompt), "image", missing)
    yield _form("form-no-prompt", form(image), "prompt", missing)
    yield _form("form-empty-prompt", form(part("prompt", ""), image), "prompt", missing)
    yield _form("form-empty", form(), "prompt", missing)
    yield _form("form-vary-no-image", form(part("n", "1")), "image", missing, path=VARY)
    yield _form("form-empty-file", form(prompt, file("image", b"", "a.png")), "image", "empty_image_file")
    yield _form("form-not-an-image", form(prompt, file("image", b"Example data")), "image", "invalid_image_file")
    yield _form("form-not-an-image/second", form(prompt, image, file("image", b"x")), "image[1]", "invalid_image_file")
    yield _form("form-not-an-image/list", form(prompt, file("image[]", b"x")), "image", "invalid_image_file")
    yield _form("form-bad-mask", form(prompt, image, file("mask", b"x")), "mask", "invalid_image_file")
    yield _form("form-empty-mask", form(prompt, image, file("mask", b"", "m.png")), "mask", "empty_image_file")
    yield _form("form-nameless-file", form(prompt, file("image", b"", "")), "image", missing)
    yield _form(
        "form-two-masks", form(prompt, image, file("mask", PNG), file("mask", PNG)), "mask", "array_above_max_length"
    )
    yield _form("form-image-text", form(prompt, part("image", "hello, there!")), "image", "invalid_base64_image")
    yield _form("form-image-remote", form(prompt, part("image", "https://x/a.png")), "image", "invalid_image_url")
    yield _form("form-too-many-images", form(prompt, *[file("image[]", PNG)] * 17), "image", "array_above_max_length")
    for field, value, code in (
        ("n", "11", "integer_above_max_value"),
        ("n", "two", "invalid_type"),
        ("n", "-1", "integer_below_min_value"),
        ("size", "huge", "invalid_value"),
        ("quality", "best", "invalid_value"),
        ("stream", "perhaps", "invalid_type"),
        ("seed", "1.5", "invalid_type"),
        ("strength", "nan", "invalid_type"),
        ("strength", "2", "decimal_above_max_value"),
        ("background", "clear", "invalid_value"),
        ("output_format", "gif", "invalid_value"),
        ("loras", "[{", "invalid_json"),
        ("loras", '[{"name":"a","weight":9}]', "invalid_value"),
        ("extra_body", "{", "invalid_json"),
        ("extra_body", "7", "invalid_type"),
        ("prompt", "a\0b", "invalid_value"),
    ):
        param = "loras[0].weight" if "weight" in value else field
        yield _form(f"form-{field}/{value}", form(prompt, image, part(field, value)), param, code)
    yield _form("form-not-utf8", form(part("prompt", b"\xff\xfe"), image), "prompt", "invalid_value")
    unpaired = form(prompt, image, part("loras[][name]", "a"), part("loras[][name]", "b"), part("loras[][weight]", "1"))
    yield _form("form-loras-unpaired", unpaired, "loras", "invalid_value")
    nameless = form(prompt, image, part("loras[][weight]", "1"))
    yield _form("form-loras-nameless", nameless, "loras", "invalid_value")
    numbered = form(prompt, image, part("loras[3][weight]", "1"))
    yield _form("form-loras-numbered", numbered, "loras[0].name", missing)
    yield _form(
        "form-stream-of-many", form(prompt, image, part("n", "2"), part("stream", "true")), "n", "invalid_value"
    )
    for name, body in {"n": b"prompt=a&n=99", "no-prompt": b"n=1"}.items():
        headers = {"content-type": "application/x-www-form-urlencoded"}
        param, code = ("n", "integer_above_max_value") if name == "n" else ("prompt", missing)
        yield BadRequest(f"urlencoded/{name}", "POST", GENERATE, headers, body, 400, param, code)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    many = b"&".join(b"f%d=1" % i for i in range(400))
    yield BadRequest("urlencoded/too-many", "POST", GENERATE, headers, many, 400, None, "invalid_form")


def _truncated() -> Iterator[BadRequest]:
    code = "invalid_multipart"
    whole = form(part("prompt", "a cat"), file("image", JPEG))
    for cut in (0, 10, 60, len(whole) // 2, len(whole) - 12, len(whole) - 4, len(whole) - 3):
        yield _form(f"truncated/{cut}", whole[:cut], None, code)
    yield _form("no-boundary-in-body", b"hello", None, code)
    yield _form("nameless-part", form(b"--frontier\r\nContent-Disposition: form-data\r\n\r\nx\r\n"), None, code)
    yield _form("no-disposition", form(b"--frontier\r\nX-A: b\r\n\r\nx\r\n"), None, code)
    yield _form("too-many-parts", form(*[part(f"f{i}", "x") for i in range(400)]), None, code)
    yield _form("long-part-header", form(part("x" * 20_000, "x")), None, code)
    for name, media in {"none": "", "empty": "; boundary=", "long": "; boundary=" + "b" * 300}.items():
        headers = {"content-type": "multipart/form-data" + media}
        yield BadRequest(f"boundary/{name}", "POST", EDIT, headers, whole, 400, None, code)


def _routes() -> Iterator[BadRequest]:
    for path in (
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/v1/images/generations",
        "/v1",
        "/v2/images/generations",
    ):
        yield BadRequest(f"no-such-route{path}", "POST", path, JSON, b"{}", 404, None, None)
    yield BadRequest("no-such-route/encoded-slash", "POST", "/v1%2Fimages/generations", JSON, b"{}", 404, None, None)
    for path in (GENERATE, EDIT, VARY):
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            yield BadRequest(f"wrong-verb/{method}{path}", method, path, {}, b"", 405, None, None)
    yield BadRequest("wrong-verb/images", "POST", "/v1/images", JSON, b"{}", 405, None, None)
    yield BadRequest("wrong-verb/page", "POST", "/", JSON, b"{}", 405, None, None)
    yield BadRequest("wrong-verb/models", "POST", "/v1/models", JSON, b"{}", 405, None, None)
    yield BadRequest("wrong-verb/delete-model", "DELETE", "/v1/models/demo", {}, b"", 405, None, None)
    for name in ("no-such-model", "..%2F..%2Fetc%2Fpasswd", "%00", "a/b/c", "é"):
        yield BadRequest(f"no-such-model/{name}", "GET", f"/v1/models/{name}", {}, b"", 404, "model", "model_not_found")
    for name in ("x.png", "0" * 32 + ".png", "0" * 32 + ".exe", "..%2F..%2Fetc%2Fpasswd", "0" * 31 + "G.png"):
        yield BadRequest(f"no-such-file/{name}", "GET", f"/files/{name}", {}, b"", 404, None, None)
    yield BadRequest(
        "not-an-admin/add", "POST", "/v1/loras", FORM, form(part("name", "x")), 403, None, "permission_denied"
    )
    yield BadRequest("not-an-admin/remove", "DELETE", "/v1/loras/x", {}, b"", 403, None, "permission_denied")
