"""Files on the wire: inline while small, streamed when large, and certainly not sent until the form's end has left."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import IO

import pytest

from apps.chat.delivery.policy import parks
from apps.chat.evolution.client import EvolutionClient, InstanceRef, SendCancelled, Timeouts
from apps.chat.evolution.forms import CHUNK, SentFile
from apps.chat.evolution.media_sends import send_file
from apps.chat.evolution.outcomes import Outcome, Verdict

from .conftest import Connection, MisbehavingServer, Request, hang

NUMBER = "5511990000001"
BIG = bytes(range(256)) * 4096  # 1 MiB


class Gate:
    def __init__(self, *, begin: bool = True, finish: bool = True) -> None:
        self.begin, self.finish = begin, finish

    def may_send(self) -> bool:
        return self.begin

    def may_finish(self) -> bool:
        return self.finish


def file(data: bytes = b"small", kind: str = "document", **facts: object) -> SentFile:
    given = SentFile(
        kind, "application/pdf", 'a "b"\r\nç.pdf'.replace("\r\n", ""), len(data), lambda: io.BytesIO(data)
    )
    return replace(given, **facts)


@pytest.fixture
async def client() -> AsyncIterator[EvolutionClient]:
    async with EvolutionClient(timeouts=Timeouts(connect=2, read=0.3, slot=1, send_total=3, query=1)) as made:
        yield made


async def send(
    client: EvolutionClient, server: MisbehavingServer, what: SentFile, gate: Gate | None = None, **more: str
) -> Outcome:
    ref = InstanceRef("lab", server.url, "the-key")
    given = {"caption": "", "quoted_id": None, **more}
    return await send_file(
        client, ref, number=NUMBER, file=what, inline_bytes=64 * 1024, gate=gate or Gate(), **given
    )


async def test_a_small_file_goes_as_base64_and_may_quote(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    outcome = await send(client, server, file(), caption="Segue", quoted_id="Q1")
    assert outcome.verdict is Verdict.ACCEPTED
    (request,) = server.requests
    assert request.line.startswith("POST /message/sendMedia/lab")
    said = request.json
    assert base64.b64decode(said.pop("media")) == b"small"
    assert said == {
        "number": NUMBER,
        "mediatype": "document",
        "mimetype": "application/pdf",
        "fileName": 'a "b"ç.pdf',
        "caption": "Segue",
        "quoted": {"key": {"id": "Q1"}},
    }


@pytest.mark.parametrize("size", [0, 1, 2, 3, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 2])
async def test_an_inline_file_of_any_length_arrives_whole(
    client: EvolutionClient, server: MisbehavingServer, size: int
) -> None:
    data = (BIG * 2)[:size]

    class Dribbling(io.BytesIO):
        def read(self, wanted: int | None = -1) -> bytes:
            return super().read(min(wanted or 0, 100_001))

    ref = InstanceRef("lab", server.url, "the-key")
    sent = file(data, open=lambda: Dribbling(data))
    outcome = await send_file(
        client,
        ref,
        number=NUMBER,
        file=sent,
        caption='a"b',
        quoted_id=None,
        inline_bytes=CHUNK * 3,
        gate=Gate(),
    )
    assert outcome.verdict is Verdict.ACCEPTED
    assert base64.b64decode(server.requests[0].json["media"]) == data


async def test_a_large_file_is_streamed_as_a_form(client: EvolutionClient, server: MisbehavingServer) -> None:
    outcome = await send(client, server, file(BIG), caption="Segue")
    assert outcome.verdict is Verdict.ACCEPTED
    (request,) = server.requests
    assert "transfer-encoding" not in request.headers
    boundary = request.headers["content-type"].partition("boundary=")[2]
    *parts, end = request.body.split(b"--" + boundary.encode())
    assert end == b"--\r\n"
    fields = dict(part.strip(b"\r\n").partition(b"\r\n\r\n")[::2] for part in parts[1:-1])
    assert {value.decode() for value in fields.values()} == {
        NUMBER, "document", "application/pdf", 'a "b"ç.pdf', "Segue",
    }  # fmt: skip
    head, _, content = parts[-1].partition(b"\r\n\r\n")
    assert b'name="file"; filename="a_b_.pdf"' in head
    assert content.removesuffix(b"\r\n") == BIG


async def test_a_voice_message_is_a_form_of_its_own_kind_without_words(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    voice = file(kind="voice", mime_type="audio/ogg", name="")
    await send(client, server, voice, caption="ignored")
    await send(client, server, voice, quoted_id="Q1")
    form, quoting = server.requests
    assert form.line.startswith("POST /message/sendWhatsAppAudio/lab")
    assert b'filename="voice.og' in form.body
    assert b"ignored" not in form.body
    assert quoting.json["quoted"] == {"key": {"id": "Q1"}}
    assert "audio" in quoting.json


async def test_a_form_whose_end_may_not_leave_is_not_sent(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    outcome = await send(client, server, file(BIG), Gate(finish=False))
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_SENT, "media_too_slow")
    await asyncio.wait_for(server.connections[0].closed.wait(), 5)
    assert server.requests == []
    assert len(server.connections[0].received) > CHUNK


async def test_the_fence_stops_a_file_before_anything_leaves(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    outcome = await send(client, server, file(BIG), Gate(begin=False))
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_SENT, "fenced")


@pytest.mark.parametrize("length", [len(BIG) - 1, len(BIG) + 1])
async def test_a_file_of_another_length_than_it_was_is_not_sent(
    client: EvolutionClient, server: MisbehavingServer, length: int
) -> None:
    outcome = await send(client, server, file(BIG, size=length))
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_SENT, "media_unreadable")
    assert server.requests == []
    assert (await send(client, server, file(b"x", size=2))).reason == "media_unreadable"


async def test_a_storage_that_does_not_answer_sends_nothing(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    def away() -> IO[bytes]:
        raise RuntimeError("no storage today")

    for size in (10, len(BIG)):
        outcome = await send(client, server, file(BIG, size=size, open=away))
        assert (outcome.verdict, outcome.reason, outcome.permanent) == (
            Verdict.NOT_SENT,
            "media_unreadable",
            False,
        )
    assert server.requests == []


async def test_a_connection_lost_in_mid_upload_is_not_sent(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    def breaking() -> IO[bytes]:
        return Breaking(server)

    outcome = await send(client, server, file(bytes(64 * CHUNK), open=breaking))
    assert (outcome.verdict, outcome.reason, outcome.park) == (Verdict.NOT_SENT, "media_interrupted", False)
    assert not parks(outcome), "one file must not stop its number"
    assert server.requests == []


async def test_a_server_that_is_not_there_is_the_instances_trouble(client: EvolutionClient) -> None:
    ref = InstanceRef("lab", "http://127.0.0.1:9", "the-key")
    outcome = await send_file(
        client, ref, number=NUMBER, file=file(BIG), caption="", quoted_id=None, inline_bytes=0, gate=Gate()
    )
    assert (outcome.reason, parks(outcome)) == ("connect_failed", True)


class Breaking(io.RawIOBase):
    """Resets the connection after a few chunks were read."""

    def __init__(self, server: MisbehavingServer) -> None:
        self._server, self._read = server, 0

    def read(self, size: int = -1) -> bytes:
        self._read += 1
        if self._read == 4:
            loop = self._server._server.get_loop()  # type: ignore[union-attr]
            loop.call_soon_threadsafe(self._server.connections[0].reset)
        return bytes(min(size, CHUNK)) if self._read <= 64 else b""


async def test_no_answer_after_the_end_is_unclear(client: EvolutionClient, server: MisbehavingServer) -> None:
    server.handler = hang
    outcome = await send(client, server, file(BIG))
    assert (outcome.verdict, outcome.reason) == (Verdict.UNCLEAR, "read_timeout")


async def test_cancelled_in_mid_upload_is_not_sent(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            loop.call_soon_threadsafe(waiting.set)
            return bytes(1)

    task = asyncio.create_task(send(client, server, file(BIG, open=Slow)))
    await asyncio.wait_for(waiting.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(SendCancelled) as cancelled:
        await task
    assert cancelled.value.outcome.verdict is Verdict.NOT_SENT


async def test_an_early_refusal_is_heard(client: EvolutionClient, server: MisbehavingServer) -> None:
    async def refuse(connection: Connection, request: Request) -> None:
        await connection.reply(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()

    server.handler = refuse
    outcome = await send(client, server, file(BIG))
    assert (outcome.verdict, outcome.permanent) == (Verdict.NOT_SENT, True)
