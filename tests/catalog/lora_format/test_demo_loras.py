"""The LoRAs that come with the project fit the checkpoint that comes with it, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import DEMO_LORAS, DEMO_MODEL, HeaderCaps

FILES = sorted(DEMO_LORAS.iterdir())


def test_there_are_three() -> None:
    assert [path.name for path in FILES] == ["outline.safetensors", "stripes.safetensors", "sunset.safetensors"]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_plan_leaves_nothing_over(path: Path) -> None:
    header = read_header(path, HeaderCaps())
    plan = plan_lora(header, module_shapes(DEMO_MODEL))
    assert plan.unmatched == ()
    assert sorted(key for part in plan.parts for key in part.tensors.values()) == sorted(header.tensors)
