"""A Ray cluster of one's own with replicas whose engines are `benchmarks.replica_engine`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sdxl_gateway.backends.ray.handle import EngineHandle, Replicas
from sdxl_gateway.backends.ray.open import OF_ONES_OWN
from sdxl_gateway.config import S3, Cluster, Engine, EngineProcess, Loras, Memory

ROOT = Path(__file__).parents[1]
COMMAND = ("-m", "benchmarks.replica_engine")


class Kept:
    """Replicas that stay when a gateway leaves."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def now(self) -> dict[str, EngineHandle]:
        """As of Replicas."""
        return await self._replicas.now()

    async def close(self) -> None:
        """Others come."""


def engine_process(folder: Path) -> EngineProcess:
    """Of an engine that has no model."""
    engine = Engine(device="cpu", restart_backoff_seconds=0.05)
    return EngineProcess(data_directory=folder, engine=engine, memory=Memory(), checkpoints={}, loras=Loras())


@contextmanager
def small_cluster(count: int, *options: str) -> Iterator[Replicas]:
    """So many replicas; `options` are of their engines' command. Ray is imported by then."""
    environment: dict[str, str] = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= OF_ONES_OWN | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    os.environ.update(environment)
    from sdxl_gateway.backends.ray.cluster import connected

    logging.getLogger("ray.serve").setLevel(logging.ERROR)

    with TemporaryDirectory() as folder:
        section = Cluster(kind="ray", replicas=count, cpus=0.5, directory=Path(folder), object_store_bytes=200 * 2**20)
        replicas = connected(section, engine_process(Path(folder)), S3(), _command(options))
        yield Kept(replicas)
        import ray

        ray.shutdown()


def _command(options: Sequence[str]) -> tuple[str, ...]:
    return (*COMMAND, *options)
