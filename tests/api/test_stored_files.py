"""Files as OpenAI's own client sends, lists, reads and deletes them; and pictures that are named by them."""

from __future__ import annotations

import io
import math
import random
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from sdxl_gateway.config import Files
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.files import FileStore
from tests.kit.api import KEYED, FakeGateway, ServedApi, client, official_client, served_api
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import DATA_URL, JPEG, MASK, PNG

EDITS = "/v1/images/edits"
ALPHA = {"authorization": "Bearer alpha"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    with opened(tmp_path) as database:
        yield FileStore(database, BlobFolder(tmp_path / "blobs"), Files())


@pytest.fixture
def served(store: FileStore) -> ServedApi:
    return served_api(files=store, **KEYED)


@pytest.fixture
async def alpha(served: ServedApi) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official_client(served, "alpha") as made:
        yield made


@pytest.fixture
async def root(served: ServedApi) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official_client(served, "root") as made:
        yield made


@pytest.fixture
async def http(served: ServedApi) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served, ALPHA) as made:
        yield made


async def test_a_files_life(alpha: openai.AsyncOpenAI) -> None:
    made = await alpha.files.create(file=("cats.jsonl", b'{"a": 1}\n'), purpose="batch")
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", 9, "cats.jsonl", "batch")
    assert (made.status, made.expires_at) == ("processed", made.created_at + 30 * 86400)
    assert await alpha.files.retrieve(made.id) == made
    answer = await alpha.files.content(made.id)
    assert (answer.content, answer.response.headers["content-length"]) == (b'{"a": 1}\n', "9")
    gone = await alpha.files.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    for ask in (alpha.files.retrieve, alpha.files.content, alpha.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {made.id}"):
            await ask(made.id)


async def test_a_picture_is_kept_until_it_is_deleted_unless_it_says_otherwise(alpha: openai.AsyncOpenAI) -> None:
    lasting = await alpha.files.create(file=("cat.png", PNG), purpose="vision")
    short = await alpha.files.create(
        file=("cat.png", JPEG), purpose="vision", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (lasting.expires_at, (short.expires_at or 0) - short.created_at) == (None, 3600)


async def test_the_client_pages_through_all_of_them(alpha: openai.AsyncOpenAI, root: openai.AsyncOpenAI) -> None:
    made = [(await alpha.files.create(file=(f"{i}.jsonl", b"x"), purpose="batch")).id for i in range(7)]
    await root.files.create(file=("theirs.jsonl", b"x"), purpose="batch")
    found = [one.id async for one in alpha.files.list(limit=3, order="asc")]
    assert sorted(found) == sorted(made)
    assert len((await alpha.files.list(limit=10_000)).data) == 7
    assert [one.id async for one in alpha.files.list(purpose="vision")] == []


async def test_another_tenants_file_is_as_none(alpha: openai.AsyncOpenAI, root: openai.AsyncOpenAI) -> None:
    made = await alpha.files.create(file=("a.jsonl", b"x"), purpose="batch")
    for ask in (root.files.retrieve, root.files.content, root.files.delete):
        bodies = []
        for file_id in (made.id, "file-" + "0" * 32):
            with pytest.raises(openai.NotFoundError) as refused:
                await ask(file_id)
            bodies.append(str(refused.value.body).replace(file_id, ""))
        assert bodies[0] == bodies[1]
    assert (await alpha.files.content(made.id)).content == b"x"


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ([file("file", b"x")], "purpose", "missing_required_parameter"),
        ([part("purpose", ""), file("file", b"x")], "purpose", "missing_required_parameter"),
        ([part("purpose", "assistants"), file("file", b"x")], "purpose", "invalid_value"),
        ([file("file", b"x"), part("purpose", "batch_output")], "purpose", "invalid_value"),
        ([part("purpose", "batch")], "file", "missing_required_parameter"),
        ([part("purpose", "batch"), file("file", b"")], "file", "empty_file"),
        ([part("purpose", "vision"), file("file", b"x" * 40)], "file", "invalid_image_file"),
        ([part("purpose", "batch"), file("file", b"x"), file("file", b"y")], "file", "duplicate_parameter"),
        ([part("purpose", "batch"), part("user", "me"), file("file", b"x")], "user", "unknown_parameter"),
        ([part("expires_after[seconds]", "60"), part("purpose", "batch"), file("file", b"x")], "expires_after[seconds]",
         "integer_below_min_value"),
        ([part("expires_after[anchor]", "now"), part("expires_after[seconds]", "3600"), part("purpose", "batch"),
          file("file", b"x")], "expires_after[anchor]", "invalid_value"),
        ([part("expires_after[anchor]", "created_at"), part("purpose", "batch"), file("file", b"x")],
         "expires_after[seconds]", "missing_required_parameter"),
        ([part("expires_after", "{"), part("purpose", "batch"), file("file", b"x")], "expires_after", "invalid_json"),
        ([part("expires_after", '{"anchor": "created_at", "seconds": 60}'), part("purpose", "batch"),
          file("file", b"x")], "expires_after.seconds", "integer_below_min_value"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_form_that_is_wrong_names_its_field(
    http: httpx.AsyncClient, store: FileStore, tmp_path: Path, parts: list[bytes], param: str, code: str
) -> None:
    answer = await http.post("/v1/files", content=form(*parts), headers=FORM)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_openai_for_net_says_in_json_when_a_file_is_to_go(http: httpx.AsyncClient) -> None:
    told = part("expires_after", '{"anchor":"created_at","seconds":3600}', content_type="application/json")
    left_open = part("expires_after", "null", content_type="application/json")
    kept = []
    for expiry in (told, left_open):
        body = form(file("file", b"{}", "in.jsonl"), part("purpose", "batch"), expiry)
        made = (await http.post("/v1/files", content=body, headers=FORM)).json()
        kept.append(made["expires_at"] - made["created_at"])
    assert kept == [3600, 30 * 86400]


async def test_a_form_cut_short_keeps_nothing(http: httpx.AsyncClient, tmp_path: Path) -> None:
    whole = form(part("purpose", "batch"), file("file", b"x" * 1000))
    answer = await http.post("/v1/files", content=whole[:-30], headers=FORM)
    assert (answer.status_code, list((tmp_path / "blobs").iterdir())) == (400, [])


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\temp\\passwd", "a\r\nset-cookie: x/passwd"])
async def test_a_name_is_never_part_of_a_path(http: httpx.AsyncClient, tmp_path: Path, name: str) -> None:
    said = name.replace("\\", "\\\\").replace("\r\n", "")
    body = form(part("purpose", "batch"), file("file", b"x", said))
    made = (await http.post("/v1/files", content=body, headers=FORM)).json()
    assert made["filename"] == "passwd"
    assert [path.name == made["id"] for path in (tmp_path / "blobs").iterdir()] == [False]
    answer = await http.get(f"/v1/files/{made['id']}/content")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''passwd"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_no_form_is_an_unsupported_type(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/files", json={"purpose": "batch"})).status_code == 415


async def test_a_file_above_the_cap_is_told(http: httpx.AsyncClient, store: FileStore) -> None:
    store.limits = Files(max_file_bytes=1000, max_tenant_bytes=1500)
    for size, code in ((1001, "request_too_large"), (1000, None), (600, "file_storage_exceeded")):
        body = form(part("purpose", "batch"), file("file", bytes(size)))
        answer = await http.post("/v1/files", content=body, headers=FORM)
        assert answer.json().get("error", {}).get("code") == code
        assert answer.status_code == (200 if code is None else 413)


async def test_a_large_file_never_stands_in_memory(http: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        head, tail = form(part("purpose", "batch"), file("file", b"MIDDLE")).split(b"MIDDLE")
        yield head
        for _ in range(640):
            yield bytes(64 * 1024)
        yield tail

    tracemalloc.start()
    made = (await http.post("/v1/files", content=body(), headers=FORM)).json()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made["bytes"] == 640 * 64 * 1024
    assert peak < 8 * 2**20


async def test_edits_name_their_pictures_by_file(
    alpha: openai.AsyncOpenAI, http: httpx.AsyncClient, served: ServedApi
) -> None:
    cat = (await alpha.files.create(file=("cat.png", PNG), purpose="vision")).id
    mask = (await alpha.files.create(file=("mask.png", MASK), purpose="vision")).id
    edit = {"prompt": "hat", "images": [{"file_id": cat}, {"image_url": DATA_URL}], "mask": {"file_id": mask}}
    answer = await http.post(
        EDITS,
        json=edit | {"references": [{"file_id": cat, "weight": 0.5}], "controls": [{"type": "c", "file_id": mask}]},
    )
    assert answer.status_code == 200, answer.text
    ask = served.gateway.asks[0]
    assert ([one.data for one in ask.images], ask.mask and ask.mask.data) == ([PNG, PNG], MASK)
    assert (ask.references[0].upload.data, ask.references[0].weight) == (PNG, 0.5)
    assert ask.controls[0].image.data == MASK


@pytest.mark.parametrize("key", ["alpha", "root"])
async def test_a_picture_of_nobodys_or_anothers_file_is_not_found(
    alpha: openai.AsyncOpenAI, served: ServedApi, key: str
) -> None:
    cat = (await alpha.files.create(file=("cat.png", PNG), purpose="vision")).id
    named = cat if key == "root" else "file-0"
    async with client(served, {"authorization": f"Bearer {key}"}) as http:
        answer = await http.post(EDITS, json={"prompt": "hat", "images": [{"file_id": named}]})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (404, "images[0].file_id", "image_file_not_found")
    assert error["message"] == f"No such File object: {named}"


async def test_a_batchs_file_is_no_picture(alpha: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
    lines = (await alpha.files.create(file=("a.jsonl", b"{}"), purpose="batch")).id
    answer = await http.post(EDITS, json={"prompt": "hat", "images": [{"file_id": lines}]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "images[0].file_id")


def noisy(least_bytes: int) -> bytes:
    """A picture whose file is at least so large."""
    buffer, side = io.BytesIO(), math.isqrt(least_bytes) + 1
    Image.frombytes("L", (side, side), random.Random(0).randbytes(side * side)).save(buffer, "PNG")
    return buffer.getvalue()


async def test_what_a_pictures_file_tells_is_not_kept(alpha: openai.AsyncOpenAI) -> None:
    exif = Image.Exif()
    exif[0x013B] = "TELLTALE"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif, comment=b"TELLTALE")
    made = await alpha.files.create(file=("cat.jpg", buffer.getvalue()), purpose="vision")
    kept = (await alpha.files.content(made.id)).content
    assert (b"TELLTALE" in kept, made.bytes) == (False, len(kept))
    with pytest.raises(openai.BadRequestError) as told:
        await alpha.files.create(file=("cat.png", PNG[:30]), purpose="vision")
    assert told.value.param == "file"
    assert [one.id async for one in alpha.files.list()] == [made.id]


async def test_the_pictures_of_one_request_are_bounded(alpha: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
    large = (await alpha.files.create(file=("a.png", noisy(600_000)), purpose="vision")).id
    answer = await http.post(EDITS, json={"prompt": "hat", "images": [{"file_id": large}, {"file_id": large}]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "images[1].file_id")


async def test_a_server_without_files_says_so() -> None:
    served: Any = served_api(FakeGateway())
    async with client(served) as http:
        assert (await http.get("/v1/files")).status_code == 404
