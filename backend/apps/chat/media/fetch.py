"""GET a URL that somebody else chose, without being led to a place that is not theirs to show.

The name is resolved here, each of its addresses must be public, and the connection goes to a checked address: the name
is not resolved again, so that its owner cannot answer differently the second time (DNS rebinding). TLS is still
verified against the name. A redirect is a new URL and is checked like the first. Bytes, time and redirects are
bounded; an answer that is compressed against our wish is refused, since a few bytes of it may become gigabytes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urljoin

import httpx

REDIRECTS: Final = 4
_REDIRECTED: Final = (301, 302, 303, 307, 308)
_PIECE: Final = 1 << 16
_CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"https": 443, "http": 80}
# IPv4 inside IPv6 that `ipaddress` does not take apart by itself: RFC 6052 and RFC 8215.
_TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))

# Special in the registry of RFC 6890, though some Pythons take them for global.
_SPECIAL: Final = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("192.88.99.0/24"))

Take = Callable[[bytes], Awaitable[None]]
Resolver = Callable[[str, int], Awaitable[list[str]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchRefused(Exception):
    """The URL leads where we do not go, or its answer is not one we take. Trying again does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FetchFailed(Exception):
    """No usable answer this time. `status` is the HTTP status, None when none came."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Fetched:
    """The whole body, and what the server calls it; look at the bytes instead."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URL leads: `host` as in TLS and Host, `target` the checked address to connect to."""

    url: httpx.URL
    host: str
    target: str
    trusted: bool


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them. Raises OSError when it knows none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(row[4][0]) for row in found]


def is_public(text: str) -> bool:
    """Whether an address is on the internet for everybody: not private, loopback, link-local, metadata, reserved."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    elif any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a mapped, 6to4, Teredo or translated IPv6 address ends at."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def place_of(url: str) -> str:
    """`host:port` of a URL, the form in which `allow_hosts` names a place; empty when there is none."""
    try:
        parsed = httpx.URL(url)
        return f"{parsed.host.lower()}:{parsed.port or _PORTS[parsed.scheme]}" if parsed.host else ""
    except (httpx.InvalidURL, KeyError, ValueError):
        return ""


async def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout: float,
    allow_hosts: Collection[str] = (),
    resolver: Resolver | None = None,
    take: Take | None = None,
) -> Fetched:
    """GET a URL and return its body.

    Args:
        max_bytes: of the body.
        timeout: seconds for all of it, redirects included.
        allow_hosts: places (`host:port`, see `place_of`) that the operator configured, such as Evolution's own: they
            may speak http and have private addresses. A redirect from elsewhere does not get this permission.
        resolver: finds a name's addresses; the system's own by default.
        take: gets the body in pieces, for one too large to be held; `content` is then empty. It may raise.

    Raises:
        FetchRefused: we do not go there, or the answer is too large or compressed.
        FetchFailed: no answer in time, a broken one, or a status other than 200.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _follow(url, max_bytes, frozenset(allow_hosts), resolver or resolve, take)
    except TimeoutError:
        raise FetchFailed("timeout") from None
    except (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError) as error:
        raise FetchFailed(type(error).__name__) from None


async def _follow(
    url: str, max_bytes: int, allowed: frozenset[str], resolver: Resolver, take: Take | None
) -> Fetched:
    trusting = True
    for _ in range(REDIRECTS + 1):
        place = await _look_at(url, allowed if trusting else frozenset(), resolver)
        answer = await _get(place, max_bytes, take)
        if isinstance(answer, Fetched):
            return answer
        url, trusting = urljoin(url, answer), place.trusted
    raise FetchRefused("too_many_redirects")


async def _look_at(text: str, allowed: frozenset[str], resolver: Resolver) -> _Place:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise FetchRefused("bad_url") from None
    if url.scheme not in _PORTS or not url.host or url.userinfo or not 0 < (url.port or 1) < 65_536:
        raise FetchRefused("bad_url")
    trusted = place_of(text) in allowed
    if url.scheme != "https" and not trusted:
        raise FetchRefused("not_https")
    return _Place(url, url.host, await _address(url, trusted, resolver), trusted)


async def _address(url: httpx.URL, trusted: bool, resolver: Resolver) -> str:
    """The address to connect to: all of the name's must be public, or it is somebody's trick."""
    port = url.port or _PORTS[url.scheme]
    found = [url.host] if _is_address(url.host) else await resolver(url.host, port)
    if not found:
        raise FetchFailed("no_address")
    if not trusted and not all(is_public(one) for one in found):
        raise FetchRefused("address_refused")
    return found[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(1)
def tls_context() -> ssl.SSLContext:
    """The certificates we believe."""
    return httpx.create_ssl_context(trust_env=False)


async def _get(place: _Place, max_bytes: int, take: Take | None) -> Fetched | str:
    """The body, or where the answer redirects to."""
    async with httpx.AsyncClient(
        verify=tls_context() if place.url.scheme == "https" else False,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
    ) as client:
        request = client.build_request(
            "GET",
            place.url.copy_with(host=place.target),
            headers={"Host": place.url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
            extensions={"sni_hostname": place.host},
        )
        response = await client.send(request, stream=True)
        try:
            return await _read(response, max_bytes, take)
        finally:
            await response.aclose()


async def _read(response: httpx.Response, max_bytes: int, take: Take | None) -> Fetched | str:
    if response.status_code in _REDIRECTED and "Location" in response.headers:
        return response.headers["Location"]
    if response.status_code != 200:
        raise FetchFailed("http_status", response.status_code)
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise FetchRefused("compressed")
    body, size = bytearray(), 0
    async for chunk in response.aiter_raw(_PIECE):
        size += len(chunk)
        if size > max_bytes:
            raise FetchRefused("too_big")
        if take is None:
            body += chunk
        else:
            await take(chunk)
    return Fetched(bytes(body), response.headers.get("Content-Type", ""))
