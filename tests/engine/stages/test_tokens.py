"""Words taught by a LoRA file: read as diffusers reads a loaded textual inversion, and only in that blend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import NO_BLEND, Blend, BlendPart, Recipe
from sdxl_gateway.engine.stages.encode import EmbeddingCache, encode_text
from sdxl_gateway.engine.stages.tokens import tokenizers_of
from tests.kit.engine import Studio, difference, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import change_json, copy_of_demo
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Vectors = Mapping[str, Mapping[str, Tensor]]
VOCABULARY = 747
WIDTHS = {"clip_l": 64, "clip_g": 96}
ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}


def vectors(seed: int, **counts: int) -> dict[str, Tensor]:
    """`counts` vectors for each encoder, far from those of any real word."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, WIDTHS[name], generator=generator) * 0.5 for name, count in counts.items()}


@dataclass(frozen=True)
class Bundle:
    """A LoRA file with words, as OneTrainer writes it."""

    path: Path
    digest: str
    words: Vectors


def bundle(made: Studio, path: Path, words: Vectors, seed: int = 1) -> Bundle:
    write_lora(path, made.folder, seed)
    taught = {f"bundle_emb.{word}.{name}": t for word, by in words.items() for name, t in by.items()}
    save_file(load_file(path) | taught, path, metadata={"ot_branch": "master"})
    return Bundle(path, admitted(path, made.data_directory), words)


