"""Keys and values of texts: computed once for a picture and a blend, bit for bit the same, evicted for others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.blends import random_unet
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import NO_BLEND, Blend, Phase
from sdxl_gateway.engine.canvas import UNetCall
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.models.text_layers import TextLayers
from sdxl_gateway.engine.parts.text_keys import TEXT_KEYS, Shelf, TextKeys
from tests.kit.engine import Studio, difference, recipe
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.launches import Launches
from tools.full_size_model import UNET

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

META = torch.device("meta")


def meta(*shape: int) -> Tensor:
    return torch.empty(*shape, device=META, dtype=torch.float16)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return random_unet(UNET, META, torch.float16)


def guided_step(unet: nn.Module, text: Tensor) -> Launches:
    added = {"text_embeds": meta(2, 1280), "time_ids": meta(2, 6)}
    found = Launches()
    with torch.no_grad(), found:
        unet(meta(2, 4, 128, 128), meta(2), encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)
    return found


def test_a_guided_step_of_the_published_model_makes_140_products_less(unet: nn.Module) -> None:
    text = meta(2, 77, 2048)
    before = guided_step(unet, text)
    layers = TextLayers.of(unet)
    made = Launches()
    with torch.no_grad(), made:
        ready = layers.keys_and_values(text)
    after = guided_step(unet, ready)
    assert before.launches - after.launches == len(layers.layers) == 140
    assert before.by_name - after.by_name == Counter(mm=140)
    assert made.launches == 141
    assert ready.nbytes == 2 * 77 * 166_400 * 2


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each text for which keys and values were computed."""
    rows: list[int] = []
    plain = TextLayers.keys_and_values

    def counting(self: TextLayers, text: Tensor) -> Tensor:
        rows.append(len(text))
        return plain(self, text)

    monkeypatch.setattr(TextLayers, "keys_and_values", counting)
    return rows


@pytest.fixture(scope="module")
def blends(demo: Studio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Blend, Blend]:
    folder = tmp_path_factory.mktemp("loras")
    paths = [write_lora(folder / f"{seed}.safetensors", demo.folder, seed, text=False) for seed in (1, 2)]
    one, two = (admitted(path, demo.data_directory) for path in paths)
    return blend((one, 0.8)), blend((one, -0.4), (two, 0.7))


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The UNet computes keys and values at each step, as in diffusers' pipelines."""
    with monkeypatch.context() as patch:
        patch.setattr(TextKeys, "join", classmethod(lambda *_: None))
        yield patch


def test_pictures_whose_blends_take_turns_keep_theirs_and_are_the_same_to_the_bit(
    demo: Studio, blends: tuple[Blend, Blend], made: list[int], as_it_is: pytest.MonkeyPatch
) -> None:
    wanted = [recipe(blend=one, steps=4, negative_prompt="green") for one in (NO_BLEND, *blends)]
    plain = [demo.paint(one) for one in wanted]
    assert made == []
    as_it_is.undo()
    canvases = [demo.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    demo.step(canvases)
    assert made == [2, 2, 2]
    assert demo.finish(canvases) == plain


def test_a_blend_that_changes_half_way_has_them_made_anew(
    demo: Studio, blends: tuple[Blend, Blend], made: list[int], as_it_is: pytest.MonkeyPatch
) -> None:
    changed = replace(recipe(steps=4), later_phases=(Phase("demo", "demo", blends[0], from_step=2),))
    plain = demo.paint(changed)
    as_it_is.undo()
    assert demo.paint(changed) == plain
    assert made == [2, 2]


def test_in_a_batch_each_canvas_brings_its_own(demo: Studio, made: list[int]) -> None:
    """One is cancelled, and one takes more steps."""
    wanted = [recipe(prompt="a blue square"), recipe(steps=5), recipe(prompt="green", seed=3, sampler="lcm")]
    alone = [demo.paint(one) for one in wanted]
    made.clear()
    canvases = [demo.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    demo.step(canvases, steps=1)
    gone = canvases.pop()
    assert held(demo.engine._pool.ledger) == 3
    del gone
    demo.step(canvases)
    assert made == [2, 2, 2]
    assert max(map(difference, demo.finish(canvases), alone[:2])) <= 1
    assert held(demo.engine._pool.ledger) == 1
    beside = demo.engine.begin(wanted[0], 0, NO_INPUTS)
    demo.engine.step([beside])
    assert held(demo.engine._pool.ledger) == 1, "that of the cancelled one alone is off the ledger so late"


def held(ledger: Ledger) -> int:
    return sum(key[0] == TEXT_KEYS for key in ledger.keys(VRAM) if isinstance(key, tuple))


def call() -> UNetCall:
    return UNetCall(torch.zeros(1), torch.zeros(1), None, print)


def test_who_needs_room_goes_before() -> None:
    ledger = Ledger({VRAM: 1000})
    shelf, numbers = Shelf(ledger), torch.zeros(400, dtype=torch.uint8)
    first, second = (shelf.keep(call(), numbers) for _ in range(2))
    assert shelf.use(first) is numbers
    ledger.hold(VRAM, "adapter", 300)
    assert shelf.use(second) is None, "the one used least recently"
    ledger.pin("adapter")
    third = shelf.keep(call(), torch.zeros(900, dtype=torch.uint8))
    assert shelf.use(third) is None
    assert ledger.keys(VRAM) == (first.key, "adapter") or ledger.keys(VRAM) == ("adapter", first.key)


def test_without_room_they_are_made_in_every_step(demo: Studio, made: list[int], as_it_is: pytest.MonkeyPatch) -> None:
    plain = demo.paint(recipe())
    as_it_is.undo()
    as_it_is.setattr(Shelf, "use", lambda *_: None)
    assert demo.paint(recipe()) == plain
    assert made == [2] * recipe().steps


def test_a_unet_whose_text_is_as_wide_as_all_that_is_made_of_it_is_left_alone() -> None:
    narrow: Any = random_unet(UNET | {"cross_attention_dim": 166_400}, META, torch.float16)
    assert TextLayers.of(narrow).layers == ()
