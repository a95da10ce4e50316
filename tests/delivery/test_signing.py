"""An address opens one picture until its time, and nothing else does."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from sdxl_gateway.core.errors import Gone, NotFound
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.delivery.signing import Signer
from tests.kit.images import KEEP_SECONDS, NOW, signer, stored

IMAGE = stored(7)


def signed(image: StoredImage = IMAGE, seconds: float = 3600.0) -> tuple[str, str]:
    query = parse_qs(signer().query(image, seconds))
    return query["expires"][0], query["signature"][0]


def test_an_address_is_good_until_it_ends() -> None:
    expires, signature = signed()
    assert int(expires) == NOW + 3600
    assert signer().remaining_seconds(IMAGE.file_name, expires, signature) == 3600
    assert signer(NOW + 3599).remaining_seconds(IMAGE.file_name, expires, signature) == 1
    with pytest.raises(Gone, match="expired"):
        signer(NOW + 3600).remaining_seconds(IMAGE.file_name, expires, signature)


def test_no_address_outlives_its_picture() -> None:
    assert int(signed(seconds=2 * KEEP_SECONDS)[0]) == IMAGE.expires


def test_nothing_else_opens_it() -> None:
    expires, signature = signed()
    name = IMAGE.file_name
    wrong = [
        (stored(8).file_name, expires, signature),
        (name.replace("png", "webp"), expires, signature),
        (name, str(int(expires) + 1), signature),
        (name, "", signature),
        (name, "soon", signature),
        (name, f" {expires}", signature),
        (name, expires, ""),
        (name, expires, signature.swapcase()),
        (name, expires, signature + "="),
        (name, expires, "é"),
        ("é", "٣", "x"),
    ]
    for asked in wrong:
        with pytest.raises(NotFound, match="No such image"):
            signer().remaining_seconds(*asked)
    with pytest.raises(NotFound):
        Signer(lambda: b"another", lambda: NOW).remaining_seconds(name, expires, signature)
