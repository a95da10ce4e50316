"""Connects to a Ray cluster, starts the application if nobody has, and finds the replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.util import list_named_actors

from sdxl_gateway.backends.process.backend import ENGINE_COMMAND
from sdxl_gateway.backends.ray.deployment import ACTOR_PREFIX, NAMESPACE, application
from sdxl_gateway.backends.ray.handle import EngineGone, EngineHandle
from sdxl_gateway.backends.ray.problem import ClusterProblem
from sdxl_gateway.config import S3, Cluster, EngineProcess

APPLICATION = "sdxl-gateway"


class ActorHandle:
    """A replica's actor (an EngineHandle)."""

    def __init__(self, name: str) -> None:
        self._actor = ray.get_actor(name, NAMESPACE)

    async def open(self, gateway: str) -> bytes:
        """As EngineHandle."""
        said: bytes = await _asked(self._actor.open.remote(gateway))
        return said

    async def tell(self, gateway: str, commands: bytes) -> None:
        """As EngineHandle."""
        await _asked(self._actor.tell.remote(gateway, commands))

    async def poll(self, gateway: str, wait_seconds: float) -> bytes:
        """As EngineHandle."""
        said: bytes | None = await _asked(self._actor.poll.remote(gateway, wait_seconds))
        if said is None:
            raise EngineGone("The replica knows of no visit.")
        return said

    async def lacks(self, digests: Collection[str]) -> Sequence[str]:
        """As EngineHandle."""
        lacked: Sequence[str] = await _asked(self._actor.lacks.remote(list(digests)))
        return lacked

    async def put(self, gateway: str, digest: str, chunk: bytes, last: bool) -> None:
        """As EngineHandle."""
        await _asked(self._actor.put.remote(gateway, digest, chunk, last))

    async def close(self, gateway: str) -> None:
        """As EngineHandle."""
        await _asked(self._actor.close.remote(gateway))


async def _asked(answer: Any) -> Any:
    try:
        return await answer
    except RayError as problem:
        raise EngineGone(type(problem).__name__) from problem


class RayReplicas:
    """The replicas of the cluster that this process is a driver of (Replicas)."""

    def __init__(self) -> None:
        self._handles: dict[str, EngineHandle] = {}

    async def now(self) -> dict[str, EngineHandle]:
        """As Replicas."""
        self._handles = await asyncio.to_thread(_handles, self._handles)
        return self._handles

    async def close(self) -> None:
        """As Replicas."""
        await asyncio.to_thread(ray.shutdown)


def connected(
    cluster: Cluster, engine: EngineProcess, bucket: S3, command: Sequence[str] = ENGINE_COMMAND[1:]
) -> RayReplicas:
    """Join a cluster, or start one; its application is started unless there are replicas. Raises ClusterProblem.

    Does not wait for the replicas. Their engines' processes run Python with the arguments `command`.
    """
    own = {} if cluster.address else {"object_store_memory": cluster.object_store_bytes, "include_dashboard": False}
    try:
        ray.init(cluster.address or "local", namespace=NAMESPACE, log_to_driver=False, configure_logging=False, **own)
        if not _engines() and APPLICATION not in serve.status().applications:
            serve.start(proxy_location="Disabled")
            target = serve.RunTarget(application(engine, cluster, bucket, command), name=APPLICATION, route_prefix=None)
            serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    except (RayError, RayServeException, ConnectionError, RuntimeError, ValueError) as problem:
        ray.shutdown()
        raise ClusterProblem(f"cluster.address: {type(problem).__name__}: {problem}") from problem
    return RayReplicas()


def _handles(known: Mapping[str, EngineHandle]) -> dict[str, EngineHandle]:
    """Handles of all replicas, except those that end meanwhile."""
    found = {}
    for name in _engines():
        with suppress(ValueError):
            found[name] = known.get(name) or ActorHandle(name)
    return found


def _engines() -> list[str]:
    found = list_named_actors(all_namespaces=True)
    return [one["name"] for one in found if one["namespace"] == NAMESPACE and one["name"].startswith(ACTOR_PREFIX)]
