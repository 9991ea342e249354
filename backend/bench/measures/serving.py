"""F4, F5 and the server's part of F7: what callers wait for."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator

import httpx
from testing import servers

from bench import load
from bench.bench import Bench
from bench.figures import percentile
from bench.load import Request
from bench.world import Database, wait_for

PER_SECOND = 100
EVENTS_PER_SECOND = 200
PAUSE_SECONDS = 0.12
ALONE = 30
LOOKS = 60
API = "/api/chat"


@contextlib.contextmanager
def web(bench: Bench, database: Database) -> Iterator[servers.AsgiServer]:
    """A server with its consumers inside, as a small deployment has it, bound to no core."""
    bench.world.flush()
    bench.world.provider.reset()
    server = servers.AsgiServer(bench.world.directory, bench.world.settings(database))
    server.log = bench.world.directory / f"web-{secrets.token_hex(4)}.log"
    with server:
        yield server


def api(bench: Bench, turn: int) -> None:
    """`api`: POST to 201 at 100/s; `first_byte`: one message at a time, until the provider has it."""
    conversations = _conversations(bench.empty, 100)
    tag = secrets.token_hex(4)
    with web(bench, bench.empty) as server:
        requests = [
            _post(bench.empty, conversations[n % 100], f"{tag} {n}")
            for n in range(bench.sizes.posts + PER_SECOND)
        ]
        load.at_rate(server.url, requests[:PER_SECOND], PER_SECOND).expect(201)
        told = load.at_rate(server.url, requests[PER_SECOND:], PER_SECOND).expect(201)
        _wait_sent(bench.empty)
        bench.samples.put("api.p50", turn, percentile(told.ms, 0.5))
        bench.samples.put("api.p95", turn, percentile(told.ms, 0.95))
        _first_bytes(bench, turn, server, conversations, tag)
        _wait_sent(bench.empty)


def _first_bytes(
    bench: Bench, turn: int, server: servers.AsgiServer, conversations: list[str], tag: str
) -> None:
    began: dict[str, float] = {}
    with httpx.Client(base_url=server.url, headers=_auth(bench.empty), trust_env=False) as client:
        for n in range(ALONE):
            time.sleep(PAUSE_SECONDS)
            text = f"{tag} alone {n}"
            began[text] = time.time()
            body = {"conversation": conversations[n], "content": text}
            client.post(f"{API}/messages/", json=body).raise_for_status()
    _wait_sent(bench.empty)
    arrived = bench.world.provider.report(full=True)["arrived"]
    waits = [(arrived[text] - at) * 1000 for text, at in began.items()]
    bench.samples.put("first_byte.p50", turn, percentile(waits[3:], 0.5))
    bench.samples.put("first_byte.p95", turn, percentile(waits[3:], 0.95))


def journal(bench: Bench, turn: int) -> None:
    """`journal.rate`, `.applied`: webhooks of incoming messages, 32 at a time; `journal.p50`, `.p95`: at 200/s."""
    with web(bench, bench.empty) as server:
        load.flat_out(server.url, [_webhook(bench.empty, n) for n in range(50)]).expect(200)
        events = [_webhook(bench.empty, n) for n in range(bench.sizes.events)]
        began = time.monotonic()
        told = load.flat_out(server.url, events).expect(200)
        bench.samples.put("journal.rate", turn, len(events) / told.seconds)
        wait_for("the last event to be applied", lambda: _applied(bench.empty), 120)
        bench.samples.put("journal.applied", turn, len(events) / (time.monotonic() - began))
        events = [_webhook(bench.empty, n) for n in range(EVENTS_PER_SECOND * 3)]
        told = load.at_rate(server.url, events, EVENTS_PER_SECOND).expect(200)
        bench.samples.put("journal.p50", turn, percentile(told.ms, 0.5))
        bench.samples.put("journal.p95", turn, percentile(told.ms, 0.95))
        wait_for("the last event to be applied", lambda: _applied(bench.empty), 120)


def _applied(database: Database) -> bool:
    return bool(database.ask("SELECT count(*) = 0 FROM chat_webhookevent WHERE applied_at IS NULL")[0][0])


def pages(bench: Bench, turn: int) -> None:
    """`status`, `list`: the queues' status and the first pages of the conversations, on the full database."""
    with web(bench, bench.full) as server:
        for name, path in (("status", f"{API}/reactions/queues/status/"), ("list", f"{API}/conversations/")):
            requests = [Request("GET", path, _auth(bench.full))] * LOOKS
            load.at_rate(server.url, requests[:10], 20, 4).expect(200)
            told = load.at_rate(server.url, requests, 20, 4).expect(200)
            bench.samples.put(f"{name}.p50", turn, percentile(told.ms, 0.5))
            bench.samples.put(f"{name}.p95", turn, percentile(told.ms, 0.95))


def _auth(database: Database) -> dict[str, str]:
    return {"Authorization": f"Token {database.tenant['token']}"}


def _post(database: Database, conversation: str, text: str) -> Request:
    body = {"conversation": conversation, "content": text}
    return Request("POST", f"{API}/messages/", _auth(database), body)


def _conversations(database: Database, count: int) -> list[str]:
    found = database.ask(f"SELECT id FROM chat_conversation ORDER BY id LIMIT {count}")  # noqa: S608
    return [str(row[0]) for row in found]


def _wait_sent(database: Database) -> None:
    left = "SELECT count(*) = 0 FROM chat_delivery WHERE live"
    wait_for("the last send", lambda: database.ask(left)[0][0], 60)


def _webhook(database: Database, n: int) -> Request:
    """An incoming text of one of 200 customers, as Evolution posts it."""
    tenant = database.tenant
    phone = 5511900000001 + n % 200
    body = {
        "event": "messages.upsert",
        "instance": "bench",
        "data": {
            "key": {
                "id": f"3A{secrets.token_hex(9).upper()}",
                "remoteJid": f"{phone}@s.whatsapp.net",
                "fromMe": False,
            },
            "pushName": "A customer",
            "message": {"conversation": f"A question of usual length about an order, number {n}"},
            "messageType": "conversation",
            "messageTimestamp": int(time.time()),
            "source": "android",
            "instanceId": "7c94cd02-d9c7-4722-af68-5df8bb6ea96d",
        },
        "server_url": "http://127.0.0.1:8080",
        "date_time": "2026-01-01T00:00:00.000Z",
        "apikey": "k",
    }
    path = f"{API}/webhooks/evolution/{tenant['instance_id']}/"
    return Request("POST", path, {tenant["webhook_header"]: tenant["webhook_secret"]}, body)
