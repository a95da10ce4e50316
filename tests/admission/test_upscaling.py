"""Which net enlarges a picture, and how large it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Checkpoint, Limits, Upscaler
from sdxl_gateway.core.ask import Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.delivery.receipt import receipt
from tests.kit.admission import AdmissionKit, admission_kit
from tests.kit.gateway import noise, upload
from tests.kit.upscaler_files import compact, rrdb, written

SMALL = Checkpoint(path="demo", native_pixels=256 * 256)


@pytest.fixture
def nets(tmp_path: Path) -> dict[str, Upscaler]:
    made = {"Sharp": compact(4), "soft": rrdb(2)}
    return {name: Upscaler(path=written(net, tmp_path / f"{name}.safetensors")) for name, net in made.items()}


@pytest.fixture
def home(tmp_path: Path, nets: Mapping[str, Upscaler]) -> AdmissionKit:
    limits = Limits(max_upscaled_pixels=1024 * 1024)
    return admission_kit(tmp_path, upscalers=nets, checkpoints={"demo": SMALL}, limits=limits)


@pytest.mark.parametrize(
    ("asked", "size", "painted", "net"),
    [
        ({"size": "256x256"}, (256, 256), (256, 256), ""),
        ({"size": "256x256", "upscale": 2}, (512, 512), (256, 256), "Sharp"),
        ({"size": "256x128", "upscale": 4, "upscaler": "SOFT"}, (1024, 512), (256, 128), "soft"),
        ({"size": "512x512"}, (512, 512), (256, 256), "Sharp"),
        ({"size": "512x512", "upscaler": "lanczos"}, (512, 512), (256, 256), ""),
        ({"size": "264x256"}, (264, 256), (256, 248), ""),
        ({"upscale": 2}, (512, 512), (256, 256), "Sharp"),
    ],
)
async def test_sizes_and_nets(
    home: AdmissionKit, asked: dict[str, Any], size: tuple[int, int], painted: tuple[int, int], net: str
) -> None:
    recipe = (await home.admit(**asked)).recipe
    assert (recipe.width, recipe.height) == size
    assert (recipe.paint_width, recipe.upscaler) == (painted[0], net)
    assert bool(recipe.upscaler_digest) is bool(net)
    told = receipt(recipe, seed=1, version="1")
    times = asked.get("upscale", 1)
    assert told["size"] == f"{size[0] // times}x{size[1] // times}"
    assert (told.get("upscale", 1), told.get("upscaler", "")) == (times, net)


async def test_an_edit_is_upscaled_and_one_with_a_mask_is_not(home: AdmissionKit) -> None:
    images = (upload(noise((256, 128))),)
    found = await home.admit(operation=Operation.EDIT, images=images, upscale=2)
    assert (found.recipe.width, found.recipe.height, found.warnings) == (512, 256, ())
    holed: tuple[Upload, ...] = (upload(noise((256, 128), hole=(0, 0, 64, 64))),)
    with pytest.raises(InvalidRequest, match="another request") as refused:
        await home.admit(operation=Operation.EDIT, images=holed, upscale=2)
    assert refused.value.param == "upscale"


@pytest.mark.parametrize(
    ("asked", "param", "match"),
    [
        ({"size": "512x512", "upscale": 4}, "upscale", "2048x2048 is above"),
        ({"upscaler": "nope"}, "upscaler", "'Sharp', 'soft', 'lanczos'"),
    ],
)
async def test_refused(home: AdmissionKit, asked: dict[str, Any], param: str, match: str) -> None:
    with pytest.raises(InvalidRequest, match=match) as refused:
        await home.admit(**asked)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ({"size": "256x256", "upscale": 2}, 0.25),
        ({"size": "256x256", "upscale": 2, "detail": 0.4}, 0.4),
        ({"size": "256x256", "upscale": 2, "detail": 0.0}, 0.0),
        ({"size": "256x256", "upscale": 2, "upscaler": "soft"}, 0.0),
        ({"size": "512x512", "upscaler": "lanczos"}, 0.0),
        ({"size": "512x512", "upscaler": "lanczos", "detail": 0.3}, 0.3),
        ({"size": "256x256"}, 0.0),
    ],
)
async def test_how_far_it_is_painted_over(
    tmp_path: Path, nets: Mapping[str, Upscaler], asked: dict[str, Any], detail: float
) -> None:
    sharp = nets["Sharp"].model_copy(update={"detail": 0.25})
    home = admission_kit(tmp_path, upscalers={**nets, "Sharp": sharp}, checkpoints={"demo": SMALL})
    recipe = (await home.admit(**asked)).recipe
    assert recipe.detail == detail
    assert receipt(recipe, seed=1, version="1").get("detail", 0.0) == detail
    told = home.library.model("demo").capabilities
    assert told is not None
    assert told["detail"] == 0.25


async def test_nothing_to_paint_over(home: AdmissionKit) -> None:
    with pytest.raises(InvalidRequest, match="painted at that size") as refused:
        await home.admit(size="256x256", detail=0.3)
    assert refused.value.param == "detail"
    holed: tuple[Upload, ...] = (upload(noise((512, 256), hole=(0, 0, 64, 64))),)
    with pytest.raises(InvalidRequest, match="another request") as refused:
        await home.admit(operation=Operation.EDIT, images=holed, detail=0.3)
    assert refused.value.param == "detail"


async def test_without_any_net(tmp_path: Path) -> None:
    bare = admission_kit(tmp_path)
    with pytest.raises(InvalidRequest, match=r"\[upscalers\.NAME\]") as refused:
        await bare.admit(upscale=2)
    assert refused.value.param == "upscale"
    assert "upscalers" not in (bare.library.model("demo").capabilities or {})


def test_what_a_model_tells(home: AdmissionKit) -> None:
    told = home.library.model("demo").capabilities
    assert told is not None
    assert told["upscalers"] == ["Sharp", "soft", "lanczos"]
