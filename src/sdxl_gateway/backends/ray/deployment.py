"""A replica as Ray Serve runs it, and the actor beside it that gateways talk to."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sdxl_gateway.backends.process.backend import ENGINE_COMMAND
from sdxl_gateway.backends.ray.host import EngineHost
from sdxl_gateway.backends.ray.scaling import WAIT_SECONDS, ByPredictedWait
from sdxl_gateway.backends.ray.supervised import process
from sdxl_gateway.catalog.lora_folder.copies import prune
from sdxl_gateway.config import S3, Cluster, EngineProcess

log = logging.getLogger(__name__)

NAMESPACE = "sdxl-gateway"
ACTOR_PREFIX = "engine-"
CALLS_AT_ONCE = 1000
STOP_SECONDS = 5.0
HEALTH_SECONDS = 2.0
METRICS_SECONDS = 2.0
PASSED_ON = ("CUDA_VISIBLE_DEVICES",)
"""What Ray tells a replica of its devices; the actor beside it asks Ray for none of its own."""


class EngineActor:
    """An EngineHost's methods, as an actor has them; see there, and EngineHandle."""

    def __init__(
        self, engine: str, bucket: str, command: Sequence[str], folder: str, environment: dict[str, str]
    ) -> None:
        os.environ.update(environment)
        if Path(folder).is_dir():
            os.chdir(folder)  # where relative paths of the settings begin
        config = EngineProcess.model_validate(json.loads(engine))
        self._prune(config)
        shared = S3.model_validate(json.loads(bucket))
        self._host = EngineHost(config, process((sys.executable, *command)), shared)

    def _prune(self, config: EngineProcess) -> None:
        loras = config.loras
        prune(config.data_directory, (), max_age_seconds=loras.store_seconds, max_total_bytes=loras.store_max_bytes)

    async def start(self) -> None:
        await self._host.start()
        self._watching = asyncio.create_task(self._host.watching())

    async def open(self, gateway: str) -> bytes:
        return self._host.open(gateway)

    async def tell(self, gateway: str, commands: bytes) -> None:
        self._host.tell(gateway, commands)

    async def poll(self, gateway: str, wait_seconds: float) -> bytes | None:
        return await self._host.poll(gateway, wait_seconds)

    async def lacks(self, digests: Collection[str]) -> Sequence[str]:
        return await self._host.lacks(digests)

    async def put(self, gateway: str, digest: str, chunk: bytes, last: bool) -> None:
        await self._host.put(gateway, digest, chunk, last)

    async def close(self, gateway: str) -> None:
        self._host.close(gateway)

    async def wait_seconds(self) -> float:
        return self._host.wait_seconds

    async def end(self) -> None:
        """After what was begun."""
        await self._host.drain()
        await self._host.stop(STOP_SECONDS)


class Replica:
    """What Serve starts, watches, counts and sends home. Painting is asked of the actor, for Serve's handles lead to
    any replica, and a gateway has to choose."""

    # Serve awaits a deployment's constructor; Python's own are never coroutines.
    async def __init__(  # type: ignore[misc]
        self, engine: str, bucket: str, command: Sequence[str], folder: str
    ) -> None:
        _listen_privately()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        actor = ray.remote(EngineActor).options(
            name=ACTOR_PREFIX + token_hex(6),
            namespace=NAMESPACE,
            num_cpus=0,
            max_concurrency=CALLS_AT_ONCE,
            scheduling_strategy=here,
        )
        self._actor = actor.remote(engine, bucket, command, folder, environment)
        await self._actor.start.remote()

    async def check_health(self) -> None:
        """Raises where the actor is gone: Serve then puts another replica in the place of this one."""
        await self._actor.wait_seconds.remote()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What the policy looks at."""
        return {WAIT_SECONDS: await self._actor.wait_seconds.remote()}

    async def __del__(self) -> None:
        await self._actor.end.remote()


def application(
    engine: EngineProcess, cluster: Cluster, bucket: S3, command: Sequence[str] = ENGINE_COMMAND[1:]
) -> Any:
    """What Serve runs: replicas with an engine each, without a route. Their processes run Python with `command`."""
    gpus = _gpus(engine, cluster)
    deployed = serve.deployment(Replica, name="engine").options(
        **_replicas(cluster),
        ray_actor_options={"num_cpus": cluster.cpus, "num_gpus": gpus},
        graceful_shutdown_timeout_s=cluster.grace_seconds,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=HEALTH_SECONDS,
    )
    own = _own(engine, cluster, gpus).model_dump_json()
    return deployed.bind(own, bucket.model_dump_json(), command, str(Path.cwd()))


def _own(engine: EngineProcess, cluster: Cluster, gpus: float) -> EngineProcess:
    """With a folder of its node's, and without a GPU with the threads that its processors are."""
    threads = engine.engine.threads or (0 if gpus else max(round(cluster.cpus), 1))
    section = engine.engine.model_copy(update={"threads": threads})
    return engine.model_copy(update={"data_directory": cluster.directory.absolute(), "engine": section})


def _gpus(engine: EngineProcess, cluster: Cluster) -> float:
    if cluster.gpus != "auto":
        return cluster.gpus
    return 1.0 if engine.engine.device != "cpu" and ray.cluster_resources().get("GPU") else 0.0


def _listen_privately() -> None:
    """A replica's port for Serve's own handles, which Serve would open at all addresses, is at the node's alone."""
    from ray.serve._private import replica

    opened, address = replica.add_port_to_grpc_server, ray.util.get_node_ip_address()
    replica.add_port_to_grpc_server = lambda server, _: opened(server, f"{address}:0")


def _replicas(cluster: Cluster) -> dict[str, Any]:
    if cluster.max_replicas <= cluster.replicas:
        return {"num_replicas": cluster.replicas}
    policy = AutoscalingPolicy(policy_function=ByPredictedWait, policy_kwargs={"target_seconds": cluster.wait_seconds})
    scaling = AutoscalingConfig(
        min_replicas=cluster.replicas,
        max_replicas=cluster.max_replicas,
        policy=policy,
        metrics_interval_s=METRICS_SECONDS,
        look_back_period_s=3 * METRICS_SECONDS,
        upscale_delay_s=cluster.upscale_seconds,
        downscale_delay_s=cluster.downscale_seconds,
    )
    return {"autoscaling_config": scaling}
