"""The stand-in's files and reactions."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Iterator
from typing import Any

from evolution_simulator.http import parse_body
from PIL import Image, ImageDraw
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from apps.chat.media.sniff import sniff
from apps.tenancy.ids import uuid7

Json = dict[str, Any]


def picture(width: int = 640, height: int = 480, colour: str = "#2a7d8c") -> bytes:
    """A JPEG that one can tell from others."""
    image = Image.new("RGB", (width, height), colour)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.55, height * 0.15, width * 0.8, height * 0.15 + width * 0.25), fill="#f2c063")
    draw.polygon([(0, height), (width * 0.35, height * 0.4), (width * 0.7, height)], fill="#0e3b36")
    draw.polygon([(width * 0.4, height), (width * 0.75, height * 0.55), (width, height)], fill="#17413c")
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def attachment(kind: str = "document", **more: Any) -> Json:
    """A file as the API shows it."""
    pk = str(uuid7())
    done = more.get("status", "completed") == "completed"
    return {
        "id": pk,
        "message": None,
        "kind": kind,
        "status": "completed",
        "reason": "",
        "reason_text": None,
        "mime_type": "application/octet-stream",
        "file_name": "",
        "size": 1000,
        "width": None,
        "height": None,
        "duration_ms": None,
        "waveform": None,
        "url": f"/files/{pk}" if done else None,
        "thumbnail_url": None,
        "preview": None,
    } | more


class Files:
    """What a test may look at: `files` by their id, `uploads_wait` holds uploads back, `upload_answer` refuses them."""

    messages: dict[str, list[Json]]
    posts: list[tuple[str, Json]]

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.attachments: dict[str, Json] = {}
        self.upload_answer: tuple[int, str] | None = None
        self.uploads_wait = asyncio.Event()
        self.uploads_wait.set()

    def file(self, data: bytes, name: str, kind: str, **more: Any) -> Json:
        """A file that is there."""
        found = sniff(data, name)
        mime = found.mime if found else "application/octet-stream"
        row = attachment(kind, file_name=name, size=len(data), mime_type=mime, **more)
        self.files[row["id"]] = data
        self.attachments[row["id"]] = row
        return row

    async def upload(self, request: Request) -> Response:
        assert request.headers.get("x-csrftoken") == "stub-token"
        fields, sent = parse_body(await request.body(), request.headers["content-type"])
        assert sent is not None
        assert fields["conversation"]
        data, name = sent.data, sent.filename
        await self.uploads_wait.wait()
        if self.upload_answer:
            status, detail = self.upload_answer
            return JSONResponse({"title": "x", "status": status, "detail": detail, "code": "x"}, status)
        found = sniff(data, name)
        row = self.file(data, name, found.kind if found else "document")
        if row["kind"] == "image":
            row["width"], row["height"] = Image.open(io.BytesIO(data)).size
        return JSONResponse(row, 201)

    async def one_file(self, request: Request) -> Response:
        row = self.attachments[request.path_params["id"]]
        return Response(self.files[row["id"]], media_type=row["mime_type"])

    async def one_attachment(self, request: Request) -> Response:
        return JSONResponse(self.attachments[request.path_params["id"]])

    async def download_again(self, request: Request) -> Response:
        row = self.attachments[request.path_params["id"]]
        row |= {"status": "pending", "reason": "", "reason_text": None}
        self.posts.append((request.url.path, {}))
        return JSONResponse(row)

    async def react(self, request: Request) -> Response:
        body: Json = await request.json()
        self.posts.append((request.url.path, body))
        row = next(row for row in self._all_messages() if row["id"] == body["message"])
        others = [one for one in row["reactions"] if not one["from_me"]]
        emoji = body.get("emoji", "")
        mine = [{"emoji": emoji, "from_me": True, "author": "", "user": None}] if emoji else []
        row["reactions"] = others + mine
        return JSONResponse({"message": row["id"], "reactions": row["reactions"]}, 201)

    def _all_messages(self) -> Iterator[Json]:
        return itertools.chain.from_iterable(self.messages.values())
