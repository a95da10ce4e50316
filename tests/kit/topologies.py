"""A server as TEST_TOPOLOGY says: `one` process, several `engines`, or gateways before a `ray` cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.kit.balancer import Balancer, balanced
from tests.kit.ray_cluster import needs_ray, ray_cluster
from tests.kit.servers import Server, readiness, server, started, until

TOPOLOGY = os.environ.get("TEST_TOPOLOGY", "one")
_balancers: list[Balancer] = []


def served(folder: Path) -> AbstractContextManager[Server]:
    """A ready server at one address; `folder` may contain its settings."""
    if TOPOLOGY == "ray":
        return _before_ray(folder)
    if TOPOLOGY == "engines":
        return _several_engines(folder)
    return server(folder)


def turn() -> None:
    """Let another gateway answer, if there are several."""
    for one in _balancers:
        one.turn()


@contextmanager
def _several_engines(folder: Path) -> Iterator[Server]:
    with server(folder, engine__device="auto", engine__devices="cpu,cpu") as one:
        until(lambda: ready_engines(one) == 2)
        yield one


@contextmanager
def _before_ray(folder: Path) -> Iterator[Server]:
    with gateways(folder, 2, 2) as both, balanced([int(one.url.rpartition(":")[2]) for one in both]) as balancer:
        _balancers.append(balancer)
        yield replace(both[0], url=balancer.url)
        _balancers.remove(balancer)


@contextmanager
def gateways(folder: Path, count: int, replicas: int, **settings: str) -> Iterator[list[Server]]:
    """`count` gateways before a cluster with `replicas`, all ready. They share a log in `folder`."""
    with gateway_starter(folder, replicas, **settings) as start:
        all_of_them = [start(number) for number in range(count)]
        until(lambda: all(ready_engines(one) == replicas for one in all_of_them), seconds=300, every=0.5)
        yield all_of_them


@contextmanager
def gateway_starter(folder: Path, replicas: int, **settings: str) -> Iterator[Callable[[int], Server]]:
    """A function that starts the gateway of a number before the cluster, also again after it has ended."""
    needs_ray()
    common = {"cluster__replicas": str(replicas), "cluster__directory": str(folder / "replicas"), **settings}
    with ExitStack() as stack:
        address = stack.enter_context(ray_cluster())
        log = stack.enter_context((folder / "log").open("wb"))

        def start(number: int) -> Server:
            own = folder if not number else _beside(folder, number)
            flags = "--cluster", "ray", "--address", address
            one = stack.enter_context(started(own, log.fileno(), common, *flags))
            until(lambda: readiness(one) == 200, seconds=300, every=0.5)
            return one

        yield start


def _beside(folder: Path, number: int) -> Path:
    """A folder for another gateway, with the same settings."""
    own = folder / f"gateway-{number}"
    own.mkdir(exist_ok=True)
    if (folder / "config.toml").exists():
        (own / "config.toml").write_text((folder / "config.toml").read_text("utf-8"), "utf-8")
    return own


def ready_engines(one: Server) -> int:
    """The number of engines that can paint now."""
    return int(sum(one.metric(f'sdxl_gateway_engine_ready{{device="cpu",engine="{engine}"}}') for engine in range(4)))
