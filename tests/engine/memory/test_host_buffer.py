"""Host memory in pieces: data is found where it was put, none is wasted, and each piece goes to the device once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdxl_gateway.engine.memory import page_locked
from sdxl_gateway.engine.memory.host_buffer import HostBuffer
from sdxl_gateway.engine.memory.page_locked import PIECE_BYTES


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes in bytes of all requests for page-locked memory, which is plain memory here."""
    asked: list[int] = []

    def plain(size_bytes: int) -> Tensor:
        asked.append(size_bytes)
        return torch.empty(size_bytes, dtype=torch.uint8)

    monkeypatch.setattr(page_locked, "page_locked", plain)
    return asked


def test_pieces_are_all_alike_and_powers_of_two(locked: list[int]) -> None:
    for size_bytes in (1, 3, 4096, 5000, PIECE_BYTES, PIECE_BYTES + 1, 200_000_000):
        locked.clear()
        HostBuffer.of(size_bytes, pinned=True)
        assert len(set(locked)) == 1
        assert locked[0].bit_count() == 1
        assert HostBuffer.cost_bytes(size_bytes, pinned=True) == sum(locked) >= size_bytes
        assert sum(locked) < size_bytes + min(size_bytes, PIECE_BYTES)


def test_what_is_not_page_locked_is_in_one_piece(locked: list[int]) -> None:
    buffer = HostBuffer.of(200_000_000, pinned=False)
    assert [len(piece) for piece in buffer.pieces] == [200_000_000]
    assert not locked
    assert HostBuffer.cost_bytes(200_000_000, pinned=False) == 200_000_000
    assert [len(piece) for piece in HostBuffer.of(0, pinned=False).pieces] == [0]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 25), (3, 4), (8, 16), (7, 17), (24, 25)])
def test_bytes_are_found_where_they_lie(start: int, end: int) -> None:
    whole = torch.arange(32, dtype=torch.uint8)
    buffer = HostBuffer(tuple(torch.split(whole, 8)), 8, 25)
    assert [int(one) for piece in buffer.between(start, end) for one in piece] == list(range(start, end))


@pytest.mark.parametrize(("start", "length"), [(0, 25), (5, 2), (7, 9), (3, 0)])
def test_what_is_kept_is_fetched_again_and_nothing_else_changes(start: int, length: int) -> None:
    buffer = HostBuffer(tuple(torch.zeros(8, dtype=torch.uint8) for _ in range(4)), 8, 25)
    source = torch.arange(1, length + 1, dtype=torch.uint8)
    target = torch.empty(length, dtype=torch.uint8)
    buffer.keep(start, source)
    buffer.fetch(start, target)
    assert torch.equal(target, source)
    assert sum(int((piece != 0).sum()) for piece in buffer.pieces) == length
