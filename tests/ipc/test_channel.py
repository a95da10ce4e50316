"""Messages and pixels cross a real socket pair, whole and in order, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path
from threading import Thread

import pytest

from sdxl_gateway.core.events import Painted
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.ipc import channel
from sdxl_gateway.ipc.channel import AsyncEnd, Frames, FrameTooLarge, ThreadEnd, pack, pair
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Cancel, Message, Stop

FD_FOLDER = Path("/proc/self/fd")


def painted(index: int, side: int = 64) -> Painted:
    return Painted("1", index, 0, Picture(side, side, "RGB", os.urandom(side * side * 3)))


class Ear:
    """An AsyncEnd and what it heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.end = AsyncEnd(sock, self.heard.put_nowait, self.closed.set)

    async def next(self) -> Message:
        async with asyncio.timeout(10):
            return await self.heard.get()


def send_all(end: ThreadEnd, messages: list[Message]) -> None:
    for message in messages:
        end.send(message)


def open_descriptors() -> int:
    return len(list(FD_FOLDER.iterdir()))


async def test_messages_and_pixels_from_a_thread_to_the_loop_and_back() -> None:
    ours, theirs = pair()
    ear, far = Ear(ours), ThreadEnd(theirs)
    said: list[Message] = [painted(0), Cancel("x"), painted(1, side=1024), Stop()]
    speaker = Thread(target=send_all, args=(far, said))
    speaker.start()
    assert [await ear.next() for _ in said] == said
    for message in said:
        ear.end.send(message)
    assert [await asyncio.to_thread(far.receive) for _ in said] == said
    speaker.join()
    ear.end.close()
    assert far.receive() is None
    far.close()


async def test_sending_to_a_peer_that_does_not_listen_never_blocks() -> None:
    ours, theirs = pair()
    ear, far = Ear(ours), ThreadEnd(theirs)
    said: list[Message] = [*(Cancel("x" * 100_000) for _ in range(50)), painted(3)]
    for message in said:
        ear.end.send(message)
    heard = await asyncio.to_thread(lambda: [far.receive() for _ in said])
    assert heard == said
    ear.end.close()
    far.close()


async def test_a_closed_peer_is_a_clean_end_after_its_last_words() -> None:
    ours, theirs = pair()
    ear, far = Ear(ours), ThreadEnd(theirs)
    far.send(painted(0))
    far.send(Stop())
    far.close()
    async with asyncio.timeout(10):
        await ear.closed.wait()
    assert ear.heard.qsize() == 2
    ear.end.send(Stop())
    ear.end.close()


async def test_nonsense_closes_the_channel() -> None:
    ours, theirs = pair()
    ear = Ear(ours)
    with theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n" * 4)
        async with asyncio.timeout(10):
            await ear.closed.wait()
    assert ear.heard.empty()


def test_frames_may_be_cut_anywhere() -> None:
    frames = Frames()
    said: list[Message] = [Cancel("1"), Stop(), Cancel("2")]
    stream = b"".join(pack(message)[0] for message in said)
    heard = [message for i in range(len(stream)) for message in frames.feed(stream[i : i + 1], [])]
    assert heard == said


@pytest.mark.parametrize("head", [(2**31, 0, 0), (0, 2**31, 0), (0, 2, 2**40)])
def test_a_frame_over_the_bounds_is_refused_before_it_is_read(head: tuple[int, int, int]) -> None:
    with pytest.raises(Malformed):
        list(Frames().feed(struct.pack(">IIQ", *head), []))


def test_blobs_need_their_memory() -> None:
    data, fd = pack(painted(0))
    assert fd is not None
    os.close(fd)
    with pytest.raises(Malformed):
        list(Frames().feed(data, []))


def test_memory_that_is_too_short_is_refused_and_closed() -> None:
    data, fd = pack(painted(0))
    assert fd is not None
    os.truncate(fd, 10)
    frames = Frames()
    with pytest.raises(Malformed):
        list(frames.feed(data, [fd]))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_message_over_the_bounds_is_not_sent() -> None:
    with pytest.raises(FrameTooLarge):
        pack(Cancel("x" * (channel.MAX_TEXT_BYTES + 1)))


def test_pixels_travel_without_memfd_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    message = painted(0)
    data, fd = pack(message)
    assert fd is not None
    assert list(Frames().feed(data, [fd])) == [message]


@pytest.mark.skipif(not FD_FOLDER.is_dir(), reason="counts descriptors through /proc")
async def test_no_descriptor_is_left_behind() -> None:
    before = open_descriptors()
    ours, theirs = pair()
    ear, far = Ear(ours), ThreadEnd(theirs)
    for i in range(5):
        far.send(painted(i))
        ear.end.send(painted(i))
    await ear.next()
    ear.end.close()
    far.close()
    assert open_descriptors() == before
