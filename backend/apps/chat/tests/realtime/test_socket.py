"""Who may connect, and what may be said."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import OperationalError

from apps.chat.models import Conversation, Delivery, Message, MessageAttachment
from apps.chat.realtime import access, broadcast, consumer, hub, tickets
from apps.chat.tests.api.world import Team
from apps.chat.tests.realtime.conftest import Connect
from apps.tenancy.models import Membership, User

in_thread = sync_to_async


async def test_a_member_is_greeted_with_the_present_number(team: Team, connect: Connect) -> None:
    socket = await connect(team)

    await socket.say("subscribe")

    assert (await socket.heard("subscribed"))[0]["last_seq"] > 1_000_000_000_000


async def test_a_silent_client_is_greeted_too(team: Team, connect: Connect) -> None:
    socket = await connect(team)

    await socket.heard("subscribed")
    broadcast.publish(team.tenant.pk, {"type": "typing"})
    await socket.heard("typing")


async def test_strangers_are_closed_with_4001(team: Team, connect: Connect) -> None:
    for query in ("", "?ticket=", "?ticket=wrong", "?token=" + team.token):
        socket = await connect(team, login=False, query=query)
        await socket.until(lambda socket=socket: socket.closed)
        assert socket.closed == 4001


async def test_another_tenant_is_closed_with_4003(team: Team, others: Team, connect: Connect) -> None:
    for tenant in (others.tenant.pk, uuid4(), "nonsense"):
        socket = await connect(team, tenant_id=tenant)
        await socket.until(lambda socket=socket: socket.closed)
        assert socket.closed == 4003


async def test_a_ticket_opens_one_socket(team: Team, connect: Connect) -> None:
    ticket = await in_thread(tickets.issue)(team.user.pk)

    first = await connect(team, login=False, query=f"?ticket={ticket}")
    second = await connect(team, login=False, query=f"?ticket={ticket}")

    await first.heard("subscribed")
    await second.until(lambda: second.closed)
    assert (first.closed, second.closed) == (None, 4001)


async def test_a_ticket_does_not_open_another_tenant(team: Team, others: Team, connect: Connect) -> None:
    ticket = await in_thread(tickets.issue)(team.user.pk)

    socket = await connect(others, login=False, query=f"?ticket={ticket}")

    await socket.until(lambda: socket.closed)
    assert socket.closed == 4003


async def test_without_redis_a_ticket_is_try_later(
    team: Team, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "CACHE_REDIS_URL", "redis://127.0.0.1:1/0")

    socket = await connect(team, login=False, query="?ticket=abc")

    await socket.until(lambda: socket.closed)
    assert socket.closed == 1013


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (None, True),
        ("http://localhost:8000", True),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
        ("http://localhost.evil.example", False),
    ],
)
async def test_pages_of_other_sites_are_kept_out(
    team: Team, connect: Connect, origin: str | None, welcome: bool
) -> None:
    socket = await connect(team, origin=origin)

    assert (socket.closed is None) == welcome


async def test_an_unknown_path_is_closed(team: Team, connect: Connect) -> None:
    socket = await connect(team, query="more/")

    assert socket.closed is not None


BAD: list[tuple[str, str]] = [
    ("", "invalid_json"),
    ("nonsense", "invalid_json"),
    ("[]", "invalid_json"),
    ("null", "invalid_json"),
    ("[" * 100_000, "invalid_json"),
    ("{}", "unknown_type"),
    ('{"type": 1}', "unknown_type"),
    ('{"type": "chat.event"}', "unknown_type"),
    ('{"type": "__init__"}', "unknown_type"),
    ('{"type": "subscribe", "conversation_id": "x"}', "invalid_id"),
    ('{"type": "subscribe", "conversation_id": 5}', "invalid_id"),
    ('{"type": "subscribe", "conversation_id": "' + str(uuid4()) + '"}', "not_found"),
    ('{"type": "typing"}', "invalid_id"),
    ('{"type": "typing", "conversation_id": {}}', "invalid_id"),
    ('{"type": "mark_as_seen", "conversation_id": null}', "invalid_id"),
    ('{"type": "resume"}', "invalid_last_seq"),
    ('{"type": "resume", "last_seq": "5"}', "invalid_last_seq"),
    ('{"type": "resume", "last_seq": -1}', "invalid_last_seq"),
    ('{"type": "resume", "last_seq": true}', "invalid_last_seq"),
    ('{"type": "resume", "last_seq": 1e400}', "invalid_last_seq"),
    ('{"type": "resume", "last_seq": 99999999999999999999}', "invalid_last_seq"),
    ('{"type": "send_message"}', "invalid_id"),
    ("x" * (consumer.FRAME_LONGEST + 1), "too_large"),
]


@pytest.mark.parametrize(("text", "code"), BAD, ids=[row[0][:40] for row in BAD])
async def test_nonsense_is_answered_and_the_socket_lives(
    team: Team, connect: Connect, text: str, code: str
) -> None:
    socket = await connect(team)

    await socket.say_raw(text)

    error = (await socket.heard("error"))[0]
    assert error["error_code"] == code
    assert error["message"]
    await socket.barrier()


async def test_bytes_are_refused(team: Team, connect: Connect) -> None:
    socket = await connect(team)

    await socket.say_raw(data=b"\x00\xff")

    assert (await socket.heard("error"))[0]["error_code"] == "invalid_frame"


async def test_a_chatterbox_is_told_to_slow_down(team: Team, connect: Connect) -> None:
    socket = await connect(team)

    for _ in range(int(consumer.RATE_BURST) + 30):
        await socket.say("ping")

    assert (await socket.heard("error"))[0]["error_code"] == "rate_limited"


async def test_a_message_is_sent_and_everyone_hears_of_it(team: Team, connect: Connect) -> None:
    writer, reader = await connect(team), await connect(team)
    await writer.ready()
    await reader.ready()

    await writer.say(
        "send_message", conversation=str(team.conversation.pk), content="Olá", client_message_id="w-1"
    )

    mine, theirs = (await writer.heard("message_received"))[0], (await reader.heard("message_received"))[0]
    assert mine == theirs
    assert mine["message"]["content"] == "Olá"
    assert mine["message"]["client_message_id"] == "w-1"
    assert mine["message"]["status"] == "queued"
    assert mine["message"]["sender"]["id"] == str(team.user.pk)
    assert mine["conversation_id"] == str(team.conversation.pk)
    assert await in_thread(Delivery.objects.count)() == 1


async def test_the_same_message_again_is_answered_to_its_writer_alone(team: Team, connect: Connect) -> None:
    writer, reader = await connect(team), await connect(team)
    await writer.ready()
    await reader.ready()
    said = {"conversation": str(team.conversation.pk), "content": "Olá", "client_message_id": "w-1"}

    await writer.say("send_message", **said)
    await writer.heard("message_received")
    await writer.say("send_message", **said)

    first, second = await writer.heard("message_received", 2)
    assert second["message"]["id"] == first["message"]["id"]
    assert "seq" not in second
    await reader.barrier()
    assert len(await reader.heard("message_received")) == 1
    assert await in_thread(Message.objects.count)() == 1


async def test_files_are_sent_and_each_is_heard_of(team: Team, connect: Connect) -> None:
    socket = await connect(team)
    await socket.ready()
    facts = {"tenant": team.tenant, "uploaded_by": team.user, "status": "completed", "kind": "document"}
    files = [await MessageAttachment.objects.acreate(file="media/x", size=1, **facts) for _ in range(2)]
    said = {"conversation": str(team.conversation.pk), "content": "Segue", "client_message_id": "w-1"}
    said["attachments"] = [str(file.pk) for file in files]  # type: ignore[assignment]

    await socket.say("send_message", **said)

    heard = await socket.heard("message_received", 2)
    assert [event["message"]["attachments"][0]["id"] for event in heard] == said["attachments"]
    await socket.say("send_message", **said)
    again = (await socket.heard("message_received", 3))[-1]
    assert again["message"]["id"] == heard[0]["message"]["id"]
    assert again["message"]["attachments"] == heard[0]["message"]["attachments"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"content": ""}, "invalid_message"),
        ({"content": "\ud800"}, "invalid_message"),
        ({"content": "a\x00"}, "invalid_message"),
        ({"content": 5}, "invalid_message"),
        ({"content": "a" * 65_537}, "invalid_message"),
        ({"content": "a", "client_message_id": 7}, "invalid_message"),
        ({"content": "a", "client_message_id": "\ud800"}, "invalid_message"),
        ({"content": "a", "reply_to": "x"}, "invalid_id"),
        ({"content": "a", "attachments": "x"}, "invalid_id"),
        ({"content": "a", "attachments": {"a": 1}}, "invalid_id"),
        ({"content": "a", "attachments": [5]}, "invalid_id"),
        ({"content": "a", "attachments": [str(uuid4())]}, "not_found"),
        ({"content": "a", "conversation": str(uuid4())}, "not_found"),
    ],
)
async def test_what_cannot_be_sent_is_refused_with_its_name(
    team: Team, connect: Connect, fields: dict[str, Any], code: str
) -> None:
    socket = await connect(team)
    said = {"conversation": str(team.conversation.pk), "client_message_id": "n", **fields}

    await socket.say("send_message", **said)

    error = (await socket.heard("error"))[0]
    assert error["error_code"] == code
    if isinstance(said["client_message_id"], str):
        assert error["client_message_id"] == said["client_message_id"]
    assert not await in_thread(Message.objects.exists)()


async def test_nothing_can_be_done_to_another_tenant(team: Team, others: Team, connect: Connect) -> None:
    socket, theirs = await connect(team), await connect(others)
    await theirs.ready()
    foreign = str(others.conversation.pk)

    await socket.say("send_message", conversation=foreign, content="a")
    await socket.say("typing", conversation_id=foreign)
    await socket.say("mark_as_seen", conversation_id=foreign)
    await socket.say("subscribe", conversation_id=foreign)

    errors = await socket.heard("error", 4)
    assert {error["error_code"] for error in errors} == {"not_found"}
    await theirs.barrier()
    assert theirs.numbers == []


async def test_events_stay_within_their_tenant(team: Team, others: Team, connect: Connect) -> None:
    ours, theirs = await connect(team), await connect(others)
    await ours.ready()
    await theirs.ready()

    await in_thread(others.message)("segredo")
    await in_thread(team.message)("nosso")

    assert (await ours.heard("message_received"))[0]["message"]["content"] == "nosso"
    assert (await theirs.heard("message_received"))[0]["message"]["content"] == "segredo"
    await ours.barrier()
    assert "segredo" not in json.dumps(ours.frames)


async def test_typing_is_seen(team: Team, connect: Connect) -> None:
    socket, other = await connect(team), await connect(team)
    await other.ready()

    await socket.say("typing", conversation_id=str(team.conversation.pk))

    event = (await other.heard("typing"))[0]
    assert event["conversation_id"] == str(team.conversation.pk)
    assert (event["user"]["name"], event["is_typing"]) == ("Ana", True)


async def test_marking_as_seen(team: Team, connect: Connect) -> None:
    message = await in_thread(team.incoming)()
    await in_thread(Conversation.objects.update)(unread_count=1)
    socket = await connect(team)
    await socket.ready()

    await socket.say("mark_as_seen", conversation_id=str(team.conversation.pk), message_id=str(message.pk))

    event = (await socket.heard("conversation_updated"))[0]
    assert event["conversation"]["unread_count"] == 0


async def test_one_who_left_the_team_is_shown_out(
    team: Team, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RECHECK_SECONDS", 0.3)
    colleague = await in_thread(User.objects.create_user)("c@example.com", "x")
    membership = await in_thread(Membership.objects.create)(tenant=team.tenant, user=colleague)
    team.user = colleague
    socket = await connect(team)
    await socket.ready()

    await in_thread(membership.delete)()

    await socket.until(lambda: socket.closed)
    assert socket.closed == 4003


async def test_a_database_that_is_away_for_a_moment_shows_nobody_out_and_later_looks_go_on(
    team: Team, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RECHECK_SECONDS", 0.2)
    looks: list[int] = []

    async def away(user_ids: Any, tenant_id: str) -> set[Any]:
        looks.append(1)
        raise OperationalError

    socket = await connect(team)
    await socket.ready()
    with monkeypatch.context() as broken:
        broken.setattr(access, "members_among", away)
        await socket.until(lambda: len(looks) > 1)
    await socket.barrier()
    assert socket.closed is None
    await in_thread(Membership.objects.filter(user=team.user).delete)()

    await socket.until(lambda: socket.closed)
    assert socket.closed == 4003


async def test_the_query_is_taken_out_of_the_scope_that_servers_log(team: Team, connect: Connect) -> None:
    ticket = await in_thread(tickets.issue)(team.user.pk)
    socket = await connect(team, login=False, query=f"?ticket={ticket}")
    refused = await connect(team, login=False, query=f"more/?ticket={ticket}")

    await socket.ready()

    assert [one.scope["query_string"] for one in (socket, refused)] == [b"", b""]


async def test_an_idle_socket_has_no_task_of_its_own(team: Team, connect: Connect) -> None:
    sockets = [await connect(team) for _ in range(3)]
    for socket in sockets:
        await socket.ready()
    broadcast.publish(str(team.tenant.pk), {"type": "typing"})
    for socket in sockets:
        await socket.heard("typing", within=15)

    def writers() -> list[Any]:
        return [task for task in asyncio.all_tasks() if "TenantSocket" in repr(task.get_coro())]

    await sockets[0].until(lambda: not writers(), within=15)
