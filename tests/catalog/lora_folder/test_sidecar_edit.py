"""A side-car is changed where it is to be, and stays as it was written everywhere else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.sidecar_edit import change_sidecar, edited
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.lora_files import write
from tests.kit.peft_files import GOOD

BY_HAND = """# from the author's page

weight = 0.6 # a little
trigger_words = [
  "inky",   # always
  "soft",
]
"steps" = 8
wieght = 1
# last words"""

WORDS = st.text("ab \"'\\#=[]{},é🎨", max_size=8)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
    st.lists(WORDS, max_size=3),
)
KEYS = st.sampled_from(["weight", "steps", "description", "trigger_words", "eta"])


def test_what_nobody_named_stays_as_it_was_written() -> None:
    made = edited(BY_HAND, {"weight": 0.5, "trigger_words": ["new", 'a "word"'], "steps": None, "description": "Wet."})
    assert made == (
        "# from the author's page\n\nweight = 0.5\n"
        'trigger_words = ["new", "a \\"word\\""]\nwieght = 1\n# last words\ndescription = "Wet."\n'
    )


def test_nothing_to_change_changes_nothing() -> None:
    assert edited(BY_HAND + "\n", {}) == BY_HAND + "\n"
    assert edited("", {"steps": None}) == ""


def test_new_keys_come_before_a_table() -> None:
    made = edited("[more]\nweight = 3\n", {"weight": 1.0})
    assert tomllib.loads(made) == {"weight": 1.0, "more": {"weight": 3}}
    assert edited(made, {"weight": None}) == "[more]\nweight = 3\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[weight]\nx = 1\n", "unusual way"),
        ("weight = [\n" + "1,\n" * 300 + "]\n", "very many lines"),
    ],
)
def test_what_cannot_be_changed_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        edited(text, {"weight": 1.0})


@given(before=st.dictionaries(KEYS, VALUES), changes=st.dictionaries(KEYS, VALUES))
def test_it_says_what_it_is_to_say(before: dict[str, Any], changes: dict[str, Any]) -> None:
    text = edited("# mine\n", before)
    said = {key: value for key, value in (before | changes).items() if value is not None}
    assert tomllib.loads(edited(text, changes)) == said
    assert edited(text, changes).startswith("# mine\n")


def test_it_lies_beside_the_file_and_goes_when_it_says_nothing(tmp_path: Path) -> None:
    lora = write(tmp_path / "styles" / "ink.v2.safetensors", GOOD)
    change_sidecar(tmp_path, lora, {"weight": 0.5})
    path = tmp_path / "styles" / "ink.v2.toml"
    assert path.read_text() == "weight = 0.5\n"
    change_sidecar(tmp_path, lora, {"weight": None})
    assert sorted(one.name for one in path.parent.iterdir()) == ["ink.v2.safetensors"]
    change_sidecar(tmp_path, lora, {"weight": None})


@pytest.mark.parametrize("data", [b"= 3", b"\xff", b"#" + b" " * 2**17], ids=["no-toml", "no-text", "long"])
def test_one_that_cannot_be_read_is_left_alone(tmp_path: Path, data: bytes) -> None:
    lora = write(tmp_path / "ink.safetensors", GOOD)
    path = write(tmp_path / "ink.toml", data)
    with pytest.raises(InvalidRequest, match="on the server's disk"):
        change_sidecar(tmp_path, lora, {"weight": 0.5})
    assert path.read_bytes() == data


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "loras", tmp_path / "outside"
    lora = write(outside / "ink.safetensors", GOOD)
    root.mkdir()
    (root / "linked").symlink_to(outside)
    with pytest.raises(InvalidRequest, match="leads out"):
        change_sidecar(root, root / "linked" / lora.name, {"weight": 0.5})
    assert [one.name for one in outside.iterdir()] == ["ink.safetensors"]


async def test_the_catalogue_knows_at_once(tmp_path: Path) -> None:
    write(tmp_path / "loras" / "ink.safetensors", GOOD)
    bundled = write(tmp_path / "bundled" / "sunset.safetensors", GOOD).parent
    catalog = LoraCatalog(Loras(directory=tmp_path / "loras"), tmp_path / "data", bundled)
    catalog.scan()
    entry = await catalog.change_sidecar("INK", {"weight": 0.5, "trigger_words": ["wet"]})
    assert entry == catalog.find("ink")
    assert (entry.defaults.weight, entry.defaults.trigger_words) == (0.5, ("wet",))
    assert entry.defaults.said == ("weight", "trigger_words")
    with pytest.raises(InvalidRequest, match="came with the server"):
        await catalog.change_sidecar("sunset", {"weight": 0.5})
    again = LoraCatalog(Loras(directory=tmp_path / "loras"), tmp_path / "data", bundled)
    again.scan()
    assert again.find("ink") == entry
