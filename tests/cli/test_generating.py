"""One picture without a server does nothing that only later pictures gain from."""

from __future__ import annotations

import pytest

from sdxl_gateway.cli.generating import _for_one_picture
from sdxl_gateway.config import Engine, Settings


@pytest.mark.parametrize(("asked", "sizes"), [("auto", ()), (("512x512",), ("512x512",))])
def test_only_sizes_that_were_named_are_compiled_for(asked: tuple[str, ...] | str, sizes: tuple[str, ...]) -> None:
    engine = Engine.model_validate({"compiled_sizes": asked, "dtype": "float32"})
    found = _for_one_picture(Settings(engine=engine)).engine
    assert (found.compiled_sizes, found.warm_up, found.dtype) == (sizes, False, "float32")
