"""The gateway that has a batch is killed, stopped or put to sleep amid its lines: another answers each of them once."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from sdxl_gateway.config import Server
from tests.kit.fake_server import started
from tests.kit.killing import ASKED, GENERATE, Receiver, receiving
from tests.kit.redis_server import MISSING, redis_server
from tests.kit.servers import until

pytestmark = [pytest.mark.full, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
LINES = 100
OWL = {**ASKED, "prompt": "an owl step-seconds=0.01"}
LEASE_SECONDS = 3.0
ADMIN = {"api-key": "root"}


@pytest.fixture
def shared() -> Iterator[dict[str, Any]]:
    """Sections of settings by which gateways share a Redis."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder, redis_server(Path(folder)) as server:
        server.timeout_seconds = 1.0
        given = server.sections
        redis = given["redis"].model_copy(update={"lease_seconds": LEASE_SECONDS})
        admitted = {"admin_keys": (SecretStr("root"),), "allow_anonymous": False}
        auth = given["auth"].model_copy(update=admitted)
        yield given | {"redis": redis, "auth": auth}


class Client:
    """Has one key, whose tenant's webhooks `receiver` takes."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        grant = {"name": "art", "tenant": "art", "webhook_url": f"http://{receiver.host}/told"}
        made = httpx.post(f"{url}/v1/admin/keys", json=grant, headers=ADMIN)
        assert made.status_code in (200, 201), made.text
        self._key = {"api-key": made.json()["key"]}

    def get(self, url: str) -> httpx.Response:
        return httpx.get(url, headers=self._key, timeout=60)

    def batch(self, url: str) -> str:
        """The id of one of LINES lines."""
        lines = [
            json.dumps({"custom_id": str(i), "method": "POST", "url": GENERATE, "body": OWL}) for i in range(LINES)
        ]
        file = httpx.post(
            f"{url}/v1/files",
            data={"purpose": "batch"},
            files={"file": ("in.jsonl", "\n".join(lines))},
            headers=self._key,
        ).json()
        asked = {"input_file_id": file["id"], "endpoint": GENERATE, "completion_window": "24h"}
        return str(httpx.post(f"{url}/v1/batches", json=asked, headers=self._key).json()["id"])

    def known(self, url: str) -> bool:
        """Its key is, there."""
        return self.get(f"{url}/v1/batches").status_code == 200

    def done(self, url: str, batch: str) -> int:
        """Of its lines, so many have an answer."""
        return int(self.get(f"{url}/v1/batches/{batch}").json()["request_counts"]["completed"])

    def over(self, url: str, batch: str) -> dict[str, Any]:
        """The batch, once it is."""
        until(lambda: self.get(f"{url}/v1/batches/{batch}").json()["status"] == "completed")
        return dict(self.get(f"{url}/v1/batches/{batch}").json())

    def check(self, url: str, batch: str) -> dict[str, Any]:
        """Each line has one answer, whose picture this gateway hands out; the batch."""
        told = self.over(url, batch)
        assert told["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
        assert told.get("error_file_id") is None
        lines = self.get(f"{url}/v1/files/{told['output_file_id']}/content").text.splitlines()
        assert [json.loads(line)["custom_id"] for line in lines] == [str(i) for i in range(LINES)]
        for line in lines:
            (picture,) = json.loads(line)["response"]["body"]["data"]
            signed = httpx.URL(picture["url"])
            assert self.get(f"{url}{signed.raw_path.decode()}").status_code == 200
        return told


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_batch_goes_from_gateway_to_gateway(shared: dict[str, Any], tmp_path: Path, how: signal.Signals) -> None:
    """And back, for the second one goes as well. What either paints before is a part of it."""
    impatient = {**shared, "server": Server(shutdown_grace_seconds=1.0)}
    with receiving() as receiver, started(tmp_path / "b", receiver.host, owls=LINES // 2, **impatient) as (b, second):
        with started(tmp_path / "a", receiver.host, owls=LINES // 4, **impatient) as (a, first):
            client = Client(a, receiver)
            until(lambda: client.known(b))
            batch = client.batch(a)
            until(lambda: client.done(a, batch) >= LINES // 4)
            os.kill(first.pid or 0, how)
            first.join()
        until(lambda: client.done(b, batch) >= LINES // 2)
        with started(tmp_path / "a", receiver.host, **shared) as (a, _):
            os.kill(second.pid or 0, how)
            second.join()
            told = client.check(a, batch)
            with started(tmp_path / "b", receiver.host, **shared) as (b, _):
                assert client.check(b, batch) == told
                outputs = client.get(f"{b}/v1/files?purpose=batch_output").json()["data"]
                assert [one["id"] for one in outputs] == [told["output_file_id"]]
            until(lambda: batch in receiver.ids)
    assert len(receiver.ids[batch]) == 1


def test_one_that_only_slept_lets_go(shared: dict[str, Any], tmp_path: Path) -> None:
    with (
        receiving() as receiver,
        started(tmp_path / "b", receiver.host, **shared) as (b, _),
        started(tmp_path / "a", receiver.host, owls=LINES // 4, **shared) as (a, first),
    ):
        client = Client(a, receiver)
        until(lambda: client.known(b))
        batch = client.batch(a)
        until(lambda: client.done(a, batch) >= LINES // 4)
        os.kill(first.pid or 0, signal.SIGSTOP)
        until(lambda: client.done(b, batch) >= LINES // 2)
        os.kill(first.pid or 0, signal.SIGCONT)
        told = client.check(b, batch)
        until(lambda: client.get(f"{a}/v1/batches/{batch}").json() == told)
        assert client.check(a, batch) == told
        until(lambda: batch in receiver.ids)
        assert len(receiver.ids[batch]) == 1
