"""Words taught by embedding files: read as diffusers reads a loaded textual inversion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.prompt import TextReading
from tests.kit.embedding_files import write_embedding
from tests.kit.engine import Studio, difference, recipe
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TAUGHT = {"<cat>": {"clip_l": 3, "clip_g": 3}, "sks": {"clip_l": 1, "clip_g": 1}}
PROMPTS = ("a <cat> on a blue ground", "<CAT>, sks circle, <cat>", "red circle" + " and sks" * 60)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("embeddings")
    for seed, (word, counts) in enumerate(TAUGHT.items()):
        write_embedding(folder / f"{word}.safetensors", seed, **counts)
    return {word: folder / f"{word}.safetensors" for word in TAUGHT}


def reading(made: Studio, files: Mapping[str, Path], **changes: Any) -> TextReading:
    taught = tuple((word, admitted(path, made.data_directory)) for word, path in files.items())
    return TextReading(embeddings=taught, **changes)


def theirs(folder: Path, files: Mapping[str, Path]) -> Reference:
    """A fresh pipeline with the words loaded like SDXL's embeddings, each part into its text encoder."""
    reference = Reference(folder)
    for word, path in files.items():
        state = load_file(path)
        for name, tokenizer, encoder in (
            ("clip_l", reference.base.tokenizer, reference.base.text_encoder),
            ("clip_g", reference.base.tokenizer_2, reference.base.text_encoder_2),
        ):
            reference.base.load_textual_inversion(
                {word: state[name]}, token=word, tokenizer=tokenizer, text_encoder=encoder
            )
    return reference


@pytest.mark.parametrize("prompt", PROMPTS)
def test_pictures_are_those_diffusers_paints(demo: Studio, files: Mapping[str, Path], prompt: str) -> None:
    wanted = recipe(prompt, negative_prompt="green sks", reading=reading(demo, files))
    # diffusers only finds a word in its exact spelling.
    spelt = recipe(prompt.replace("<CAT>", "<cat>"), negative_prompt="green sks")
    assert difference(demo.paint(wanted), theirs(demo.folder, files).paint(spelt)) <= 1
    assert difference(demo.paint(wanted), demo.paint(spelt)) > 1


def test_beside_a_lora(demo: Studio, files: Mapping[str, Path], tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "ink.safetensors", demo.folder, 1)
    reference = theirs(demo.folder, files)
    reference.base.load_lora_weights(lora, adapter_name="a")
    reference.base.set_adapters(["a"], adapter_weights=[0.8])
    on = blend((admitted(lora, demo.data_directory), 0.8))
    wanted = recipe(PROMPTS[0], blend=on, reading=reading(demo, files))
    assert difference(demo.paint(wanted), reference.paint(wanted)) <= 1


def test_a_word_has_a_weight(demo: Studio, files: Mapping[str, Path]) -> None:
    weighed = reading(demo, files, syntax="a1111")
    assert demo.paint(recipe("a (<cat>:1.5)", reading=weighed)) != demo.paint(recipe("a <cat>", reading=weighed))


def test_what_a_lora_teaches_goes_before(demo: Studio, files: Mapping[str, Path], tmp_path: Path) -> None:
    path = write_lora(tmp_path / "words.safetensors", demo.folder, 1)
    taught = {f"bundle_emb.sks.{name}": t * -1 for name, t in load_file(files["sks"]).items()}
    save_file(load_file(path) | taught, path)
    on = blend((admitted(path, demo.data_directory), 0.8))
    wanted = recipe("a sks circle", blend=on)
    assert demo.paint(wanted) == demo.paint(recipe("a sks circle", blend=on, reading=reading(demo, files)))


def test_remembered_texts_have_their_embeddings(demo: Studio, files: Mapping[str, Path], tmp_path: Path) -> None:
    write_embedding(tmp_path / "sks.safetensors", 9, clip_l=1, clip_g=1)
    others = {"sks": tmp_path / "sks.safetensors"}
    readings = reading(demo, files), reading(demo, others), TextReading()
    wanted = [recipe("a sks circle", reading=one) for one in readings]
    first = [demo.paint(one).pixels for one in wanted]
    assert len(set(first)) == 3
    assert [demo.paint(one).pixels for one in wanted] == first


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(demo: Studio, tmp_path: Path, value: float) -> None:
    save_file({"clip_l": torch.full((1, 64), value)}, tmp_path / "bad.safetensors")
    wanted = recipe("bad", reading=reading(demo, {"bad": tmp_path / "bad.safetensors"}))
    with pytest.raises(AdapterRefused, match=r"The embedding 'bad' cannot be used: .* not finite") as refused:
        demo.engine.begin(wanted, 0, NO_INPUTS)
    assert refused.value.param == "prompt"


def test_the_engine_trusts_no_copy(demo: Studio, tmp_path: Path) -> None:
    save_file({"clip_l": torch.zeros(1, 768)}, tmp_path / "wide.safetensors")
    lost = TextReading(embeddings=(("lost", "0" * 64),))
    for one in (reading(demo, {"wide": tmp_path / "wide.safetensors"}), lost):
        with pytest.raises(AdapterRefused, match="cannot be used"):
            demo.engine.begin(recipe("wide lost", reading=one), 0, NO_INPUTS)
