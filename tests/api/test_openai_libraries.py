"""Forms as OpenAI's libraries for other languages write them, by their sources, are all one and the same edit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kit.api import client, served_api
from tests.kit.forms import BOUNDARY, FORM, form, part
from tests.kit.pictures import JPEG, MASK, PNG

BYTES, PLAIN = "application/octet-stream", "text/plain"
TEXTS = {"prompt": "a cat", "n": "2", "output_format": "webp"}


def net() -> tuple[str, bytes]:
    """MultipartFormDataContent: nothing is quoted but the boundary, and a file has two names."""
    kind = "Content-Type: text/plain; charset=utf-8"
    heads = [(f"{kind}\r\nContent-Disposition: form-data; name={name}", text.encode()) for name, text in TEXTS.items()]
    for name, data in (("image[]", PNG), ("image[]", JPEG), ("mask", MASK)):
        heads.append((f"Content-Disposition: form-data; name={name}; filename=a; filename*=utf-8''a", data))
    parts = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in heads]
    return f'multipart/form-data; boundary="{BOUNDARY}"', form(*parts)


def java() -> tuple[str, bytes]:
    """Every part has a type, and a file made of bytes has no name."""
    texts = [part(name, text, content_type=f"{PLAIN}; charset=utf-8") for name, text in TEXTS.items()]
    images = [part("image[]", data, content_type=BYTES) for data in (PNG, JPEG)]
    return FORM["content-type"], form(*images, part("mask", MASK, content_type=BYTES), *texts)


def go() -> tuple[str, bytes]:
    """Fields come in the order of their names, and a reader without a name is called so."""
    texts = {name: part(name, text) for name, text in TEXTS.items()}
    images = [part("image[]", data, filename="anonymous_file", content_type=BYTES) for data in (PNG, JPEG)]
    mask = part("mask", MASK, filename="anonymous_file", content_type=BYTES)
    return FORM["content-type"], form(*images, mask, texts["n"], texts["output_format"], texts["prompt"])


def ruby() -> tuple[str, bytes]:
    """What is nil is an empty text."""
    texts = [part(name, text, content_type=PLAIN) for name, text in {**TEXTS, "size": "", "model": ""}.items()]
    images = [part("image[]", data, content_type=BYTES) for data in (PNG, JPEG)]
    return FORM["content-type"], form(*images, *texts, part("mask", MASK, filename="m.png", content_type="image/png"))


@pytest.mark.parametrize("library", [net, java, go, ruby])
async def test_an_edit(library: Callable[[], tuple[str, bytes]]) -> None:
    kind, body = library()
    served = served_api()
    async with client(served) as http:
        answer = await http.post("/v1/images/edits", content=body, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    (ask,) = served.gateway.asks
    assert (ask.prompt, ask.n, ask.output_format, ask.size, ask.model) == ("a cat", 2, "webp", None, None)
    assert ask.mask is not None
    assert [one.data for one in (*ask.images, ask.mask)] == [PNG, JPEG, MASK]
    assert "x-sdxl-gateway-ignored" not in answer.headers
