"""What a key is not for is not there: not listed, not found, not usable, by whatever way it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Checkpoint, HouseStyle, LoraWeight
from sdxl_gateway.core.ask import Ask, LoraRef, Operation
from sdxl_gateway.core.caller import ANYBODY, Caller, Role
from sdxl_gateway.core.errors import Forbidden, ModelNotFound, Refusal
from tests.kit.admission import DEMO, AdmissionKit, admission_kit
from tests.kit.lora_files import write

STYLES = {
    "storybook": HouseStyle(loras=(LoraWeight(name="ink"), LoraWeight(name="watercolor"))),
    "poster": HouseStyle(loras=(LoraWeight(name="ink"),)),
}
INK = Caller("art", loras=("in*",))
DEMO_ONLY = Caller("art", models=("demo", "gpt-image-*"))


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    aliases = {"gpt-image-*": "default", "pretty": "demo+watercolor"}
    checkpoints = {"demo": DEMO, "second": Checkpoint(path="demo")}
    loras = {"ink": "", "watercolor": "", "team/watercolor": ""}
    (tmp_path / "loras/team").mkdir(parents=True)
    return admission_kit(tmp_path, loras, aliases=aliases, models=STYLES, checkpoints=checkpoints)


async def admitted(home: AdmissionKit, caller: Caller, prompt: str = "a cat", **fields: Any) -> tuple[str, ...]:
    resolved = await home.admission.seen_by(caller).resolve(Ask(Operation.GENERATE, prompt, **fields))
    return resolved.loras


WAYS: list[dict[str, Any]] = [
    {"model": "demo+watercolor"},
    {"model": "watercolor"},
    {"model": "ink+watercolor:0.5"},
    {"model": "demo+ink+watercolor"},
    {"model": "demo", "loras": (LoraRef("watercolor"),)},
    {"model": "demo", "loras": (LoraRef("team/watercolor"),)},
    {"model": "demo", "prompt": "a cat <lora:watercolor:1>"},
    {"model": "storybook"},
    {"model": "pretty"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_a_lora_it_is_not_for_is_not_there(home: AdmissionKit, way: dict[str, Any]) -> None:
    """It is told exactly what it would be told of a LoRA that does not exist."""
    assert await admitted(home, ANYBODY, **way)
    with pytest.raises(Refusal) as refused:
        await admitted(home, INK, **way)
    renamed = {key: _renamed(value) for key, value in way.items()}
    if "storybook" in way.values() or "pretty" in way.values():
        assert refused.value.code == "model_not_found"
        return
    with pytest.raises(Refusal) as unknown:
        await admitted(home, INK, **renamed)
    assert refused.value.message == unknown.value.message.replace("wotercolor", "watercolor")
    assert (refused.value.code, refused.value.param) == (unknown.value.code, unknown.value.param)


def _renamed(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("watercolor", "wotercolor")
    return tuple(LoraRef(ref.name.replace("watercolor", "wotercolor")) for ref in value)


@pytest.mark.parametrize(
    "way",
    [
        {"model": "demo+ink"},
        {"model": "INK"},
        {"model": "poster"},
        {"model": "demo", "loras": (LoraRef("ink"),)},
        {"model": "demo", "prompt": "a cat <lora:ink:1>"},
    ],
    ids=str,
)
async def test_what_it_is_for_is_as_for_anybody(home: AdmissionKit, way: dict[str, Any]) -> None:
    assert await admitted(home, INK, **way) == ("ink",)


def test_a_broken_file_it_is_not_for_is_not_told_of(home: AdmissionKit, tmp_path: Path) -> None:
    for name in ("inked", "charcoal"):
        write(tmp_path / f"loras/{name}.safetensors", b"broken")
    home.adapters.scan()
    library = home.library.seen_by(INK)
    assert {problem["file"] for problem in library.lora_problems()} == {"inked.safetensors"}
    with pytest.raises(ModelNotFound):
        library.model("charcoal")


def test_only_what_it_is_for_is_listed(home: AdmissionKit) -> None:
    library = home.library.seen_by(INK)
    assert [card.id for card in library.models()] == ["demo", "second", "poster", "ink"]
    assert [lora["name"] for lora in library.loras()] == ["ink"]
    for name in ("watercolor", "demo+watercolor", "storybook", "pretty"):
        with pytest.raises(ModelNotFound):
            library.model(name)


async def test_a_lora_it_is_not_for_is_neither_shown_nor_added_nor_removed(home: AdmissionKit) -> None:
    keeper = Caller("art", frozenset({Role.MANAGE_LORAS}), loras=("ink", "art/*"))
    library = home.library.seen_by(keeper)
    with pytest.raises(ModelNotFound):
        await library.lora("watercolor")
    with pytest.raises(ModelNotFound):
        await library.remove_lora("watercolor")
    with pytest.raises(Forbidden):
        await library.add_lora("other/new", _nothing(), replace=False)


async def _nothing() -> Any:
    yield b""


@pytest.mark.parametrize("model", ["second", "storybook", "second+ink", "pretty", "SECOND"])
async def test_a_model_it_is_not_for_is_not_there(home: AdmissionKit, model: str) -> None:
    await admitted(home, ANYBODY, model=model)
    with pytest.raises(ModelNotFound):
        await admitted(home, DEMO_ONLY, model=model)
    with pytest.raises(ModelNotFound):
        home.library.seen_by(DEMO_ONLY).model(model)


@pytest.mark.parametrize("model", ["demo", "Demo", "demo+ink", "ink", "gpt-image-1", None])
async def test_a_model_it_is_for(home: AdmissionKit, model: str | None) -> None:
    await admitted(home, DEMO_ONLY, model=model)
    await admitted(home, Caller("art", models=("DEMO", "gpt-image-1")), model=model)


async def test_a_style_is_there_without_what_it_stands_for(home: AdmissionKit) -> None:
    """What an operator put together is a name of its own."""
    styled = Caller("art", models=("poster",))
    assert await admitted(home, styled, model="poster") == ("ink",)
    for name in ("demo", None, "ink"):
        with pytest.raises(ModelNotFound):
            await admitted(home, styled, model=name)
    assert [card.id for card in home.library.seen_by(styled).models() if card.kind != "lora"] == ["poster"]
