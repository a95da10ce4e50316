"""Weights read directly to a device: the same values, little memory on the host, and no conversion there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sdxl_gateway.catalog.model_files import CHECKPOINT_CAPS
from sdxl_gateway.catalog.safetensors_header import TensorInfo, read_header
from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.lora.formats import FILE_DTYPES
from sdxl_gateway.engine.memory import page_locked
from sdxl_gateway.engine.models import arrival
from sdxl_gateway.engine.models.arrival import PIECES, READERS, read_to_device
from sdxl_gateway.engine.models.lazy_tensors import LazyTensors
from tests.kit.cuda_streams import fake_streams
from tests.kit.device import DEVICE

FORMATS = [torch.float32, torch.float16, torch.bfloat16]
SMALL_PIECE_BYTES = 256
META = torch.device("meta")
ON_GPU = DEVICE.startswith("cuda")


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the page-locked pieces: plain memory where there is no CUDA, with fake streams."""
    asked: list[int] = []
    truly = page_locked.page_locked

    def lock(size_bytes: int) -> Tensor:
        asked.append(size_bytes)
        return truly(size_bytes) if ON_GPU else torch.empty(size_bytes, dtype=torch.uint8)

    monkeypatch.setattr(page_locked, "page_locked", lock)
    if not ON_GPU:
        fake_streams(monkeypatch)
    return asked


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch, locked: list[int]) -> None:
    monkeypatch.setattr(page_locked, "PIECE_BYTES", SMALL_PIECE_BYTES)


def numbers(count: int, seed: int) -> Tensor:
    """Numbers, some of which formats treat differently: too large or small for some, and ties in rounding."""
    odd = torch.tensor([0.0, -0.0, 1e5, -1e5, 65519.0, 65520.0, 3e-8, 6e-8, 1e-40, 1.00390625, 1 + 3 * 2**-11])
    return torch.cat([odd, torch.randn(count, generator=torch.Generator().manual_seed(seed))])[:count]


def all_formats() -> dict[str, Tensor]:
    """Tensors of each format a file may have: larger than several small pieces, tiny, of one number, and empty."""
    shapes = {"wide": (37, 41), "line": (5,), "one": (), "none": (0, 3)}
    return {
        f"{name} {stored}": numbers(prod(shape), len(name)).reshape(shape).to(dtype)
        for name, shape in shapes.items()
        for stored, dtype in FILE_DTYPES.items()
    }


def write_askew(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Unsorted, so that numbers begin at unaligned offsets, as careful libraries avoid."""
    header, data = {}, b""
    called = {dtype: name for name, dtype in FILE_DTYPES.items()}
    for name, tensor in tensors.items():
        held = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        offsets = [len(data), len(data) + len(held)]
        header[name] = {"dtype": called[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += held
    told = json.dumps(header).encode()
    path.write_bytes(len(told).to_bytes(8, "little") + told + data)


def straight(path: Path, dtype: torch.dtype, device: torch.device | None = None) -> dict[str, Tensor]:
    header = read_header(path, CHECKPOINT_CAPS)
    return read_to_device(path, header.data_start, header.tensors, dtype, device or torch.device(DEVICE))


def lazily(path: Path, dtype: torch.dtype) -> LazyTensors:
    header = read_header(path, CHECKPOINT_CAPS)
    return LazyTensors(path, header.data_start, header.tensors, dtype)


def check_same(path: Path, dtype: torch.dtype) -> None:
    found, expected = straight(path, dtype), lazily(path, dtype)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype is dtype
        assert tensor.is_contiguous()
        assert torch.equal(tensor.cpu(), expected[name]), name
        assert torch.equal(tensor.cpu().signbit(), expected[name].signbit()), name


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("write", [lambda path, tensors: save_file(tensors, path), write_askew])
def test_every_stored_format_is_rounded_as_on_the_host(
    tmp_path: Path, small_pieces: None, dtype: torch.dtype, write: Callable[[Path, Mapping[str, Tensor]], None]
) -> None:
    write(path := tmp_path / "all.safetensors", all_formats())
    check_same(path, dtype)


def test_calls_that_give_less_than_was_asked_are_gone_on_with(
    tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, at: preadv(file, [views[0][:7]], at))
    write_askew(path := tmp_path / "all.safetensors", all_formats())
    check_same(path, torch.float16)


def test_whole_numbers_are_left_out_and_a_file_of_nothing_else_is_no_trouble(tmp_path: Path, locked: list[int]) -> None:
    save_file({"ids": torch.arange(77), "one": torch.ones(3)}, path := tmp_path / "ids.safetensors")
    assert list(straight(path, torch.float16)) == ["one"]
    save_file({"ids": torch.arange(77)}, path)
    assert straight(path, torch.float16) == {}


def test_the_host_holds_a_few_pieces_however_large_the_file(
    tmp_path: Path, small_pieces: None, locked: list[int]
) -> None:
    save_file({f"{number}": torch.ones(1000) for number in range(20)}, path := tmp_path / "large.safetensors")
    straight(path, torch.float16)
    assert locked == [SMALL_PIECE_BYTES] * PIECES
    locked.clear()
    save_file({"small": torch.ones(10)}, path)
    straight(path, torch.float16)
    assert sum(locked) == 64


def test_a_piece_is_filled_anew_once_what_it_held_is_on_the_device(
    tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device that copies nothing until it is waited for."""
    asked: list[tuple[Any, Tensor]] = []
    copy = arrival._Stretch.copy_to_device

    class Late:
        def synchronize(self) -> None:
            while asked:
                copy(*asked.pop())

    monkeypatch.setattr(arrival._Stretch, "copy_to_device", lambda *given: asked.append(given))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Late())
    save_file({"a": numbers(3000, 1), "b": numbers(700, 2)}, path := tmp_path / "two.safetensors")
    check_same(path, torch.float32)


