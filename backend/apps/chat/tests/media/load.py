"""Many files of all kinds and sizes, and an Evolution that makes its answers while it sends them."""

from __future__ import annotations

import base64
import io
import json
import math
import random
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from PIL import Image

from apps.chat.media import ffmpeg
from apps.chat.models import MessageAttachment
from apps.chat.tests.media.world import MP4, OGG, PDF, make_attachment, make_conversation, make_message

SMALLEST = 1_000
_BLOCK = 3 << 16
_SHARE = 10
"""One file in so many is the same as the one before."""


@dataclass(frozen=True)
class File:
    """`lead`, then filling up to `size` bytes; the first bytes of the filling make it unlike the others."""

    kind: str
    lead: bytes
    size: int
    mark: int

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces whose base64 needs no padding but the last."""
        fill = self.size - len(self.lead)
        head = self.lead + (struct.pack(">Q", self.mark) * 8)[: min(fill, 64)]
        rest = fill - min(fill, 64)
        cut = len(head) // 3 * 3
        yield head[:cut]
        tail = head[cut:]
        block = (b"filling-%d-" % self.mark * _BLOCK)[:_BLOCK]
        while rest > 0:
            taken = block[: min(rest, _BLOCK - len(tail))]
            rest -= len(taken)
            yield tail + taken
            tail = b""
        if tail:
            yield tail


class Load:
    """`count` files from 1 kB to `largest` bytes, evenly by their size's logarithm."""

    def __init__(self, draw: random.Random, count: int, largest: int) -> None:
        self._files: dict[str, File] = {}
        self._wanted = list(self._draw(draw, count, largest))
        self.size = sum(file.size for file in self._wanted)

    def __enter__(self) -> Self:
        load = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                load._answer(load._files[body["message"]["key"]["id"]], self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rows(self) -> list[MessageAttachment]:
        """A pending attachment for each file."""
        conversation = make_conversation(f"http://127.0.0.1:{self._server.server_port}")
        made = []
        for file in self._wanted:
            message = make_message(conversation, file.kind)
            self._files[str(message.provider_id)] = file
            made.append(make_attachment(message, size=file.size))
        return made

    @staticmethod
    def _draw(draw: random.Random, count: int, largest: int) -> Iterator[File]:
        makers = _leads()
        file = None
        for number in range(count):
            if file is not None and number % _SHARE == 0:
                yield file
                continue
            kind, most, leads = makers[number % len(makers)]
            lead = draw.choice(leads)
            least = max(SMALLEST, len(lead) + 64)
            size = int(math.exp(draw.uniform(math.log(least), math.log(max(min(largest, most), least + 1)))))
            if number == 1:  # the first document is as large as any may be
                size = min(largest, most)
            file = File(kind, lead, size, number)
            yield file

    @staticmethod
    def _answer(file: File, handler: BaseHTTPRequestHandler) -> None:
        before, behind = b'{"mediaType":"x","base64":"', b'","buffer":null}'
        handler.send_response(201)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(before) + (file.size + 2) // 3 * 4 + len(behind)))
        handler.end_headers()
        handler.wfile.write(before)
        for piece in file.pieces():
            handler.wfile.write(base64.b64encode(piece))
        handler.wfile.write(behind)


def _leads() -> list[tuple[str, int, Sequence[bytes]]]:
    """Kind, most bytes, beginnings that are whole files of their kind."""
    million = 1_000_000
    return [
        ("image", 16 * million, [_picture("JPEG", 64, 48), _picture("JPEG", 4000, 3000), _progressive()]),
        ("document", 100 * million, [PDF]),
        ("video", 100 * million, [MP4, *_made("a.mp4", "testsrc=d=2:s=1280x720", "-pix_fmt", "yuv420p")]),
        ("image", 16 * million, [_picture("PNG", 2000, 1500), _picture("PNG", 20, 20)]),
        ("audio", 30 * million, [OGG, *_made("a.ogg", "sine=d=20", "-c:a", "libopus")]),
        ("sticker", 2 * million, [_picture("WEBP", 512, 512)]),
    ]


def _picture(kind: str, width: int, height: int, **options: Any) -> bytes:
    out = io.BytesIO()
    noise = Image.effect_noise((width // 4 or 1, height // 4 or 1), 60).convert("RGB").resize((width, height))
    noise.save(out, kind, **options)
    return out.getvalue()


def _progressive() -> bytes:
    return _picture("JPEG", 5000, 4000, progressive=True)


def _made(name: str, source: str, *options: str) -> list[bytes]:
    if not ffmpeg.available():
        return []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        args = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *options, str(path)]
        subprocess.run(args, check=True)
        return [path.read_bytes()]
