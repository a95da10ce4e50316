"""What jobs were asked in words goes sooner than what became of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sdxl_gateway.api.replies.job_images import images_of
from sdxl_gateway.api.replies.jobs import job_reply
from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.gateway.job_texts import JobTexts
from sdxl_gateway.gateway.packed import unpack_ask, unpack_result
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.jobs import JobStore
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.sealed import AesSeal
from tests.kit.gateway import CALLER, ask, gateway_kit
from tests.kit.images import signer
from tests.kit.stored_jobs import over, painting

SECRET = "a fox nobody may hear of"
LATER = time.time() + 1e6
SEALS = {"plain": Seal(), "sealed": AesSeal([bytes(32)])}


@pytest.mark.parametrize("seal", SEALS)
async def test_jobs_that_are_over_forget_their_prompts_and_nothing_else(tmp_path: Path, seal: str) -> None:
    async with gateway_kit(tmp_path, seal=SEALS[seal]) as kit:
        asked = ask(SECRET, negative_prompt=SECRET, seed=3)
        async with painting(kit.tasks):
            done = await over(kit.tasks, (await kit.tasks.submit(asked, CALLER)).id)
        waiting = await kit.tasks.submit(asked, CALLER)
        with opened(tmp_path) as database:
            texts = JobTexts(JobStore(database, BlobFolder(tmp_path / "uploads"), SEALS[seal]))
            assert await texts.forget_before(0.0) == 0
            assert [await texts.forget_before(LATER) for _ in range(2)] == [1, 0]
        now = await kit.tasks.get(done.job.id, CALLER)
        told = job_reply(now, await images_of(now.job, kit.images, Links("http://gw", signer(), 60.0)))
        assert SECRET not in str(now.job) + str(told)
        assert told["state"] == "completed"
        assert told["result"] is not None
        (entry,) = told["result"]["data"]
        assert (entry["seed"], entry["recipe"]["prompt"], "revised_prompt" in entry) == (3, "", False)
        assert (
            unpack_result(now.job.result or "").pictures[0].stored
            == unpack_result(done.job.result or "").pictures[0].stored
        )
        assert unpack_ask((await kit.tasks.get(waiting.id, CALLER)).job.ask).ask.prompt == SECRET
