"""What lies in the folder of embeddings: words, and problems that say why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.config import Embeddings
from sdxl_gateway.core.errors import AdapterRefused
from tests.kit.admission import demo
from tests.kit.embedding_files import vectors, write_embedding
from tests.kit.lora_files import raw_file, write
from tests.kit.watching import until, watching


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "embeddings").mkdir()
    return tmp_path / "embeddings"


def opened(root: Path) -> EmbeddingCatalog:
    found = EmbeddingCatalog(Embeddings(directory=root), root.parent / "data", [demo()])
    found.scan()
    return found


def test_a_file_teaches_its_name(root: Path) -> None:
    write_embedding(root / "<cat>.safetensors")
    write_embedding(root / "deeper" / "Bad Hands.safetensors", clip_g=1)
    both = vectors(1, clip_l=1, clip_g=1).values()
    save_file({f"text_encoders_{i}": tensor for i, tensor in enumerate(both)}, root / "s0.safetensors")
    save_file({"clip_l": torch.zeros(64)}, root / "flat.safetensors")
    found = opened(root)
    assert found.words(demo()) == ["<cat>", "Bad Hands", "flat", "s0"]
    assert found.problems == ()
    named = found.named_in(["a <CAT> with bad hands", "flats, s0"])
    assert [one.word for one in named] == ["<cat>", "Bad Hands", "s0"]


def test_nothing_is_there_before_the_first_look_or_without_a_folder(root: Path) -> None:
    write_embedding(root / "cat.safetensors")
    assert EmbeddingCatalog(Embeddings(directory=root), root, [demo()]).words(demo()) == []
    assert opened(root / "none").words(demo()) == []


BAD = {
    "wrong-width": ({"clip_l": torch.zeros(1, 768)}, "is 1x768 for clip_l, where words are 64 wide"),
    "one-wrong-width": ({"clip_l": torch.zeros(1, 64), "clip_g": torch.zeros(1, 64)}, "for clip_g"),
    "no-vectors": ({"clip_l": torch.zeros(0, 64)}, "for clip_l"),
    "too-many": ({"clip_l": torch.zeros(76, 64)}, "76 vectors; 75 can be read at once"),
    "rank": ({"clip_l": torch.zeros(1, 1, 64)}, "for clip_l"),
    "integers": ({"clip_l": torch.zeros(1, 64, dtype=torch.int32)}, "unsupported type I32"),
    "sd15": ({"emb_params": torch.zeros(1, 768)}, "Stable Diffusion 1.5 or 2"),
    "other": ({"clip_l": torch.zeros(1, 64), "t5": torch.zeros(1, 64)}, "'t5' is not read"),
    "twice": ({"clip_l": torch.zeros(1, 64), "text_encoders_0": torch.zeros(1, 64)}, "both for clip_l"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_teaches_nothing_is_a_problem_that_says_why(root: Path, name: str) -> None:
    tensors, words = BAD[name]
    save_file(tensors, root / f"{name}.safetensors")
    found = opened(root)
    (problem,) = found.problems
    assert (problem.file, problem.code) == (f"{name}.safetensors", "invalid_embedding")
    assert words in problem.message
    assert found.words(demo()) == []
    assert [one.problem for one in found.named_in([name])] == [problem.message]


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("cat.pt", b"\x80\x02", "never opened"),
        ("cat.safetensors", b"", "too short"),
        ("cat.safetensors", raw_file({}), "no tensors"),
        ("cat.safetensors", b"\xff" * 100, "cut short"),
        (" cat.safetensors", raw_file({}), "no word"),
        ("c" * 101 + ".safetensors", raw_file({}), "no word"),
    ],
)
def test_a_file_that_is_none_is_a_problem(root: Path, file: str, data: bytes, words: str) -> None:
    write(root / file, data)
    (problem,) = opened(root).problems
    assert words in problem.message


def test_a_link_that_leads_out_is_a_problem(root: Path, tmp_path: Path) -> None:
    write_embedding(tmp_path / "elsewhere" / "cat.safetensors")
    (root / "cat.safetensors").symlink_to(tmp_path / "elsewhere" / "cat.safetensors")
    assert "leads out" in opened(root).problems[0].message


def test_of_two_files_of_one_word_the_first_teaches_it(root: Path) -> None:
    write_embedding(root / "cat.safetensors", clip_g=1)
    write_embedding(root / "more" / "CAT.safetensors", clip_g=2)
    found = opened(root)
    assert found.words(demo()) == ["cat"]
    assert [(one.file, one.message) for one in found.problems] == [
        ("more/CAT.safetensors", "Another embedding teaches the same word; rename one of them.")
    ]
    (root / "cat.safetensors").unlink()
    found.scan()
    assert (found.words(demo()), found.problems) == (["CAT"], ())


async def test_it_is_painted_from_a_copy(root: Path) -> None:
    write_embedding(root / "cat.safetensors")
    found = opened(root)
    (cat,) = found.named_in(["cat"])
    digest = await found.check_in(cat)
    copy = store_path(root.parent / "data", digest)
    assert copy.read_bytes() == (root / "cat.safetensors").read_bytes()
    assert found.lately_checked_in == {digest}
    assert await found.check_in(cat) == digest
    copy.unlink()
    assert await found.check_in(cat) == digest
    assert copy.exists()


async def test_a_changed_file_is_another_one(root: Path) -> None:
    write_embedding(root / "cat.safetensors", 1)
    found = opened(root)
    first = await found.check_in(*found.named_in(["cat"]))
    write_embedding(root / "cat.safetensors", 2)
    os.utime(root / "cat.safetensors", ns=(1, 1))
    found.scan()
    assert await found.check_in(*found.named_in(["cat"])) != first


async def test_a_file_that_changed_since_is_refused(root: Path) -> None:
    write_embedding(root / "cat.safetensors", clip_l=1)
    found = opened(root)
    write_embedding(root / "cat.safetensors", clip_l=3)
    with pytest.raises(AdapterRefused, match="changed"):
        await found.check_in(*found.named_in(["cat"]))
    (root / "cat.safetensors").unlink()
    with pytest.raises(AdapterRefused):
        await found.check_in(*found.named_in(["cat"]))


async def test_files_come_change_and_go(root: Path) -> None:
    found = EmbeddingCatalog(Embeddings(directory=root), root.parent / "data", [demo()])
    async with watching(found.watch()):
        write_embedding(root / "cat.safetensors")
        await until(lambda: found.words(demo()) == ["cat"])
        write_embedding(root / "dog.safetensors")
        await until(lambda: found.words(demo()) == ["cat", "dog"])
        (root / "cat.safetensors").unlink()
        await until(lambda: found.words(demo()) == ["dog"])
