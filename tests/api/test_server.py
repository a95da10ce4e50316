"""What uvicorn is told."""

from __future__ import annotations

from starlette.applications import Starlette

from sdxl_gateway.api.http.server import http_config
from sdxl_gateway.config import Server

CLIENTS_KEEP_SECONDS = 60
"""httpx and openai keep an idle connection for 5 s, Node for 4 s, nginx and the load balancers of clouds for 60 s."""


def test_idle_connections_outlive_those_of_clients() -> None:
    config = http_config(Server(), Starlette())
    assert config.timeout_keep_alive > CLIENTS_KEEP_SECONDS
    assert http_config(Server(keep_alive_seconds=7), Starlette()).timeout_keep_alive == 7
