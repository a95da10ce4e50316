"""Uploads that would cost much, sent to a server as it is run: each harms its own request, and nothing stays of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.kit.bombs import large_png, largest_webp, memory_bytes, slow_jpeg, text_bomb
from tests.kit.forms import FORM, file, form, part
from tests.kit.gateway import noise, upload
from tests.kit.loopback import loopback
from tests.kit.servers import Server, is_alive, server, until

EDITS = "/v1/images/edits"
LOST = 'sdxl_gateway_decoders_lost_total{reason="%s"}'
SMALL = upload(noise((64, 64))).data


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It gives a picture less than a second."""
    with server(tmp_path_factory.mktemp("impatient"), limits__decode_seconds="0.3") as one:
        yield one


def edit(one: Server, image: bytes, **more: bytes) -> httpx.Response:
    files = {"image": image, **more}
    said = {"prompt": "a red circle", "size": "64x64", "steps": "2"}
    return loopback.post(one.url + EDITS, data=said, files=files, timeout=120)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["param"], error["message"]


def sent(pool: ThreadPoolExecutor, one: Server, image: bytes) -> tuple[Future[httpx.Response], int]:
    """The answer to come, and the pid of the process that is decoding by now."""
    answer = pool.submit(edit, one, image)
    return answer, busy(one)


def busy(one: Server) -> int:
    """The pid of a process that holds a large picture."""
    return until(lambda: [pid for pid in one.decoder_pids() if memory_bytes(pid) > 2**26])[0]


def test_a_picture_that_takes_too_long_is_refused_and_others_are_painted(impatient: Server) -> None:
    before = impatient.metric(LOST % "late")
    with ThreadPoolExecutor(1) as pool:
        slow, pid = sent(pool, impatient, slow_jpeg())
        assert edit(impatient, SMALL).status_code == 200
        status, param, message = refusal(slow.result())
    assert (status, param) == (400, "image")
    assert message == "Invalid image file for 'image': it takes too long to decode."
    assert not is_alive(pid)
    assert impatient.metric(LOST % "late") == before + 1
    assert edit(impatient, SMALL).status_code == 200


def test_a_mask_that_takes_too_long_is_the_one_named(impatient: Server) -> None:
    status, param, _ = refusal(edit(impatient, SMALL, mask=slow_jpeg()))
    assert (status, param) == (400, "mask")


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_crashes_takes_its_own_request_along(live: Server, how: int) -> None:
    before = live.metric(LOST % "died")
    with ThreadPoolExecutor(1) as pool:
        slow, pid = sent(pool, live, slow_jpeg())
        os.kill(pid, how)
        status, param, message = refusal(slow.result())
    assert (status, param, message) == (400, "image", "Invalid image file for 'image': it cannot be decoded.")
    assert live.metric(LOST % "died") == before + 1
    assert edit(live, SMALL).status_code == 200


@pytest.mark.parametrize(
    "data",
    [largest_webp(), text_bomb(b"zTXt"), text_bomb(b"iCCP"), slow_jpeg()[:-20_000], large_png()[:-9], b"RIFF" * 2000],
    ids=["largest webp", "text", "profile", "cut jpeg", "cut png", "noise"],
)
def test_a_bomb_costs_no_process(live: Server, data: bytes) -> None:
    lost = live.metric(LOST % "died") + live.metric(LOST % "late")
    answer = edit(live, data)
    assert answer.status_code in (200, 400), answer.text
    assert live.metric(LOST % "died") + live.metric(LOST % "late") == lost
    assert sum(map(memory_bytes, live.decoder_pids())) < 3 * 2**25


def test_who_leaves_frees_the_decoder(live: Server) -> None:
    before = live.metric(LOST % "died")
    client = HTTPConnection(urlsplit(live.url).netloc)
    client.request("POST", EDITS, form(part("prompt", "a"), file("image", slow_jpeg())), FORM)
    pid = busy(live)
    client.close()
    until(lambda: not is_alive(pid))
    until(live.is_idle)
    assert live.metric(LOST % "died") == before


def test_a_server_that_is_killed_leaves_no_decoder(tmp_path: Path) -> None:
    with server(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        edit(one, SMALL)
        slow, _ = sent(pool, one, slow_jpeg())
        pids = one.decoder_pids()
        one.process.kill()
        one.process.wait()
        until(lambda: not any(map(is_alive, pids)), seconds=2)
        assert isinstance(slow.exception(), httpx.TransportError)
