"""THE WAY OUT: asks other servers, bounded in time and bytes, at public addresses unless the operator names others.

Where the running task belongs to a trace, its place goes along in `traceparent`.
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
    """What another server answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Egress:
    """The one client for other servers. Neither proxies of the environment, nor cookies, nor connections kept open.

    `private` are hosts, or `host:port`, that may stand at addresses of the operator's own network.
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
        """What is there, redirects followed: each to another address that is checked as the first one is.

        `hosts` are globs of names, of which the address' and every redirect's has to fit one. No credentials go along.
        Raises EgressRefused, EgressFailed.
        """
        headers = {"accept": accept}
        async with _within(timeout_seconds):
            here = checked(url, hosts)
            for _ in range(MOST_REDIRECTS + 1):
                reply = await _asked(self._guarded, "GET", here, headers, None, max_bytes)
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
        """What the server answers; a redirect is an answer like others, so `headers` reach no other host.

        `trusted` is for addresses that stand in the settings, and may be anywhere. With `max_bytes` 0 nothing but the
        answer's head is read. Raises EgressRefused, EgressFailed.
        """
        pool = self._trusted if trusted else self._guarded
        async with _within(timeout_seconds):
            return await _asked(pool, "POST", checked(url), headers, content, max_bytes)


@cache
def _system_tls() -> SSLContext:
    """Reading all the authorities that are trusted takes 50 ms."""
    return httpcore.default_ssl_context()


def _pool(tls: SSLContext, dialler: httpcore.AsyncNetworkBackend) -> httpcore.AsyncConnectionPool:
    """No connection outlives its request, so none made for one caller serves another."""
    return httpcore.AsyncConnectionPool(
        ssl_context=tls, max_connections=None, max_keepalive_connections=0, network_backend=dialler
    )


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """From the look-up of a name to the last byte. What went wrong on the wire is told without its text."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TooSlow(f"it took longer than {seconds:g} s") from None
    except BROKEN as error:
        raise EgressFailed("its server broke off, or does not speak HTTP") from error


def checked(url: str, hosts: Sequence[str] = ANY_HOST) -> httpx.URL:
    """Of http or https, without a user, to a host that is allowed. Raises EgressRefused."""
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        raise EgressRefused("it is no address") from None
    if found.scheme not in ("http", "https") or not found.raw_host:
        raise EgressRefused("it is no address of http or https")
    if found.userinfo:
        raise EgressRefused("it holds a user or a password")
    host = found.raw_host.decode("ascii").lower().rstrip(".")
    if not any(fnmatchcase(host, glob.lower()) for glob in hosts):
        raise EgressRefused("its host is not among those that this server fetches from")
    return found


def _next(here: httpx.URL, location: str, hosts: Sequence[str]) -> httpx.URL:
    """Where a redirect leads, which is never from https to http. Raises EgressRefused."""
    try:
        there = checked(str(here.join(location)), hosts)
    except httpx.InvalidURL:
        raise EgressRefused("it is redirected to no address") from None
    if here.scheme == "https" and there.scheme != "https":
        raise EgressRefused("it is redirected from https to http")
    return there


async def _asked(
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
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        # Nobody needs what a redirect says.
        unread = not max_bytes or response.status in REDIRECTS
        body = b"" if unread else await _body(response, told, max_bytes)
        return Reply(response.status, told, body)


async def _body(response: httpcore.Response, headers: Mapping[str, str], max_bytes: int) -> bytes:
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise Encoded("its server sends it compressed")
    found = bytearray()
    async for chunk in response.aiter_stream():
        found += chunk
        if len(found) > max_bytes:
            raise TooLarge(f"it has more than {max_bytes} bytes")
    return bytes(found)
