"""What may not leave is held back alone; where nothing is left, the caller is told so as an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_gateway.config import Safety
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import ModerationBlocked, PictureUnjudged, StorageFull
from sdxl_gateway.core.events import Event
from sdxl_gateway.core.safety import Moderated, Policy
from sdxl_gateway.delivery.deliver import BLURRED
from sdxl_gateway.gateway.events import Done, Item, Partial, Presented, Withheld
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.reviews import ReviewStore
from sdxl_gateway.storage.seal import Seal
from tests.kit.gateway import PAINTED, decoded, gateway_kit
from tests.kit.judges import FakeNet, broken, endless, scores


def of(kind: type[Item], items: list[Item]) -> list[Item]:
    return [item for item in items if isinstance(item, kind)]


def done(items: list[Item]) -> Done:
    assert isinstance(items[-1], Done)
    return items[-1]


async def test_one_refused_picture_leaves_the_others(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, net=FakeNet(scores(0.0, 0.9, 0.1))) as kit:
        items = await kit.paint(n=3, seed=7)
        assert len(kit.images.kept) == 2
        assert kit.count("moderated_total", stage="picture", action="blocked") == 1
    (held,) = of(Withheld, items)
    assert isinstance(held, Withheld)
    assert isinstance(held.error, ModerationBlocked)
    assert (held.seed, held.error.stage, held.error.categories) == (7 + held.index, "output", ("sexual",))
    assert len(of(Presented, items)) == 2
    assert done(items).warnings[-1] == "1 of 3 pictures were held back by the safety system."


async def test_where_none_is_left_it_is_an_error(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, net=FakeNet(scores(0.9))) as kit:
        with pytest.raises(ModerationBlocked):
            await kit.paint(n=2)
        assert (len(kit.images.kept), kit.count("jobs_total", outcome="finished")) == (0, 1)
        with pytest.raises(ModerationBlocked):
            await kit.paint(stream=True)


async def test_blurred_pictures_show_nothing_and_say_so(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=Safety(policy=Policy.BLUR), net=FakeNet(scores(0.9))) as kit:
        items = await kit.paint(n=2, embed_recipe=True)
        assert kit.count("moderated_total", stage="picture", action="blurred") == 2
    assert len(of(Presented, items)) == 2
    assert BLURRED in done(items).warnings


@pytest.mark.parametrize(("policy", "looks"), [("block", 0), ("blur", 2), ("flag", 2), ("off", 2)])
async def test_previews_go_the_same_way(tmp_path: Path, policy: str, looks: int) -> None:
    """The looks score high, the picture they become does not."""
    section = Safety.model_validate({"policy": policy})
    net = FakeNet(scores(0.9, 0.9, 0.0))
    async with gateway_kit(tmp_path, safety=section, net=net) as kit:
        items = await kit.paint(stream=True, partial_images=2, steps=6)
        assert kit.count("moderated_total", stage="preview", action="blocked") == (2 if policy == "block" else 0)
        assert kit.count("moderated_total", stage="preview", action="blurred") == (2 if policy == "blur" else 0)
    assert len(of(Partial, items)) == looks
    assert len(net.seen) == {"block": 3, "blur": 3, "flag": 1, "off": 0}[policy]
    assert len(of(Presented, items)) == 1


@pytest.mark.parametrize("policy", [*Policy, None])
async def test_who_is_not_found_guilty_gets_the_same_bytes(tmp_path: Path, policy: Policy | None) -> None:
    painted: list[bytes] = []
    for net in (None, FakeNet(scores(0.79))):
        async with gateway_kit(tmp_path / str(net is None), net=net) as kit:
            items = await kit.paint(seed=3, embed_recipe=True, caller=Caller(safety=policy))
            painted += [item.data for item in items if isinstance(item, Presented)]
    assert painted[0] == painted[1]
    assert decoded(painted[0]).getpixel((0, 0)) == PAINTED


async def test_under_flag_and_off_what_is_found_leaves_as_it_is(tmp_path: Path) -> None:
    painted: list[bytes] = []
    for policy in (Policy.FLAG, Policy.OFF):
        async with gateway_kit(tmp_path / policy, net=FakeNet(scores(0.9))) as kit:
            items = await kit.paint(seed=3, caller=Caller(safety=policy))
            painted += [item.data for item in items if isinstance(item, Presented)]
            assert kit.count("moderated_total", stage="picture", action="flagged") == (policy is Policy.FLAG)
    assert painted[0] == painted[1]


@pytest.mark.parametrize("hung", [True, False])
@pytest.mark.parametrize("policy", ["block", "blur", "flag"])
async def test_a_judge_that_fails_closes(tmp_path: Path, policy: str, hung: bool) -> None:
    section = Safety.model_validate({"policy": policy, "seconds": 0.05})
    net = endless() if hung else FakeNet(broken)
    async with gateway_kit(tmp_path, safety=section, net=net) as kit:
        if policy == "block":
            with pytest.raises(PictureUnjudged):
                await kit.paint()
        else:
            items = await kit.paint()
            assert (BLURRED in done(items).warnings) is (policy == "blur")
        action = {"block": "blocked", "blur": "blurred", "flag": "flagged"}[policy]
        assert kit.count("moderated_total", stage="picture", action=action) == 1


async def test_or_opens_by_setting(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=Safety(failing="open"), net=FakeNet(broken)) as kit:
        items = await kit.paint()
        assert kit.count("judge_duration_seconds_count", judge="pictures", outcome="failed") == 1
    assert of(Presented, items)
    assert done(items).warnings == ()


@pytest.fixture
def reviews(tmp_path: Path) -> Iterator[ReviewStore]:
    with opened(tmp_path / "data") as database:
        yield ReviewStore(database, BlobFolder(tmp_path / "reviews"), Seal())


async def test_what_is_flagged_waits_for_a_person(tmp_path: Path, reviews: ReviewStore) -> None:
    told: list[Event] = []
    caller = Caller("art", key_id="key_1", safety=Policy.FLAG)
    net = FakeNet(scores(0.9, 0.0))
    async with gateway_kit(tmp_path, net=net, reviews=reviews, listeners=[told.append]) as kit:
        pictures = [one for one in await kit.paint("a statue", n=2, caller=caller) if isinstance(one, Presented)]
    (flagged,) = [one for one in pictures if one.review is not None]
    review = await reviews.find(flagged.review or "")
    assert (review.tenant, review.key_id, review.categories) == ("art", "key_1", ("sexual",))
    assert (review.prompt, await reviews.picture(review)) == ("a statue", flagged.data)
    assert flagged.stored is not None
    assert review.image == flagged.stored.id
    (event,) = [one for one in told if isinstance(one, Moderated)]
    assert (event.action, event.review, event.job_id) == ("flagged", review.id, review.job)


async def test_of_a_flagged_prompt_every_picture_waits(tmp_path: Path, reviews: ReviewStore) -> None:
    section = Safety(policy=Policy.FLAG, deny_words=("statue",))
    async with gateway_kit(tmp_path, safety=section, reviews=reviews) as kit:
        items = await kit.paint("a statue", n=2, negative_prompt="blue")
        assert kit.count("moderated_total", stage="picture", action="flagged") == 2
    ids = {one.review for one in items if isinstance(one, Presented)}
    found = [await reviews.find(one or "") for one in ids]
    assert [(one.categories, one.prompt) for one in found] == [(("deny_list",), "a statue\nblue")] * 2


@pytest.mark.parametrize(("failing", "leaves"), [("closed", False), ("open", True)])
async def test_what_cannot_be_kept_for_them_leaves_only_where_that_is_the_setting(
    tmp_path: Path, reviews: ReviewStore, failing: str, leaves: bool
) -> None:
    (tmp_path / "reviews").write_text("in the way")
    section = Safety.model_validate({"policy": "flag", "failing": failing})
    async with gateway_kit(tmp_path, safety=section, net=FakeNet(scores(0.9)), reviews=reviews) as kit:
        if leaves:
            assert of(Presented, await kit.paint())
        else:
            with pytest.raises(StorageFull):
                await kit.paint()
        assert len(kit.images.kept) == leaves
