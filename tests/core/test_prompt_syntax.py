"""What weights in a prompt mean, as A1111 reads them."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.core.prompt_syntax import A1111, MOST_WEIGHT, PLAIN, PromptSyntaxError, Segment, escaped, read_prompt
from tests.kit.spending import spending

NUMBERED = [
    ("(red:1.3)", [("red", 1.3)]),
    ("(red: 1.3 )", [("red", 1.3)]),
    ("(red:.5)(blue:-1)", [("red", 0.5), ("blue", -1.0)]),
    ("a (red:1.3) circle", [("a ", 1.0), ("red", 1.3), (" circle", 1.0)]),
    ("((red:1.5) blue:2)", [("red", 3.0), (" blue", 2.0)]),
    ("(a:b:1.2)", [("a:b", 1.2)]),
    ("(red:1.2.3)", [("red:1.2.3", 1.1)]),
    ("(red:much)", [("red:much", 1.1)]),
    ("(red:)", [("red:", 1.1)]),
    ("red:1.3)", [("red:1.3)", 1.0)]),
]
BRACKETS = [
    ("(red)", [("red", 1.1)]),
    ("((red))", [("red", 1.1 * 1.1)]),
    ("[red]", [("red", 1 / 1.1)]),
    ("[[red]]", [("red", 1 / 1.1 / 1.1)]),
    ("[(red)]", [("red", 1.0)]),
    ("(red", [("red", 1.1)]),
    ("a [red", [("a ", 1.0), ("red", 1 / 1.1)]),
    ("red) blue]", [("red) blue]", 1.0)]),
    ("([a)b]", [("a", 1.0), ("b", 1 / 1.1)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("()", []),
    ("", []),
    ("[a:b]", [("a:b", 1 / 1.1)]),
    ("a|b", [("a|b", 1.0)]),
]
ESCAPES = [
    (r"\(red\)", [("(red)", 1.0)]),
    (r"red \[blue\]", [("red [blue]", 1.0)]),
    (r"(art \(x\):1.2)", [("art (x)", 1.2)]),
    (r"a\\b", [("a\\b", 1.0)]),
    (r"a\b", [("ab", 1.0)]),
    (r"(red\:1.3)", [("red", 1.3)]),
]


@pytest.mark.parametrize(("text", "meant"), NUMBERED + BRACKETS + ESCAPES)
def test_what_marks_mean(text: str, meant: list[tuple[str, float]]) -> None:
    (part,) = read_prompt(text, A1111)
    assert [segment.text for segment in part] == [text for text, _ in meant]
    assert [segment.weight for segment in part] == pytest.approx([weight for _, weight in meant])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("red BREAK blue", [["red ", ], [" blue"]]),
        ("BREAK", [[], []]),
        ("BREAKFAST BREAK", [["BREAKFAST "], []]),
        ("break", [["break"]]),
        ("(red BREAK blue:1.2)", [["red "], [" blue"]]),
    ],
)  # fmt: skip
def test_where_a_part_ends(text: str, meant: list[list[str]]) -> None:
    assert [[segment.text for segment in part] for part in read_prompt(text, A1111)] == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[red:blue:0.5]", "a:b:0.5"),
        ("[red:0.5]", "a:b:0.5"),
        ("[red::3]", "a:b:0.5"),
        ("a [(red:1.2):blue:.5 ]", "a:b:0.5"),
        ("[red|blue]", "a|b"),
        ("[a [red|blue] b]", "a|b"),
        ("[(red|blue)]", "a|b"),
        ("a cat AND a dog", "AND"),
        ("(red:11)", "beyond 10"),
        ("(red:-10.5)", "beyond 10"),
        ("((red:4):4)", "beyond 10"),
        ("(" * 25 + "red", "beyond 10"),
        ("(red:" + "9" * 400 + ")", "beyond 10"),
        ("(" * 8000 + "[" * 8000 + "red", "beyond 10"),
    ],
)
def test_what_is_refused_says_what(text: str, word: str) -> None:
    with pytest.raises(PromptSyntaxError, match=re.escape(word)):
        read_prompt(text, A1111)
    assert read_prompt(text, PLAIN) == ((Segment(text),),)


MARKS = st.lists(st.sampled_from([*"()[]:|\\ ab1.-", "BREAK", "AND", ":1.2)"]), max_size=60).map("".join)


@given(st.one_of(MARKS, st.text()))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    try:
        parts = read_prompt(text, A1111)
    except PromptSyntaxError:
        return
    assert len(parts) == 1 or "BREAK" in text
    for part in parts:
        assert all(segment.text and abs(segment.weight) <= MOST_WEIGHT for segment in part)
        assert all(a.weight != b.weight for a, b in pairwise(part))


@given(st.text().filter(lambda text: not re.search(r"\b(AND|BREAK)\b", text)))
def test_escaped_text_means_itself(text: str) -> None:
    (part,) = read_prompt(escaped(text), A1111)
    assert part == ((Segment(text),) if text else ())


@given(st.lists(st.floats(0.3, 1.6).map(lambda weight: round(weight, 3)), min_size=1, max_size=4))
def test_weights_multiply(weights: list[float]) -> None:
    text = "(" * len(weights) + "red" + "".join(f":{weight})" for weight in weights)
    ((segment,),) = read_prompt(text, A1111)
    assert segment.weight == pytest.approx(prod(weights))


LONGEST = 32_000


@pytest.mark.parametrize(
    "repeated",
    ["(", "[", ")", "\\", "\\(", ":", ": ", "(a", "(a:1)", "((a:.1)", "BREAK ", " ", "1", ".", "|", "[]", "([)]"],
)
@pytest.mark.parametrize("before", ["", "(a:", "[a:"])
def test_the_longest_prompts_are_read_in_no_time(before: str, repeated: str) -> None:
    text = (before + repeated * LONGEST)[:LONGEST]
    with spending() as spent, suppress(PromptSyntaxError):
        read_prompt(text, A1111)
    assert spent.seconds < 1.0
