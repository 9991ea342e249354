"""The safe fetch against real servers on the loopback: where it goes, where it does not, and how much it takes."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.chat.media import fetch as module
from apps.chat.media.fetch import FetchFailed, FetchRefused, fetch, is_public, place_of

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers one request per connection as told, and remembers the requests."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.requests = answer, list[bytes]()
        self.port = 0

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.place}/picture"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            await self.answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answer: Answer, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.handle, host, port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def saying(body: bytes = b"", status: str = "200 OK", *headers: str) -> Answer:
    head = "".join(
        f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}", "Connection: close")
    )

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)
        await writer.drain()

    return answer


async def get(server: Server, url: str = "", max_bytes: int = 1000, timeout: float = 5) -> bytes:
    """With the permission that an instance's own host has."""
    found = await fetch(url or server.url, max_bytes=max_bytes, timeout=timeout, allow_hosts=[server.place])
    return found.content


async def test_it_fetches() -> None:
    async with serving(saying(b"bytes", "200 OK", "Content-Type: image/png")) as server:
        found = await fetch(server.url, max_bytes=5, timeout=5, allow_hosts=[server.place])
    assert (found.content, found.content_type) == (b"bytes", "image/png")
    assert b"accept-encoding: identity" in server.requests[0].lower()
    assert b"cookie" not in server.requests[0].lower() and b"apikey" not in server.requests[0].lower()


# --- where it does not go -------------------------------------------------------------------------

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1"),
    *(
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
    ),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"),
    *("2001:0:4136:e378:8000:63bf:f5ff:fffe", "", "no address", "1.2.3", "0x7f.1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_for_everybody(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "31.13.80.52", "2a03:2880:f211:c4:face:b00c:0:167", "64:ff9b::808:808"]
)
def test_an_address_on_the_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("", "picture.jpg", "//host/x", "ftp://host/x", "file:///etc/passwd", "gopher://host/x", "data:,x"),
        *(
            "https:///x",
            "https://user:password@host/x",
            "https://[::1",
            "http://\x00/",
            "https://host:99999/",
        ),
    ],
)
async def test_a_url_that_is_none_of_ours(url: str) -> None:
    with pytest.raises(FetchRefused, match="bad_url"):
        await fetch(url, max_bytes=10, timeout=2)


async def test_plain_http_is_for_the_instance_alone() -> None:
    async with serving(saying(b"x")) as server:
        with pytest.raises(FetchRefused, match="not_https"):
            await fetch(server.url, max_bytes=10, timeout=2)
    assert server.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "0"])
async def test_a_private_address_in_the_url(host: str) -> None:
    with pytest.raises((FetchRefused, FetchFailed)) as raised:
        await fetch(f"https://{host}/x", max_bytes=10, timeout=2)
    assert raised.value.reason in ("address_refused", "bad_url")


async def test_the_permission_is_for_one_port() -> None:
    """Another service beside the instance, such as Redis, is none of its business."""
    async with serving(saying(b"x")) as server, serving(saying(b"secret")) as other:
        with pytest.raises(FetchRefused):
            await fetch(other.url, max_bytes=10, timeout=2, allow_hosts=[server.place])
    assert other.requests == []


def resolving(*answers: list[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A resolver that answers differently each time."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return resolve


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]])
async def test_a_name_with_any_private_address(addresses: list[str]) -> None:
    with pytest.raises(FetchRefused, match="address_refused"):
        await fetch("https://nice.example/x", max_bytes=9, timeout=2, resolver=resolving(addresses))


async def test_a_name_without_an_address() -> None:
    with pytest.raises(FetchFailed, match="no_address"):
        await fetch("https://nice.example/x", max_bytes=9, timeout=2, resolver=resolving([]))


# --- redirects ------------------------------------------------------------------------------------


async def test_a_redirect_to_the_metadata_service() -> None:
    answer = saying(b"", "302 Found", "Location: http://169.254.169.254/latest/meta-data/")
    async with serving(answer) as server:
        with pytest.raises(FetchRefused, match="not_https"):
            await get(server)
    answer = saying(b"", "302 Found", "Location: https://169.254.169.254/latest/meta-data/")
    async with serving(answer) as server:
        with pytest.raises(FetchRefused, match="address_refused"):
            await get(server)


async def test_a_redirect_within_the_instance_is_followed() -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        first = request.startswith(b"GET /picture ")
        await (saying(b"", "302 Found", "Location: /real") if first else saying(b"here"))(request, writer)

    async with serving(answer) as server:
        assert await get(server) == b"here"


