"""What both transports agree on: when bytes leave, as httpcore's trace events tell it, and whom a connection is to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import httpx

HEAD_LEAVES: Final = "http11.send_request_headers.started"
BODY_LEAVES: Final = "http11.send_request_body.started"

Trace = Callable[[str, Mapping[str, object]], Awaitable[None]]


def place_of(url: httpx.URL) -> str:
    """What a connection is good for: scheme, host and port.

    Raises:
        httpx.UnsupportedProtocol: it names no server that could be connected to.
    """
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("an address begins with http:// or https:// and a host")
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
