"""Each fuzz target takes what is right, and survives bytes that are not far from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import RIGHT
from tests.fuzz.targets import TARGETS, Target, survives

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def test_make_fuzz_fuzzes_all_of_them() -> None:
    said = re.search(r"FUZZ_TARGETS \?= ((?:.*\\\n)*.*)", MAKEFILE.read_text())
    assert said is not None
    assert said[1].replace("\\", "").split() == [*TARGETS]
    assert RIGHT.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_taken(name: str) -> None:
    TARGETS[name](RIGHT[name])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@given(cut=st.integers(0, 400), put=st.binary(max_size=24), skip=st.integers(0, 24))
@settings(max_examples=50, deadline=None)
def test_what_is_nearly_right_is_survived(target: Target, cut: int, put: bytes, skip: int) -> None:
    right = RIGHT[target.__name__]
    place = cut % (len(right) + 1)
    survives(target, right[:place] + put + right[place + skip :])
