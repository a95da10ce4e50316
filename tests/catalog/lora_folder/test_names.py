"""Which names a LoRA may have, and which a new one may be given."""

from __future__ import annotations

import pytest

from sdxl_gateway.catalog.lora_folder.names import MAX_DEPTH, MAX_PART_BYTES, check_name, check_new_name, place_name
from sdxl_gateway.core.errors import InvalidRequest

PLAIN = ["ink", "Ink 2", "styles/deep/oil.v2", "café", "墨", "ink.safetensors", "-ink", "x" * MAX_PART_BYTES]
ONLY_FOUND = ["a?b", "con", "ink.", "back\\slash", ".hidden", "style: two", "/".join("a" * 20), "x" * 200, "墨" * 60]
NEVER = ["", " ", " ink", "ink ", "a+b", "ink:0.8", "ink: -1", "a\0b", "a\nb", "x" * 201]
NEVER_NEW = ["/ink", "ink/", "a//b", "..", "../ink", "a/../b", "./ink", "a/NUL.x", "C:\\ink", "\ud800"]


@pytest.mark.parametrize("name", [*PLAIN, *ONLY_FOUND])
def test_what_can_be_asked_for_may_lie_in_the_folder(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", PLAIN)
def test_a_new_one_has_plain_file_names(name: str) -> None:
    check_new_name(name)


@pytest.mark.parametrize("name", NEVER)
def test_what_would_mean_something_else_is_no_name(name: str) -> None:
    for check in (check_name, check_new_name):
        with pytest.raises(InvalidRequest) as refused:
            check(name)
        assert refused.value.param == "name"


@pytest.mark.parametrize("name", [*ONLY_FOUND, *NEVER_NEW])
def test_a_new_one_is_fit_for_every_file_system(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_new_name(name)
    assert refused.value.param == "name"


def test_a_new_one_lies_no_deeper_than_the_folder_is_looked_at() -> None:
    check_new_name("/".join(["a"] * MAX_DEPTH))
    with pytest.raises(InvalidRequest, match="at most"):
        check_new_name("/".join(["a"] * (MAX_DEPTH + 1)))


def test_a_place_is_a_name_in_one_spelling() -> None:
    assert place_name("styles/cafe\u0301.safetensors") == "styles/café"
