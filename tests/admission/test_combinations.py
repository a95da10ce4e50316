"""What cannot be asked for at once is refused, naming the field to change."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from sdxl_gateway.config import DEMO_MODEL, CheckpointFolder, Control, Edits, Upscaler
from sdxl_gateway.core.ask import ControlRef, LoraRef, Operation, Reference, Upload
from sdxl_gateway.core.errors import Refusal
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.pixels import to_image
from tests.kit.admission import AdmissionKit, admission_kit
from tests.kit.control_folders import control_folder, union_folder
from tests.kit.engine import photo
from tests.kit.engine_loras import write_lora
from tests.kit.ip_adapters import section
from tests.kit.upscaler_files import compact, written
from tools.demo_refiner import write_demo_refiner


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> AdmissionKit:
    """The demo and a refiner, with everything that goes beside a checkpoint."""
    folder = tmp_path_factory.mktemp("home")
    write_demo_refiner(folder / "checkpoints" / "fine")
    (folder / "loras").mkdir()
    write_lora(folder / "loras" / "ink.safetensors", DEMO_MODEL, 1)
    return admission_kit(
        folder,
        checkpoint_folder=CheckpointFolder(directory=folder / "checkpoints"),
        controls={
            "canny": Control(path=str(control_folder(folder / "canny")), preprocessor="canny"),
            "union": Control(path=str(union_folder(folder / "union"))),
        },
        upscalers={"sharp": Upscaler(path=written(compact(4), folder / "sharp.safetensors"))},
        ip_adapter=section(folder / "adapter"),
        edits=Edits(unused_images="refuse"),
    )


def picture(field: str) -> Upload:
    return Upload(field, encode(to_image(photo()), "png"))


def holed() -> Image.Image:
    """Opaque but for a hole, as a mask is sent."""
    image = to_image(photo()).convert("RGBA")
    image.paste((0, 0, 0, 0), (16, 16, 48, 48))
    return image


EDIT: dict[str, Any] = {"operation": Operation.EDIT, "images": (picture("image"),)}
REFINE = {**EDIT, "model": "fine"}
MASKED = {**EDIT, "mask": Upload("mask", encode(holed(), "png"))}
CANNY = ControlRef("canny", picture("controls[0].image"), param="controls[0]")
UNION = ControlRef("union", picture("controls[1].image"), param="controls[1]")
GUIDING = (Reference(picture("references[0].image")),)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a refiner of nothing": ({"model": "fine"}, "model"),
    "a refiner refined": ({**REFINE, "refiner": "fine"}, "refiner"),
    "a refiner with a LoRA": ({**REFINE, "loras": (LoraRef("ink", param="loras[0]"),)}, "loras[0]"),
    "a refiner with a LoRA in its name": ({**REFINE, "model": "fine+ink"}, "model"),
    "a refiner with a LoRA in the prompt": ({**REFINE, "prompt": "a cat <lora:ink:1>"}, "prompt"),
    "a refiner with a control": ({**REFINE, "controls": (CANNY,)}, "controls[0].type"),
    "a refiner with references": ({**REFINE, "references": GUIDING}, "references[0].image"),
    "a refiner with a second picture": (
        {**REFINE, "images": (picture("image[0]"), picture("image[1]"))},
        "image[1]",
    ),
    "a union without a mode, after a control": ({"controls": (CANNY, UNION)}, "controls[1].mode"),
    "a larger picture of a masked one": ({**MASKED, "upscale": 2}, "upscale"),
    "a larger picture of a masked one, refined": ({**MASKED, "upscale": 2, "refiner": "fine"}, "upscale"),
    "transparent, without a matte model": ({"background": "transparent", "refiner": "fine"}, "background"),
    "several prompts, refined": (
        {"prompt": "a cat AND a dog", "prompt_syntax": "a1111", "refiner": "fine"},
        "prompt",
    ),
    "a sampler that is none, refined": ({"sampler": "nonsense", "refiner": "fine"}, "sampler"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(home: AdmissionKit, name: str) -> None:
    fields, param = REFUSED[name]
    with pytest.raises(Refusal) as caught:
        await home.admit(**fields)
    assert caught.value.param == param, caught.value.message
    assert caught.value.message


ALLOWED: dict[str, dict[str, Any]] = {
    "everything": {"controls": (CANNY,), "references": GUIDING, "refiner": "fine", "upscale": 2},
    "everything, with a LoRA and long": {
        "prompt": "red circle " * 60 + "<lora:ink:0.5>",
        "controls": (CANNY,),
        "references": GUIDING,
        "refiner": "fine",
    },
    "an inpaint": {**MASKED, "controls": (CANNY,), "references": GUIDING, "refiner": "fine"},
    "a refined picture": {**REFINE, "upscale": 2},
}


@pytest.mark.parametrize("name", ALLOWED)
async def test_admitted_without_a_word(home: AdmissionKit, name: str) -> None:
    assert not (await home.admit(**ALLOWED[name])).warnings
