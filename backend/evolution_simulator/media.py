"""Where a media send's bytes come from, and how Evolution refuses what it cannot use."""

from __future__ import annotations

import base64
import ipaddress
import mimetypes
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import content
from .calls import Call
from .http_client import Answer
from .shapes import ApiError, bad_request, server_error

_BASE64 = re.compile(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")
_HOST = re.compile(r"^(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)+[a-z]{2,}$", re.IGNORECASE)
_STACK_LIMIT = 4_471_100
"""Base64 characters at which Evolution's own check overflows its stack (about 3.35 MB of bytes)."""
_FETCH_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class File:
    """A file about to be sent. `url` is where it was given by URL."""

    data: bytes
    mimetype: str
    name: str | None
    url: str | None = None


def is_base64(value: Any) -> bool:
    """Evolution's check; an empty string passes, a very long one kills the request."""
    if not isinstance(value, str):
        return False
    if len(value) > _STACK_LIMIT:
        raise server_error("Maximum call stack size exceeded")
    return bool(_BASE64.match(value))


def is_url(value: Any) -> bool:
    """Evolution's check: http(s) with a host that has a dot or is an address; `data:` does not pass."""
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme in {"http", "https", "ftp"} and (bool(_HOST.match(host)) or _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_source(call: Call, source: Any, complaint: str) -> None:
    """Refuse a send whose media is neither a file, nor a URL, nor base64."""
    if call.upload is None and not is_url(source) and not is_base64(source):
        raise bad_request(complaint)


async def load(call: Call, kind: str, source: Any) -> File:
    """The bytes of a media send. Raises what Evolution raises when it cannot fetch or use them."""
    file = await _file(call, kind, source)
    if kind == "image" and file.data and not content.is_image(file.data):
        raise ApiError(500, ["Error: Input buffer contains unsupported image format"])
    return file


async def _file(call: Call, kind: str, source: Any) -> File:
    name = call.body.get("fileName")
    mimetype = call.body.get("mimetype") or _guess(name) or content.MIMETYPES[kind]
    if call.upload is not None:
        return File(
            call.upload.data,
            call.body.get("mimetype") or call.upload.content_type,
            name or call.upload.filename,
        )
    if not is_url(source):
        return File(base64.b64decode(source or ""), mimetype, name)
    name = name or source.split("?")[0].rpartition("/")[2] or None
    data = await _fetch(call, source)
    return File(data, call.body.get("mimetype") or _guess(name) or mimetype, name, source)


async def _fetch(call: Call, url: str) -> bytes:
    if not call.sim.config.fetch_media:
        return content.TINY_PNG
    try:
        answer: Answer = await call.sim.webhooks.client.request(
            "GET", url, [("Accept", "*/*")], timeout=_FETCH_SECONDS
        )
    except TimeoutError as error:
        raise ApiError(500, ["AxiosError: timeout exceeded"]) from error
    except ConnectionRefusedError as error:
        parts = urlsplit(url)
        where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        raise ApiError(500, [f"Error: connect ECONNREFUSED {where}"]) from error
    except (OSError, ValueError) as error:
        raise ApiError(500, [f"Error: getaddrinfo ENOTFOUND {urlsplit(url).hostname}"]) from error
    if answer.status >= 400:
        raise ApiError(500, [f"AxiosError: Request failed with status code {answer.status}"])
    return answer.body


def _guess(name: str | None) -> str | None:
    return mimetypes.guess_type(name)[0] if name else None
