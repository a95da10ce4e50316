"""Decoding processes: what a picture does to its own, nobody else notices, and nothing of it stays."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL.PngImagePlugin import PngInfo

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage, Unavailable
from sdxl_gateway.core.events import DecoderLost
from sdxl_gateway.core.picture import Size
from sdxl_gateway.decoding import process
from sdxl_gateway.decoding.pool import PROCESSES, Decoders
from sdxl_gateway.decoding.process import COMMAND
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.written import Written
from tests.kit.bombs import large_png, memory_bytes, slow_jpeg
from tests.kit.gateway import noise, upload
from tests.kit.servers import is_alive, until

SMALL = upload(noise((64, 48)))
SLOW = Upload("image[1]", slow_jpeg())


class Pool(Decoders):
    """With the reasons for which its processes were lost."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.lost: list[str] = []
        super().__init__(limits or Limits(), self._count)

    def _count(self, event: DecoderLost) -> None:
        self.lost.append(event.reason)

    async def begun(self) -> int:
        """The pid of a process that is at work by now."""
        await asyncio.to_thread(until, lambda: self.pids)
        pid = self.pids[0]
        await asyncio.to_thread(until, lambda: _is_computing(pid))
        return pid


def _is_computing(pid: int) -> bool:
    """It holds a picture, or has ended."""
    return memory_bytes(pid) > 2**26 or not is_alive(pid)


@pytest.fixture
def pool() -> Iterator[Pool]:
    one = Pool()
    yield one
    one.close()


async def test_pixels_come_as_they_were_sent(pool: Pool) -> None:
    image = noise((301, 77), hole=(5, 6, 70, 50))
    found = await pool.with_holes(upload(image))

    assert found.image.tobytes() == image.convert("RGB").tobytes()
    assert found.mask is not None
    assert found.mask.tobytes() == image.getchannel("A").point([255] + 255 * [0]).tobytes()
    assert (await pool.picture(upload(image))).tobytes() == found.image.tobytes()
    assert (await pool.mask(upload(image, "mask"), Size(301, 77))).tobytes() == found.mask.tobytes()
    assert await pool.measure(upload(image)) == 301 * 77


async def test_what_a_file_says_of_its_picture_comes_as_it_was_written(pool: Pool) -> None:
    written = Written("a fox 🦊\nSteps: 20", {"seed": 7, "prompt": "a fox 🦊"})
    for kind in ("png", "jpeg", "webp"):
        assert (
            await pool.written(Upload("image", encode(noise((64, 48)).convert("RGB"), kind, written=written)))
            == written
        )
    assert await pool.written(SMALL) is None
    with pytest.raises(InvalidImage, match="its metadata is too long"):
        await pool.written(Upload("image", encode(noise((64, 48)), "png", written=Written("a" * 2**19, {}))))
    assert pool.lost == []


@pytest.mark.parametrize("depth", range(100, 1100, 100))
async def test_a_recipe_that_is_deeply_nested_is_one_or_none(pool: Pool, depth: int) -> None:
    info = PngInfo()
    info.add_itxt("parameters", "a fox")
    info.add_itxt("sdxl-gateway", '{"a":' + "[" * depth + "]" * depth + "}")
    file = io.BytesIO()
    noise((8, 8)).save(file, "PNG", pnginfo=info)
    found = await pool.written(Upload("image", file.getvalue()))
    assert found is not None
    assert (found.parameters, pool.lost) == ("a fox", [])


async def test_a_refusal_comes_as_it_was_meant_and_harms_no_process(pool: Pool) -> None:
    assert await pool.measure(Upload("image", b"no picture")) == 0
    with pytest.raises(InvalidImage, match="'mask': it cannot be decoded") as refused:
        await pool.mask(Upload("mask", SMALL.data[:99]), Size(64, 48))
    assert (refused.value.param, refused.value.code) == ("mask", "invalid_image_file")
    assert (len(pool.pids), pool.lost) == (1, [])


async def test_a_process_is_started_when_it_is_needed_and_kept(pool: Pool) -> None:
    assert pool.pids == []
    await pool.picture(SMALL)
    first = pool.pids
    await pool.picture(SMALL)
    assert pool.pids == first

    await asyncio.gather(*(pool.picture(SMALL) for _ in range(24)))
    assert 1 <= len(pool.pids) <= PROCESSES


async def test_a_picture_that_takes_too_long_is_refused_and_its_process_is_gone() -> None:
    pool = Pool(Limits(decode_seconds=0.3))
    decoding = asyncio.ensure_future(pool.picture(SLOW))
    pid = await pool.begun()
    with pytest.raises(InvalidImage, match=r"'image\[1\]': it takes too long to decode") as refused:
        await decoding
    assert refused.value.param == "image[1]"
    assert (is_alive(pid), pool.pids, pool.lost) == (False, [], ["late"])
    pool.close()


async def test_others_are_decoded_while_one_takes_its_time(pool: Pool) -> None:
    decoding = asyncio.ensure_future(pool.picture(SLOW))
    await pool.begun()
    assert (await pool.picture(SMALL)).size == (64, 48)
    assert not decoding.done()
    assert (await decoding).size == (8000, 5000)


