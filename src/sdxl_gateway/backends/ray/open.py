"""Opens the backend of a cluster's replicas; imports ray only then."""

from __future__ import annotations

import os
import socket

from sdxl_gateway.backends.ray.backend import RayBackend
from sdxl_gateway.backends.ray.problem import ClusterProblem
from sdxl_gateway.config import S3, Cluster, EngineProcess, Limits
from sdxl_gateway.core.listeners import EngineListener

AUTH_MODE = "RAY_AUTH_MODE"
REACH_SECONDS = 10.0
OF_ONES_OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
"""With the first at 0, the default on Windows and macOS, Ray only listens on the loopback address. The second keeps
engines at normal priority: otherwise a step's Python would wait for the processor while the GPU idles."""


def ray_backend(
    cluster: Cluster, bucket: S3, engine: EngineProcess, limits: Limits, listener: EngineListener
) -> RayBackend:
    """Connect. Raises ClusterProblem for a missing extra, no token, no cluster, or several devices for a replica."""
    if engine.engine.devices:
        raise ClusterProblem("engine.devices: is for the engines of one machine; a replica has one (cluster.replicas).")
    with_token()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not cluster.address:
        os.environ.update(OF_ONES_OWN)
    try:
        from sdxl_gateway.backends.ray.cluster import connected
    except ImportError as problem:
        raise ClusterProblem("cluster.kind: needs the extra: pip install 'sdxl-gateway[cluster]'") from problem
    if ":" in cluster.address:
        _reach(cluster.address)
    return RayBackend(
        connected(cluster, engine, bucket),
        engine.data_directory,
        queue_size=limits.queue_size,
        tenant_queue_size=limits.tenant_queue_size,
        max_lanes=engine.engine.max_lanes,
        listener=listener,
    )


def _reach(address: str) -> None:
    """Check quickly that the address answers, as Ray itself tries for minutes. Raises ClusterProblem."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, ValueError) as problem:
        raise ClusterProblem(f"cluster.address: {address} is not reached: {problem}") from problem


def with_token() -> None:
    """Make Ray require its token from now on, since whoever connects can run code. Raises ClusterProblem."""
    if os.environ.setdefault(AUTH_MODE, "token").lower() != "token":
        told = f"{AUTH_MODE}={os.environ[AUTH_MODE]}: a cluster without token authentication runs anybody's code; "
        raise ClusterProblem(told + "unset it, or make it token.")
