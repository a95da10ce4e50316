"""Requests to servers that are killed in between, and a receiver of their webhooks."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GENERATE = "/v1/images/generations"
ASKED = {"prompt": "a fox step-seconds=0.01", "steps": 2, "size": "64x64", "response_format": "url"}
ASYNC = {"prefer": "respond-async"}


class Receiver(ThreadingHTTPServer):
    """Accepts every webhook, and records the ids under which it was told of a job."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Noting)
        self.ids: dict[str, set[str]] = defaultdict(set)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def note(self, webhook_id: str, body: bytes) -> None:
        self.ids[json.loads(body)["data"]["id"]].add(webhook_id)


class _Noting(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.note(self.headers["webhook-id"], self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever).start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
