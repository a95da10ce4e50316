"""What a request says about its prompts' reading: whose word counts, and what is refused under which field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Checkpoint, HouseStyle, Limits, LoraWeight, Prompts
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.admission import DEMO, admission_kit


async def test_the_clip_skip_of_request_style_lora_and_checkpoint(tmp_path: Path) -> None:
    home = admission_kit(
        tmp_path,
        {"told": "clip_skip = 3", "deep": "clip_skip = 12", "ink": ""},
        checkpoints={"demo": DEMO, "last": Checkpoint(path="demo", clip_skip=1)},
        models={"usual": HouseStyle(clip_skip=2, loras=(LoraWeight(name="told"),))},
    )

    async def of(model: str, **fields: Any) -> int:
        return (await home.admit(model=model, **fields)).recipe.reading.clip_skip

    assert [await of(name) for name in ("demo", "ink", "last", "told", "usual", "last+told")] == [2, 2, 1, 3, 2, 3]
    assert await of("told", clip_skip=1) == 1
    # The demo's encoders have three layers: what is only recommended is cut, so that nobody's request fails for it.
    assert await of("deep") == 3
    with pytest.raises(InvalidRequest, match="have 3 layers") as refused:
        await of("demo", clip_skip=4)
    assert refused.value.param == "clip_skip"


async def test_long_prompts_are_read_unless_they_are_to_be_cut(tmp_path: Path) -> None:
    async def chunks(**settings: Any) -> int:
        return (await admission_kit(tmp_path, **settings).admit()).recipe.reading.max_chunks

    assert await chunks() == 32
    assert await chunks(limits=Limits(max_prompt_chunks=5)) == 5
    assert await chunks(prompts=Prompts(long_prompts=False)) == 1
