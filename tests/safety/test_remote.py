"""Another server's word on texts counts as it says it; whatever else it answers is a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sdxl_gateway.config import Moderation, Safety
from sdxl_gateway.core.errors import ModerationBlocked, Unjudged
from sdxl_gateway.core.safety import Verdict
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.safety.failure import JudgeFailed
from sdxl_gateway.safety.remote import RemoteModeration
from tests.kit.gateway import gateway_kit
from tests.kit.other_server import Answering, cut_short, dripping, endless, no_http, same_everywhere, saying, silent

CLEAR = {"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.01}}
HATE = {"flagged": True, "categories": {"hate": True, "sexual": False}, "category_scores": {"hate": 0.9, "sexual": 0.2}}


def finding(*results: Any) -> Answering:
    return saying(json.dumps({"id": "modr-1", "model": "m", "results": list(results)}).encode())


def section(port: int, **changes: Any) -> Moderation:
    values = {"base_url": f"http://127.0.0.1:{port}/v1/", "model": "m", "key": SecretStr("k-1"), **changes}
    return Moderation(**values)


async def judged(answering: Answering, texts: list[str], **changes: Any) -> Verdict:
    async with same_everywhere(answering) as server:
        return await RemoteModeration(section(server.port, **changes), Egress()).judge(texts)


async def test_all_texts_are_asked_about_in_one() -> None:
    async with same_everywhere(finding(CLEAR, HATE)) as server:
        verdict = await RemoteModeration(section(server.port), Egress()).judge(["a cat", "a dog"])
    assert verdict == Verdict(("hate",), {"hate": 0.9, "sexual": 0.2})
    assert server.said == [{"model": "m", "input": ["a cat", "a dog"]}]
    assert "post /v1/moderations " in server.heads[0].lower()
    assert "authorization: bearer k-1" in server.heads[0].lower()


async def test_what_is_not_flagged_is_clean_whatever_its_scores() -> None:
    assert not (await judged(finding({**HATE, "flagged": False}), ["a"])).found


async def test_what_is_flagged_without_a_category_counts_and_odd_names_are_left_out() -> None:
    odd = {"flagged": True, "categories": {"<b>": True}, "category_scores": {"<b>": 1.0}}
    assert await judged(finding(odd), ["a"]) == Verdict(("flagged",), {})


@pytest.mark.parametrize(
    "answering",
    [
        saying(b"{}", "500 Oops"),
        saying(b"", "307 Elsewhere"),
        saying(b"not json"),
        saying(b"{}"),
        saying(b'{"results": 1}'),
        finding(),
        finding(CLEAR, CLEAR),
        finding({**CLEAR, "flagged": "no"}),
        finding({**CLEAR, "categories": []}),
        *(finding({**CLEAR, "category_scores": {"hate": score}}) for score in ("much", "nan", float("inf"), 10**400)),
        finding("clear"),
        saying(b"[" * 100_000),
        cut_short,
        no_http,
        endless,
    ],
)
async def test_whatever_else_it_answers_is_a_failure(answering: Answering) -> None:
    with pytest.raises(JudgeFailed) as failed:
        await judged(answering, ["a"])
    assert failed.value.outcome == "failed"


@pytest.mark.parametrize("answering", [silent, dripping])
async def test_one_that_takes_too_long_is_late(answering: Answering) -> None:
    with pytest.raises(JudgeFailed) as failed:
        await judged(answering, ["a"], timeout_seconds=0.2)
    assert failed.value.outcome == "late"


async def test_nobody_there_is_a_failure() -> None:
    with pytest.raises(JudgeFailed):
        await RemoteModeration(section(9), Egress()).judge(["a"])


async def test_a_prompt_it_flags_is_not_painted(tmp_path: Path) -> None:
    async with same_everywhere(finding(HATE)) as server, gateway_kit(tmp_path, moderation=section(server.port)) as kit:
        with pytest.raises(ModerationBlocked) as refused:
            await kit.paint("a cat")
    assert refused.value.categories == ("hate",)


async def test_where_it_fails_the_setting_decides(tmp_path: Path) -> None:
    async with same_everywhere(no_http) as server:
        asked = section(server.port)
        async with gateway_kit(tmp_path / "closed", moderation=asked) as kit:
            with pytest.raises(Unjudged):
                await kit.paint("a cat")
        async with gateway_kit(tmp_path / "open", moderation=asked, safety=Safety(failing="open")) as kit:
            await kit.paint("a cat")
            assert kit.count("judge_duration_seconds_count", judge="moderation", outcome="failed") == 1
