"""The door of all uploads: one count of pixels for everybody, taken for a whole request before anything is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sdxl_gateway.admission.uploads import Uploads
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.errors import InvalidImage
from tests.kit.decoders import decoders
from tests.kit.gateway import noise, upload
from tests.kit.servers import until

SIDE = 64
LIMITS = Limits(max_input_pixels=SIDE * SIDE)
FULL, QUARTER = noise((SIDE, SIDE), hole=(0, 0, 9, 9)), noise((SIDE // 2, SIDE // 2))


@pytest.fixture
def uploads() -> Uploads:
    """Room for two of the largest."""
    return Uploads(LIMITS, decoders(LIMITS))


def masked() -> Ask:
    """As much as there is room for."""
    return Ask(Operation.EDIT, "a", images=(upload(FULL),), mask=upload(FULL, "mask"))


def small() -> Ask:
    return Ask(Operation.VARY, images=(upload(QUARTER),))


class Visitor:
    """Someone who has an ask, and keeps its turn until told to go."""

    def __init__(self, uploads: Uploads, ask: Ask) -> None:
        self.inside, self.may_go = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._visit(uploads, ask))

    async def _visit(self, uploads: Uploads, ask: Ask) -> None:
        async with uploads.turn(ask):
            self.inside.set()
            assert await uploads.edited(ask) is not None
            await self.may_go.wait()

    async def goes(self) -> None:
        self.may_go.set()
        await self.task


async def entered(visitors: Sequence[Visitor], count: int = 1) -> list[Visitor]:
    """Those who are in, once there are so many of them and nobody follows."""
    await asyncio.to_thread(until, lambda: len(_inside(visitors)) >= count, seconds=20)
    await asyncio.sleep(0.2)
    return _inside(visitors)


def _inside(visitors: Sequence[Visitor]) -> list[Visitor]:
    return [one for one in visitors if one.inside.is_set()]


async def test_all_of_an_ask_is_let_in_at_once_and_leaves_together(uploads: Uploads) -> None:
    """Had each of two got in with its image, both would wait for ever with their masks."""
    visitors = [Visitor(uploads, masked()) for _ in range(3)]
    while visitors:
        (one,) = await entered(visitors)
        await one.goes()
        visitors.remove(one)


async def test_small_pictures_share_what_large_ones_leave(uploads: Uploads) -> None:
    large = Ask(Operation.EDIT, "a", images=(upload(FULL),))
    visitors = [Visitor(uploads, ask) for ask in (large, *(small() for _ in range(5)))]
    assert len(await entered(visitors, 5)) == 5

    await asyncio.gather(*(one.goes() for one in visitors))


async def test_who_is_cancelled_makes_room(uploads: Uploads) -> None:
    visitors = [Visitor(uploads, masked()) for _ in range(2)]
    (one,) = await entered(visitors)
    one.task.cancel()
    visitors.remove(one)
    await entered(visitors)
    await visitors[0].goes()


async def test_no_upload_needs_no_room_and_no_process(uploads: Uploads) -> None:
    first = Visitor(uploads, masked())
    await entered([first])
    async with uploads.turn(Ask(Operation.GENERATE, "a")):
        pass
    await first.goes()


@pytest.mark.parametrize("image", [b"no picture", upload(noise((SIDE + 1, SIDE))).data], ids=["broken", "too large"])
async def test_what_will_be_refused_takes_no_room(uploads: Uploads, image: bytes) -> None:
    first = Visitor(uploads, masked())
    await entered([first])
    ask = Ask(Operation.EDIT, "a", images=(Upload("image[0]", image),))
    async with uploads.turn(ask):
        with pytest.raises(InvalidImage) as refused:
            await uploads.edited(ask)
    assert refused.value.param == "image[0]"
    await first.goes()


async def test_work_off_the_loop_gives_what_it_gives(uploads: Uploads) -> None:
    assert await uploads.off_the_loop(pow, 2, 10) == 1024
    assert (await uploads.picture(upload(FULL))).tobytes() == FULL.convert("RGB").tobytes()
