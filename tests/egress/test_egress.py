"""The way out: real sockets on loopback, and name servers that say whatever they like."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.egress.egress import MOST_REDIRECTS, Egress, Reply, checked
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused, Encoded, TooLarge, TooSlow
from tests.kit.other_server import Answering, dripping, endless, other_server, redirecting, saying, silent

PUBLIC = "93.184.216.34"


async def get(egress: Egress, url: str, **changes: Any) -> Reply:
    return await egress.get(url, **{"accept": "image/png", "timeout_seconds": 5.0, "max_bytes": 1000, **changes})


async def post(egress: Egress, url: str, **changes: Any) -> Reply:
    usual = {"content": b"{}", "headers": {"authorization": "Bearer s"}, "timeout_seconds": 5.0, "max_bytes": 1000}
    return await egress.post(url, **{**usual, **changes})


class Names:
    """A name server: gives one answer after another, the last one for ever, and counts its questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Detour(httpcore.AnyIOBackend):
    """Dials `port` of loopback whatever it is asked for, as a network in between may; remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dialled: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        return await super().connect_tcp("127.0.0.1", self.port)


async def test_a_picture_is_fetched_with_nothing_but_what_it_takes() -> None:
    async with other_server({"/a.png?x=1": saying(b"picture", "200 OK", "Set-Cookie: a=b")}) as server:
        egress = Egress([server.host])
        reply = await get(egress, server.url("/a.png?x=1#part"))
        await get(egress, server.url("/a.png?x=1"))
    assert (reply.status, reply.content, reply.headers["set-cookie"]) == (200, b"picture", "a=b")
    names = [line.split(":")[0].lower() for line in server.heads[1].split("\r\n")[1:] if line]
    assert sorted(names) == ["accept", "accept-encoding", "connection", "host", "user-agent"]
    assert "accept-encoding: identity" in server.heads[0].lower()
    assert server.connections == 2


REFUSED_URLS = """
ftp://example.org/a file:///etc/passwd gopher://127.0.0.1/ http+unix://%2Fvar%2Frun%2Fdocker.sock/info unix:/run/x
data:image/png;base64,AAAA //example.org/a /etc/passwd http:///a http://user:pw@example.org/ http://user@example.org/
http://127.0.0.1/ http://127.1/ http://2130706433/ http://0x7f.0.0.1/ http://0177.0.0.1/ http://0/ http://localhost/
http://[::1]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[fe80::1]/ http://[::ffff:169.254.169.254]/
http://169.254.169.254/latest/meta-data/ http://[64:ff9b::7f00:1]/ http://[2002:7f00:1::]/ http://[fd00:ec2::254]/
http://10.0.0.1/ http://100.100.100.200/ http://192.0.0.192/ http://168.63.129.16/ http://127.0.0.1%2f@example.org/
http://exa%0d%0ample.org/ http://①②⑦.⓪.⓪.①/ https://127.0.0.1/
"""


@pytest.mark.parametrize("url", REFUSED_URLS.split())
async def test_nothing_is_sent_where_nothing_is_to_be_fetched(url: str) -> None:
    dial = Detour(9)
    with pytest.raises((EgressRefused, EgressFailed)):
        await get(Egress(dial=dial), url)
    assert dial.dialled == []


async def test_one_address_of_several_that_is_not_public_is_enough() -> None:
    dial = Detour(9)
    with pytest.raises(EgressRefused, match="not on the public internet"):
        await get(Egress(resolve=Names([PUBLIC, "10.0.0.1"]), dial=dial), "http://example.org/")
    assert dial.dialled == []


async def test_a_name_that_changes_its_mind_is_asked_once_a_connection() -> None:
    """DNS rebinding: what was checked is what is dialled."""
    names = Names([PUBLIC], ["127.0.0.1"])
    async with other_server({"/": saying(b"secret")}) as server:
        dial = Detour(server.port)
        egress = Egress(resolve=names, dial=dial)
        for _ in range(2):
            with pytest.raises(EgressRefused):
                await get(egress, f"http://example.org:{server.port}/")
    assert (names.asked, dial.dialled) == (["example.org", "example.org"], [PUBLIC])


async def test_the_connected_socket_has_the_last_word() -> None:
    """The name is fine and so is its address, and yet somebody else answers: he is sent nothing."""
    async with other_server({"/": saying(b"secret")}) as server:
        with pytest.raises(EgressRefused, match="not on the public internet"):
            await get(Egress(resolve=Names([PUBLIC]), dial=Detour(server.port)), "http://example.org/")
        await asyncio.sleep(0.05)
        assert (server.connections, server.heads) == (1, [])


async def test_no_socket_at_all_is_not_trusted() -> None:
    class NoSocket(httpcore.AsyncNetworkStream):
        async def aclose(self) -> None:
            pass

    class Nowhere(Detour):
        async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
            return NoSocket()

    with pytest.raises(EgressRefused):
        await get(Egress(resolve=Names([PUBLIC]), dial=Nowhere(0)), "http://example.org/")


async def test_redirects_are_followed_and_each_is_checked() -> None:
    async with other_server({"/there": saying(b"secret")}) as inner:
        answers = {
            "/relative": redirecting("b.png", "307 Temporary Redirect"),
            "/b.png": saying(b"picture"),
            "/inner": redirecting(inner.url("/there")),
            "/file": redirecting("file:///etc/passwd"),
            "/metadata": redirecting("http://169.254.169.254/latest/"),
            "/user": redirecting("http://a:b@example.org/"),
            "/broken": redirecting("http://[:"),
            "/nowhere": saying(b"", "302 Found"),
        }
        async with other_server(answers) as server:
            egress = Egress([server.host])
            assert (await get(egress, server.url("/relative"))).content == b"picture"
            assert (await get(egress, server.url("/nowhere"))).status == 302
            for path in ("/inner", "/file", "/metadata", "/user", "/broken"):
                with pytest.raises((EgressRefused, EgressFailed)):
                    await get(egress, server.url(path))
        assert inner.connections == 0


async def test_redirects_end() -> None:
    async with other_server({"/loop": redirecting("/loop")}) as server:
        with pytest.raises(EgressFailed, match="redirected more than"):
            await get(Egress([server.host]), server.url("/loop"))
    assert server.connections == MOST_REDIRECTS + 1


async def test_a_redirects_body_is_not_read() -> None:
    async def bomb(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /a.png\r\nconnection: close\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    async with other_server({"/": bomb, "/a.png": saying(b"picture")}) as server:
        assert (await get(Egress([server.host]), server.url("/"))).content == b"picture"


async def test_only_hosts_that_are_named_are_asked_also_by_way_of_a_redirect() -> None:
    async with other_server({"/": redirecting("http://elsewhere.example/"), "/a.png": saying(b"picture")}) as server:
        names = Names(["127.0.0.1"])
        egress = Egress(["cdn.example.org"], resolve=names)
        for host, path in (
            ("evil.example", "/a.png"),
            ("cdn.example.org.evil.example", "/a.png"),
            ("CDN.example.org", "/"),
        ):
            with pytest.raises(EgressRefused, match="not among those"):
                await get(egress, f"http://{host}:{server.port}{path}", hosts=("*.Example.org",))
        found = await get(egress, f"http://CDN.example.org:{server.port}/a.png", hosts=("*.Example.org",))
    assert (found.content, set(names.asked)) == (b"picture", {"cdn.example.org"})


async def test_what_is_sent_with_a_post_reaches_no_other_host() -> None:
    async with other_server({"/": saying(b"")}) as other:
        answers = {"/": redirecting(other.url("/"), "307 Temporary Redirect"), "/chat": saying(b"{}")}
        async with other_server(answers) as server:
            egress = Egress([server.host, other.host])
            assert (await post(egress, server.url("/"))).status == 307
            assert (await post(egress, server.url("/chat"), content=b"hello")).content == b"{}"
    assert (other.connections, server.bodies[1]) == (0, b"hello")
    assert "authorization: bearer s" in server.heads[1].lower()


async def test_an_address_of_the_settings_may_be_anywhere_and_leaves_no_way_in() -> None:
    async with other_server({"/": saying(b"{}")}) as server:
        egress = Egress()
        assert (await post(egress, server.url("/"), trusted=True)).status == 200
        for ask in (get, post):
            with pytest.raises(EgressRefused):
                await ask(egress, server.url("/"))
    assert server.connections == 1


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\n\r\n")


async def cut_short(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{")


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"a: " + b"b" * 65536 + b"\r\n")
        await writer.drain()


async def not_yet(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


HOSTILE: dict[str, tuple[Answering, type[EgressFailed]]] = {
    "silent": (silent, TooSlow),
    "dripping": (dripping, TooSlow),
    "not-yet": (not_yet, TooSlow),
    "endless": (endless, TooLarge),
    "large": (saying(b" " * 1001), TooLarge),
    "gzip": (saying(gzip.compress(b" " * 2**24), "200 OK", "Content-Encoding: gzip"), Encoded),
    "no-http": (no_http, EgressFailed),
    "cut-short": (cut_short, EgressFailed),
    "endless-head": (endless_head, EgressFailed),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_comes_back_there_is_an_end(name: str) -> None:
    answering, error = HOSTILE[name]
    began = time.monotonic()
    async with other_server({"/": answering}) as server:
        for ask in (get, post):
            with pytest.raises(error):
                await ask(Egress([server.host]), server.url("/"), timeout_seconds=0.3)
    assert time.monotonic() - began < 3


async def test_as_many_bytes_as_allowed_are_taken() -> None:
    async with other_server({"/": saying(b" " * 1000)}) as server:
        assert len((await get(Egress([server.host]), server.url("/"))).content) == 1000


async def test_a_name_server_that_never_answers() -> None:
    answer = threading.Event()

    def waits(host: str, port: int) -> list[str]:
        answer.wait(5)
        return []

    try:
        with pytest.raises(TooSlow, match="longer than"):
            await get(Egress(resolve=waits), "http://example.org/", timeout_seconds=0.1)
    finally:
        answer.set()


async def test_unknown_hosts_and_closed_ports() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror

    with pytest.raises(EgressFailed, match="not known"):
        await get(Egress(resolve=unknown), "http://example.org/")
    with pytest.raises(EgressFailed, match="cannot be reached"):
        await get(Egress(["127.0.0.1"]), "http://127.0.0.1:1/")
    async with other_server({"/": saying(b"")}) as server:
        egress = Egress([f"example.org:{server.port}"], resolve=Names(["127.0.0.2", "127.0.0.1"]))
        assert (await get(egress, f"http://example.org:{server.port}/")).status == 200


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with other_server({"/": saying(b"")}) as proxy, other_server({"/": saying(b"picture")}) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        assert (await get(Egress([server.host]), server.url("/"))).content == b"picture"
    assert proxy.connections == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of "pictures.example", signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pictures.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    no_password = serialization.NoEncryption()
    told = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(told + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_a_certificate_is_the_names_not_the_addresss(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    private, names = ["pictures.example", "other.example"], Names(["127.0.0.1"])
    known = Egress(private, resolve=names, tls=ssl.create_default_context(cafile=certificate))
    async with other_server(
        {"/": saying(b"picture"), "/down": redirecting("http://pictures.example/")}, tls=serving
    ) as s:
        assert (await get(known, f"https://pictures.example:{s.port}/")).content == b"picture"
        with pytest.raises(EgressRefused, match="from https to http"):
            await get(known, f"https://pictures.example:{s.port}/down")
        with pytest.raises(EgressFailed):
            await get(known, f"https://other.example:{s.port}/")
        with pytest.raises(EgressFailed):
            await get(Egress(private, resolve=names), f"https://pictures.example:{s.port}/")


@given(st.one_of(st.text(max_size=60), st.builds("http://{}/{}".format, st.text(max_size=30), st.text(max_size=20))))
def test_any_text_is_an_address_that_can_be_asked_or_refused(text: str) -> None:
    try:
        url = checked(text)
    except EgressRefused:
        return
    assert url.scheme in ("http", "https")
    assert not set(url.raw_path + url.raw_host) & set(b"\r\n ")
