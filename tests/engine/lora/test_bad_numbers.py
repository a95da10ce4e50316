"""Files with valid headers but NaN or infinite values: the engine refuses them while reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_folder.copies import keep_copy
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora.formats import lay_out
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.lora.stored import stored_adapters
from tests.kit.bad_loras import SHAPES, BadLora, catalogue


@pytest.mark.parametrize("bad", [bad for bad in catalogue() if bad.family == "numbers"], ids=lambda bad: bad.name)
def test_it_is_refused_before_a_weight_is_written(tmp_path: Path, bad: BadLora) -> None:
    bad.lay(tmp_path)
    digest = keep_copy(tmp_path / f"{bad.name}.safetensors", tmp_path)
    layout = lay_out(stored_adapters(tmp_path, SHAPES, Loras())(digest))
    with pytest.raises(AdapterRefused, match="finite") as refused:
        read_factors(layout, pinned=False)
    assert str(tmp_path) not in refused.value.message
    assert len(refused.value.message) < 1000
