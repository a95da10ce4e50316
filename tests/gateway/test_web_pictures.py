"""Pictures that are named by their address: brought, or refused naming the field."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sdxl_gateway.config import Egress as Settings
from sdxl_gateway.core.ask import Ask, Elsewhere, Operation, Place, Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import BodyTooLarge, InvalidImage, InvalidRequest, Refusal
from sdxl_gateway.core.events import Event
from sdxl_gateway.core.outside import PictureFetched
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.web_pictures import WebPictures
from tests.kit.other_server import Answering, OtherServer, dripping, endless, other_server, redirecting, saying
from tests.kit.pictures import PNG


class Heard(Counter[str]):
    """What became of pictures."""

    def __call__(self, event: Event) -> None:
        assert isinstance(event, PictureFetched)
        self[event.outcome] += 1


def web(server: OtherServer, heard: Heard, **changes: Any) -> WebPictures:
    settings = Settings(image_urls=True, private_hosts=(server.host,), **changes)
    return WebPictures(Egress(settings.private_hosts), settings, 1000, heard)


def at(url: str, field: str = "images[0].image_url") -> Upload:
    return Upload(field, b"", Elsewhere(Place.WEB, url))


async def test_a_picture_is_brought_by_way_of_a_redirect() -> None:
    heard = Heard()
    async with other_server({"/a.png": redirecting("/b.png"), "/b.png": saying(PNG)}) as server:
        assert await web(server, heard).bring(at(server.url("/a.png")), Caller()) == PNG
    assert "accept: image/png, image/jpeg, image/webp" in server.heads[0].lower()
    assert heard == {"fetched": 1}


BAD: dict[str, tuple[Answering, type[Refusal], str, str]] = {
    "empty": (saying(b""), InvalidImage, "failed_to_download_image", "sent nothing"),
    "not-there": (saying(b"secret", "404 Not Found"), InvalidImage, "failed_to_download_image", "answered 404"),
    "private": (redirecting("http://10.0.0.1/"), InvalidRequest, "invalid_image_url", "not on the public internet"),
    "loop": (redirecting("/"), InvalidImage, "failed_to_download_image", "redirected more than 5 times"),
    "endless": (endless, BodyTooLarge, "image_file_too_large", "at most 1000 bytes"),
    "dripping": (dripping, InvalidImage, "failed_to_download_image", "took longer than 0.3 s"),
    "gzip": (saying(PNG, "200 OK", "content-encoding: br"), InvalidImage, "failed_to_download_image", "compressed"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_does_not_come_names_its_field(name: str) -> None:
    answering, error, code, words = BAD[name]
    heard = Heard()
    async with other_server({"/": answering}) as server:
        source = web(server, heard, image_seconds=0.3 if "0.3" in words else 10.0)
        with pytest.raises(error) as refused:
            await source.bring(at(server.url("/")), Caller())
    assert (refused.value.param, refused.value.code) == ("images[0].image_url", code)
    assert words in refused.value.message
    assert "10.0.0.1" not in refused.value.message
    assert "secret" not in refused.value.message
    assert heard == {"refused" if name == "private" else "failed": 1}


async def test_hosts_that_are_not_allowed_are_not_asked() -> None:
    heard = Heard()
    async with other_server({"/": saying(PNG)}) as server:
        with pytest.raises(InvalidRequest, match="not among those that this server fetches from"):
            await web(server, heard, image_hosts=("*.example.org",)).bring(at(server.url("/")), Caller())
    assert (heard, server.connections) == ({"refused": 1}, 0)


async def test_what_one_request_names_is_bounded_in_all() -> None:
    async with other_server({"/": saying(b" " * 400)}) as server:
        pictures = NamedPictures({Place.WEB: web(server, Heard())}, most_bytes=1000)
        asks = [Ask(Operation.EDIT, images=tuple(at(server.url("/"), f"image[{i}]") for i in range(n))) for n in (2, 5)]
        whole = await pictures.brought(asks[0], Caller())
        assert [len(upload.data) for upload in whole.uploads] == [400, 400]
        with pytest.raises(BodyTooLarge, match="at most 1000 bytes together") as refused:
            await pictures.brought(asks[1], Caller())
    assert (refused.value.param, server.connections) == ("image[2]", 5)


async def test_where_none_are_fetched_the_setting_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"egress\.image_urls is off") as refused:
        await NamedPictures({}, most_bytes=0).bring(at("https://example.org/a.png"), Caller())
    assert (refused.value.param, refused.value.code) == ("images[0].image_url", "invalid_image_url")