def test_several_are_read_at_once(tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    together, preadv = Barrier(READERS), os.preadv

    def read(file: int, views: list[memoryview], at: int) -> int:
        together.wait(timeout=20)
        return preadv(file, views, at)

    save_file({"four": numbers(READERS * SMALL_PIECE_BYTES // 4, 3)}, path := tmp_path / "four.safetensors")
    monkeypatch.setattr(os, "preadv", read)
    assert torch.equal(straight(path, torch.float32)["four"].cpu(), numbers(READERS * SMALL_PIECE_BYTES // 4, 3))


@pytest.mark.parametrize(("harm", "told"), [("cut", "was truncated while it was read"), ("gone", "cannot be read")])
def test_a_file_that_changes_after_its_header_was_read(
    tmp_path: Path, small_pieces: None, harm: str, told: str
) -> None:
    save_file({"a": torch.ones(5000)}, path := tmp_path / "one.safetensors")
    header = read_header(path, CHECKPOINT_CAPS)
    if harm == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
    with pytest.raises(CheckpointProblem, match=rf"'one\.safetensors' {told}"):
        read_to_device(path, header.data_start, header.tensors, torch.float16, torch.device(DEVICE))


class Crossings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """For each copy from host to device: its bytes, whether it was non-blocking, whether it kept the dtype.

    `converted` are the bytes that the host itself converted to another dtype.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[int, bool, bool]] = []
        self.converted = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        if func in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default):
            target, source = (found, args[0]) if func is torch.ops.aten._to_copy.default else args[:2]
            waits_not = bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))
            if source.device.type == "cpu" and target.device.type != "cpu":
                self.seen.append((source.nbytes, waits_not, source.dtype is target.dtype))
            elif target.device.type == "cpu" and source.dtype is not target.dtype:
                self.converted += target.nbytes
        return found


@pytest.mark.parametrize(("stored", "bytes_each"), [("F16", 2), ("F32", 4)])
def test_all_of_sdxl_crosses_as_it_is_stored(
    tmp_path: Path, locked: list[int], monkeypatch: pytest.MonkeyPatch, stored: str, bytes_each: int
) -> None:
    """Counted at its real size, on a device without memory, from a file that is not read."""
    reads: list[int] = []
    fake_streams(monkeypatch)
    monkeypatch.setattr(arrival, "read_into", lambda memory, file, at: reads.append(len(memory)))
    places, end = {}, 0
    for name, shape in sorted(sdxl_tensors().items()):
        start, end = end, end + bytes_each * prod(shape)
        places[name] = TensorInfo(stored, shape, start, end)
    (path := tmp_path / "sdxl.safetensors").touch()
    with Crossings() as crossings:
        found = read_to_device(path, 8, places, torch.float16, META)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == dict(sdxl_tensors())
    assert sum(reads) == sum(size for size, *_ in crossings.seen) == end
    assert all(waits_not and alike for _, waits_not, alike in crossings.seen)
    assert crossings.converted == 0
    assert locked == [page_locked.PIECE_BYTES] * PIECES
    pieces = -(-end // page_locked.PIECE_BYTES)
    assert len(reads) == pieces
    assert len(crossings.seen) < len(places) + pieces
