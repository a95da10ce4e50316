"""Denied words are found however they are spelled, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_gateway.safety.failure import JudgeFailed
from sdxl_gateway.safety.plain_text import LOOKALIKES
from sdxl_gateway.safety.spellings import BOTH, spelling
from sdxl_gateway.safety.words import DENIED, DeniedWords
from tests.kit.spending import spending

WORDS = ("cunt", "ass", "nude", "slut", "naked child", "gore*", "god", "1488", "裸体", "хуй")
DENYING = DeniedWords(WORDS, ())


async def found(text: str, judge: DeniedWords = DENYING) -> bool:
    return (await judge.judge([text])).found


@pytest.mark.parametrize(
    "innocent",
    [
        "Scunthorpe in the rain",
        "a class of assassins in a grassy pass",
        "pa$$word, embassy, cl455room",
        "455 lumens at 1024x768, 35mm, f/1.8, iso 455",
        "lens a 5 5 mm",
        "denuded hills, a nudge",
        "slutty? no: salute",
        "a good dog, goodness",
        "menu. Detail of a desk",
        "on the night nu, de facto",
        "14 88",
        "naked tree, child",
        "хуйня",
        "an arras, mass, as seen",
    ],
)
async def test_innocent_words_pass(innocent: str) -> None:
    assert not await found(innocent)


@pytest.mark.parametrize(
    "written",
    [
        "a NUDE figure",
        "(nude:1.3)",
        "<lora:nude:0.8>",
        "n u d e",
        "n-u-d-e",
        "n.u.d.e",
        "n_u_d_e",
        "nu-de",
        "n\nu\nd\ne",
        "nud3",
        "$lut",
        "s1ut",
        "a$$",
        "a55",
        "nuuuuuude",
        "a s s",
        "N̶U̶D̶E̶",
        "пudе",
        "n\u200bude",
        "naked  child",
        "naked, child",
        "nakedchild",
        "n a k e d child",
        "goreous gorefest",
        "1488",
        "这是裸体画",
        "ХУЙ",
        "nude1",
        "5cunt",
        "goood",
    ],
)
async def test_disguises_do_not_help(written: str) -> None:
    assert await found(f"a picture, {written}, in oil")


async def test_what_was_found_is_named_and_scored() -> None:
    verdict = await DENYING.judge(["a cat", "nude"])
    assert (verdict.categories, verdict.scores) == ((DENIED,), {DENIED: 1.0})
    clean = await DENYING.judge(["a cat"])
    assert (clean.found, clean.scores) == (False, {DENIED: 0.0})


letters = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=8)
INVISIBLE = ("", "\u200b", "\u200d", "\u00ad", "\u0301", "\u0336", "\ufe0e")


def _cased(draw: st.DrawFn, char: str) -> str:
    return draw(st.sampled_from([char, char.upper()]))


def _shaped(draw: st.DrawFn, char: str) -> str:
    return draw(st.sampled_from(char + LOOKALIKES.get(char, "")))


def _signed(draw: st.DrawFn, char: str) -> str:
    return draw(st.sampled_from(char + BOTH.get(char, "")))


def _veiled(draw: st.DrawFn, char: str) -> str:
    return char + draw(st.sampled_from(INVISIBLE))


def _wide(draw: st.DrawFn, char: str) -> str:
    return draw(st.sampled_from([char, chr(ord(char) + 0xFEE0), chr(ord(char) - 97 + 0x1D4EA)]))


@st.composite
def disguised(draw: st.DrawFn) -> tuple[str, str]:
    """A word, and the same as somebody writes it who wants it painted nevertheless."""
    word = draw(letters)
    ways: list[Callable[[st.DrawFn, str], str]] = [_cased, _shaped, _veiled, _wide]
    way = draw(st.sampled_from(ways))
    written = [way(draw, char) for char in word]
    between = draw(st.sampled_from(["", ".", "-", "*", " ", " - "]))
    return word, between.join(written)


@given(disguised(), st.sampled_from(["{}", "a {} b", "({}:1.2)", "x, {}!"]))
@settings(max_examples=120, deadline=None)
async def test_a_disguised_word_is_found(pair: tuple[str, str], around: str) -> None:
    word, written = pair
    assert await found(around.format(written), DeniedWords([word], ()))


@given(st.data(), letters)
@settings(max_examples=80, deadline=None)
async def test_a_word_in_other_signs_is_found(data: st.DataObject, word: str) -> None:
    draw: st.DrawFn = data.draw  # type: ignore[assignment]
    written = "".join(char if at % 2 == 0 else _signed(draw, char) for at, char in enumerate(word))
    assert await found(f"a {written} b", DeniedWords([word], ()))


@given(letters, st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=4), st.booleans())
@settings(max_examples=80, deadline=None)
async def test_a_word_within_another_passes(word: str, more: str, before: bool) -> None:
    longer = more + word if before else word + more
    if len(set(longer)) > 2 and not any(a == b for a, b in pairwise(longer)):
        assert not await found(f"a {longer} b", DeniedWords([word], ()))


@given(
    st.lists(st.text(max_size=12).filter(lambda text: any(map(str.isalnum, text))), max_size=5), st.text(max_size=100)
)
@settings(max_examples=80, deadline=None)
async def test_any_words_make_a_judge_of_any_text(words: list[str], text: str) -> None:
    try:
        judge = DeniedWords(words, ())
    except ValueError as problem:
        assert "holds no letter" in str(problem)  # noqa: PT017
    else:
        await judge.judge([text])


@pytest.mark.parametrize("phrase", ["", "...", "*", "\u200b"])
def test_a_phrase_without_letters_is_none(phrase: str) -> None:
    with pytest.raises(ValueError, match="holds no letter"):
        spelling(phrase)


@pytest.mark.parametrize("text", ["Torsten", "TORSO", "a torso", "tоrso"])
async def test_a_pattern_reads_the_text_as_it_came_and_as_it_reads(text: str) -> None:
    assert await found(text, DeniedWords((), [r"\btors(o|ten)\b"]))


async def test_a_pattern_may_know_marks_and_case_of_its_own() -> None:
    assert await found("a Café", DeniedWords((), ["café"]))
    assert not await found("a tea room", DeniedWords((), ["café"]))


async def test_a_pattern_that_would_take_for_ever_fails() -> None:
    slow = DeniedWords((), [r"^(a|aa)+$"])
    with spending() as spent, pytest.raises(JudgeFailed) as failed:
        await slow.judge(["a" * 200 + "!"])
    assert failed.value.outcome == "late"
    assert spent.seconds < 5
    assert not await found("a cat", slow)


@pytest.mark.parametrize(
    "text", ["a" * 32000, "a." * 16000, "1" * 32000, "i1!|" * 8000, "$ " * 16000, "nu" * 16000, "d e " * 8000]
)
async def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    with spending() as spent:
        await DENYING.judge([text])
    assert spent.seconds < 2
