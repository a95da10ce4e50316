"""What of a cluster's backend needs neither gateways nor replicas: frames, the policy, and what stops a start."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sdxl_gateway.backends.ray import app
from sdxl_gateway.backends.ray.frames import pack, unpack
from sdxl_gateway.backends.ray.open import OF_ONES_OWN, ray_backend
from sdxl_gateway.backends.ray.problem import ClusterProblem
from sdxl_gateway.backends.ray.scaling import WAIT_SECONDS, ByPredictedWait
from sdxl_gateway.config import S3, Cluster, Engine, EngineProcess, Limits, Loras, Memory
from sdxl_gateway.core.events import Painted
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Ended, Leaving, OthersHold, Refused, Submit
from sdxl_gateway.jobs.dispatcher import ignore
from tests.kit.jobs import job


@pytest.mark.parametrize(
    "message",
    [
        Submit(job()),
        Painted("job", 0, 7, Picture(2, 1, "RGB", b"abcdef")),
        OthersHold((1, 2, 3), (0.5, 1.0, 1.0)),
        Refused("job"),
        Leaving(),
        Ended(2),
    ],
)
def test_a_message_crosses_as_bytes_alone(message: Any) -> None:
    assert list(unpack(pack(message) + pack(Leaving()))) == [message, Leaving()]


WORD = pack(Leaving())


@pytest.mark.parametrize("said", [[WORD], "text", b"x", bytes(4), WORD[:-1], b"\xff" + WORD])
def test_anything_else_is_refused(said: Any) -> None:
    with pytest.raises(Malformed):
        list(unpack(said))


@pytest.mark.parametrize(
    ("waits", "replicas", "wanted"),
    [([], 4, 2), ([0.0], 4, 2), ([9.0], 4, 4), ([3.0, 30.0], 4, 8), ([10.0], 3, 3), ([10.1], 3, 4)],
)
def test_as_many_replicas_are_wanted_as_get_done_in_time(waits: list[float], replicas: int, wanted: int) -> None:
    now = SimpleNamespace(
        target_num_replicas=replicas,
        aggregated_metrics={WAIT_SECONDS: dict(enumerate(waits))} if waits else None,
        capacity_adjusted_min_replicas=2,
        capacity_adjusted_max_replicas=8,
    )
    assert ByPredictedWait(10.0)(now) == (wanted, {})


def engine(**keys: Any) -> EngineProcess:
    return EngineProcess(
        data_directory=Path("data"), engine=Engine(**keys), memory=Memory(), checkpoints={}, loras=Loras()
    )


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "sdxl_gateway.backends.ray.cluster", raising=False)
    for name in ("RAY_AUTH_MODE", *OF_ONES_OWN, "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with pytest.raises(ClusterProblem, match=r"pip install 'sdxl-gateway\[cluster\]'"):
        ray_backend(Cluster(kind="ray"), S3(), engine(), Limits(), ignore)


def test_no_start_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for start in (lambda: ray_backend(Cluster(kind="ray"), S3(), engine(), Limits(), ignore), lambda: app({})):
        with pytest.raises(ClusterProblem, match="RAY_AUTH_MODE=disabled"):
            start()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port"])
def test_a_cluster_that_is_not_there_stops_the_start(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setitem(sys.modules, "sdxl_gateway.backends.ray.cluster", ModuleType("cluster"))
    monkeypatch.setattr(sys.modules["sdxl_gateway.backends.ray.cluster"], "connected", ignore, raising=False)
    with pytest.raises(ClusterProblem, match=f"{address} is not reached"):
        ray_backend(Cluster(kind="ray", address=address), S3(), engine(), Limits(), ignore)


def test_a_replica_has_one_device() -> None:
    with pytest.raises(ClusterProblem, match=r"engine\.devices"):
        ray_backend(Cluster(kind="ray"), S3(), engine(devices=("cuda:0", "cuda:1")), Limits(), ignore)
