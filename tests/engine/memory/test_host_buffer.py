"""Host memory in pieces: bytes are found where they were put, none is wasted, and each goes to the device once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdxl_gateway.engine.memory import host_buffer
from sdxl_gateway.engine.memory.host_buffer import PIECE_BYTES, HostBuffer


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes in which page-locked memory is asked for, in bytes; it is made of plain memory here."""
    asked: list[int] = []

    def plain(size_bytes: int) -> Tensor:
        asked.append(size_bytes)
        return torch.empty(size_bytes, dtype=torch.uint8)

    monkeypatch.setattr(host_buffer, "page_locked", plain)
    return asked


def test_pieces_are_all_alike_and_powers_of_two(locked: list[int]) -> None:
    for size_bytes in (1, 3, 4096, 5000, PIECE_BYTES, PIECE_BYTES + 1, 200_000_000):
        locked.clear()
        buffer = HostBuffer.of(size_bytes, pinned=True)
        assert len(set(locked)) == 1
        assert locked[0].bit_count() == 1
        assert buffer.held_bytes == sum(locked) >= size_bytes
        assert buffer.held_bytes < size_bytes + min(size_bytes, PIECE_BYTES)


def test_what_is_not_page_locked_is_in_one_piece(locked: list[int]) -> None:
    buffer = HostBuffer.of(200_000_000, pinned=False)
    assert [len(piece) for piece in buffer.pieces] == [200_000_000]
    assert not locked
    assert HostBuffer.of(0, pinned=False).held_bytes == 0


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 25), (3, 4), (8, 16), (7, 17), (24, 25)])
def test_bytes_are_found_where_they_lie(start: int, end: int) -> None:
    whole = torch.arange(32, dtype=torch.uint8)
    buffer = HostBuffer(tuple(torch.split(whole, 8)), 8, 25)
    assert [int(one) for piece in buffer.between(start, end) for one in piece] == list(range(start, end))


def test_all_of_it_is_copied_and_no_more() -> None:
    whole = torch.arange(32, dtype=torch.uint8)
    target = torch.empty(25, dtype=torch.uint8)
    HostBuffer(tuple(torch.split(whole, 8)), 8, 25).copy_to(target)
    assert torch.equal(target, whole[:25])
