"""Sends requests to other servers, bounded in time and bytes, at public addresses unless the operator names others.

If the current task belongs to a trace, its context is sent along in `traceparent`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from ssl import SSLContext

import httpcore
import httpx

from sdxl_gateway import __version__
from sdxl_gateway.core.trace import current
from sdxl_gateway.egress.dialling import GuardedDialler, Resolve, system_resolve
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused, Encoded, TooLarge, TooSlow

ANY_HOST = ("*",)
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
BROKEN = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
)
_OWN_HEADERS = {
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": f"sdxl-gateway/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """Another server's answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Egress:
    """The one HTTP client. It uses no proxies from the environment, no cookies, and no persistent connections.

    `private` are hosts, or `host:port`, that may be at addresses in the operator's own network.
    """

    def __init__(
        self,
        private: Iterable[str] = (),
        *,
        resolve: Resolve = system_resolve,
        dial: httpcore.AsyncNetworkBackend | None = None,
        tls: SSLContext | None = None,
    ) -> None:
        tls = tls or _system_tls()
        self._guarded = _pool(tls, GuardedDialler(private, resolve, dial))
        self._trusted = _pool(tls, httpcore.AnyIOBackend())

    async def get(
        self, url: str, *, accept: str, timeout_seconds: float, max_bytes: int, hosts: Sequence[str] = ANY_HOST
    ) -> Reply:
        """Fetch `url`, following redirects, each checked as the first address is.

        `hosts` are globs, one of which the host of `url` and of every redirect must match. No credentials are sent.
        Raises EgressRefused, EgressFailed.
        """
        headers = {"accept": accept}
        async with _within(timeout_seconds):
            here = checked(url, hosts)
            for _ in range(MOST_REDIRECTS + 1):
                reply = await _request(self._guarded, "GET", here, headers, None, max_bytes)
                if reply.status not in REDIRECTS or "location" not in reply.headers:
                    return reply
                here = _next(here, reply.headers["location"], hosts)
        raise EgressFailed(f"it is redirected more than {MOST_REDIRECTS} times")

    async def post(
        self,
        url: str,
        *,
        content: bytes,
        headers: Mapping[str, str],
        timeout_seconds: float,
        max_bytes: int,
        trusted: bool = False,
    ) -> Reply:
        """Post `content`; redirects are returned, not followed, so that `headers` reach no other host.

        `trusted` is for addresses from the settings, which may be anywhere. With `max_bytes` 0 only the answer's head
        is read. Raises EgressRefused, EgressFailed.
        """
        pool = self._trusted if trusted else self._guarded
        async with _within(timeout_seconds):
            return await _request(pool, "POST", checked(url), headers, content, max_bytes)


@cache
def _system_tls() -> SSLContext:
    """Cached, as reading all trusted certificate authorities takes 50 ms."""
    return httpcore.default_ssl_context()


def _pool(tls: SSLContext, dialler: httpcore.AsyncNetworkBackend) -> httpcore.AsyncConnectionPool:
    """No connection outlives its request, so none is shared between callers."""
    return httpcore.AsyncConnectionPool(
        ssl_context=tls, max_connections=None, max_keepalive_connections=0, network_backend=dialler
    )


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """A time limit from name look-up to the last byte; network errors are replaced by ones without their text."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TooSlow(f"it took longer than {seconds:g} s") from None
    except BROKEN as error:
        raise EgressFailed("its server broke off, or does not speak HTTP") from error


def checked(url: str, hosts: Sequence[str] = ANY_HOST) -> httpx.URL:
    """The URL, if it is http or https, without a user, and its host is allowed. Raises EgressRefused."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise EgressRefused("it is not a valid address") from None
    if parsed.scheme not in ("http", "https") or not parsed.raw_host:
        raise EgressRefused("it is not an http or https address")
    if parsed.userinfo:
        raise EgressRefused("it holds a user or a password")
    host = parsed.raw_host.decode("ascii").lower().rstrip(".")
    if not any(fnmatchcase(host, glob.lower()) for glob in hosts):
        raise EgressRefused("its host is not among those that this server fetches from")
    return parsed


def _next(here: httpx.URL, location: str, hosts: Sequence[str]) -> httpx.URL:
    """A redirect's target, which must not lead from https to http. Raises EgressRefused."""
    try:
        there = checked(str(here.join(location)), hosts)
    except httpx.InvalidURL:
        raise EgressRefused("it is redirected to an invalid address") from None
    if here.scheme == "https" and there.scheme != "https":
        raise EgressRefused("it is redirected from https to http")
    return there


async def _request(
    pool: httpcore.AsyncConnectionPool,
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str],
    content: bytes | None,
    max_bytes: int,
) -> Reply:
    trace = current()
    own = _OWN_HEADERS if trace is None else {**_OWN_HEADERS, **trace.headers}
    sent = [(name.encode(), value.encode()) for name, value in ({**headers, **own}).items()]
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    async with pool.stream(method, target, headers=sent, content=content) as response:
        received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        # A redirect's body is not needed.
        unread = not max_bytes or response.status in REDIRECTS
        body = b"" if unread else await _body(response, received, max_bytes)
        return Reply(response.status, received, body)


async def _body(response: httpcore.Response, headers: Mapping[str, str], max_bytes: int) -> bytes:
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise Encoded("its server sends it compressed")
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"it has more than {max_bytes} bytes")
    return bytes(body)
