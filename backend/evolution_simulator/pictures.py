"""Profile pictures: a real PNG for everyone, drawn from whose it is, at an address of the simulator's own."""

from __future__ import annotations

import colorsys
import hashlib
import struct
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from .http import Reply
from .shapes import ApiError

if TYPE_CHECKING:
    from .calls import Call

SIZE = 96


class Image(Reply):
    """An answer whose body is a PNG."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"image/png"), (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def url_of(base: str, name: str) -> str:
    """Where the picture of this number or group is."""
    return f"{base}/pictures/view?of={quote(name)}"


async def view(call: Call) -> Reply:
    """GET /pictures/view?of=…: open to all, as WhatsApp's addresses are to whoever has them."""
    name = call.query.get("of")
    if not name:
        raise ApiError(404, ["Not found"])
    return Image(200, draw(name))


def draw(name: str) -> bytes:
    """A head and shoulders on a colour of their own."""
    hue = hashlib.sha256(name.encode()).digest()[0] / 256
    back, front = _colour(hue, 0.5, 0.75), _colour(hue, 0.15, 1.0)
    rows = b"".join(
        b"\x00" + b"".join(front if _is_person(x, y) else back for x in range(SIZE)) for y in range(SIZE)
    )
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _colour(hue: float, saturation: float, value: float) -> bytes:
    return bytes(round(part * 255) for part in colorsys.hsv_to_rgb(hue, saturation, value))


def _is_person(x: int, y: int) -> bool:
    across = x - SIZE / 2
    head = across**2 + (y - SIZE * 0.38) ** 2 < (SIZE * 0.18) ** 2
    shoulders = (across / (SIZE * 0.34)) ** 2 + ((y - SIZE) / (SIZE * 0.36)) ** 2 < 1
    return head or shoulders


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
