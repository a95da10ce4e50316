"""A rollout over HTTP: a header and the recipe name the arm, whatever way a picture is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sdxl_gateway.config import HouseStyle, RolloutArm, Settings
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.rooms import build_rooms
from sdxl_gateway.storage import rollouts
from sdxl_gateway.storage.database import opened
from tests.kit.api import GENERATE
from tests.kit.batches import request
from tests.kit.serving import served
from tests.kit.webhooks import until

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
HEADER = "x-sdxl-gateway-rollout"
ARMS = tuple(RolloutArm(target=target, share=50) for target in ("demo", "nähe"))
MODELS = {"fresh": HouseStyle(rollout=ARMS), "nähe": HouseStyle(negative_prompt="blurry")}
SAID: dict[str, Any] = {"prompt": "a fox", "size": "64x64", "steps": 1, "model": "fresh"}
KEYS = {"api_keys": ["alpha"], "admin_keys": ["root"]}
ALPHA, ROOT = ({"authorization": f"Bearer {key}"} for key in ("alpha", "root"))


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    aliases = {"gpt-image-*": "fresh"}
    async with served(tmp_path, models=MODELS, aliases=aliases, auth=KEYS) as client:
        client.headers.update(ALPHA)
        yield client


async def _until_both(http: httpx.AsyncClient, **more: Any) -> dict[str, httpx.Response]:
    found: dict[str, httpx.Response] = {}
    for number in range(40):
        answer = await http.post(GENERATE, json={**SAID, "user": f"user-{number}", **more})
        found[answer.headers[HEADER]] = answer
        if len(found) == 2:
            return found
    raise AssertionError(found)


async def test_a_header_and_the_recipe(http: httpx.AsyncClient) -> None:
    found = await _until_both(http)
    assert found.keys() == {"fresh; arm=demo", "fresh; arm=n%C3%A4he"}
    for arm, answer in (("demo", found["fresh; arm=demo"]), ("nähe", found["fresh; arm=n%C3%A4he"])):
        recipe = answer.json()["data"][0]["recipe"]
        assert recipe["rollout"] == {"name": "fresh", "arm": arm}
        again = await http.post(GENERATE, json={"recipe": recipe})
        assert again.json()["data"][0]["recipe"] == recipe
        assert again.headers[HEADER] == answer.headers[HEADER]
    streamed = await http.post(GENERATE, json={**SAID, "model": "gpt-image-1", "stream": True, "user": "user-0"})
    assert streamed.headers[HEADER] in found
    assert HEADER not in (await http.post(GENERATE, json={**SAID, "model": "demo"})).headers


async def test_jobs_and_lines_of_a_batch(http: httpx.AsyncClient) -> None:
    made = await http.post(GENERATE, json={**SAID, "user": "u"}, headers={"prefer": "respond-async"})
    lines = request("a", **SAID, user="u") + b"\n" + request("b", **(SAID | {"model": "demo"}), user="u")
    file = await http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines)})
    asked = {"input_file_id": file.json()["id"], "endpoint": GENERATE, "completion_window": "24h"}
    batch = (await http.post("/v1/batches", json=asked)).json()["id"]

    async def done() -> bool:
        return bool((await http.get(f"/v1/batches/{batch}")).json()["status"] == "completed")

    await until(done)
    output = (await http.get(f"/v1/batches/{batch}")).json()["output_file_id"]
    answers = [json.loads(line) for line in (await http.get(f"/v1/files/{output}/content")).text.splitlines()]
    one, other = sorted(answers, key=lambda answer: str(answer["custom_id"]))
    job = (await http.get(f"/v1/jobs/{made.json()['id']}")).json()
    arm = one["response"]["body"]["data"][0]["recipe"]["rollout"]
    assert "rollout" not in other["response"]["body"]["data"][0]["recipe"]
    assert json.dumps(arm) in json.dumps(job)


async def test_operators_alone_see_the_arms_and_their_shares(http: httpx.AsyncClient) -> None:
    arms = [{"target": "demo", "share": 50.0}, {"target": "nähe", "share": 50.0}]
    for name in ("fresh", "gpt-image-1"):
        own = (await http.get(f"/v1/models/{name}")).json()
        root = (await http.get(f"/v1/models/{name}", headers=ROOT)).json()
        assert root["capabilities"] == own["capabilities"] | {"rollout": arms}
        assert "rollout" not in own["capabilities"]
    listed = {one["id"]: one["kind"] for one in (await http.get("/v1/models", headers=ROOT)).json()["data"]}
    assert (listed["fresh"], listed["nähe"]) == ("rollout", "style")


async def test_feedback_counts_for_the_arm_that_painted(http: httpx.AsyncClient) -> None:
    found = await _until_both(http, response_format="url")
    for answer, score in zip(found.values(), (2, 5), strict=True):
        image = answer.json()["data"][0]["id"]
        said = await http.post(f"/v1/images/{image}/feedback", json={"score": score})
        assert (said.status_code, said.json()["image"]) == (200, image)
    table = (await http.get("/v1/admin/feedback", headers=ROOT)).json()["data"]
    scores = {f"fresh; arm={quote(row['arm'])}": row["score"]["value"] for row in table}
    assert scores == dict(zip(found, (2, 5), strict=True))
    assert all(row["requests"]["finished"] == row["pictures"] >= 1 for row in table)
    assert all(row["seconds"]["p95"] > 0 for row in table)


async def test_a_promotion_from_elsewhere_is_in_force_within_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.01)
    async with served(tmp_path, models=MODELS) as http:

        async def arms() -> set[str]:
            asked = [http.post(GENERATE, json={**SAID, "user": f"user-{one}"}) for one in range(8)]
            return {answer.headers[HEADER] for answer in await asyncio.gather(*asked)}

        assert len(await arms()) == 2
        with opened(tmp_path / "data") as database:
            elsewhere = rollouts.RolloutStore(database)
            for shares, held in (({"nähe": 100.0}, {"fresh; arm=n%C3%A4he"}), ({"demo": 100.0}, {"fresh; arm=demo"})):
                await elsewhere.promote("fresh", shares, "mia")

                async def in_force(held: set[str] = held) -> bool:
                    return await arms() == held

                await until(in_force)


def test_a_server_whose_targets_are_not_there_does_not_start(tmp_path: Path) -> None:
    arms = (RolloutArm(target="demo", share=90), RolloutArm(target="dmeo", share=10))
    settings = Settings(data_directory=tmp_path, models={"fresh": HouseStyle(rollout=arms)})
    with pytest.raises(CheckpointProblem, match=r"models\.fresh\.rollout: The target 'dmeo' cannot be painted"):
        build_rooms(settings)
