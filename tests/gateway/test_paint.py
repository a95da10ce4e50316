"""The whole life of a request, with everything real but the engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import validate
from PIL import Image, ImageChops, ImageOps

from sdxl_gateway import __version__
from sdxl_gateway.api.openapi.types import schemas_of
from sdxl_gateway.api.replies.models import Model, model_object
from sdxl_gateway.config import Tenant
from sdxl_gateway.core.ask import LoraRef, Operation
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Busy, EngineFault, GatewayError, InvalidImage, ModelNotFound, StorageFull
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.delivery.deliver import NOT_KEPT
from sdxl_gateway.gateway.events import Accepted, Done, Item, Partial, Presented, Progressed
from sdxl_gateway.gateway.lora_card import Lora
from tests.kit.gateway import CALLER, PAINTED, GatewayKit, ask, decoded, gateway_kit, noise, upload

SLOW = "step-seconds=0.01"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[GatewayKit]:
    async with gateway_kit(tmp_path) as opened:
        yield opened


def pictures(items: list[Item]) -> list[Presented]:
    return [item for item in items if isinstance(item, Presented)]


def first(items: list[Item]) -> Accepted:
    accepted = items[0]
    assert isinstance(accepted, Accepted)
    return accepted


def last(items: list[Item]) -> Done:
    done = items[-1]
    assert isinstance(done, Done)
    return done


async def test_accepted_partial_presented_done(store: GatewayKit) -> None:
    items = await store.paint(stream=True, partial_images=2, steps=6, seed=11, quality="high")
    assert [type(item) for item in items if not isinstance(item, Progressed)] == [
        Accepted,
        Partial,
        Partial,
        Presented,
        Done,
    ]
    accepted = first(items)
    assert (str(accepted.size), accepted.quality) == ("256x256", "high")
    assert [item.partial_index for item in items if isinstance(item, Partial)] == [0, 1]
    (picture,) = pictures(items)
    image = decoded(picture.data)
    assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (256, 256), PAINTED)
    assert (picture.seed, picture.recipe["seed"], picture.recipe["steps"]) == (11, 11, 6)
    assert last(items).usage["output_tokens"] == 4 * 6
    assert store.count("jobs_total", outcome="finished") == 1


async def test_every_step_is_told(store: GatewayKit) -> None:
    items = await store.paint(n=2, steps=3)
    steps = sorted((item.index, item.step, item.steps) for item in items if isinstance(item, Progressed))
    assert steps == [(index, step, 3) for index in (0, 1) for step in (1, 2, 3)]


async def test_several_pictures_each_with_its_seed(store: GatewayKit) -> None:
    items = await store.paint(n=3, seed=7)
    found = sorted(pictures(items), key=lambda one: one.index)
    assert [(one.index, one.seed, one.recipe["seed"]) for one in found] == [(0, 7, 7), (1, 8, 8), (2, 9, 9)]
    assert len({one.stored for one in found}) == 3
    assert store.count("images_generated_total", model="demo") == 3


@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
async def test_formats(store: GatewayKit, wanted: str) -> None:
    (picture,) = pictures(await store.paint(output_format=wanted))
    assert decoded(picture.data).format == wanted.upper()
    assert picture.stored is not None
    assert picture.stored.file_name.endswith(f".{wanted}")


@pytest.mark.parametrize("keep", [True, False])
async def test_a_picture_is_kept_where_that_is_asked_for(store: GatewayKit, keep: bool) -> None:
    (picture,) = pictures(await store.paint(keep=keep))
    assert (picture.stored is not None) is keep
    assert len(store.images.kept) == keep


async def test_what_is_kept_is_the_picture_and_belongs_to_its_tenant(store: GatewayKit) -> None:
    (picture,) = pictures(await store.paint())
    assert picture.stored is not None
    assert picture.stored.tenant == CALLER.tenant
    assert await store.images.read(picture.stored) == picture.data


async def test_the_receipt_names_all_that_decides_the_picture(store: GatewayKit) -> None:
    loras = (LoraRef("stripes", 0.5, 0.25),)
    (picture,) = pictures(await store.paint("a fox", model="demo+sunset:0.8", loras=loras, size="512x512"))
    told = picture.recipe
    named = {lora["name"]: (lora["weight"], lora["text_encoder_weight"]) for lora in told["loras"]}
    assert named == {"sunset": (0.8, 0.8), "stripes": (0.5, 0.25)}
    assert all(re.fullmatch("[0-9a-f]{64}", lora["digest"]) for lora in told["loras"])
    assert (told["size"], told["painted_size"], told["resized_with"]) == ("512x512", "256x256", "lanczos")
    assert (told["prompt"], told["sampler"], told["version"]) == ("a fox", "euler", __version__)
    assert decoded(picture.data).size == (512, 512)
    assert store.count("lora_requests_total", lora="sunset") == 1


async def test_the_receipt_tells_the_schedule(store: GatewayKit) -> None:
    told = [pictures(await store.paint(**asked))[0].recipe for asked in ({}, {"schedule": "trailing"})]
    assert [recipe["schedule"] for recipe in told] == ["normal", "trailing"]


@pytest.mark.parametrize(("setting", "asked"), [(True, None), (False, None), (True, False), (False, True)])
async def test_the_recipe_is_written_inside_only_when_asked(tmp_path: Path, setting: bool, asked: bool | None) -> None:
    async with gateway_kit(tmp_path, embed_recipe=setting) as store:
        (picture,) = pictures(await store.paint("a fox", model="demo+sunset:0.8", seed=3, embed_recipe=asked))
    embed = setting if asked is None else asked
    text = decoded(picture.data).info.get("parameters", "")
    assert (text.startswith("a fox <lora:sunset:0.8>") and "Seed: 3" in text) is embed
    assert (b"fox" in picture.data) is embed


async def test_warnings_reach_the_end(store: GatewayKit) -> None:
    assert last(await store.paint("a long prompt")).warnings == ("cut short",)


async def test_usage_counts_the_input_picture(store: GatewayKit) -> None:
    plain = last(await store.paint("two words"))
    edited = last(await store.paint("two words", operation=Operation.EDIT, images=(upload(noise((256, 256))),)))
    assert plain.usage["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 0}
    assert edited.usage["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 4}


@pytest.mark.parametrize("size", [(256, 256), (200, 100), (500, 300)])
async def test_an_inpaint_keeps_the_rest_of_the_upload_bit_for_bit(store: GatewayKit, size: tuple[int, int]) -> None:
    hole = (16, 8, size[0] // 2, size[1] // 2)
    sent = noise(size, hole)
    items = await store.paint(
        operation=Operation.EDIT, images=(upload(sent),), stream=True, partial_images=1, steps=4, seam=0
    )
    looks = [item.data for item in items if isinstance(item, Partial | Presented)]
    assert len(looks) == 2
    expected = sent.convert("RGB")
    expected.paste(PAINTED, hole)
    for data in looks:
        image = decoded(data)
        assert (image.size, image.mode) == (size, "RGB")
        assert ImageChops.difference(image, expected).getbbox() is None


@pytest.mark.parametrize("size", [(512, 512), (128, 128), (512, 384), (192, 256)])
async def test_an_inpaint_at_another_size_keeps_the_upload_as_it_is_resized(
    store: GatewayKit, size: tuple[int, int]
) -> None:
    sent, mask = noise((256, 256)), noise((256, 256), (64, 64, 160, 160))
    items = await store.paint(
        operation=Operation.EDIT,
        images=(upload(sent),),
        mask=upload(mask, "mask"),
        size="{}x{}".format(*size),
        seam=0,
    )
    image = decoded(pictures(items)[0].data)
    kept = ImageOps.fit(sent.convert("RGB"), size, Image.Resampling.LANCZOS)
    if size[0] == size[1]:
        assert ImageChops.difference(kept, sent.convert("RGB").resize(size, Image.Resampling.LANCZOS)).getbbox() is None
    hole = ImageOps.fit(mask.getchannel("A").point(lambda alpha: 255 - alpha), size, Image.Resampling.NEAREST)
    kept.paste(PAINTED, (0, 0), hole)
    assert image.size == size
    assert hole.getbbox()
    assert ImageChops.difference(image, kept).getbbox() is None


async def test_a_variation_is_painted_all_over(store: GatewayKit) -> None:
    items = await store.paint("", operation=Operation.VARY, images=(upload(noise((256, 256), (0, 0, 9, 9))),))
    image = decoded(pictures(items)[0].data)
    assert ImageChops.difference(image, Image.new("RGB", image.size, PAINTED)).getbbox() is None


async def test_what_admission_warns_of_is_told_at_the_end(store: GatewayKit) -> None:
    first, second = (upload(noise((64, 64)), f"image[{index}]") for index in (0, 1))
    (warning,) = last(await store.paint(operation=Operation.EDIT, images=(first, second))).warnings
    assert "image[1]" in warning


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "nope"}, ModelNotFound),
        ({"operation": Operation.EDIT, "images": (upload(noise((500, 100))),)}, InvalidImage),
    ],
)
async def test_a_refusal_comes_before_anything_is_accepted(
    store: GatewayKit, fields: dict[str, Any], kind: type[GatewayError]
) -> None:
    stream = store.gateway.paint(ask(**fields), CALLER)
    with pytest.raises(kind):
        await anext(stream)
    assert store.count("jobs_total", outcome=kind.__name__) == 0


async def test_a_fault_of_the_engine_is_told_without_its_words(store: GatewayKit) -> None:
    with pytest.raises(EngineFault) as fault:
        await store.paint("raise-in-step")
    assert "secret" not in fault.value.message
    assert store.count("jobs_total", outcome="EngineFault") == 1
    assert pictures(await store.paint())


async def test_a_full_line_turns_away(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, queue_size=1) as store:
        streams = [store.gateway.paint(ask(SLOW, steps=150, n=8), CALLER) for _ in range(3)]
        for stream in streams[:2]:
            await anext(stream)
        with pytest.raises(Busy):
            await anext(streams[2])
        assert store.count("jobs_total", outcome="Busy") == 1
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize("painting", [True, False])
async def test_leaving_early_cancels_and_is_counted_once(store: GatewayKit, painting: bool) -> None:
    stream = store.gateway.paint(ask(SLOW, steps=150), CALLER)
    assert isinstance(await anext(stream), Accepted)
    if painting:
        assert isinstance(await anext(stream), Progressed)
    await stream.aclose()
    assert store.count("cancelled_total", stage="painting" if painting else "waiting") == 1
    assert store.count("jobs_total", outcome="Cancelled") == 1
    # The engine is free again: the next picture is painted, and nobody hears of the first any more.
    assert pictures(await store.paint())
    assert store.count("jobs_total", outcome="Cancelled") == 1
    assert store.count("jobs_total", outcome="finished") == 1


async def test_a_cancelled_task_cancels_its_job(store: GatewayKit) -> None:
    accepted = asyncio.Event()

    async def follow() -> None:
        async with aclosing(store.gateway.paint(ask(SLOW, steps=150), CALLER)) as items:
            async for _ in items:
                accepted.set()

    task = asyncio.create_task(follow())
    async with asyncio.timeout(10):
        await accepted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.count("jobs_total", outcome="Cancelled") == 1
    assert pictures(await store.paint())


@pytest.fixture
def full(store: GatewayKit) -> None:
    store.images.full = True


@pytest.mark.usefixtures("full")
async def test_a_picture_that_must_be_kept_and_cannot_is_our_fault(store: GatewayKit) -> None:
    with pytest.raises(StorageFull):
        await store.paint(must_keep=True)
    assert store.count("jobs_total", outcome="StorageFull") == 1
    assert store.count("jobs_total", outcome="Cancelled") == 0


@pytest.mark.usefixtures("full")
async def test_pictures_that_cannot_be_kept_come_with_one_warning(store: GatewayKit) -> None:
    items = await store.paint(n=2)
    assert [one.stored for one in pictures(items)] == [None, None]
    assert last(items).warnings == (NOT_KEPT,)
    assert store.count("jobs_total", outcome="finished") == 1


async def test_readiness(store: GatewayKit) -> None:
    await store.paint()
    assert store.gateway.ready
    assert store.gateway.readiness() == {"default_model": "demo"}


async def test_the_shelf_is_as_the_openapi_document_says(store: GatewayKit) -> None:
    (refs, schemas), library = schemas_of((Lora, Model)), store.library
    named = {"components": {"schemas": schemas}}
    for lora in [*library.loras(), await library.lora("sunset")]:
        validate(lora, refs[Lora] | named)
        assert lora.keys() <= schemas["Lora"]["properties"].keys()
    for card in [*library.models(), library.model("demo+sunset:0.8")]:
        validate(model_object(card), refs[Model] | named)


async def test_a_lora_painted_with_is_remembered(store: GatewayKit) -> None:
    await store.paint(model="demo+sunset:0.8")
    sunset = next(lora for lora in store.library.loras() if lora["id"] == "sunset")
    assert (sunset["last_used"] or 0) > 0
    assert re.fullmatch("[0-9a-f]{64}", sunset["digest"] or "")


@pytest.mark.parametrize(
    ("of_key", "asked", "given"),
    [("normal", None, "normal"), ("normal", "low", "low"), ("low", "high", "low"), ("high", "normal", "normal")],
)
async def test_a_request_lowers_its_keys_class_and_never_raises_it(
    store: GatewayKit, monkeypatch: pytest.MonkeyPatch, of_key: str, asked: str | None, given: str
) -> None:
    job = await _submitted(store, monkeypatch, of_key, priority=None if asked is None else Priority.of(asked))
    assert job.priority is Priority.of(given)


@pytest.mark.parametrize(("asked", "seconds"), [(None, 300.0), (12.5, 12.5), (300.0, 300.0)])
async def test_a_request_may_want_its_answer_sooner(
    store: GatewayKit, monkeypatch: pytest.MonkeyPatch, asked: float | None, seconds: float
) -> None:
    job = await _submitted(store, monkeypatch, "normal", timeout=asked)
    assert job.deadline - job.arrived == pytest.approx(seconds)


async def test_a_tenants_weight_is_its_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway_kit(tmp_path, tenants={"art": Tenant(weight=3.0)}) as kit:
        assert (await _submitted(kit, monkeypatch, "normal")).weight == 3.0
    assert (await _submitted(kit, monkeypatch, "normal", tenant="other")).weight == 1.0


async def _submitted(
    kit: GatewayKit, monkeypatch: pytest.MonkeyPatch, of_key: str, *, tenant: str = "art", **fields: Any
) -> Job:
    """The job that would be painted."""
    jobs: list[Job] = []

    async def turn_away(job: Job) -> None:
        jobs.append(job)
        raise Busy("Not now.", retry_after_seconds=1.0)

    monkeypatch.setattr(kit.gateway._backend, "submit", turn_away)
    caller = Caller(tenant, priority=Priority.of(of_key))
    with pytest.raises(Busy):
        _ = [item async for item in kit.gateway.paint(ask(**fields), caller)]
    return jobs[0]
