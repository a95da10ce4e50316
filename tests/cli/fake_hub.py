"""A Hub of one repository on a loopback port, which can break off, forget ranges, or hand out something else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c" * 40


@dataclass
class FakeHub:
    """`content` is what it says it has, `given` what it hands out; `breaks` is where it ends too early,
    `redirect` another host that hands it out."""

    content: bytes
    given: bytes
    name: str = "models/real one.safetensors"
    breaks: int | None = None
    url: str = ""
    redirect: str = ""
    ranges: list[str | None] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if "real" not in self.path:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
            else:
                self.send_response(302 if hub.redirect else 200)
                self.send_header("Location", hub.redirect + self.path)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Etag", f'"{hashlib.sha256(hub.content).hexdigest()}"')
                self.send_header("X-Linked-Size", str(len(hub.content)))
                self.send_header("Content-Length", str(len(hub.content)))
            self.end_headers()

        def do_GET(self) -> None:
            hub.tokens.append(self.headers["Authorization"])
            if hub.redirect:
                self.send_response(302)
                self.send_header("Location", hub.redirect + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            hub.ranges.append(self.headers["Range"])
            start = int(wanted[1]) if wanted else 0
            left = hub.given[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(left)))
            self.end_headers()
            self.wfile.write(left if hub.breaks is None else left[: max(0, hub.breaks - start)])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def fake_hub(content: bytes, given: bytes | None = None) -> Iterator[FakeHub]:
    """A hub, served."""
    hub = FakeHub(content, content if given is None else given)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield hub
        server.shutdown()
