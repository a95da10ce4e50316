"""What runs between the server and a process it does not trust: whole messages and sealed memory, or a refusal."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from sdxl_gateway.core.errors import GatewayError, InvalidImage
from sdxl_gateway.decoding.memory import contents, filled, images, passed
from sdxl_gateway.decoding.messages import (
    DecodeMask,
    DecodePicture,
    Measure,
    Measured,
    Message,
    Planes,
    ReadWritten,
    Ready,
    Refused,
    Told,
)
from sdxl_gateway.decoding.wire import MAX_TEXT_BYTES, receive, send
from sdxl_gateway.ipc.codec import Malformed

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "message",
    [
        Measure("image"),
        DecodePicture("image[1]", holes=True),
        DecodeMask("mask", 8000, 5000),
        Ready(),
        Measured(40_000_000),
        Planes(3, 2, ("RGB", "L")),
        ReadWritten("image"),
        Told("a fox 🦊\n", "{}"),
    ],
)
def test_messages_arrive_as_they_were(ends: Ends, message: Message) -> None:
    send(ends[0], message)
    assert receive(ends[1]) == (message, None)


def test_a_refusal_arrives_with_its_words(ends: Ends) -> None:
    send(ends[0], Refused(InvalidImage("No.", param="mask", code="image_too_large")))
    heard, _ = receive(ends[1])
    assert isinstance(heard, Refused)
    error: GatewayError = heard.error
    assert (type(error), error.message, error.param, error.code) == (InvalidImage, "No.", "mask", "image_too_large")


def test_memory_comes_along_and_is_its_readers(ends: Ends) -> None:
    before = open_descriptors()
    with passed(b"bytes") as memory:
        send(ends[0], Measure("image"), memory)
    _, received = receive(ends[1])
    assert received is not None
    assert contents(received) == b"bytes"
    os.close(received)
    assert open_descriptors() == before


def test_a_message_cut_into_bytes_arrives(ends: Ends) -> None:
    text = b'{"kind":"Measure","body":{"field":"image"}}'

    def crumbs() -> None:
        for byte in struct.pack(">I", len(text)) + text:
            ends[0].send(bytes([byte]))

    sending = Thread(target=crumbs)
    sending.start()
    assert receive(ends[1]) == (Measure("image"), None)
    sending.join()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 60_000,
        b"\xff",
        b'{"kind":"Hello","body":{}}',
        b'{"kind":"Measure","body":{}}',
        b'{"kind":"Planes","body":{"width":1,"height":1,"modes":["RGBA"]}}',
    ],
)
def test_what_is_no_message_is_refused(ends: Ends, text: bytes) -> None:
    ends[0].sendall(struct.pack(">I", len(text)) + text)
    with pytest.raises(Malformed):
        receive(ends[1])


def test_a_message_over_the_bound_is_not_read(ends: Ends) -> None:
    ends[0].sendall(struct.pack(">I", MAX_TEXT_BYTES + 1))
    with pytest.raises(Malformed):
        receive(ends[1], 5)


def test_silence_and_crumbs_end_at_the_deadline(ends: Ends) -> None:
    with pytest.raises(TimeoutError):
        receive(ends[1], 0.05)
    ends[0].send(b"\0")
    with pytest.raises(TimeoutError):
        receive(ends[1], 0.05)


def test_more_descriptors_than_one_are_refused_and_closed(ends: Ends) -> None:
    before = open_descriptors()
    with passed(b"a") as one, passed(b"b") as other:
        socket.send_fds(ends[0], [b"\0\0\0\1a"], [one, other])
        with pytest.raises(Malformed):
            receive(ends[1])
    assert open_descriptors() == before


@pytest.mark.parametrize("gone", [0, 3])
def test_a_peer_that_is_gone_is_told_of(ends: Ends, gone: int) -> None:
    ends[0].send(b"\0" * gone)
    ends[0].close()
    with pytest.raises(EOFError):
        receive(ends[1])
    with pytest.raises(OSError, match="Broken pipe"):
        send(ends[1], Ready())


def test_pixels_are_the_images_and_nobody_can_change_them() -> None:
    colours, holes = Image.effect_noise((700, 333), 90).convert("RGB"), Image.effect_noise((700, 333), 90)
    fd = filled([colours, holes])
    before = open_descriptors()
    found = images(fd, Planes(700, 333, ("RGB", "L")))
    assert [image.tobytes() for image in found] == [colours.tobytes(), holes.tobytes()]
    with pytest.raises(PermissionError):
        os.truncate(fd, 1)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    del found
    assert open_descriptors() == before
    os.close(fd)


def test_memory_that_another_may_still_write_is_not_read() -> None:
    fd = filled([Image.new("L", (8, 8))])
    with mmap.mmap(fd, 64), pytest.raises(Malformed):
        images(fd, Planes(8, 8, ("L",)))
    os.close(fd)


@pytest.mark.parametrize("planes", [Planes(8, 9, ("L",)), Planes(8, 8, ("RGB",)), Planes(1, 1, ("L",))])
def test_memory_of_another_size_is_not_read(planes: Planes) -> None:
    fd = filled([Image.new("L", (8, 8))])
    with pytest.raises(Malformed):
        images(fd, planes)
    os.close(fd)
