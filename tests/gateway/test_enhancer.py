"""A chat model writes a richer prompt, or the prompt is painted as it came and the reply says why."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sdxl_gateway.config import Enhancer, Prompts, Safety
from sdxl_gateway.core.errors import InvalidRequest, ModerationBlocked
from sdxl_gateway.gateway.events import Done, Item, Presented
from tests.kit.gateway import gateway_kit
from tests.kit.other_server import Answering, cut_short, dripping, endless, no_http, same_everywhere, saying, silent


def writing(text: Any) -> Answering:
    return saying(json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode())


def section(port: int, **changes: Any) -> Enhancer:
    values = {"base_url": f"http://127.0.0.1:{port}/v1/", "model": "tiny", "key": SecretStr("k-1"), **changes}
    return Enhancer(**values)


def outcome(items: list[Item]) -> tuple[str, str, tuple[str, ...]]:
    """Both prompts as they were painted, and the warnings."""
    (painted,) = [item for item in items if isinstance(item, Presented)]
    (done,) = [item for item in items if isinstance(item, Done)]
    return painted.recipe["prompt"], painted.recipe["negative_prompt"], done.warnings


async def test_the_richer_prompt_is_painted(tmp_path: Path) -> None:
    async with (
        same_everywhere(writing(" A red fox\nin deep snow. ")) as server,
        gateway_kit(tmp_path, enhancer=section(server.port)) as kit,
    ):
        found = outcome(await kit.paint("a fox", negative_prompt="grey", enhance=True))
        assert outcome(await kit.paint("a fox"))[0] == "a fox"
    assert found == ("A red fox in deep snow.", "grey", ())
    assert len(server.bodies) == 1
    assert server.heads[0].startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert "authorization: bearer k-1" in server.heads[0].lower()
    assert server.said[0]["model"] == "tiny"
    assert server.said[0]["messages"][-1] == {"role": "user", "content": "a fox"}


async def test_lora_tags_go_around_the_model(tmp_path: Path) -> None:
    async with (
        same_everywhere(writing("a red fox")) as server,
        gateway_kit(tmp_path, enhancer=section(server.port)) as kit,
    ):
        items = await kit.paint("a fox <lora:outline:0.5>", enhance=True)
    assert server.said[0]["messages"][-1]["content"] == "a fox"
    (painted,) = [item for item in items if isinstance(item, Presented)]
    assert (painted.recipe["prompt"], painted.recipe["loras"][0]["weight"]) == ("a red fox", 0.5)


HOSTILE: dict[str, tuple[Answering, str]] = {
    "error": (saying(b"{}", "500 Oh"), "answered 500"),
    "redirect": (saying(b"", "302 Found\r\nlocation: http://127.0.0.1:1/"), "answered 302"),
    "no-json": (saying(b"<html>"), "cannot be read"),
    "other-json": (saying(b'{"choices": []}'), "cannot be read"),
    "deep-json": (saying(b"[" * 100_000), "cannot be read"),
    "number": (writing(7), "cannot be read"),
    "lone-surrogate": (saying(b'{"choices": [{"message": {"content": "\\ud800"}}]}'), "cannot be read"),
    "nothing": (writing(" \n "), "wrote nothing"),
    "long": (writing("fox " * 9000), "too long"),
    "endless": (endless, "too long"),
    "lora-tag": (writing("a fox <lora:outline:4>"), "LoRA tag"),
    "cut-short": (cut_short, "could not be asked"),
    "compressed": (
        saying(gzip.compress(b" " * 2**26), "200 OK\r\ncontent-encoding: gzip"),
        "cannot be read",
    ),
    "no-http": (no_http, "could not be asked"),
    "silent": (silent, "longer than 0.3 s"),
    "trickling": (dripping, "longer than 0.3 s"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_comes_back_a_picture_is_painted(tmp_path: Path, name: str) -> None:
    answering, reason = HOSTILE[name]
    timeout = 0.3 if "0.3" in reason else 10.0
    async with (
        same_everywhere(answering) as server,
        gateway_kit(tmp_path, enhancer=section(server.port, timeout_seconds=timeout)) as kit,
    ):
        prompt, _, (warning,) = outcome(await kit.paint("a fox", enhance=True))
    assert prompt == "a fox"
    assert warning.startswith("The prompt is not enhanced: ")
    assert reason in warning


async def test_nobody_there(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, enhancer=section(1)) as kit:
        assert "could not be asked" in outcome(await kit.paint("a fox", enhance=True))[2][0]


async def test_what_cannot_be_painted_is_left_aside(tmp_path: Path) -> None:
    async with same_everywhere(writing("a fox AND a dog")) as server:
        weighing = Prompts(prompt_syntax="a1111")
        async with gateway_kit(tmp_path, enhancer=section(server.port), prompts=weighing) as kit:
            prompt, _, (warning,) = outcome(await kit.paint("a (fox:1.2)", enhance=True))
            assert (prompt, "cannot be painted" in warning) == ("a (fox:1.2)", True)
            with pytest.raises(InvalidRequest) as refused:
                await kit.paint("a cat AND a dog", enhance=True)
    assert refused.value.param == "prompt"


async def test_without_a_model_asking_for_it_is_refused(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path) as kit:
        with pytest.raises(InvalidRequest, match="no model to rewrite prompts") as refused:
            await kit.paint("a fox", enhance=True)
    assert refused.value.param == "enhance"


def test_the_key_is_not_shown() -> None:
    assert "k-1" not in repr(section(1))
    assert "k-1" not in section(1).model_dump_json()


async def test_what_is_not_allowed_here_is_left_aside(tmp_path: Path) -> None:
    denying = Safety(deny_words=("nude",))
    async with (
        same_everywhere(writing("a n.u.d.e fox")) as server,
        gateway_kit(tmp_path, enhancer=section(server.port), safety=denying) as kit,
    ):
        prompt, _, (warning,) = outcome(await kit.paint("a fox", enhance=True))
        with pytest.raises(ModerationBlocked):
            await kit.paint("a nude", enhance=True)
    assert (prompt, "not allowed here" in warning) == ("a fox", True)
    assert len(server.bodies) == 1
