"""LoRA blends: pictures as diffusers paints them with the same files, and no trace of a blend after its removal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.events import AdapterLoaded, BlendSwitched, MemoryHeld
from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.recipe import NO_BLEND, Blend, BlendPart, Recipe, Task
from tests.kit.engine import Studio, difference, mask, photo, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.reference import Reference

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]


@dataclass(frozen=True)
class Lora:
    path: Path
    digest: str


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = studio(tmp_path_factory.mktemp("data"))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def loras(room: Studio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lora, Lora, Lora]:
    folder = tmp_path_factory.mktemp("loras")
    paths = [write_lora(folder / f"{seed}.safetensors", room.folder, seed, text=seed != 2) for seed in (1, 2, 3)]
    first, second, third = [Lora(path, admitted(path, room.data_directory)) for path in paths]
    return first, second, third


@pytest.fixture
def theirs(room: Studio, loras: tuple[Lora, Lora, Lora]) -> Reference:
    """diffusers with all three files loaded and none active."""
    reference = Reference(room.folder)
    for name, lora in zip("abc", loras, strict=True):
        reference.base.load_lora_weights(lora.path, adapter_name=name)
    return reference


@pytest.mark.parametrize(
    ("names", "weights"), [("a", (1.0,)), ("b", (-0.5,)), ("ab", (0.8, 0.5)), ("abc", (0.6, -0.4, 1.1))]
)
def test_the_picture_diffusers_paints_with_the_same_files(
    room: Studio, loras: tuple[Lora, Lora, Lora], theirs: Reference, names: str, weights: tuple[float, ...]
) -> None:
    parts = [(loras["abc".index(name)].digest, weight) for name, weight in zip(names, weights, strict=True)]
    theirs.base.set_adapters(list(names), adapter_weights=list(weights))
    wanted = recipe(blend=blend(*parts), negative_prompt="green")
    ours = room.paint(wanted)
    assert difference(ours, theirs.paint(wanted)) <= 1
    assert difference(ours, room.paint(replace(wanted, blend=NO_BLEND))) > 5


def test_the_text_encoders_have_a_weight_of_their_own(room: Studio, loras: tuple[Lora, Lora, Lora]) -> None:
    digest = loras[0].digest
    unet_only, both = (Blend.of([BlendPart(digest, 0.8, text)]) for text in (0.0, 0.8))
    assert unet_only.unet_key == both.unet_key
    assert difference(room.paint(recipe(blend=unet_only)), room.paint(recipe(blend=both))) > 0


def test_a_blend_leaves_nothing_behind(room: Studio, loras: tuple[Lora, Lora, Lora]) -> None:
    a, b = blend((loras[0].digest, 0.9)), blend((loras[1].digest, 0.7), (loras[2].digest, 0.2))
    order = [NO_BLEND, a, b, a, NO_BLEND, b, NO_BLEND, a]
    pictures = [room.paint(recipe(blend=one)) for one in order]
    for one, picture in zip(order, pictures, strict=True):
        assert picture == pictures[order.index(one)]
    assert len({picture.pixels for picture in pictures}) == 3


def test_weights_return_bit_for_bit(fresh: Studio, loras: tuple[Lora, Lora, Lora]) -> None:
    components = fresh.loaded().checkpoint.blendable()
    before = {name: {key: t.clone() for key, t in part.state_dict().items()} for name, part in components.items()}
    digests = [admitted(lora.path, fresh.data_directory) for lora in loras]
    for wanted in (blend(*((digest, 0.9) for digest in digests)), blend((digests[1], -2.0))):
        fresh.paint(recipe(blend=wanted, steps=1))
        assert any(
            not torch.equal(t, before[name][key])
            for name, part in components.items()
            for key, t in part.state_dict().items()
        )
    fresh.paint(recipe("another text", steps=1))
    for name, part in components.items():
        assert all(torch.equal(t, before[name][key]) for key, t in part.state_dict().items())


def test_jobs_of_many_blends_step_by_turns(room: Studio, loras: tuple[Lora, Lora, Lora]) -> None:
    digests = [lora.digest for lora in loras]
    wanted: list[tuple[Recipe, Inputs]] = [
        (recipe("a star", seed=1), NO_INPUTS),
        (recipe("a star", blend=blend((digests[0], 0.7)), seed=2, sampler="euler_a"), NO_INPUTS),
        (recipe("a tree", blend=blend((digests[0], 0.7)), seed=3, steps=2), NO_INPUTS),
        (
            recipe(blend=blend((digests[1], 1.0), (digests[2], 0.5)), task=Task.IMAGE_TO_IMAGE, strength=0.9),
            Inputs({"image": photo()}),
        ),
        (
            recipe(blend=blend((digests[2], -0.6)), task=Task.INPAINT, sampler="dpmpp_2m"),
            Inputs({"image": photo(), "mask": mask()}),
        ),
    ]
    alone = [room.paint(one, inputs) for one, inputs in wanted]
    canvases = [room.engine.begin(one, 0, inputs) for one, inputs in wanted]
    turns = [[3], [0], [1, 2], [4], [0], [3], [2, 1], [4], [0], [1], [4]]
    for turn in turns:
        room.engine.step([canvases[i] for i in turn])
    assert all(canvas.steps_done == canvas.steps_total for canvas in canvases)
    for picture, canvas in zip(alone, canvases, strict=True):
        assert difference(room.engine.finish(canvas).result(), picture) <= 1


def test_prefetch_brings_adapters_near_before_they_are_wanted(fresh: Studio, loras: tuple[Lora, Lora, Lora]) -> None:
    digest = admitted(loras[0].path, fresh.data_directory)
    wanted = recipe(blend=blend((digest, 1.0)))
    fresh.engine.prefetch(wanted).result(timeout=30)
    fresh.told.clear()
    fresh.paint(wanted)
    fresh.engine.release(wanted)
    assert not [m for m in fresh.told if isinstance(m, AdapterLoaded)]
    assert [m for m in fresh.told if isinstance(m, BlendSwitched) and m.layers]
    last = [m for m in fresh.told if isinstance(m, MemoryHeld)][-1]
    assert last.blend == ((digest, 1.0),)
    assert digest in last.warm["vram"]


def test_an_adapter_that_is_not_there(room: Studio) -> None:
    wanted = recipe(blend=blend(("0" * 64, 1.0)))
    with pytest.raises(AdapterRefused):
        room.engine.prefetch(wanted).result(timeout=30)
    room.engine.release(wanted)
    with pytest.raises(AdapterRefused):
        room.paint(wanted)
    assert room.paint(recipe()) == room.paint(recipe())
