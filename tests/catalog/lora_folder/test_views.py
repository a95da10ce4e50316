"""What a key sees of the LoRAs is made once, until the folder changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.views import Views
from sdxl_gateway.config import DEMO_LORAS, Loras
from sdxl_gateway.core.errors import ModelNotFound


def test_the_same_globs_get_the_same_view_until_the_next_look(tmp_path: Path) -> None:
    catalog = LoraCatalog(Loras(directory=DEMO_LORAS), tmp_path)
    catalog.scan()
    view = catalog.only(("s*",))
    assert [entry.name for entry in view.entries()] == ["stripes", "sunset"]
    assert catalog.only(("s*",)) is view
    assert catalog.only(("outline",)) is not view
    with pytest.raises(ModelNotFound):
        view.find("outline")
    catalog.scan()
    assert catalog.only(("s*",)) is not view


def test_those_asked_for_longest_ago_make_room() -> None:
    made: list[str] = []

    def make(globs: tuple[str, ...]) -> str:
        made.extend(globs)
        return "x" * 9

    views: Views[str] = Views(str, most_entries=20)
    for name in ("a", "b", "a", "c", "a", "b"):
        views.of((name,), make)
    assert made == ["a", "b", "c", "b"]


def test_a_view_larger_than_all_there_is_room_for_is_kept_alone() -> None:
    views: Views[str] = Views(str, most_entries=5)
    first = views.of(("a",), lambda _: "x" * 99)
    assert views.of(("a",), lambda _: "y") is first
