"""The store keeps exact copies under their sha256, all or nothing, and gives room back."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_folder.copies import (
    _steady_bytes,
    _steady_folder,
    keep_bytes,
    keep_copy,
    prune,
    store_path,
)
from sdxl_gateway.catalog.lora_folder.marks import TICK_SECONDS
from sdxl_gateway.catalog.lora_folder.scan import read_source_header
from sdxl_gateway.catalog.lora_format.peft_folder import folder_parts
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import HeaderCaps, Loras
from sdxl_gateway.core.errors import AdapterRefused
from tests.kit.lora_files import file_bytes, write
from tests.kit.peft_files import MODULES, peft_adapter

DATA = file_bytes({"a": (4, 4)})


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "adapters").iterdir())


def test_a_copy_lies_under_its_digest_and_survives_the_source(tmp_path: Path) -> None:
    source = write(tmp_path / "ink.safetensors", DATA)
    digest = keep_copy(source, tmp_path / "data")
    assert digest == hashlib.sha256(DATA).hexdigest()
    source.write_bytes(b"")
    path = store_path(tmp_path / "data", digest)
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept(tmp_path / "data") == [f"{digest}.safetensors"]


def test_equal_files_are_one_copy(tmp_path: Path) -> None:
    first = keep_copy(write(tmp_path / "a.safetensors", DATA), tmp_path)
    second = keep_copy(write(tmp_path / "b.safetensors", DATA), tmp_path)
    assert first == second
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize(
    "digest",
    ["", "../../etc/passwd", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "/" + "a" * 63, "a" * 63 + "\0"],
)
def test_what_is_no_digest_is_no_path(digest: str) -> None:
    with pytest.raises(AdapterRefused):
        store_path(Path("data"), digest)


def test_a_file_too_large_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "ink.safetensors", DATA)
    assert keep_copy(source, tmp_path / "data", Loras(max_file_bytes=len(DATA)))
    with pytest.raises(AdapterRefused, match="larger than"):
        keep_copy(source, tmp_path / "other", Loras(max_file_bytes=len(DATA) - 1))
    assert kept(tmp_path / "other") == []


def test_a_broken_source_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        keep_bytes(broken(), tmp_path)
    assert kept(tmp_path) == []


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "ink.safetensors", DATA)

    def chunks() -> Iterator[bytes]:
        for chunk in _steady_bytes(source):
            yield chunk
            with source.open("ab") as file:
                file.truncate(4)

    with pytest.raises(AdapterRefused, match="changed"):
        keep_bytes(chunks(), tmp_path / "data")
    assert kept(tmp_path / "data") == []


def test_a_folder_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "ink"
    peft_adapter(folder, "unet.mid_block.q", {"r": 4, "lora_alpha": 2})
    weights = folder / "adapter_model.safetensors"
    parts = folder_parts(folder)
    for harm in (lambda: os.truncate(weights, 4), lambda: os.utime(weights, (1, 1)), weights.unlink):

        def chunks(harm: Callable[[], object] = harm) -> Iterator[bytes]:
            yield b"half"
            harm()

        with pytest.raises(AdapterRefused, match="changed while it was being copied"):
            keep_bytes(_steady_folder(parts, chunks()), tmp_path / "data")
    assert kept(tmp_path / "data") == []


def test_a_file_written_this_very_moment_is_read_once_a_change_is_sure_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "ink.safetensors", DATA)
    os.utime(source, (1000, 1000))
    waited: list[float] = []
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.copies.time.time", lambda: 1000.01)
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.copies.time.sleep", waited.append)
    assert b"".join(_steady_bytes(source)) == DATA
    assert waited == [pytest.approx(TICK_SECONDS - 0.01)]


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "ink.safetensors", DATA)
    os.utime(source, (1000, 1000))
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.copies.time.time", lambda: 1000.01)
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.copies.time.sleep", lambda _: source.write_bytes(DATA + DATA))
    with pytest.raises(AdapterRefused, match="changed while it was being copied"):
        b"".join(_steady_bytes(source))


def test_links_are_not_followed(tmp_path: Path) -> None:
    source = write(tmp_path / "ink.safetensors", DATA)
    link = tmp_path / "link.safetensors"
    link.symlink_to(source)
    with pytest.raises(AdapterRefused, match="cannot be opened"):
        keep_copy(link, tmp_path / "data")


def test_a_peft_folder_becomes_one_file_with_its_config(tmp_path: Path) -> None:
    folder = tmp_path / "ink"
    peft_adapter(folder, "unet.mid_block.q", {"r": 4, "lora_alpha": 2})
    digest = keep_copy(folder, tmp_path)
    copied = read_header(store_path(tmp_path, digest), HeaderCaps())
    assert copied.tensors == read_source_header(folder, HeaderCaps()).tensors
    part = plan_lora(copied, MODULES).parts[0]
    assert (part.module, part.scale) == ("unet.mid_block.q", 0.5)
    original = (folder / "adapter_model.safetensors").read_bytes()
    assert store_path(tmp_path, digest).read_bytes().endswith(original[-copied.data_bytes :])


def test_a_folder_of_components_becomes_one_file_too(tmp_path: Path) -> None:
    folder = tmp_path / "ink"
    peft_adapter(folder / "unet", "unet.mid_block.q", {"r": 4, "lora_alpha": 2})
    peft_adapter(folder / "text_encoder", "text_encoder.text_model.q", {"r": 4, "lora_alpha": 8})
    digest = keep_copy(folder, tmp_path)
    copied = read_header(store_path(tmp_path, digest), HeaderCaps())
    found = {part.module: part.scale for part in plan_lora(copied, MODULES).parts}
    assert found == {"unet.mid_block.q": 0.5, "text_encoder.text_model.q": 2.0}


@pytest.mark.parametrize("config", [b"{", b"\xff", b"[" * 100_000])
def test_a_folder_with_a_broken_config_is_refused(tmp_path: Path, config: bytes) -> None:
    peft_adapter(tmp_path / "ink", "unet.mid_block.q", {})
    write(tmp_path / "ink" / "adapter_config.json", config)
    with pytest.raises(AdapterRefused, match="not valid JSON"):
        keep_copy(tmp_path / "ink", tmp_path)


def put(folder: Path, content: bytes, age_seconds: float) -> str:
    digest = keep_bytes([content], folder)
    os.utime(store_path(folder, digest), (1000 - age_seconds, 1000 - age_seconds))
    return digest


def test_old_copies_nobody_uses_go(tmp_path: Path) -> None:
    old, used, young = put(tmp_path, b"old", 500), put(tmp_path, b"used", 500), put(tmp_path, b"young", 5)
    assert prune(tmp_path, {used}, max_age_seconds=100, max_total_bytes=10**6, now=1000) == [old]
    assert kept(tmp_path) == sorted(f"{digest}.safetensors" for digest in (used, young))


def test_the_oldest_go_first_until_the_rest_fits(tmp_path: Path) -> None:
    oldest, used, middle, newest = (put(tmp_path, bytes([65 + i]) * 10, 40 - 10 * i) for i in range(4))
    assert prune(tmp_path, {used}, max_age_seconds=100, max_total_bytes=25, now=1000) == [oldest, middle]
    assert newest in "".join(kept(tmp_path))


def test_what_interrupted_copies_left_goes_but_not_a_copy_in_progress(tmp_path: Path) -> None:
    keep_bytes([b"x"], tmp_path)
    abandoned = write(tmp_path / "adapters" / ".incoming-old", b"half")
    os.utime(abandoned, (0, 0))
    write(tmp_path / "adapters" / ".incoming-new", b"half")
    write(tmp_path / "adapters" / "notes.safetensors", b"not ours")
    prune(tmp_path, (), max_age_seconds=0, max_total_bytes=0)
    assert kept(tmp_path) == [".incoming-new", "notes.safetensors"]


def test_pruning_a_store_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert prune(tmp_path / "none", (), max_age_seconds=0, max_total_bytes=0) == []
