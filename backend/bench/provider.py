"""An Evolution API that costs as little as possible: it takes every send after 20 ms and gives a unique id.

    python -m bench.provider --port 9000 [--delay 0.02]

It answers in the shape a real Evolution has (201, PENDING), at several thousand requests a second on one core, so
that what is measured is the caller. `GET /_bench/report` tells what arrived, `POST /_bench/reset` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

Json = dict[str, Any]


@dataclass
class Arrivals:
    """What was posted to `sendText`: its text and when its last byte came, in seconds since 1970."""

    texts: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def report(self, *, full: bool) -> Json:
        """How many came, how many of them were the same text again, and when; `full` names each of them."""
        told: Json = {"count": len(self.texts), "doubled": len(self.texts) - len(set(self.texts))}
        if self.times:
            told |= {"first": self.times[0], "last": self.times[-1], "rate": steady_rate(self.times)}
        if full:
            told["arrived"] = dict(zip(self.texts, self.times, strict=True))
        return told


def steady_rate(times: list[float]) -> float:
    """Arrivals per second between the first and the last twentieth: without the start and the tail."""
    low, high = len(times) // 20, len(times) - 1 - len(times) // 20
    span = times[high] - times[low] if high > low else 0.0
    return (high - low) / span if span else 0.0


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; requests are answered in the order they came."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._buffer = answers, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := take_request(self._buffer)) is not None:
            self._answers.answer(*request, self._write)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def take_request(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Cut one whole request off the buffer: its first line and its body; None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end])
    at = head.lower().find(b"\r\ncontent-length:")
    length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    if len(buffer) < end + 4 + length:
        return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return head.split(b"\r\n", 1)[0], body


def respond(status: int, body: Json) -> bytes:
    """A whole HTTP answer with a JSON body."""
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(content)}"
    return f"{head}\r\nConnection: keep-alive\r\n\r\n".encode() + content


class Answers:
    """What is said to which request."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._ids = itertools.count(time.time_ns())
        self._arrivals = Arrivals()

    def answer(self, line: bytes, body: bytes, write: Any) -> None:
        """Answer through `write`, a send after the delay, everything else at once."""
        if b" /message/sendText" in line:
            answer = respond(201, self._accept(json.loads(body)))
            asyncio.get_running_loop().call_later(self._delay, write, answer)
        else:
            write(respond(200, self._other(line)))

    def _accept(self, body: Json) -> Json:
        self._arrivals.texts.append(body["text"])
        self._arrivals.times.append(time.time())
        number = body["number"]
        return {
            "key": {
                "remoteJid": number if "@" in number else f"{number}@s.whatsapp.net",
                "fromMe": True,
                "id": f"3EB0{next(self._ids):018X}",
            },
            "pushName": "",
            "status": "PENDING",
            "message": {"conversation": body["text"]},
            "contextInfo": None,
            "messageType": "conversation",
            "messageTimestamp": int(time.time()),
            "instanceId": "7c94cd02-d9c7-4722-af68-5df8bb6ea96d",
            "source": "web",
        }

    def _other(self, line: bytes) -> Json:
        if b"/_bench/report" in line:
            return self._arrivals.report(full=b"full" in line)
        if b"/_bench/reset" in line:
            self._arrivals = Arrivals()
        if b"/chat/findMessages" in line:
            return {"messages": {"total": 0, "pages": 0, "currentPage": 1, "records": []}}
        return {"instance": {"instanceName": "bench", "state": "open"}}


async def _serve(port: int, delay: float) -> None:
    answers = Answers(delay)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A fast stand-in for Evolution API.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds until a send is answered")
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.delay))


if __name__ == "__main__":
    main()