@pytest.mark.parametrize(
    ("how", "reason"), [(signal.SIGKILL, "died"), (signal.SIGSEGV, "died"), (signal.SIGXCPU, "late")]
)
async def test_a_process_that_dies_takes_its_own_picture_along(pool: Pool, how: int, reason: str) -> None:
    decoding = asyncio.ensure_future(pool.picture(SLOW))
    os.kill(await pool.begun(), how)
    with pytest.raises(InvalidImage) as refused:
        await decoding
    assert refused.value.param == "image[1]"
    assert pool.lost == [reason]
    assert (await pool.picture(SMALL)).size == (64, 48)


async def test_a_process_that_dies_idle_harms_nobody(pool: Pool) -> None:
    await pool.picture(SMALL)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid))
    assert (await pool.picture(SMALL)).size == (64, 48)
    assert (pid in pool.pids, pool.lost) == (False, [])


async def test_who_leaves_frees_the_process_and_its_memory_at_once(pool: Pool) -> None:
    decoding = asyncio.ensure_future(pool.picture(SLOW))
    pid = await pool.begun()
    decoding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decoding
    assert (is_alive(pid), pool.pids, pool.lost) == (False, [], [])


async def test_what_a_large_picture_took_is_given_back(pool: Pool) -> None:
    await pool.picture(SMALL)
    (pid,) = pool.pids
    before = memory_bytes(pid)
    await pool.picture(Upload("image", large_png()))
    assert pool.pids == [pid]
    assert memory_bytes(pid, "VmHWM") - before > 8000 * 5000 * 3
    assert memory_bytes(pid) - before < 2**25


@pytest.mark.parametrize(("bound", "value"), [("LIFE_PICTURES", 2), ("RESIDENT_BYTES", 1)])
async def test_a_worn_process_is_replaced(pool: Pool, monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    monkeypatch.setattr(process, bound, value)
    pids = set[int]()
    for _ in range(4):
        await pool.picture(SMALL)
        pids.update(pool.pids)
    assert pool.pids == []
    assert len(pids) <= 2
    assert pool.lost == []


async def test_a_server_that_can_start_none_says_so(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ((sys.executable, "-c", "pass"), ("/nowhere/python",)):
        monkeypatch.setattr(process, "COMMAND", command)
        with pytest.raises(Unavailable):
            await pool.picture(SMALL)
        assert pool.pids == []


async def test_closed_it_leaves_none_and_those_who_wait_are_told(pool: Pool) -> None:
    await pool.picture(SMALL)
    decoding = asyncio.ensure_future(pool.picture(SLOW))
    pid = await pool.begun()
    await asyncio.to_thread(pool.close)
    with pytest.raises(InvalidImage):
        await decoding
    assert (is_alive(pid), pool.pids) == (False, [])


async def test_a_process_has_nothing_it_does_not_need(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__AUTH__API_KEYS", "secret")
    await pool.picture(SMALL)
    home = Path(f"/proc/{pool.pids[0]}")
    limits = {line[:26].strip(): line[26:].split()[0] for line in (home / "limits").read_text().splitlines()}

    assert b"secret" not in (home / "environ").read_bytes()
    until(lambda: _open_in(home) == ["/dev/null", "/dev/null", "/dev/null", "socket"])
    assert limits["Max core file size"] == limits["Max processes"] == "0"
    assert int(limits["Max open files"]) == 16
    assert int(limits["Max address space"]) < 2 * 2**30
    assert (home / "oom_score_adj").read_text().strip() == "1000"
    assert "NoNewPrivs:\t1" in (home / "status").read_text()


def _open_in(home: Path) -> list[str]:
    return sorted(str(fd.readlink()).split(":")[0] for fd in (home / "fd").iterdir())


def test_a_process_outlives_no_server_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from sdxl_gateway.config import Limits\n"
        "from sdxl_gateway.core.ask import Upload; from sdxl_gateway.decoding.pool import Decoders\n"
        "data = Path(sys.argv[1]).read_bytes(); pool = Decoders(Limits())\n"
        "async def one(): await pool.picture(Upload('image', data))\n"
        "async def tell():\n"
        "    while len(pool.pids) < 2: await asyncio.sleep(0.01)\n"
        "    print(*pool.pids, flush=True)\n"
        "async def main(): await asyncio.gather(one(), one(), tell())\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "slow.jpg").write_bytes(slow_jpeg())
    command = [sys.executable, "-c", program, str(tmp_path / "slow.jpg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        until(lambda: all(_is_computing(pid) for pid in pids))
        assert all(map(is_alive, pids))
        server.kill()
        server.wait()
        until(lambda: not any(map(is_alive, pids)), seconds=2)


def test_the_program_ends_where_nobody_speaks_to_it() -> None:
    ended = subprocess.run([*COMMAND, "--fd=0", "--max-pixels=1", "--seconds=1"], capture_output=True, check=False)
    assert ended.returncode != 0
