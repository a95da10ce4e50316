"""From an Ask to a Recipe: whose word counts, and what is refused under which field."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sdxl_gateway.admission.resolve import LAST_SEED, Admission
from sdxl_gateway.config import Checkpoint, HouseStyle, Limits, LoraWeight
from sdxl_gateway.core.ask import Ask, LoraRef, Operation, Upload
from sdxl_gateway.core.errors import AdapterRefused, InvalidImage, InvalidRequest, ModelNotFound, Refusal
from sdxl_gateway.core.picture import NO_INPUTS, Padding, Picture
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.pictures.pixels import to_image
from tests.kit.admission import DEMO, AdmissionKit, admission_kit, demo
from tests.kit.decoders import decoders
from tests.kit.lora_files import file_bytes, write

TURBO = """
weight = 0.8
text_encoder_weight = 0.2
steps = 8
guidance_scale = 1.5
sampler = "LCM"
trigger_words = ["swift", "sharp"]
add_trigger_words = true
"""
STRANGE = 'steps = 100\nsampler = "restart"\ntrigger_words = ["unsaid"]'
LORAS = {"ink": "", "watercolor": "", "turbo": TURBO, "strange": STRANGE}
STYLES = {
    "full": HouseStyle(
        loras=(LoraWeight(name="turbo"),),
        steps=24,
        guidance_scale=6.0,
        sampler="ddim",
        size="512x128",
        negative_prompt="blurry",
        trigger_words="storybook",
        add_trigger_words=True,
    ),
    "auto": HouseStyle(size="auto"),
    "heavy": HouseStyle(steps=150),
}


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    return admission_kit(tmp_path, LORAS, models=STYLES)


def png(size: tuple[int, int] = (256, 256), hole: tuple[int, int, int, int] | None = None) -> bytes:
    image = Image.new("RGBA", size, (10, 200, 30, 255))
    if hole is not None:
        image.paste((0, 0, 0, 0), hole)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def edit(data: bytes, mask: bytes | None = None, **fields: Any) -> dict[str, Any]:
    masked = {} if mask is None else {"mask": Upload("mask", mask)}
    return {"operation": Operation.EDIT, "images": (Upload("image", data),), **masked, **fields}


async def recipe(home: AdmissionKit, prompt: str = "a cat", **fields: Any) -> Recipe:
    return (await home.admit(prompt, **fields)).recipe


async def refusal(home: AdmissionKit, prompt: str = "a cat", **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await home.admit(prompt, **fields)
    return refused.value


def weights(found: Recipe) -> dict[str, tuple[float, float]]:
    return {part.name: (part.weight, part.text_encoder_weight) for part in found.blend.parts}


async def test_with_nothing_said_the_checkpoints_defaults_count(home: AdmissionKit) -> None:
    found = await home.admit()
    plain = found.recipe
    assert (plain.task, plain.checkpoint, plain.checkpoint_digest) == (Task.TEXT_TO_IMAGE, "demo", demo().digest)
    assert (plain.steps, plain.guidance_scale, plain.sampler, plain.strength) == (20, 4.5, "euler", 1.0)
    assert (plain.width, plain.height, plain.paint_width, plain.paint_height) == (256, 256, 256, 256)
    assert (plain.prompt, plain.negative_prompt, plain.count, plain.blend.parts) == ("a cat", "", 1, ())
    assert (found.inputs, found.kept, found.quality, found.loras) == (NO_INPUTS, None, "medium", ())


@pytest.mark.parametrize("embeds", [False, True])
async def test_the_recipe_knows_whether_the_unet_reads_the_guidance_scale(home: AdmissionKit, embeds: bool) -> None:
    checkpoints = {"demo": replace(demo(), embeds_guidance=embeds)}
    found = await Admission(home.settings, checkpoints, home.adapters, decoders()).resolve(
        Ask(Operation.GENERATE, "a cat")
    )
    assert (found.recipe.embeds_guidance, found.recipe.unet_rows) == (embeds, 1 if embeds else 2)


async def test_a_checkpoint_without_defaults(tmp_path: Path) -> None:
    plain = await recipe(admission_kit(tmp_path, checkpoints={"demo": Checkpoint(path="demo")}))
    assert (plain.steps, plain.guidance_scale, plain.sampler) == (30, 5.0, "euler")


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"model": "demo"}, (20, 4.5, "euler")),
        ({"model": "turbo"}, (8, 1.5, "lcm")),
        ({"model": "full"}, (24, 6.0, "ddim")),
        ({"model": "full", "steps": 3, "guidance_scale": 0.0, "sampler": "DPM++ 2M"}, (3, 0.0, "dpmpp_2m")),
        ({"model": "demo+strange"}, (100, 4.5, "euler")),
        ({"model": "strange+turbo:0.5"}, (100, 1.5, "lcm")),
        ({"model": "strange:0.1+turbo:0.5"}, (8, 1.5, "lcm")),
        ({"model": "turbo:0"}, (20, 4.5, "euler")),
        ({"model": "turbo:1+turbo:-1"}, (20, 4.5, "euler")),
    ],
)  # fmt: skip
async def test_request_before_style_before_lora_before_checkpoint(
    home: AdmissionKit, fields: dict[str, Any], meant: object
) -> None:
    found = await recipe(home, **fields)
    assert (found.steps, found.guidance_scale, found.sampler) == meant


async def test_the_schedule_of_request_style_lora_and_checkpoint(tmp_path: Path) -> None:
    home = admission_kit(
        tmp_path,
        {"sdxl_lightning_4step_lora": "", "told": 'schedule = "leading"', "ink": ""},
        checkpoints={"demo": DEMO, "fast": Checkpoint(path="demo", schedule="trailing")},
        models={"slow": HouseStyle(schedule="normal", loras=(LoraWeight(name="sdxl_lightning_4step_lora"),))},
    )

    async def of(model: str, **fields: Any) -> str:
        return (await recipe(home, model=model, **fields)).schedule

    lightning = "sdxl_lightning_4step_lora"
    assert [await of(name) for name in ("demo", "ink", "fast", lightning, "told", "slow")] == [
        "normal", "normal", "trailing", "trailing", "leading", "normal",
    ]  # fmt: skip
    assert await of(f"told:0.5+{lightning}") == "trailing"
    assert await of(f"{lightning}:0") == "normal"
    assert await of(lightning, schedule="normal") == await of("fast", schedule="normal") == "normal"
    assert await of("slow", schedule="leading") == "leading"


@pytest.mark.parametrize(
    ("model", "quality", "steps"),
    [
        ("demo", None, 20),
        ("demo", "low", 12),
        ("demo", "medium", 20),
        ("demo", "high", 30),
        ("demo", "max", 40),
        ("turbo", "low", 8),
        ("full", "high", 36),
        ("heavy", "max", 150),
    ],
)
async def test_quality_scales_the_usual_steps(home: AdmissionKit, model: str, quality: str | None, steps: int) -> None:
    found = await home.admit(model=model, quality=quality)
    assert found.recipe.steps == steps
    assert found.quality == (quality or "medium")
    assert (await recipe(home, model=model, quality=quality, steps=7)).steps == 7


async def test_no_default_exceeds_the_operators_steps(tmp_path: Path) -> None:
    small = admission_kit(tmp_path, LORAS, models=STYLES, limits=Limits(max_steps=10))
    for model in ("demo", "heavy", "strange"):
        assert (await recipe(small, model=model)).steps == 10


@pytest.mark.parametrize(
    ("fields", "size", "painted"),
    [
        ({}, (256, 256), (256, 256)),
        ({"size": "320x256"}, (320, 256), (320, 256)),
        ({"size": "1024x1024"}, (1024, 1024), (256, 256)),
        ({"size": "1792x1024"}, (1792, 1024), (336, 192)),
        ({"model": "full"}, (512, 128), (512, 128)),
        ({"model": "full", "size": "64x64"}, (64, 64), (64, 64)),
        ({"model": "auto"}, (256, 256), (256, 256)),
        (edit(png((200, 100))), (200, 100), (200, 96)),
        (edit(png((200, 100)), model="full"), (200, 100), (200, 96)),
        (edit(png((200, 100)), size="128x128"), (128, 128), (128, 128)),
        (edit(png((1500, 1000))), (1500, 1000), (312, 208)),
    ],
)
async def test_sizes(
    home: AdmissionKit, fields: dict[str, Any], size: tuple[int, int], painted: tuple[int, int]
) -> None:
    found = await recipe(home, **fields)
    assert ((found.width, found.height), (found.paint_width, found.paint_height)) == (size, painted)


async def test_an_upload_above_the_limit_is_handed_out_smaller(tmp_path: Path) -> None:
    small = admission_kit(tmp_path, limits=Limits(max_pixels=256 * 256))
    found = await home_edit_size(small, png((1024, 512)))
    assert found == (362, 181)
    assert (await refusal(small, size="512x256")).param == "size"


async def home_edit_size(home: AdmissionKit, data: bytes) -> tuple[int, int]:
    found = await recipe(home, **edit(data))
    return found.width, found.height


async def test_own_seed_and_drawn_ones(home: AdmissionKit) -> None:
    assert (await recipe(home, seed=0)).seed == 0
    drawn = [(await recipe(home, n=4)).seed for _ in range(8)]
    assert len(set(drawn)) > 1
    assert all(0 <= seed <= LAST_SEED - 4 for seed in drawn)


@pytest.mark.parametrize("text", ["Euler a", "k_euler_ancestral", "EULER_A", "EulerAncestralDiscreteScheduler"])
async def test_spellings_of_a_sampler(home: AdmissionKit, text: str) -> None:
    assert (await recipe(home, sampler=text)).sampler == "euler_a"


async def test_an_unknown_sampler_is_refused_with_the_choices(home: AdmissionKit) -> None:
    error = await refusal(home, sampler="magic")
    assert error.param == "sampler"
    assert "'magic'" in error.message
    assert "dpmpp_2m, dpmpp_2m_sde" in error.message


async def test_negative_prompts(home: AdmissionKit) -> None:
    assert (await recipe(home, model="full")).negative_prompt == "blurry"
    assert (await recipe(home, model="full", negative_prompt="")).negative_prompt == ""


@pytest.mark.parametrize(
    ("model", "prompt", "led"),
    [
        ("turbo", "a cat", "swift, sharp, a cat"),
        ("turbo", "a Swift cat", "sharp, a Swift cat"),
        ("full", "a cat", "swift, sharp, storybook, a cat"),
        ("full", "", "swift, sharp, storybook"),
        ("strange", "a cat", "a cat"),
        ("turbo:0", "a cat", "a cat"),
    ],
)
async def test_trigger_words(home: AdmissionKit, model: str, prompt: str, led: str) -> None:
    assert (await recipe(home, prompt, model=model)).prompt == led


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"model": "ink"}, {"ink": (1.0, 1.0)}),
        ({"model": "ink:0.5"}, {"ink": (0.5, 0.5)}),
        ({"model": "turbo"}, {"turbo": (0.8, 0.2)}),
        ({"model": "turbo:0.5"}, {"turbo": (0.5, 0.5)}),
        ({"loras": (LoraRef("INK", 0.5, 0.1),)}, {"ink": (0.5, 0.1)}),
        ({"loras": (LoraRef("turbo", None, 0.0),)}, {"turbo": (0.8, 0.0)}),
        ({"loras": (LoraRef("ink", 0.0, 0.5),)}, {"ink": (0.0, 0.5)}),
        ({"model": "ink:0.5", "loras": (LoraRef("watercolor"),)}, {"ink": (0.5, 0.5), "watercolor": (1.0, 1.0)}),
        ({"model": "ink:0"}, {}),
        ({"model": "ink:0.1+ink:0.2"}, {"ink": (0.3, 0.3)}),
        ({"model": "ink:4+ink:4+ink:-4"}, {"ink": (4.0, 4.0)}),
        ({"model": "ink:0.5", "loras": (LoraRef("ink", -0.5),)}, {}),
    ],
)  # fmt: skip
async def test_weights(home: AdmissionKit, fields: dict[str, Any], meant: dict[str, tuple[float, float]]) -> None:
    assert weights(await recipe(home, **fields)) == meant


@pytest.mark.parametrize(
    ("prompt", "left", "meant"),
    [
        ("a cat <lora:ink:0.8>", "a cat", {"ink": (0.8, 0.8)}),
        ("<lora:ink> a cat", "a cat", {"ink": (1.0, 1.0)}),
        ("a <LORA:turbo> cat", "a cat", {"turbo": (0.8, 0.2)}),
        ("a cat <lora:ink:0.3:0.6>", "a cat", {"ink": (0.6, 0.3)}),
        ("a cat <lora:ink:te=0.3:unet=0.6>", "a cat", {"ink": (0.6, 0.3)}),
        ("a cat <lora:ink: TE = 0.3 >", "a cat", {"ink": (0.3, 0.3)}),
        ("a cat <lora:ink:unet=0.5>", "a cat", {"ink": (0.5, 1.0)}),
        ("<lora:ink:0.5><lyco:watercolor:0.4>", "", {"ink": (0.5, 0.5), "watercolor": (0.4, 0.4)}),
        ("a cat <lora:ink:0>", "a cat", {}),
    ],
)
async def test_tags_in_the_prompt(
    home: AdmissionKit, prompt: str, left: str, meant: dict[str, tuple[float, float]]
) -> None:
    found = await recipe(home, prompt, model="demo")
    assert weights(found) == meant
    assert found.prompt == left if "turbo" not in meant else found.prompt.endswith(left)


HALVES = (0.5,) * 20


async def test_block_weights(home: AdmissionKit) -> None:
    tag = ",".join(["0.5"] * 20)
    by_tag = await recipe(home, f"a cat <lora:ink:0.8:lbw={tag}>", seed=1)
    by_field = await recipe(home, loras=(LoraRef("ink", 0.8, blocks=HALVES),), seed=1)
    (part,) = by_tag.blend.parts
    assert by_tag == by_field
    assert (part.weight, part.text_encoder_weight, part.blocks) == (0.8, 0.4, HALVES[1:])
    assert by_tag.blend.unet_key == ((part.digest, (0.8, *[0.4] * 19)),)


async def test_block_weights_that_are_all_1_are_none(home: AdmissionKit) -> None:
    even = await recipe(home, loras=(LoraRef("ink", 0.8, blocks=(1.0,) * 20),), seed=1)
    assert even == await recipe(home, loras=(LoraRef("ink", 0.8),), seed=1)


@pytest.mark.parametrize(
    "loras",
    [
        (LoraRef("ink", 3.0, blocks=(1.0, 2.0, *[1.0] * 18)),),
        (LoraRef("ink", 3.0, blocks=(2.0, *[1.0] * 19)),),
        (LoraRef("ink", 0.1, blocks=HALVES), LoraRef("ink", 0.1)),
    ],
)
async def test_block_weights_that_cannot_be(home: AdmissionKit, loras: tuple[LoraRef, ...]) -> None:
    assert (await refusal(home, loras=loras)).param == "loras"


async def test_tags_stay_text_where_the_operator_says_so(tmp_path: Path) -> None:
    plain = admission_kit(tmp_path, LORAS, prompt_tags=False)
    found = await recipe(plain, "a cat <lora:ink:0.8>")
    assert (found.prompt, found.blend.parts) == ("a cat <lora:ink:0.8>", ())


async def test_a_tag_in_the_negative_prompt_is_refused(tmp_path: Path, home: AdmissionKit) -> None:
    error = await refusal(home, negative_prompt="blurry <lora:ink:0.8>")
    assert (type(error), error.param) == (InvalidRequest, "negative_prompt")
    plain = admission_kit(tmp_path, LORAS, prompt_tags=False)
    assert (await recipe(plain, negative_prompt="<lora:ink:0.8>")).negative_prompt == "<lora:ink:0.8>"


@pytest.mark.parametrize("words", ["a (red:1.3) cat", "a [cat:dog:0.5]", "((blue sky): .8 ) (x: -1.)"])
async def test_weights_of_words_stay_words_and_are_warned_of(home: AdmissionKit, words: str) -> None:
    found = await home.admit(words)
    assert found.recipe.prompt == words
    (warning,) = found.warnings
    assert "in the prompt" in warning
    (warning,) = (await home.admit(negative_prompt=words)).warnings
    assert "in the negative_prompt" in warning


@pytest.mark.parametrize("words", ["a (red) cat", "at 10:30", "(see: below)", "(1:x)", "a [b", "(:1.3", "(a:1.3.1)"])
async def test_other_brackets_are_words_without_a_warning(home: AdmissionKit, words: str) -> None:
    assert (await home.admit(words, negative_prompt=words)).warnings == ()


async def test_tags_weights_and_fields_add_up(home: AdmissionKit) -> None:
    found = await home.admit("x <lora:ink:0.25>", model="demo+ink:0.5", loras=(LoraRef("Ink", 0.125),))
    assert weights(found.recipe) == {"ink": (0.875, 0.875)}
    assert found.loras == ("ink",)


@pytest.mark.parametrize(
    ("prompt", "fields", "param", "kind"),
    [
        ("x", {"model": "nope"}, "model", ModelNotFound),
        ("x", {"model": "demo+nope"}, "model", ModelNotFound),
        ("x", {"loras": (LoraRef("ink"), LoraRef("nope", param="loras[1]"))}, "loras[1]", InvalidRequest),
        ("x <lora:nope:1>", {}, "prompt", InvalidRequest),
        ("x <lora:ink:much>", {}, "prompt", InvalidRequest),
        ("x <lora:ink:5>", {}, "prompt", InvalidRequest),
        ("x", {"model": "alien"}, "model", AdapterRefused),
        ("x", {"loras": (LoraRef("alien", param="loras[0]"),)}, "loras[0]", AdapterRefused),
        ("x <lora:alien:1>", {}, "prompt", AdapterRefused),
        ("x", {"loras": (LoraRef("ink", 4.5, param="loras[0]"),)}, "loras[0]", InvalidRequest),
        ("x", {"loras": (LoraRef("ink", 1.0, float("nan"), "loras[0]"),)}, "loras[0]", InvalidRequest),
        ("x", {"model": "ink:3", "loras": (LoraRef("ink", 2.0, param="loras[1]"),)}, "loras[1]", InvalidRequest),
        ("x", {"model": "ink:3+ink:3"}, "model", InvalidRequest),
        ("x", {"loras": (LoraRef("ink", 1, -3), LoraRef("ink", 1, -3, "loras[1]"))}, "loras[1]", InvalidRequest),
        ("x", {"loras": (LoraRef("ink"),) * 17}, "loras", InvalidRequest),
    ],
)  # fmt: skip
async def test_refused_loras_name_their_field(
    home: AdmissionKit, prompt: str, fields: dict[str, Any], param: str, kind: type[Refusal]
) -> None:
    write(home.settings.loras.directory / "alien.safetensors", file_bytes({"lora_unet_x.lora_down.weight": (4, 8)}))
    await home.adapters.refresh()
    error = await refusal(home, prompt, **fields)
    assert (error.param, type(error)) == (param, kind)


async def test_an_unknown_lora_gets_a_hint(home: AdmissionKit) -> None:
    error = await refusal(home, loras=(LoraRef("watercolour"),))
    assert error.message == "The LoRA 'watercolour' does not exist. Did you mean 'watercolor'?"
    assert error.code == "lora_not_found"


async def test_an_edit_beyond_the_pictures_edges(home: AdmissionKit) -> None:
    found = await home.admit(**edit(png((200, 100))), padding=Padding(left=24, bottom=12))
    assert (found.recipe.task, found.recipe.width, found.recipe.height) == (Task.INPAINT, 224, 112)
    assert found.kept is not None
    assert to_image(found.kept.mask).crop((24, 0, 224, 100)).getbbox() is None
    assert found.warnings == ()


async def test_too_much_room_is_refused_before_it_is_made(home: AdmissionKit) -> None:
    with pytest.raises(InvalidRequest, match="a picture of 4256x4256 is above") as refused:
        await home.admit(**edit(png()), padding=Padding(2000, 2000, 2000, 2000))
    assert refused.value.param == "padding"


@pytest.mark.parametrize(
    ("hole", "size", "warned"),
    [
        (None, (200, 327), ("Handed out as 200x327: 220x360 is above this server's limit.",)),
        ((9, 9, 90, 90), (220, 360), ()),
    ],
)
async def test_a_photo_above_the_limit(
    tmp_path: Path, hole: tuple[int, int, int, int] | None, size: tuple[int, int], warned: tuple[str, ...]
) -> None:
    small = admission_kit(tmp_path, limits=Limits(max_pixels=256 * 256, max_inpaint_pixels=300 * 300))
    found = await small.admit(**edit(png((220, 360), hole)))
    assert ((found.recipe.width, found.recipe.height), found.warnings) == (size, warned)
    asked = await small.admit(**edit(png((220, 360), hole)), size="64x128")
    assert asked.warnings == ()


async def test_an_edit_without_a_mask(home: AdmissionKit) -> None:
    found = await home.admit(**edit(png((256, 128))))
    assert (found.recipe.task, found.recipe.strength) == (Task.IMAGE_TO_IMAGE, 0.8)
    assert found.inputs.image == Picture(256, 128, "RGB", bytes([10, 200, 30]) * 256 * 128)
    assert (found.inputs.mask, found.kept) == (None, None)
    assert (await recipe(home, **edit(png(), strength=0.25))).strength == 0.25


async def test_an_edit_with_a_mask_keeps_what_is_outside(home: AdmissionKit) -> None:
    found = await home.admit(**edit(png(), png(hole=(0, 0, 256, 64))))
    assert (found.recipe.task, found.recipe.strength) == (Task.INPAINT, 1.0)
    assert found.inputs.mask == Picture(256, 256, "L", b"\xff" * 256 * 64 + b"\0" * 256 * 192)
    assert found.kept is not None
    assert (found.kept.original, found.kept.mask) == (found.inputs.image, found.inputs.mask)


async def test_an_upload_above_the_budget_is_painted_smaller_and_kept_whole(home: AdmissionKit) -> None:
    found = await home.admit(**edit(png((512, 512), hole=(0, 0, 512, 256))))
    assert found.inputs.image is not None
    assert found.inputs.mask is not None
    assert found.kept is not None
    assert (found.inputs.image.width, found.inputs.mask.height) == (256, 256)
    assert (found.kept.original.width, found.kept.mask.height) == (512, 512)


async def test_the_upload_is_kept_at_another_size_too(home: AdmissionKit) -> None:
    found = await home.admit(**edit(png(), png(hole=(0, 0, 9, 9)), size="128x64"))
    assert found.recipe.task is Task.INPAINT
    assert found.inputs.mask is not None
    assert (found.inputs.mask.width, found.inputs.mask.height) == (128, 64)
    assert found.kept is not None
    assert (found.kept.original, found.kept.mask) == (found.inputs.image, found.inputs.mask)


async def test_a_variation_is_new_all_over(home: AdmissionKit) -> None:
    found = await home.admit("", operation=Operation.VARY, images=(Upload("image", png(hole=(0, 0, 99, 99))),))
    assert (found.recipe.task, found.recipe.strength) == (Task.IMAGE_TO_IMAGE, 0.6)
    assert (found.inputs.mask, found.kept) == (None, None)


async def test_uploads_that_cannot_be_edited(home: AdmissionKit) -> None:
    long = await refusal(home, **edit(png((500, 100))))
    assert (type(long), long.param) == (InvalidImage, "image")
    assert (await recipe(home, **edit(png((500, 100)), size="256x64"))).paint_width == 256


def several(*fields: str) -> tuple[Upload, ...]:
    """A picture and, after it, one for each further field, of which nothing is read."""
    return (Upload(fields[0], png()), *(Upload(field, b"") for field in fields[1:]))


@pytest.mark.parametrize("operation", [Operation.EDIT, Operation.VARY])
async def test_of_several_images_the_first_is_painted_and_the_others_are_named(
    home: AdmissionKit, operation: Operation
) -> None:
    one = await home.admit(operation=operation, images=(Upload("image", png()),), seed=1)
    more = await home.admit(operation=operation, images=several("image[0]", "image[1]", "image[2]"), seed=1)
    assert (more.recipe, more.inputs) == (one.recipe, one.inputs)
    assert more.warnings == ("Not used: image[1], image[2]. This model has no IP-Adapter to be guided by.",)
    assert one.warnings == ()


async def test_several_images_are_refused_where_the_operator_says_so(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, edits={"unused_images": "refuse"})
    error = await refusal(home, operation=Operation.EDIT, images=several("image[0]", "image[1]", "image[2]"))
    assert (type(error), error.param) == (InvalidImage, "image[1]")
    assert (await home.admit(**edit(png()))).warnings == ()


pieces = st.lists(
    st.tuples(st.sampled_from(["ink", "INK", "watercolor", "turbo"]), st.integers(-8, 8).map(lambda n: n / 10)),
    min_size=1,
    max_size=5,
)
two_orders = pieces.flatmap(lambda written: st.tuples(st.just(written), st.permutations(written)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(two_orders, st.integers(0, 5))
async def test_equal_blends_however_written_are_one_recipe(
    tmp_path: Path, orders: tuple[list[tuple[str, float]], list[tuple[str, float]]], cut: int
) -> None:
    written, shuffled = orders
    home = admission_kit(tmp_path, LORAS)
    as_name = "+".join(["demo", *(f"{name}:{weight:g}" for name, weight in written)])
    as_fields = tuple(LoraRef(name, weight) for name, weight in shuffled[:cut])
    as_tags = "".join(f"<lora:{name}:{weight:g}>" for name, weight in shuffled[cut:])
    first = await recipe(home, "a cat", model=as_name, seed=1)
    second = await recipe(home, f"a cat{as_tags}", model="demo", loras=as_fields, seed=1)
    assert first == second


async def test_all_orders_of_three(home: AdmissionKit) -> None:
    found = [
        await recipe(home, model="+".join(["demo", *order]), seed=1)
        for order in itertools.permutations(["ink:0.1", "ink:0.2", "ink:0.3", "turbo"])
    ]
    assert len(set(found)) == 1
