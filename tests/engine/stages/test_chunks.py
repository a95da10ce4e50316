"""Where a long text is split into chunks, tested on token ids."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.engine.stages.chunks import REACH, Piece, Token, parted

LENGTH, COMMA = 75, 0


def words(count: int, commas: tuple[int, ...] = ()) -> list[Piece]:
    return [piece(COMMA if place in commas else place + 1) for place in range(count)]


def piece(*ids: int) -> Piece:
    return tuple(map(Token, ids))


def lengths(pieces: list[Piece], most: int = 99) -> list[int]:
    return [len(chunk) for chunk in parted([pieces], length=LENGTH, comma=COMMA, most=most)[0]]


@pytest.mark.parametrize(
    ("count", "commas", "meant"),
    [
        (0, (), [0]),
        (75, (), [75]),
        (76, (), [75, 1]),
        (160, (), [75, 75, 10]),
        (80, (74,), [75, 5]),
        (80, (70,), [71, 9]),
        (80, (60, 70), [71, 9]),
        (80, (55,), [56, 24]),
        (80, (54,), [75, 5]),
        # A comma that follows a full chunk begins the next one, as in A1111.
        (80, (70, 75), [75, 5]),
        (160, (70, 140), [71, 70, 19]),
    ],
)
def test_where_it_is_parted(count: int, commas: tuple[int, ...], meant: list[int]) -> None:
    assert lengths(words(count, commas)) == meant


def test_the_vectors_of_a_word_stay_together() -> None:
    word = piece(*range(1000, 1008))
    assert lengths([*words(70), word]) == [70, 8]
    assert lengths([*words(67), word]) == [75]
    assert lengths([piece(*range(1, 101))]) == [75, 25]


def test_one_chunk_is_cut_where_it_is_full() -> None:
    pieces = [*words(70, commas=(65,)), piece(*range(1000, 1008)), piece(5)]
    (chunk,), rest = parted([pieces], length=LENGTH, comma=COMMA, most=1)
    assert [token.id for token in chunk[70:]] == [1000, 1001, 1002, 1003, 1004]
    assert [token.id for token in rest] == [1005, 1006, 1007, 5]


@pytest.mark.parametrize(
    ("counts", "meant"), [((3, 4), [3, 4]), ((3, 0), [3]), ((0, 0), [0]), ((0, 3), [0, 3]), ((3, 0, 4), [3, 0, 4])]
)
def test_each_part_begins_a_chunk(counts: tuple[int, ...], meant: list[int]) -> None:
    chunks, _ = parted([words(count) for count in counts], length=LENGTH, comma=COMMA, most=9)
    assert [len(chunk) for chunk in chunks] == meant


def test_what_is_beyond_the_last_chunk_is_the_rest() -> None:
    chunks, rest = parted([words(200)], length=LENGTH, comma=COMMA, most=2)
    assert ([len(chunk) for chunk in chunks], len(rest)) == ([75, 75], 50)


IDS = st.one_of(st.just([COMMA]), st.lists(st.integers(1, 9), min_size=1, max_size=90))
PIECES = IDS.map(lambda ids: piece(*ids))


@given(st.lists(PIECES, max_size=60), st.integers(1, 4))
def test_nothing_is_lost_and_no_chunk_too_long(pieces: list[Piece], most: int) -> None:
    chunks, rest = parted([pieces], length=LENGTH, comma=COMMA, most=most)
    assert [*chain.from_iterable(chunks), *rest] == [*chain.from_iterable(pieces)]
    assert 1 <= len(chunks) <= most
    assert all(len(chunk) <= LENGTH for chunk in chunks)
    if all(len(piece) == 1 for piece in pieces):
        assert all(len(chunk) > LENGTH - REACH for chunk in chunks[:-1])