async def test_redirects_end_somewhere() -> None:
    async with serving(saying(b"", "302 Found", "Location: /picture")) as server:
        with pytest.raises(FetchRefused, match="too_many_redirects"):
            await get(server)
    assert len(server.requests) == module.REDIRECTS + 1


# --- how much it takes ----------------------------------------------------------------------------


async def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    sent = 0

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 200_000_000:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with serving(answer) as server:
        with pytest.raises(FetchRefused, match="too_big"):
            await get(server, max_bytes=100_000)
    assert sent < 20_000_000


async def test_a_body_that_drips() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    began = time.monotonic()
    async with serving(answer) as server:
        with pytest.raises(FetchFailed, match="timeout"):
            await get(server, timeout=0.4)
    assert time.monotonic() - began < 2


async def test_a_bomb_of_gzip() -> None:
    bomb = gzip.compress(b"\x00" * 10_000_000)
    async with serving(saying(bomb, "200 OK", "Content-Encoding: gzip")) as server:
        with pytest.raises(FetchRefused, match="compressed"):
            await get(server, max_bytes=100_000)


async def test_answers_that_are_none() -> None:
    async with serving(saying(b"gone", "404 Not Found")) as server:
        with pytest.raises(FetchFailed, match="http_status") as raised:
            await get(server)
    assert raised.value.status == 404

    async def hang_up(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async with serving(hang_up) as server:
        with pytest.raises(FetchFailed):
            await get(server)


# --- TLS and rebinding ----------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for pictures.example, which nobody but the test believes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pictures.example")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "both.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def as_if_public(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    """127.0.0.1 plays the internet, 127.0.0.2 the inside; the test's certificate is believed."""
    monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(module, "tls_context", lambda: ssl.create_default_context(cafile=str(certificate)))


async def test_the_address_that_was_checked_is_the_one_connected_to(
    as_if_public: None, server_tls: ssl.SSLContext
) -> None:
    """DNS rebinding: public when asked first, inside when asked again. It is asked once."""
    async with serving(saying(b"public"), server_tls) as outside:  # noqa: SIM117  (its port is needed)
        async with serving(saying(b"secret"), server_tls, "127.0.0.2", outside.port) as inside:
            found = await fetch(
                f"https://pictures.example:{outside.port}/x",
                max_bytes=10,
                timeout=5,
                resolver=resolving(["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]),
            )
    assert found.content == b"public" and inside.requests == []
    assert f"host: pictures.example:{outside.port}".encode() in outside.requests[0].lower()


async def test_each_redirect_is_resolved_and_checked(as_if_public: None, server_tls: ssl.SSLContext) -> None:
    answer = saying(b"", "302 Found", "Location: /again")
    async with serving(answer, server_tls) as outside:  # noqa: SIM117  (its port is needed)
        async with serving(saying(b"secret"), server_tls, "127.0.0.2", outside.port) as inside:
            with pytest.raises(FetchRefused, match="address_refused"):
                await fetch(
                    f"https://pictures.example:{outside.port}/x",
                    max_bytes=10,
                    timeout=5,
                    resolver=resolving(["127.0.0.1"], ["127.0.0.2"]),
                )
    assert inside.requests == []


async def test_a_redirect_from_elsewhere_does_not_get_the_instances_permission(
    as_if_public: None, server_tls: ssl.SSLContext
) -> None:
    async with serving(saying(b"secret"), None, "127.0.0.2") as instance:
        answer = saying(
            b"", "302 Found", f"Location: http://127.0.0.2:{instance.port}/instance/fetchInstances"
        )
        async with serving(answer, server_tls) as outside:
            with pytest.raises(FetchRefused, match="not_https"):
                await fetch(
                    f"https://pictures.example:{outside.port}/x",
                    max_bytes=10,
                    timeout=5,
                    allow_hosts=[f"127.0.0.2:{instance.port}"],
                    resolver=resolving(["127.0.0.1"]),
                )
    assert instance.requests == []


async def test_tls_is_verified_against_the_name(as_if_public: None, server_tls: ssl.SSLContext) -> None:
    async with serving(saying(b"x"), server_tls) as server:
        with pytest.raises(FetchFailed):
            await fetch(
                f"https://other.example:{server.port}/x",
                max_bytes=9,
                timeout=5,
                resolver=resolving(["127.0.0.1"]),
            )
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://Evolution:8080/", "evolution:8080"),
        ("https://evo.example", "evo.example:443"),
        ("http://evo.example", "evo.example:80"),
        ("http://[::1]:8080", "::1:8080"),
        ("ftp://evo.example", ""),
        ("", ""),
    ],
)
def test_places(url: str, place: str) -> None:
    assert place_of(url) == place
