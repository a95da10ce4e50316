"""What a reader takes for the same word becomes the same letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.safety.plain_text import plain
from tests.kit.spending import spending


@pytest.mark.parametrize(
    "written",
    [
        "nude",
        "NUDE",
        "ｎｕｄｅ",
        "𝓷𝓾𝓭𝓮",
        "ⓝⓤⓓⓔ",
        "🅝🅤🅓🅔",
        "🇳🇺🇩🇪",
        "ɴᴜᴅᴇ",
        "nüdé",
        "n̶u̶d̶e̶",
        "пudе",
        "ηυԁε",
        "n\u200bu\u00add\u2060e",
        "n\u202eude",
        "n\u3164ude",
        "n\ufe0fude",
        "ñ̷̛ü̷d̸e̵",
        "n\x07ude",
    ],
)
def test_one_word_in_many_dresses(written: str) -> None:
    assert plain(written) == "nude"


@pytest.mark.parametrize(
    ("written", "read"), [("Straße", "strasse"), ("ﬁne Øl", "fine ol"), ("Łódź", "lodz"), ("ЁЖ", "eж")]
)
def test_other_letters(written: str, read: str) -> None:
    assert plain(written) == read


def test_what_is_drawn_out_is_written_three_times() -> None:
    assert plain("nuuuuuuuude  ....!") == "nuuude  ...!"


@given(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz 0123456789.,-\n", max_size=200).filter(lambda text: "\0" not in text)
)
def test_plain_text_stays_but_for_long_runs(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    if all(text[at : at + 4] != text[at] * 4 for at in range(len(text) - 3)):
        assert once == text


@given(st.text(max_size=300))
def test_any_text_has_a_plain_one(text: str) -> None:
    assert plain(text) == plain(text.upper().lower()) or text.upper().lower() != text.lower()
    assert plain(plain(text)) == plain(text)


def test_it_costs_little() -> None:
    text = "ü\u200bпⓝ🅝a" * 6000
    plain(text)
    with spending() as spent:
        plain(text)
    assert spent.seconds < 0.5
