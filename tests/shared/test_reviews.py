"""A review is listed, looked at and decided at whichever gateway, by the one that has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import Gone, InvalidRequest, NotFound, Unavailable, WrongState
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.gateway.fleet import questions as fleet_questions
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.gateway.fleet.reviews import PIECE_BYTES, FleetReviews
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened as database_in
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.pages import Cut
from sdxl_gateway.storage.picture_folder import PictureFolder
from sdxl_gateway.storage.review_table import ReviewState
from sdxl_gateway.storage.reviews import NewReview
from sdxl_gateway.storage.seal import Seal
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import questions_in

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
DATA = bytes(range(256)) * (PIECE_BYTES // 100)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_questions, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(fleet_questions, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)


@dataclass
class One:
    """A gateway's reviews, and the pictures it keeps."""

    reviews: FleetReviews
    images: KeptImages
    questions: Questions
    folder: Path

    async def flagged(self, tenant: str = "art") -> str:
        """A review of a picture that it keeps."""
        image = await self.images.put(DATA, "png", tenant=tenant)
        return await self.reviews.add(NewReview(tenant, "key_1", "job", ("sexual",), "a prompt", DATA, "png", image.id))

    async def ids(self, limit: int, after: str | None = None, state: ReviewState | None = None) -> list[str]:
        page = await self.reviews.page_everywhere(Cut(limit, after, newest_first=False), None, state)
        assert not page.missing
        return [review.id for review in page.items]


@asynccontextmanager
async def one_in(redis: RedisServer, folder: Path) -> AsyncIterator[One]:
    async with questions_in(redis, folder) as questions:
        with database_in(folder) as database:
            images = KeptImages(PictureFolder(folder / "images"), database, Delivery())
            blobs = BlobFolder(folder / "reviews")
            yield One(FleetReviews(database, blobs, Seal(), questions, images), images, questions, folder)


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[tuple[One, One]]:
    """The second one answers."""
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(one_in(redis, tmp_path / name)) for name in "ab"]
        await stack.enter_async_context(Background(unheard).doing("questions", b.questions.running))
        yield a, b


async def test_all_are_listed_in_their_order(two: tuple[One, One]) -> None:
    a, b = two
    ids = [await one.flagged() for one in (a, b, b, a, b)]
    assert await a.ids(9) == ids
    assert [await a.ids(2, after) for after in (None, ids[1], ids[3])] == [ids[:2], ids[2:4], ids[4:]]
    await a.reviews.decide(ids[1], approve=True)
    assert await a.ids(9, state=ReviewState.APPROVED) == [ids[1]]
    assert await a.ids(1, state=ReviewState.OPEN) == [ids[0]]
    with pytest.raises(InvalidRequest):
        await a.ids(1, "rev_0")


async def test_it_is_decided_where_it_is_and_what_is_rejected_goes_there(two: tuple[One, One]) -> None:
    a, b = two
    review = await a.reviews.find(await b.flagged(), "art")
    assert await a.reviews.picture(review) == DATA
    rejected = await a.reviews.decide(review.id, approve=False, note="no")
    assert (rejected.state, rejected.note) == (ReviewState.REJECTED, "no")
    assert rejected == await b.reviews.find(review.id)
    assert await b.images.page("art", 9) == ([], False)
    with pytest.raises(WrongState, match="is rejected already"):
        await a.reviews.decide(review.id, approve=True)
    with pytest.raises(NotFound):
        await a.reviews.appeal(review.id, "ops", "mine")
    appealed = await a.reviews.appeal(review.id, "art", "a statue")
    assert (appealed.state, appealed.appeal) == (ReviewState.APPEALED, "a statue")
    (blob,) = (b.folder / "reviews").iterdir()
    blob.unlink()
    with pytest.raises(Gone):
        await a.reviews.picture(review)


async def test_another_tenants_is_not_there_and_nor_is_what_nobody_has(two: tuple[One, One]) -> None:
    a, b = two
    review_id = await b.flagged()
    with pytest.raises(NotFound):
        await a.reviews.find(review_id, "ops")
    with pytest.raises(NotFound):
        await a.reviews.decide("rev_0", approve=True)


async def test_who_does_not_answer_may_have_it(two: tuple[One, One], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one answers nothing here."""
    a, b = two
    monkeypatch.setattr(fleet_questions, "WAIT_SECONDS", 0.05)
    review_id = await a.flagged()
    with pytest.raises(Unavailable):
        await b.reviews.decide(review_id, approve=True)
    with pytest.raises(Unavailable):
        await b.reviews.find(review_id)
    page = await b.reviews.page_everywhere(Cut(9, newest_first=False))
    assert (page.items, len(page.missing)) == ([], 1)
