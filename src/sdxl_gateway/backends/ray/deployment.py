"""A replica as Ray Serve runs it, and the actor beside it that gateways call."""

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
"""Variables with the devices that Ray assigns to a replica; the actor, which requests none itself, gets them too."""


class EngineActor:
    """The methods of an EngineHost, as an actor; see there, and EngineHandle."""

    def __init__(
        self, engine: str, bucket: str, command: Sequence[str], folder: str, environment: dict[str, str]
    ) -> None:
        os.environ.update(environment)
        if Path(folder).is_dir():
            os.chdir(folder)  # the base of relative paths in the settings
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
        """Stop, after the jobs that have begun are over."""
        await self._host.drain()
        await self._host.stop(STOP_SECONDS)


class Replica:
    """The object that Serve starts, monitors, counts and stops. Gateways call the actor instead, because Serve's
    handles lead to any replica, and a gateway has to choose one."""

    # Serve awaits a deployment's constructor, although Python's are never coroutines.
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
        """Raises if the actor is gone: Serve then replaces this replica."""
        await self._actor.wait_seconds.remote()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """The metric that the scaling policy uses."""
        return {WAIT_SECONDS: await self._actor.wait_seconds.remote()}

    async def __del__(self) -> None:
        await self._actor.end.remote()


def application(
    engine: EngineProcess, cluster: Cluster, bucket: S3, command: Sequence[str] = ENGINE_COMMAND[1:]
) -> Any:
    """The Serve application: replicas with an engine each, without a route. Engines run Python with `command`."""
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
    """The settings with the node's own directory and, without a GPU, as many threads as the replica has processors."""
    threads = engine.engine.threads or (0 if gpus else max(round(cluster.cpus), 1))
    section = engine.engine.model_copy(update={"threads": threads})
    return engine.model_copy(update={"data_directory": cluster.directory.absolute(), "engine": section})


def _gpus(engine: EngineProcess, cluster: Cluster) -> float:
    if cluster.gpus != "auto":
        return cluster.gpus
    return 1.0 if engine.engine.device != "cpu" and ray.cluster_resources().get("GPU") else 0.0


def _listen_privately() -> None:
    """Bind the port for Serve's own handles to the node's address only; Serve would bind it to all addresses."""
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
