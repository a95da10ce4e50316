"""Pictures are kept whole, found by an id nobody guesses, and gone when their time is over."""

from __future__ import annotations

import asyncio
import resource
import threading
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import Gone, NotFound
from sdxl_gateway.storage.images import ImageFolder


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store_at(path: Path, clock: Clock, cap_bytes: int = 0) -> ImageFolder:
    return ImageFolder(path / "images", keep_seconds=60, cap_bytes=cap_bytes, clock=clock)


def test_what_is_put_is_found(tmp_path: Path, clock: Clock) -> None:
    store = store_at(tmp_path, clock)
    ids = {store.put(f"picture {i}".encode(), "png").id for i in range(20)}
    stored = store.put(b"mine", "webp")
    assert len(ids) == 20
    assert all(len(one) == 32 for one in ids)
    assert store.read(store.find(stored.id, "webp")) == b"mine"
    assert store.remaining_seconds(stored) == 60
    assert len(list((tmp_path / "images").iterdir())) == len(store) == 21


def test_unknown_and_expired_are_told_apart(tmp_path: Path, clock: Clock) -> None:
    store = store_at(tmp_path, clock)
    stored = store.put(b"x", "png")
    with pytest.raises(NotFound):
        store.find("0" * 32, "png")
    with pytest.raises(NotFound):
        store.find(stored.id, "jpeg")
    clock.now += 60
    with pytest.raises(Gone):
        store.find(stored.id, "png")
    assert (store.sweep(), store.sweep(), store.total_bytes) == (1, 0, 0)
    assert list((tmp_path / "images").iterdir()) == []
    with pytest.raises(Gone):
        store.find(stored.id, "png")


def test_a_picture_swept_while_it_is_fetched_is_gone(tmp_path: Path, clock: Clock) -> None:
    store = store_at(tmp_path, clock)
    stored = store.put(b"x", "png")
    store.path_of(stored).unlink()
    with pytest.raises(Gone):
        store.read(stored)


def test_a_restart_remembers_and_clears_the_half_written(tmp_path: Path, clock: Clock) -> None:
    stored = store_at(tmp_path, clock).put(b"kept", "jpeg")
    half = tmp_path / "images" / ".abc.partial"
    half.write_bytes(b"ha")
    (tmp_path / "images" / "notes.txt").write_text("not mine")
    again = store_at(tmp_path, clock)
    assert again.read(again.find(stored.id, "jpeg")) == b"kept"
    assert again.find(stored.id, "jpeg").expires_at == stored.expires_at
    assert (len(again), again.total_bytes, half.exists()) == (1, 4, False)
    assert (tmp_path / "images" / "notes.txt").exists()
    clock.now += 61
    assert store_at(tmp_path, clock).sweep() == 1


def test_above_the_cap_the_oldest_go(tmp_path: Path, clock: Clock) -> None:
    store = store_at(tmp_path, clock, cap_bytes=25)
    first, second, third = (store.put(bytes(10), "png") for _ in range(3))
    with pytest.raises(Gone):
        store.find(first.id, "png")
    assert [store.find(one.id, "png").id for one in (second, third)] == [second.id, third.id]
    large = store.put(bytes(100), "png")
    assert (len(store), store.find(large.id, "png").size_bytes) == (1, 100)


def test_a_failed_write_leaves_nothing(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path, clock)

    def full(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        store.put(b"x", "png")
    assert (len(store), list((tmp_path / "images").iterdir())) == (0, [])


def test_a_disk_that_takes_half_a_picture_keeps_none_of_it(tmp_path: Path, clock: Clock) -> None:
    store = store_at(tmp_path, clock)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.put(bytes(2000), "png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (len(store), store.total_bytes, list((tmp_path / "images").iterdir())) == (0, 0, [])
    assert store.read(store.put(bytes(2000), "png")) == bytes(2000)


@pytest.mark.parametrize("ext", ["gif", "../x", "", "png/../../x"])
def test_only_known_extensions(tmp_path: Path, clock: Clock, ext: str) -> None:
    with pytest.raises(ValueError, match="no picture"):
        store_at(tmp_path, clock).put(b"x", ext)


def test_many_threads_at_once(tmp_path: Path, clock: Clock) -> None:
    store = store_at(tmp_path, clock, cap_bytes=500)
    threads = [threading.Thread(target=lambda: [store.put(bytes(10), "png") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = list((tmp_path / "images").iterdir())
    assert len(store) == len(files) == store.total_bytes // 10 <= 50


async def test_the_sweeper_sweeps_again_and_again(tmp_path: Path, clock: Clock) -> None:
    swept = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Watched(ImageFolder):
        def sweep(self) -> int:
            count = super().sweep()
            if count:
                loop.call_soon_threadsafe(swept.set)
            return count

    store = Watched(tmp_path / "images", keep_seconds=60, clock=clock)
    task = asyncio.create_task(store.sweeping(every_seconds=0.001))
    for _ in range(2):
        store.put(b"x", "png")
        clock.now += 61
        await asyncio.wait_for(swept.wait(), 20)
        swept.clear()
    assert len(store) == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