@pytest.fixture(scope="module")
def lora(demo: Studio, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    words = {"<cat>": vectors(1, clip_l=3, clip_g=3), "sks": vectors(2, clip_l=1, clip_g=1)}
    return bundle(demo, tmp_path_factory.mktemp("loras") / "words.safetensors", words)


def theirs(folder: Path, lora: Bundle, weight: float, tmp_path: Path) -> Reference:
    """A fresh pipeline with the file's layers loaded as a LoRA, its words as textual inversions."""
    reference = Reference(folder)
    layers = {key: t for key, t in load_file(lora.path).items() if not key.startswith("bundle_emb.")}
    save_file(layers, tmp_path / "layers.safetensors", metadata={"format": "pt"})
    reference.base.load_lora_weights(tmp_path / "layers.safetensors", adapter_name="a")
    reference.base.set_adapters(["a"], adapter_weights=[weight])
    for word, by in lora.words.items():
        _load_word(reference.base, word, by)
    return reference


def _load_word(pipeline: Any, word: str, by: Mapping[str, Tensor]) -> None:
    for name, rows in by.items():
        encoder = getattr(pipeline, ENCODERS[name])
        tokenizer = pipeline.tokenizer if name == "clip_l" else pipeline.tokenizer_2
        pipeline.load_textual_inversion({word: rows.clone()}, token=word, tokenizer=tokenizer, text_encoder=encoder)


PROMPTS = (
    "a <cat> on a blue ground",
    "<cat>, sks circle, <cat>",
    "red circle" + " and sks" * 60,
    "a blue square " * 24 + "a <cat> on a green ground",
)


def test_pictures_are_those_diffusers_paints(demo: Studio, lora: Bundle, tmp_path: Path) -> None:
    reference = theirs(demo.folder, lora, 0.8, tmp_path)
    for prompt in PROMPTS:
        wanted = recipe(prompt, negative_prompt="green sks", blend=blend((lora.digest, 0.8)))
        assert difference(demo.paint(wanted), reference.paint(wanted)) <= 1


@pytest.mark.parametrize("eos_token_id", [2, 746])
def test_the_pooled_state_is_that_of_diffusers(tmp_path: Path, demo: Studio, lora: Bundle, eos_token_id: int) -> None:
    """Published checkpoints give 2 as their end token's id, and then the state of the highest id is pooled."""
    folder = copy_of_demo(tmp_path / "demo")
    for component in ENCODERS.values():
        change_json(folder / component / "config.json", eos_token_id=eos_token_id)
    made = studio(tmp_path / "data", folder)
    reference = Reference(folder)
    for word, by in lora.words.items():
        _load_word(reference.base, word, by)
    words = {word: {ENCODERS[name]: t for name, t in by.items()} for word, by in lora.words.items()}
    checkpoint = made.loaded().checkpoint
    with torch.inference_mode():
        for prompt in PROMPTS:
            ours = encode_text(checkpoint, prompt, words)
            tokens, _, pooled, _ = reference.base.encode_prompt(prompt, do_classifier_free_guidance=False)
            torch.testing.assert_close(ours.tokens, tokens)
            torch.testing.assert_close(ours.pooled, pooled)
    made.engine.close()


def test_a_word_of_one_encoder_is_plain_text_to_the_other(demo: Studio, tmp_path: Path) -> None:
    one_sided = bundle(demo, tmp_path / "one.safetensors", {"<dog>": vectors(3, clip_g=2)}, seed=2)
    wanted = recipe("a <dog> on a red ground", blend=blend((one_sided.digest, 0.5)))
    assert difference(demo.paint(wanted), theirs(demo.folder, one_sided, 0.5, tmp_path).paint(wanted)) <= 1


def test_a_word_means_nothing_outside_its_blend(demo: Studio, lora: Bundle, tmp_path: Path) -> None:
    other = bundle(demo, tmp_path / "other.safetensors", {"<cat>": vectors(9, clip_l=1, clip_g=2)}, seed=1)
    plain = admitted(write_lora(tmp_path / "plain.safetensors", demo.folder, 1), demo.data_directory)
    wanted = recipe("a <cat> on a blue ground")
    silent = Blend.of([BlendPart(lora.digest, 0.8, 0.0)])
    order = [blend((digest, 0.8)) for digest in (lora.digest, plain, other.digest)]
    order = [NO_BLEND, order[0], NO_BLEND, order[1], order[0], order[2], silent, order[0], order[1]]
    pictures = [made_anew(demo, replace(wanted, blend=one)) for one in order]
    for one, picture in zip(order, pictures, strict=True):
        assert picture == pictures[order.index(one)]
    assert len(set(pictures)) == len(set(order)) == 5


def made_anew(demo: Studio, wanted: Recipe) -> bytes:
    """The picture's pixels, without cached embeddings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingCache, "get", lambda _, __, make: make())
        return demo.paint(wanted).pixels


def test_remembered_texts_are_those_of_their_blend(demo: Studio, lora: Bundle) -> None:
    wanted = recipe("a <cat> on a blue ground")
    taught = replace(wanted, blend=blend((lora.digest, 0.8)))
    first = [demo.paint(one).pixels for one in (taught, wanted)]
    assert [demo.paint(one).pixels for one in (taught, wanted)] == first
    assert first == [made_anew(demo, one) for one in (taught, wanted)]


def test_tokenizers_and_tables_stay_as_they_were(demo: Studio, lora: Bundle) -> None:
    checkpoint = demo.loaded().checkpoint
    before = [len(tokenizer) for tokenizer in checkpoint.tokenizers]
    tables = [encoder.get_input_embeddings() for encoder in checkpoint.text_encoders]
    bits = [table.weight.clone() for table in tables]
    made_anew(demo, recipe("a <cat>", steps=1, blend=Blend.of([BlendPart(lora.digest, 0.0, 0.8)])))
    assert [len(tokenizer) for tokenizer in checkpoint.tokenizers] == before
    for table, kept in zip(tables, bits, strict=True):
        assert torch.equal(table.weight, kept)
        assert not table._forward_hooks
        assert not table._forward_pre_hooks


def test_what_is_cut_is_told_with_its_words(demo: Studio, lora: Bundle) -> None:
    wanted = recipe("red " * 74 + "blue <cat> and a <cat> in blue", blend=blend((lora.digest, 0.8)))
    (warning,) = demo.engine.begin(wanted, 0, NO_INPUTS).warnings
    assert warning.endswith("did not read: <cat> and a <cat> in blue")


def test_two_meanings_of_a_word_are_refused(demo: Studio, lora: Bundle, tmp_path: Path) -> None:
    other = bundle(demo, tmp_path / "other.safetensors", {"<CAT>": vectors(4, clip_l=1, clip_g=1)}, seed=3)
    with pytest.raises(AdapterRefused, match="taught twice"):
        demo.paint(recipe(blend=blend((lora.digest, 0.5), (other.digest, 0.5))))
    muted = Blend.of([BlendPart(lora.digest, 0.5, 0.5), BlendPart(other.digest, 0.5, 0.0)])
    assert demo.paint(recipe("<cat>", blend=muted)) != demo.paint(recipe("<cat>"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("sks", 1),
        ("SKS, sks", 2),
        ("sksa asks sks_ sks1", 0),
        ("(sks:1.2)", 1),
        ("<cat><cat>", 6),
        ("x<cat>y", 3),
        ("<cats>", 0),
        ("ſkſ", 1),
        ("", 0),
    ],
)
def test_where_a_word_is_found(demo: Studio, text: str, count: int) -> None:
    words = {"<cat>": {"text_encoder": torch.zeros(3, 64)}, "sks": {"text_encoder": torch.zeros(1, 64)}}
    first, second = tokenizers_of(demo.loaded().checkpoint, words)
    assert sum(i >= VOCABULARY for i in first.ids(text)) == count
    assert not any(i >= VOCABULARY for i in second.ids(text))


def test_the_longest_word_wins(demo: Studio) -> None:
    words = {"a cat": {"text_encoder": torch.zeros(1, 64)}, "a cat b": {"text_encoder": torch.zeros(2, 64)}}
    first, _ = tokenizers_of(demo.loaded().checkpoint, words)
    assert first.ids("a cat b") == [VOCABULARY + 1, VOCABULARY + 2]
