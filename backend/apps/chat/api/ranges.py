"""A kept file as an HTTP answer: whole, or the one range that was asked for (RFC 9110, 14), in pieces."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from apps.chat.media import store
from apps.chat.media.errors import StorageAway

_PIECE: Final = 1 << 18
_ONE_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class RangedFile:
    """A file of the storage and what a request wants of it.

    Raises:
        OSError: the storage does not say how long the file is.
    """

    def __init__(self, name: str, headers: Mapping[str, str], etag: str) -> None:
        self._name = name
        try:
            self._size = store.size_of(name)
        except StorageAway as error:
            raise OSError(str(error)) from error
        fresh = headers.get("If-Range", etag) == etag
        self._range = headers.get("Range", "") if fresh else ""

    def response(self, mime: str) -> HttpResponseBase:
        """200 with all of it, 206 with a range, 416 for one that lies outside."""
        wanted = self._wanted()
        if wanted is None:
            return self._streamed(0, self._size, 200, mime)
        first, end = wanted
        if first >= end:
            response = HttpResponse(status=416)
            response["Content-Range"] = f"bytes */{self._size}"
            return response
        answer = self._streamed(first, end, 206, mime)
        answer["Content-Range"] = f"bytes {first}-{end - 1}/{self._size}"
        return answer

    def _wanted(self) -> tuple[int, int] | None:
        """First byte and end of the range; None for the whole file, also when the header makes no sense."""
        found = _ONE_RANGE.fullmatch(self._range.strip())
        if found is None or not (found[1] or found[2]):
            return None
        if not found[1]:  # so many from the end
            return max(self._size - int(found[2]), 0), self._size
        first, end = int(found[1]), int(found[2] or self._size) + 1
        if found[2] and end <= first:  # from 5 to 2 is no range
            return None
        return first, min(end, self._size)

    def _streamed(self, first: int, end: int, status: int, mime: str) -> StreamingHttpResponse:
        response = StreamingHttpResponse(_pieces(self._name, first, end), status=status, content_type=mime)
        response["Content-Length"] = str(end - first)
        return response


async def _pieces(name: str, first: int, end: int) -> AsyncIterator[bytes]:
    """Read on threads, a piece at a time: a large file never stands in memory."""
    file = await asyncio.to_thread(store.open_range, name, first, end)
    try:
        left = end - first
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(_PIECE, left))):
            left -= len(piece)
            yield piece
    finally:
        await asyncio.to_thread(file.close)
