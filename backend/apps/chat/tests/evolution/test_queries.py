"""The calls that send nothing, against captured answers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef, MessageKey, Timeouts
from apps.chat.evolution.outcomes import REASONS

from .conftest import Connection, MisbehavingServer, Request, answer, load_capture

GTE = datetime(2026, 11, 21, 20, 9, 13, tzinfo=UTC)
LTE = datetime(2026, 11, 21, 17, 10, 15, 500000, tzinfo=timezone(timedelta(hours=-3)))
ANA = "5511990000001@s.whatsapp.net"
GROUP = "120363000000000001@g.us"


@pytest.fixture
async def client() -> AsyncIterator[EvolutionClient]:
    async with EvolutionClient(timeouts=Timeouts(query=0.5)) as made:
        yield made


def replay(server: MisbehavingServer, name: str) -> InstanceRef:
    """Let the server answer as it did in a capture."""
    response = load_capture("http", name)["response"]
    return replying(server, response["status"], response["body"])


def replying(server: MisbehavingServer, status: int, body: Any) -> InstanceRef:
    async def reply(connection: Connection, _: Request) -> None:
        await connection.reply(answer(status, body))

    server.handler = reply
    return InstanceRef("lab-wa", server.url, "the-key")


@pytest.mark.parametrize(
    ("capture", "state"), [("stub_connectionState_open", "open"), ("connectionState_baileys_close", "close")]
)
async def test_connection_state(
    client: EvolutionClient, server: MisbehavingServer, capture: str, state: str
) -> None:
    assert await client.connection_state(replay(server, capture)) == state
    assert server.requests[0].line == "GET /instance/connectionState/lab-wa HTTP/1.1"


async def test_connection_state_while_loading(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replying(server, 200, {"instance": {"instanceName": "lab-wa"}})
    assert await client.connection_state(ref) is None


async def test_find_messages(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replay(server, "stub_findMessages_6s_after_client_timeout")
    found = await client.find_messages(ref, remote_jid=ANA, gte=GTE, lte=LTE)
    assert (found.total, found.pages, found.unread) == (1, 1, 0)
    [record] = found.records
    assert (record.text, record.status, record.instance_name) == ("unique-token-7f3a", 4, "lab-wa")
    assert server.requests[0].json == {
        "where": {
            "key": {"remoteJid": ANA, "fromMe": True},
            "messageTimestamp": {"gte": "2026-11-21T20:09:13.000Z", "lte": "2026-11-21T20:10:15.500Z"},
        },
        "page": 1,
        "offset": 50,
    }


async def test_find_messages_filters_what_the_server_ignores(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    ref = replay(server, "findMessages_fromMe_false")
    found = await client.find_messages(ref, remote_jid=ANA, gte=GTE, lte=LTE, from_me=False)
    assert found.records
    assert not any(record.from_me for record in found.records)
    assert "fromMe" not in server.requests[0].json["where"]["key"]


async def test_find_messages_counts_rows_it_cannot_read(
    client: EvolutionClient, server: MisbehavingServer
) -> None:
    ref = replying(server, 200, {"messages": {"total": 1, "pages": 1, "records": [{"key": {}}]}})
    found = await client.find_messages(ref, remote_jid=ANA, gte=GTE, lte=LTE)
    assert (found.records, found.unread) == ([], 1)


@pytest.mark.parametrize("body", [None, [], {}, {"messages": {"records": None}}, b"<html>"])
async def test_find_messages_with_another_shape_is_no_empty_page(
    client: EvolutionClient, server: MisbehavingServer, body: Any
) -> None:
    ref = replying(server, 200, body)
    with pytest.raises(EvolutionError) as caught:
        await client.find_messages(ref, remote_jid=ANA, gte=GTE, lte=LTE)
    assert caught.value.reason == "unexplained_answer"


async def test_find_messages_wants_time_zones(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replay(server, "findMessages_ts")
    with pytest.raises(ValueError, match="time zone"):
        await client.find_messages(ref, remote_jid=ANA, gte=GTE.replace(tzinfo=None), lte=LTE)


async def test_mark_as_read(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replay(server, "stub_markMessageAsRead")
    await client.mark_as_read(ref, [MessageKey("A", ANA), MessageKey("B", GROUP, participant=ANA)])
    assert server.requests[0].json == {
        "readMessages": [
            {"id": "A", "remoteJid": ANA, "fromMe": False},
            {"id": "B", "remoteJid": GROUP, "fromMe": False, "participant": ANA},
        ]
    }


async def test_profile_pictures(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replay(server, "stub_fetchProfilePictureUrl")
    assert (
        await client.fetch_profile_picture(ref, "5511990000001")
        == "https://pps.example.com/5511990000001.jpg"
    )
    ref = replay(server, "stub_fetchProfilePictureUrl_none")
    assert await client.fetch_profile_picture(ref, "5511990000002") is None


async def test_group_info(client: EvolutionClient, server: MisbehavingServer) -> None:
    info = await client.group_info(replay(server, "stub_findGroupInfos"), GROUP)
    assert (info.jid, info.subject, info.size) == (GROUP, "Lab Group", 3)
    assert info.participants[:2] == ("111111111111111@lid", "222222222222222@lid")
    assert len(info.participants) == 3
    assert server.requests[0].line == (
        "GET /group/findGroupInfos/lab-wa?groupJid=120363000000000001%40g.us HTTP/1.1"
    )


async def test_whatsapp_numbers(client: EvolutionClient, server: MisbehavingServer) -> None:
    checks = await client.whatsapp_numbers(
        replay(server, "stub_whatsappNumbers"), ["5511990000001", "5500990000001"]
    )
    by_number = {check.number: check for check in checks}
    assert by_number["5511990000001"].jid == ANA
    assert by_number["5511990000001"].exists
    assert not by_number["5500990000001"].exists


async def test_webhooks(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replay(server, "webhook_set_events")
    await client.set_webhook(
        ref, url="https://chat.example/hook", headers={"X-Secret": "s"}, events=["SEND_MESSAGE"]
    )
    assert server.requests[0].line == "POST /webhook/set/lab-wa HTTP/1.1"
    assert server.requests[0].json == {
        "webhook": {
            "enabled": True,
            "url": "https://chat.example/hook",
            "byEvents": False,
            "base64": False,
            "headers": {"X-Secret": "s"},
            "events": ["SEND_MESSAGE"],
        }
    }
    found = await client.find_webhook(replay(server, "webhook_find"))
    assert found is not None
    assert found["enabled"] is True
    assert await client.find_webhook(replying(server, 200, None)) is None


@pytest.mark.parametrize(
    ("capture", "reason", "permanent"),
    [
        ("err_stub_findGroupInfos_404", "group_not_found", True),
        ("err_connecting_findGroupInfos", "group_unreachable", False),
        ("err_close_findGroupInfos", "group_unreachable", False),
        ("connectionState_baileys_after_delete", "instance_missing", False),
        ("err_noroute", "wrong_base_url", False),
    ],
)
async def test_errors_of_group_info(
    client: EvolutionClient, server: MisbehavingServer, capture: str, reason: str, permanent: bool
) -> None:
    with pytest.raises(EvolutionError) as caught:
        await client.group_info(replay(server, capture), GROUP)
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("capture", "reason", "permanent"),
    [
        ("err_evo_whatsappNumbers", "method_unavailable", True),
        ("err_close_whatsappNumbers", "connection_closed", False),
    ],
)
async def test_errors_of_whatsapp_numbers(
    client: EvolutionClient, server: MisbehavingServer, capture: str, reason: str, permanent: bool
) -> None:
    with pytest.raises(EvolutionError) as caught:
        await client.whatsapp_numbers(replay(server, capture), ["5511990000001"])
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)


async def test_an_unauthorized_query(client: EvolutionClient, server: MisbehavingServer) -> None:
    ref = replying(
        server, 401, {"status": 401, "error": "Unauthorized", "response": {"message": "Unauthorized"}}
    )
    with pytest.raises(EvolutionError) as caught:
        await client.connection_state(ref)
    assert (caught.value.reason, caught.value.status) == ("unauthorized", 401)
    assert "the-key" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


async def test_a_query_without_answer(client: EvolutionClient, server: MisbehavingServer) -> None:
    async def close(connection: Connection, _: Request) -> None:
        connection.close()

    async def nothing(_: Connection, __: Request) -> None:
        return

    ref = InstanceRef("lab-wa", server.url, "k")
    server.handler = nothing
    with pytest.raises(EvolutionError) as caught:
        await client.connection_state(ref)
    assert (caught.value.reason, caught.value.status) == ("read_timeout", None)
    server.handler = close
    with pytest.raises(EvolutionError) as caught:
        await client.connection_state(ref)
    assert caught.value.reason == "connect_failed"
    assert caught.value.reason in REASONS
