"""The client against a TCP server on loopback that resets, hangs, answers late and closes too early."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from apps.chat.evolution.client import EvolutionClient, InstanceRef, Limits, SendCancelled, Timeouts
from apps.chat.evolution.outcomes import Outcome, Verdict

from .conftest import ACCEPTED, Connection, MisbehavingServer, Request, accept, answer, hang

NUMBER = "5511990000001"
DEADLINE = 5.0


class Gate:
    """Answers what it is told, True when told nothing more; counts the questions."""

    def __init__(self, *answers: bool) -> None:
        self.asked = 0
        self._answers = list(answers)

    def may_send(self) -> bool:
        self.asked += 1
        return self._answers.pop(0) if self._answers else True


@pytest.fixture(params=["native", "httpx"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[EvolutionClient]:
    timeouts = Timeouts(connect=2, read=0.3, slot=1, send_total=2, query=1)
    async with EvolutionClient(timeouts=timeouts, transport=request.param) as made:
        yield made


def ref(server: MisbehavingServer, name: str = "lab") -> InstanceRef:
    return InstanceRef(name=name, base_url=server.url, api_key="the-key")


async def send(
    client: EvolutionClient, server: MisbehavingServer, text: str = "hello", gate: Gate | None = None
) -> Outcome:
    return await client.send_text(ref(server), number=NUMBER, text=text, gate=gate or Gate())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


async def closed(connection: Connection) -> None:
    async with asyncio.timeout(DEADLINE):
        await connection.closed.wait()


async def test_it_sends_one_post_and_returns_the_id(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    gate = Gate()
    outcome = await client.send_text(ref(server), number=NUMBER, text="olá", quoted_id="Q1", gate=gate)
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.provider_id == "3EB0D3B2FFDF6ABE77E5F2"
    [request] = server.requests
    assert request.line == "POST /message/sendText/lab HTTP/1.1"
    assert request.headers["apikey"] == "the-key"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "number": NUMBER,
        "text": "olá",
        "delay": 0,
        "linkPreview": False,
        "quoted": {"key": {"id": "Q1"}},
    }
    assert gate.asked == 2


async def test_connections_are_kept_and_reused(client: EvolutionClient, server: MisbehavingServer) -> None:
    for _ in range(3):
        assert (await send(client, server)).verdict is Verdict.ACCEPTED
    assert len(server.connections) == 1


async def test_an_idle_connection_the_server_closed_is_not_used(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    async def answer_and_close(connection: Connection, _: Request) -> None:
        await connection.reply(ACCEPTED)
        connection.close()

    server.handler = answer_and_close
    assert (await send(client, server)).verdict is Verdict.ACCEPTED
    await closed(server.connections[0])
    assert (await send(client, server)).verdict is Verdict.ACCEPTED
    assert len(server.requests) == 2


async def test_idle_connections_are_dropped_before_the_server_does(server: MisbehavingServer) -> None:
    async with EvolutionClient(limits=Limits(keepalive_expiry=0.0)) as client:
        await send(client, server)
        await asyncio.sleep(0.01)
        await send(client, server)
    assert len(server.connections) == 2


async def test_a_refused_connection_is_not_sent(client: EvolutionClient, server: MisbehavingServer) -> None:
    await server.stop()
    gate = Gate()
    outcome = await send(client, server, gate=gate)
    assert (outcome.verdict, outcome.reason, outcome.scope) == (Verdict.NOT_SENT, "connect_failed", "host")
    assert gate.asked == 0


async def test_an_unknown_host_is_not_sent(client: EvolutionClient) -> None:
    nowhere = InstanceRef("lab", "http://no-such-host.invalid", "k")
    outcome = await client.send_text(nowhere, number=NUMBER, text="x", gate=Gate())
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_SENT, "connect_failed")


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
async def test_a_connection_lost_after_the_request_is_unclear_and_never_repeated(
    client: EvolutionClient, server: MisbehavingServer, way: str, reused: bool
) -> None:
    if reused:
        await send(client, server, "first")

    async def lose(connection: Connection, _: Request) -> None:
        getattr(connection, way)()

    server.handler = lose
    outcome = await send(client, server, "lost")
    assert (outcome.verdict, outcome.reason) == (Verdict.UNCLEAR, "reset_after_write")
    await asyncio.sleep(0.05)
    assert [r.json["text"] for r in server.requests].count("lost") == 1
    assert len(server.connections) == 1


async def test_a_server_that_never_answers_is_unclear(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    server.handler = hang
    outcome = await send(client, server)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNCLEAR, "read_timeout")
    assert len(server.requests) == 1


async def test_a_late_answer_within_the_timeout_is_accepted(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    async def answer_late(connection: Connection, _: Request) -> None:
        await asyncio.sleep(0.15)
        await connection.reply(ACCEPTED)

    server.handler = answer_late
    assert (await send(client, server)).verdict is Verdict.ACCEPTED


async def test_a_late_answer_is_never_taken_for_the_next_requests(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    async def answer_too_late(connection: Connection, request: Request) -> None:
        await asyncio.sleep(0.5 if request.json["text"] == "slow" else 0)
        await connection.reply(answer(201, {"key": {"id": request.json["text"]}}))

    server.handler = answer_too_late
    assert (await send(client, server, "slow")).verdict is Verdict.UNCLEAR
    assert (await send(client, server, "quick")).provider_id == "quick"
    assert len(server.connections) == 2


async def test_an_answer_cut_off_in_its_body_is_unclear(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    async def cut(connection: Connection, _: Request) -> None:
        await connection.reply(ACCEPTED[:-20])
        connection.close()

    server.handler = cut
    assert (await send(client, server)).verdict is Verdict.UNCLEAR


async def test_an_answer_that_trickles_in_has_a_deadline(server: MisbehavingServer) -> None:
    async def trickle(connection: Connection, _: Request) -> None:
        for byte in ACCEPTED:
            await connection.reply(bytes([byte]))
            await asyncio.sleep(0.02)

    server.handler = trickle
    async with EvolutionClient(timeouts=Timeouts(send_total=0.4)) as client:
        outcome = await send(client, server)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNCLEAR, "read_timeout")


async def test_an_endless_answer_is_cut(client: EvolutionClient, server: MisbehavingServer) -> None:
    async def flood(connection: Connection, _: Request) -> None:
        await connection.reply(b"HTTP/1.1 201 X\r\nContent-Length: 900000000\r\n\r\n")
        while True:
            await connection.reply(b" " * 65536)

    server.handler = flood
    outcome = await send(client, server)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNCLEAR, "unexplained_answer")
    await closed(server.connections[0])


async def test_garbage_instead_of_http_is_unclear(client: EvolutionClient, server: MisbehavingServer) -> None:
    async def babble(connection: Connection, _: Request) -> None:
        await connection.reply(b"220 mail.example ESMTP\r\n\r\n")

    server.handler = babble
    assert (await send(client, server)).verdict is Verdict.UNCLEAR


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    client: EvolutionClient, server: MisbehavingServer, status: int
) -> None:
    async def redirect(connection: Connection, _: Request) -> None:
        await connection.reply(answer(status, {}, f"Location: {server.url}/elsewhere"))

    server.handler = redirect
    outcome = await send(client, server)
    assert outcome.verdict is not Verdict.ACCEPTED
    assert outcome.http_status == status
    assert len(server.requests) == 1


async def test_retry_after_reaches_the_outcome(client: EvolutionClient, server: MisbehavingServer) -> None:
    async def slow_down(connection: Connection, _: Request) -> None:
        await connection.reply(answer(429, {}, "Retry-After: 120"))

    server.handler = slow_down
    outcome = await send(client, server)
    assert (outcome.reason, outcome.throttle, outcome.wait) == ("rate_limited", True, 120)


async def test_the_fence_stops_a_send_on_a_fresh_connection(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    outcome = await send(client, server, gate=Gate(False))
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_SENT, "fenced")
    await until(lambda: len(server.connections) == 1)
    await closed(server.connections[0])
    assert server.connections[0].received == b""


async def test_the_fence_stops_a_send_on_a_reused_connection(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    await send(client, server, "first")
    [connection] = server.connections
    before = connection.received
    assert (await send(client, server, "second", Gate(False))).reason == "fenced"
    await closed(connection)
    assert connection.received == before
    assert (await send(client, server, "third")).verdict is Verdict.ACCEPTED
    assert [r.json["text"] for r in server.requests] == ["first", "third"]


async def test_the_fence_stops_a_send_between_head_and_body(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    gate = Gate(True, False)
    assert (await send(client, server, gate=gate)).reason == "fenced"
    await until(lambda: len(server.connections) == 1)
    await closed(server.connections[0])
    assert b"hello" not in server.connections[0].received
    assert server.requests == []
    assert (await send(client, server)).verdict is Verdict.ACCEPTED


async def test_cancelled_after_the_bytes_left(client: EvolutionClient, server: MisbehavingServer) -> None:
    server.handler = hang
    task = asyncio.create_task(send(client, server))
    await until(lambda: len(server.requests) == 1)
    task.cancel()
    with pytest.raises(SendCancelled) as caught:
        await task
    assert caught.value.bytes_left
    assert caught.value.outcome.verdict is Verdict.UNCLEAR
    assert caught.value.outcome.reason == "cancelled_after_write"
    assert task.cancelled()
    await closed(server.connections[0])


async def test_cancelled_before_anything_left(server: MisbehavingServer) -> None:
    server.handler = hang
    async with EvolutionClient(limits=Limits(per_host=1)) as client:
        first = asyncio.create_task(send(client, server, "first"))
        await until(lambda: len(server.requests) == 1)
        second = asyncio.create_task(send(client, server, "second"))
        await asyncio.sleep(0.02)
        second.cancel()
        with pytest.raises(SendCancelled) as caught:
            await second
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert not caught.value.bytes_left
    assert caught.value.outcome.verdict is Verdict.NOT_SENT
    assert len(server.requests) == 1


async def test_a_cancelled_send_gives_its_slot_back(server: MisbehavingServer) -> None:
    server.handler = hang
    async with EvolutionClient(limits=Limits(per_host=1)) as client:
        task = asyncio.create_task(send(client, server))
        await until(lambda: len(server.requests) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.handler = accept
        assert (await send(client, server)).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("keepalive_expiry", [0.0, 4.0])
@pytest.mark.parametrize("transport", ["native", "httpx"])
async def test_cancelling_at_any_moment_harms_no_later_send(
    server: MisbehavingServer, transport: str, keepalive_expiry: float
) -> None:
    """Cancels a send after 0, 1, 2, … turns of the event loop; the next one must go through, unmixed."""

    async def echo(connection: Connection, request: Request) -> None:
        await connection.reply(answer(201, {"key": {"id": request.json["text"]}}))

    server.handler = echo
    never_sent: set[str] = set()
    limits = Limits(per_host=1, keepalive_expiry=keepalive_expiry)
    async with EvolutionClient(
        limits=limits, timeouts=Timeouts(read=2, slot=2), transport=transport
    ) as client:
        for turns in range(60):
            task = asyncio.create_task(send(client, server, f"cancelled {turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except SendCancelled as cancelled:
                if not cancelled.bytes_left:
                    never_sent.add(f"cancelled {turns}")
            except asyncio.CancelledError:
                assert turns == 0, "a send under way tells whether bytes left"
            assert (await send(client, server, f"next {turns}")).provider_id == f"next {turns}"
    texts = [request.json["text"] for request in server.requests]
    assert len(texts) == len(set(texts))
    # On a connection at hand our own transport writes before it first waits.
    assert never_sent or (transport, keepalive_expiry) == ("native", 4.0)
    assert never_sent.isdisjoint(texts)


async def test_a_hanging_host_starves_no_other(server: MisbehavingServer) -> None:
    other = MisbehavingServer()
    await other.start()
    server.handler = hang
    async with EvolutionClient(limits=Limits(per_host=1), timeouts=Timeouts(slot=0.1)) as client:
        stuck = asyncio.create_task(send(client, server))
        await until(lambda: len(server.requests) == 1)
        assert (await send(client, other)).verdict is Verdict.ACCEPTED
        waiting = await send(client, server)
        assert (waiting.verdict, waiting.reason) == (Verdict.NOT_SENT, "busy")
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    await other.stop()


async def test_many_sends_at_once_are_each_answered_their_own(server: MisbehavingServer) -> None:
    async def echo(connection: Connection, request: Request) -> None:
        await asyncio.sleep(0.01)
        await connection.reply(answer(201, {"key": {"id": request.json["text"]}}))

    server.handler = echo
    async with EvolutionClient(limits=Limits(per_host=16)) as client:
        texts = [f"m{n}" for n in range(64)]
        outcomes = await asyncio.gather(*(send(client, server, text) for text in texts))
    assert [outcome.provider_id for outcome in outcomes] == texts
    assert len(server.connections) <= 16
    assert len(server.requests) == 64


@pytest.mark.parametrize("text", ["", "  \n", "a\x00b", "a\ud800b"], ids=repr)
async def test_a_text_that_cannot_survive_is_refused_here(
    client: EvolutionClient, server: MisbehavingServer, text: str
) -> None:
    outcome = await send(client, server, text)
    assert (outcome.verdict, outcome.reason, outcome.permanent) == (Verdict.NOT_SENT, "text_unsendable", True)
    assert server.connections == []


@pytest.mark.parametrize("number", ["", "ana", "status@broadcast"])
async def test_a_garbage_address_is_refused_here(
    client: EvolutionClient, server: MisbehavingServer, number: str
) -> None:
    outcome = await client.send_text(ref(server), number=number, text="x", gate=Gate())
    assert (outcome.verdict, outcome.permanent) == (Verdict.NOT_SENT, True)
    assert server.connections == []


@pytest.mark.parametrize("base_url", ["", "ftp://host", "http://", "no-scheme/path", "http://host:abc"])
async def test_an_address_that_cannot_be_used_parks_the_instance(
    client: EvolutionClient, base_url: str
) -> None:
    outcome = await client.send_text(InstanceRef("lab", base_url, "k"), number=NUMBER, text="x", gate=Gate())
    assert outcome.verdict is Verdict.NOT_SENT
    assert outcome.reason == "bad_address"
    assert outcome.park


@pytest.mark.parametrize("key", ["two\nlines", "chave-inválida-✓"])
async def test_a_key_that_is_no_header_parks_the_instance(
    client: EvolutionClient, server: MisbehavingServer, key: str
) -> None:
    broken = InstanceRef("lab", server.url, key)
    outcome = await client.send_text(broken, number=NUMBER, text="x", gate=Gate())
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_SENT, "bad_address")
    assert key not in repr(outcome)
    assert (await send(client, server)).verdict is Verdict.ACCEPTED


async def test_cookies_are_not_kept(client: EvolutionClient, server: MisbehavingServer) -> None:
    async def set_cookie(connection: Connection, _: Request) -> None:
        await connection.reply(answer(201, {"key": {"id": "A"}}, "Set-Cookie: session=other; Path=/"))

    server.handler = set_cookie
    await send(client, server)
    await send(client, server)
    assert "cookie" not in server.requests[1].headers


async def test_a_name_cannot_change_the_path(client: EvolutionClient, server: MisbehavingServer) -> None:
    odd = ref(server, "../x y?instanceName=other#")
    await client.send_text(odd, number=NUMBER, text="x", gate=Gate())
    assert server.requests[0].line == ("POST /message/sendText/..%2Fx%20y%3FinstanceName%3Dother%23 HTTP/1.1")


def test_the_key_shows_nowhere() -> None:
    secret = InstanceRef("lab", "http://user:pass@evolution.example:8080/base", "the-key")
    assert "the-key" not in repr(secret)
    assert secret.address == "evolution.example:8080"


async def test_a_closed_client_sends_nothing(server: MisbehavingServer) -> None:
    client = EvolutionClient()
    await client.aclose()
    assert (await send(client, server)).verdict is Verdict.NOT_SENT
    assert server.connections == []
