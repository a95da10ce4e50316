"""Controls become part of a recipe, with maps at paint size; or are refused by the entry's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from sdxl_gateway.admission.resolve import Admission, ResolvedAsk
from sdxl_gateway.catalog.controls import open_controls
from sdxl_gateway.config import Control as Section
from sdxl_gateway.core.ask import Ask, ControlRef, Operation, Upload
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest, RecipeChanged
from sdxl_gateway.core.recipe import Control
from sdxl_gateway.delivery.receipt import receipt, usage
from sdxl_gateway.pictures.canny import canny
from sdxl_gateway.pictures.decode import cover
from sdxl_gateway.pictures.infotext import infotext
from sdxl_gateway.pictures.pixels import from_image, to_image
from tests.kit.admission import AdmissionKit, admission_kit
from tests.kit.control_folders import control_folder, union_folder
from tests.kit.decoders import decoders
from tests.kit.gateway import noise, upload
from tests.kit.sdxl_shapes import sdxl_shapes


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("controls")
    return {"control": control_folder(root / "control"), "union": union_folder(root / "union")}


@pytest.fixture
def home(tmp_path: Path, folders: Mapping[str, Path]) -> AdmissionKit:
    path, union = str(folders["control"]), str(folders["union"])
    sections = {
        "canny": Section(path=path, preprocessor="canny"),
        "sketch": Section(path=path),
        "many": Section(path=union),
        "depth": Section(path=union),
    }
    return admission_kit(tmp_path, controls=sections)


DRAWN = noise((256, 256)).convert("RGB")


def ref(kind: str = "canny", image: Image.Image = DRAWN, **more: Any) -> ControlRef:
    param = more.pop("param", "controls[0]")
    return ControlRef(kind, upload(image, f"{param}.image"), param=param, **more)


async def admitted(home: AdmissionKit, *refs: ControlRef, size: str = "256x256", **fields: Any) -> ResolvedAsk:
    return await home.admit(controls=refs, size=size, **fields)


async def test_everything_is_decided(home: AdmissionKit) -> None:
    found = await admitted(
        home, ref(weight=0.5, start=0.1, end=0.9), ref("SKETCH"), ref("depth"), ref("many", mode="3")
    )
    controls = found.recipe.controls
    digests = {name: entry.digest for name, entry in open_controls(home.settings.controls).items()}
    assert controls == (
        Control("canny", digests["canny"], 0.5, 0.1, 0.9, None, "canny"),
        Control("sketch", digests["canny"], 1.0),
        Control("depth", digests["many"], 1.0, mode=1),
        Control("many", digests["many"], 1.0, mode=3),
    )
    assert found.inputs.pictures["control:0"] == from_image(canny(DRAWN))
    assert found.inputs.pictures["control:1"] == from_image(DRAWN)
    assert [role for role, _ in found.recipe.inputs] == [f"control:{i}" for i in range(4)]
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("kind", "preprocess", "made_by"),
    [
        ("canny", None, "canny"),
        ("canny", True, "canny"),
        ("canny", False, None),
        ("canny", "gray", "gray"),
        ("sketch", None, None),
        ("sketch", False, None),
        ("sketch", "line", "line"),
    ],
)
async def test_what_makes_the_map(home: AdmissionKit, kind: str, preprocess: Any, made_by: str | None) -> None:
    found = await admitted(home, ref(kind, preprocess=preprocess))
    assert found.recipe.controls[0].preprocessor == made_by
    made = {"canny": canny(DRAWN), "gray": DRAWN.convert("L"), "line": ImageOps.invert(DRAWN.convert("L"))}
    assert found.inputs.pictures["control:0"] == from_image(DRAWN if made_by is None else made[made_by])


@pytest.mark.parametrize("operation", [Operation.GENERATE, Operation.EDIT, Operation.VARY])
async def test_every_operation_has_them(home: AdmissionKit, operation: Operation) -> None:
    images = () if operation is Operation.GENERATE else (upload(noise((256, 256))),)
    found = await admitted(home, ref(), operation=operation, images=images)
    assert "control:0" in found.inputs.pictures
    assert ("image" in found.inputs.pictures) is bool(images)


async def test_another_aspect_is_cut_as_a_picture_is_and_that_is_told(home: AdmissionKit) -> None:
    wide = noise((400, 200)).convert("RGB")
    found = await admitted(home, ref("sketch", wide), ref("sketch", param="controls[1]"), size="200x200")
    assert found.inputs.pictures["control:0"] == from_image(wide.crop((100, 0, 300, 200)))
    assert found.warnings == (
        "The picture of controls[0] has another aspect than the painting: 400x200 was cut evenly to that of 200x200.",
    )
    enlarged = await admitted(home, ref("sketch", noise((32, 32))))
    assert enlarged.warnings == ()
    assert to_image(enlarged.inputs.pictures["control:0"]).size == (256, 256)


async def test_a_mask_painted_with_its_surroundings_has_that_part_of_the_map(home: AdmissionKit) -> None:
    hole = noise((256, 256), hole=(96, 128, 128, 160))
    found = await admitted(home, ref("sketch"), operation=Operation.EDIT, images=(upload(hole),), inpaint_padding=16)
    assert found.kept is not None
    box = found.kept.box
    assert box is not None
    part = to_image(found.inputs.pictures["control:0"])
    assert part.size == (found.recipe.paint_width, found.recipe.paint_height)
    expected = cover(DRAWN.crop((box.left, box.top, box.right, box.bottom)), *part.size, Image.Resampling.LANCZOS)
    assert part == expected
    assert found.warnings == ()


async def refused(home: AdmissionKit, one: ControlRef, param: str, code: str) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        await admitted(home, one)
    assert (refusal.value.param, refusal.value.code) == (param, code)
    return refusal.value.message


async def test_refusals_name_the_entry(home: AdmissionKit) -> None:
    told = await refused(home, ref("pose"), "controls[0].type", "control_not_found")
    assert "'canny', 'sketch', 'many', 'depth'" in told
    told = await refused(home, ref("many"), "controls[0].mode", "invalid_value")
    assert "'openpose', 'depth', 'softedge'" in told
    for mode in ("tile", "6", "-1", "no such"):
        await refused(home, ref("many", mode=mode), "controls[0].mode", "invalid_value")
    await refused(home, ref("canny", mode="canny"), "controls[0].mode", "invalid_value")
    told = await refused(home, ref("sketch", preprocess=True), "controls[0].preprocess", "invalid_value")
    assert "'canny', 'line'" in told


async def test_without_any_configured_the_refusal_says_what_to_do(tmp_path: Path) -> None:
    told = await refused(admission_kit(tmp_path), ref(), "controls[0].type", "control_not_found")
    assert "[controls.TYPE]" in told


async def test_one_that_does_not_fit_the_checkpoint(home: AdmissionKit) -> None:
    """A checkpoint of SDXL's real widths, and ControlNets of the demo's."""
    checkpoints = {name: replace(entry, shapes=sdxl_shapes()) for name, entry in home.checkpoints.items()}
    admission = Admission(home.settings, checkpoints, home.adapters, decoders(home.settings.limits))
    with pytest.raises(InvalidRequest) as refusal:
        await admission.resolve(Ask(Operation.GENERATE, "a cat", controls=(ref(),)))
    assert (refusal.value.param, refusal.value.code) == ("controls[0].type", "control_does_not_fit")


async def test_a_picture_that_cannot_be_decoded(home: AdmissionKit) -> None:
    broken = replace(ref(), image=Upload("controls[0].image", upload(DRAWN).data[:300]))
    with pytest.raises(InvalidImage) as refusal:
        await admitted(home, broken)
    assert refusal.value.param == "controls[0].image"
    assert (await admitted(home, ref())).recipe.controls


async def test_the_reply_says_it_and_the_same_can_be_asked_again(home: AdmissionKit) -> None:
    recipe = (await admitted(home, ref(weight=0.5), ref("many", mode="canny", preprocess="line"))).recipe
    told = receipt(recipe, seed=1, version="0")["controls"]
    digests = [control.digest for control in recipe.controls]
    common = {"start": 0.0, "end": 1.0}
    assert told == [
        {"type": "canny", "digest": digests[0], "weight": 0.5, "preprocess": "canny", **common},
        {"type": "many", "digest": digests[1], "weight": 1.0, "preprocess": "line", "mode": 3, **common},
    ]
    text = infotext(recipe, seed=1, version="0")
    assert f'ControlNet 1: "Module: line, Model: many [{digests[1][:8]}], Weight: 1, Guidance Start: 0' in text
    again = await admitted(home, ref(weight=0.5, digest=digests[0]), ref("many", mode="3", preprocess="line"))
    assert again.recipe.controls == recipe.controls
    for changed in (ref(digest="0" * 64), ref("gone", digest=digests[0])):
        with pytest.raises(RecipeChanged):
            await admitted(home, changed)


async def test_each_map_is_an_input_that_is_counted(home: AdmissionKit) -> None:
    plain, two = [(await admitted(home, *[ref()] * count)).recipe for count in (0, 2)]
    counted = [usage(recipe, has_input=False)["input_tokens_details"]["image_tokens"] for recipe in (plain, two)]
    assert counted == [0, 2 * 256 * 256 // 128**2]


async def test_a_client_can_ask_before(home: AdmissionKit, tmp_path: Path) -> None:
    told = home.library.model("demo").capabilities
    assert told is not None
    modes = ["openpose", "depth", "softedge", "canny", "normal", "segment"]
    assert told["controls"] == {
        "canny": {"modes": [], "preprocessor": "canny"},
        "sketch": {"modes": [], "preprocessor": None},
        "many": {"modes": modes, "preprocessor": None},
        "depth": {"modes": modes, "preprocessor": None},
    }
    assert (told["preprocessors"], told["max_controls"]) == (["canny", "line", "gray", "blur", "tile"], 4)
    bare = admission_kit(tmp_path).library.model("demo").capabilities
    assert bare is not None
    assert "controls" not in bare
