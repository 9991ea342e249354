"""Reading requests and writing answers: the thin layer between ASGI and the handlers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from .shapes import ApiError, error_body

TRANSPORT = "evolution_simulator.transport"
FIRST_BYTE_AT = "evolution_simulator.first_byte_at"

_BASE_HEADERS = [
    (b"x-powered-by", b"Express"),
    (b"vary", b"Origin, Accept-Encoding"),
    (b"keep-alive", b"timeout=5"),
]
_JSON = (b"content-type", b"application/json; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_LINGER_RESET = struct.pack("ii", 1, 0)
_DISPOSITION = re.compile(rb'name="([^"]*)"(?:; filename="([^"]*)")?')


def dumps(value: Any) -> bytes:
    """Compact JSON as Node writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Reply:
    """An answer; `after` runs once its last byte has been handed to the connection."""

    __slots__ = ("after", "body", "status")

    def __init__(self, status: int, body: Any, after: Callable[[], None] | None = None) -> None:
        self.status = status
        self.body = body
        self.after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = isinstance(self.body, str)
        data = self.body.encode() if raw else dumps(self.body)
        headers = [*_BASE_HEADERS, _HTML if raw else _JSON, (b"content-length", b"%d" % len(data))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": data})
        if self.after is not None:
            self.after()


class Reset(Reply):
    """No answer at all: the TCP connection is reset under the caller."""

    def __init__(self, after: Callable[[], None] | None = None) -> None:
        super().__init__(0, None, after)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        abort_connection(scope)
        if self.after is not None:
            self.after()
        message: Message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()


def abort_connection(scope: Scope) -> None:
    """Reset the connection a request came in on (needs uvicorn, whose transport it reaches for)."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise RuntimeError("no transport to reset: the simulator must be served by uvicorn")
    if transport.is_closing():
        return
    with contextlib.suppress(OSError, AttributeError):
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()


@dataclass(frozen=True, slots=True)
class Upload:
    """The part named `file` of a multipart request."""

    filename: str
    content_type: str
    data: bytes


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole request body; 413 as Evolution words it when it is larger than `limit` bytes.

    A body that is too large is still read to its end, so that the caller gets to see the answer.
    """
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if size > limit:
        raise _too_large()
    return b"".join(chunks)


def parse_body(data: bytes, content_type: str) -> tuple[dict[str, Any], Upload | None]:
    """Fields and the uploaded file, if any. A JSON array counts as an object without properties."""
    if content_type.startswith("multipart/form-data"):
        return _multipart(data, content_type)
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True)), None
    if not data.strip() or "json" not in content_type:
        return {}, None
    try:
        value = json.loads(data)
    except ValueError as error:
        raise _malformed(str(error)) from error
    if not isinstance(value, dict | list):
        raise _malformed("Unexpected token, expected an object or an array")
    return (value if isinstance(value, dict) else {}), None


def _multipart(data: bytes, content_type: str) -> tuple[dict[str, Any], Upload | None]:
    boundary = content_type.partition("boundary=")[2].split(";")[0].strip('"').encode()
    fields: dict[str, Any] = {}
    upload: Upload | None = None
    if not boundary:
        raise ApiError(500, "Multipart: Boundary not found")
    for part in data.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        match = _DISPOSITION.search(head)
        if match is None:
            continue
        if match[2] is None:
            fields[match[1].decode()] = content.decode("utf-8", "replace")
        elif match[1] == b"file":
            upload = Upload(match[2].decode("utf-8", "replace"), _part_type(head), content)
        else:
            raise ApiError(500, "Unexpected field")
    return fields, upload


def _part_type(head: bytes) -> str:
    match = re.search(rb"(?im)^content-type:\s*([^\r\n]+)", head)
    return match[1].decode().strip() if match else "application/octet-stream"


def _malformed(reason: str) -> ApiError:
    body = error_body(400, reason)
    body["error"] = "Internal Server Error"
    return ApiError(400, body=body)


def _too_large() -> ApiError:
    body = error_body(413, "request entity too large")
    body["error"] = "Internal Server Error"
    return ApiError(413, body=body)
