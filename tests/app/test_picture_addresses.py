"""Every place of a request that holds a picture may hold its address, where the server fetches pictures."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from sdxl_gateway.app import _application, _running_alone
from sdxl_gateway.config import Egress, Loras, Settings
from sdxl_gateway.rooms import build_rooms
from tests.kit.colours import colour_backend
from tests.kit.other_server import OtherServer, other_server, saying

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
EDIT = "/v1/images/edits"


def png(mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (256, 256), (9, 9, 9, 0) if mode == "RGBA" else (9, 9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


@asynccontextmanager
async def served(folder: Path, egress: Egress) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(data_directory=folder / "data", loras=Loras(directory=folder), egress=egress)
    built = build_rooms(settings, colour_backend)
    application = _application(built, partial(_running_alone, built))
    async with _running_alone(built):
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gw") as http:
            yield http


@asynccontextmanager
async def pictures() -> AsyncIterator[OtherServer]:
    answers = {"/a.png": saying(png("RGB")), "/hole.png": saying(png("RGBA")), "/page": saying(b"<html>")}
    async with other_server(answers) as server:
        yield server


def places(server: OtherServer) -> dict[str, tuple[str, Mapping[str, Any], str]]:
    """Route, body, and the field that an error names."""
    url, hole = server.url("/a.png"), server.url("/hole.png")
    edited = {"images": [{"image_url": url}]}
    return {
        "images": (EDIT, edited, "images[0].image_url"),
        "nested": (EDIT, {"images": [{"type": "image_url", "image_url": {"url": url}}]}, "images[0].image_url"),
        "image": (EDIT, {"image": url}, "image"),
        "url": (EDIT, {"image": {"url": f" {url}"}}, "image.url"),
        "mask": (EDIT, {"image": url, "mask": {"image_url": hole}}, "image"),
        "variation": ("/v1/images/variations", {"image": url}, "image"),
    }


async def ask(http: httpx.AsyncClient, place: tuple[str, Mapping[str, Any], str]) -> httpx.Response:
    return await http.post(place[0], json={"prompt": "a fox", "steps": 1, **place[1]})


async def test_pictures_are_fetched_wherever_one_may_stand(tmp_path: Path) -> None:
    async with pictures() as server:
        egress = Egress(image_urls=True, private_hosts=(server.host,))
        async with served(tmp_path, egress) as http:
            for name, place in places(server).items():
                asked = await ask(http, place)
                assert (name, asked.status_code) == (name, 200), asked.text
            form = {"prompt": (None, b"a fox"), "steps": (None, b"1"), "image": (None, server.url("/a.png").encode())}
            assert (await http.post(EDIT, files=form)).status_code == 200
            bad = await ask(http, (EDIT, {"image": server.url("/page")}, "image"))
            assert (bad.status_code, bad.json()["error"]["param"]) == (400, "image")
            told = (await http.post("/v1/images/recipe", json={"image": server.url("/a.png")})).json()
            assert told["error"]["code"] == "no_recipe"
            counted = (await http.get("/metrics")).text
    assert 'picture_fetches_total{outcome="fetched"} 10' in counted


async def test_where_none_are_fetched_each_place_names_its_field_and_the_setting(tmp_path: Path) -> None:
    async with pictures() as server:
        async with served(tmp_path, Egress(private_hosts=(server.host,))) as http:
            for name, place in places(server).items():
                refused = await ask(http, place)
                error = refused.json()["error"]
                assert (name, refused.status_code, error["param"]) == (name, 400, place[2])
                assert (error["code"], "egress.image_urls" in error["message"]) == ("invalid_image_url", True)
        assert server.connections == 0
