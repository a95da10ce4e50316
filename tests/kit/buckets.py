"""An S3 server on loopback (moto's), whose buckets are in memory, and which fails when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from sdxl_gateway.config import S3

Wsgi = Callable[..., Iterable[bytes]]
NUMBERS = count(1)


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


@dataclass
class ObjectStore:
    """`asked` are the requests so far, as "GET /bucket/key"; the next `failures` requests are answered with a 503, and
    all of them while it is `down`.
    """

    answer: Wsgi
    endpoint: str = ""
    down: bool = False
    failures: int = 0
    asked: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if self.down or self.failures > 0:
            self.failures -= 1
            start("503 Service Unavailable", [("content-length", "0")])
            return [b""]
        return self.answer(environ, start)

    def begin(self) -> None:
        """Reset failures and recorded requests; the buckets stay."""
        self.down, self.failures = False, 0
        self.asked.clear()

    def bucket(self, prefix: str = "", **settings: Any) -> S3:
        """Create a bucket; the settings for it."""
        made = f"bucket-{next(NUMBERS)}"
        self.create(made)
        patient = {"retry_seconds": 0.0, "timeout_seconds": 120.0}
        return S3(bucket=made, prefix=prefix, endpoint=self.endpoint, **(patient | settings))

    def create(self, bucket: str) -> None:
        """Create an empty bucket of that name."""
        self.client().create_bucket(Bucket=bucket)

    def client(self) -> Any:
        """Amazon's own client for it."""
        import boto3

        secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **secrets)

    def keys(self, section: S3) -> list[str]:
        """The keys of all objects in the bucket."""
        listed = self.client().list_objects_v2(Bucket=section.bucket)
        return [one["Key"] for one in listed.get("Contents", ())]


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server that runs until the context is left."""
    store = ObjectStore(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=_Silent)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
