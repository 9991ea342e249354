"""An Evolution that gives the files a test says, rows to fetch them for, and files of every kind."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

from PIL import Image

from apps.chat.evolution.client import EvolutionClient, Timeouts
from apps.chat.media.incoming import Fetcher
from apps.chat.models import Conversation, Message, MessageAttachment
from apps.chat.tests import factories

_numbers = itertools.count(1)


class Evolution:
    """Answers getBase64FromMediaMessage; `files` by message id, `says` for other answers: (status, body)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.says: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.before: Callable[[], None] = lambda: None
        evolution = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = evolution.answer(str(body["message"]["key"]["id"]))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                data = evolution.files.get(self.path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hung up
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def answer(self, key_id: str) -> tuple[int, bytes]:
        self.asked.append(key_id)
        self.before()
        if key_id in self.says:
            status, said = self.says[key_id]
            return status, said if isinstance(said, bytes) else json.dumps(said).encode()
        if key_id not in self.files:
            return 400, error("Message not found")
        return 201, downloaded(self.files[key_id])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def downloaded(data: bytes) -> bytes:
    """Evolution's answer with a file, as captured from 2.3.6."""
    shown = {"mediaType": "imageMessage", "fileName": "x.jpeg", "size": {"fileLength": {"low": 1, "high": 0}}}
    return json.dumps({**shown, "base64": base64.b64encode(data).decode(), "buffer": None}).encode()


def error(text: str, status: int = 400) -> bytes:
    return json.dumps({"status": status, "error": "Bad Request", "response": {"message": [text]}}).encode()


def make_message(conversation: Conversation, kind: str = "image", **values: Any) -> Message:
    """A customer's message with an id of its own."""
    from django.utils import timezone

    now = timezone.now()
    return Message.objects.create(
        tenant_id=conversation.tenant_id,
        conversation=conversation,
        instance_id=conversation.instance_id,
        direction=Message.Direction.INCOMING,
        origin=Message.Origin.CUSTOMER,
        kind=kind,
        content=f"[{kind}]",
        provider_id=f"MEDIA{next(_numbers)}",
        sort_at=now,
        created_at=now,
        **values,
    )


def make_attachment(message: Message, *, size: int | None = None, **values: Any) -> MessageAttachment:
    """What `intake` would have written."""
    source = {"id": message.provider_id, "remote_jid": "5511990000001@s.whatsapp.net", "from_me": False}
    given = {"kind": message.kind, "size": size, "source": {**source, "participant": "", "size": size}}
    return MessageAttachment.objects.create(
        tenant_id=message.tenant_id, message=message, **{**given, **values}
    )


def make_conversation(url: str) -> Conversation:
    """A conversation of a tenant and an instance of its own."""
    return factories.make_conversation(factories.make_instance(base_url=url, api_key="key"))


def process(*ids: UUID, at_once: int = 1) -> list[float | None]:
    """Fetch these as a worker would, `at_once` times each."""

    async def run() -> list[float | None]:
        with ThreadPoolExecutor(4) as threads:
            async with EvolutionClient(timeouts=Timeouts(media=20)) as client:
                fetcher = Fetcher(client, threads)
                return list(
                    await asyncio.gather(*(fetcher.process(pk) for pk in ids for _ in range(at_once)))
                )

    return asyncio.run(run())


# --- files ----------------------------------------------------------------------------------------


def png(width: int = 40, height: int = 30, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), 7 if mode == "L" else (200, 30, 40, 128)[: len(mode)]).save(out, "PNG")
    return out.getvalue()


def jpeg(width: int = 40, height: int = 30, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (10, 120, 40)).save(out, "JPEG", **options)
    return out.getvalue()


def png_bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A few hundred kilobytes that claim, and would unpack to, gigabytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(1 << 24), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
OGG = b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x01" + bytes(40)
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(64)
