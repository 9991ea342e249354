"""The endpoint, through HTTP: what is stored, what is answered, and that nobody genuine is turned away."""

from __future__ import annotations

import asyncio
import json
import os
import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from apps.chat import journal, webhooks
from apps.chat.models import Conversation, Instance, Message, WebhookEvent
from apps.tenancy.models import Tenant

from .conftest import CAPTURES, NOON, SECRET, capture, message_body, state_of, status_body

pytestmark = pytest.mark.urls("apps.chat.tests.inbound.urls")
SEED = int(os.environ.get("TEST_SEED") or random.randrange(1 << 32))
State = WebhookEvent.State


async def post(
    instance_id: uuid.UUID, body: object, *, secret: str | None = SECRET, event_name: str = "", **extra: Any
) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/api/chat/webhooks/evolution/{instance_id}/" + (f"{event_name}/" if event_name else "")
    headers = {webhooks.SECRET_HEADER: secret} if secret is not None else {}
    client = AsyncClient(enforce_csrf_checks=True)
    return await client.post(path, raw, content_type="application/json", headers=headers, **extra)


def send(instance: Instance, *bodies: object, **options: Any) -> list[int]:
    """Post the bodies one after the other and wait until they are applied; the statuses."""

    async def run() -> list[int]:
        try:
            return [(await post(instance.id, body, **options)).status_code for body in bodies]
        finally:
            await sync_to_async(_close)()

    statuses = asyncio.run(run())
    assert journal.drain(20)
    return statuses


def _close() -> None:
    connection.close()


# --- storing and applying --------------------------------------------------------------------------------------------


def test_captures_end_in_rows_and_a_replay_changes_nothing(tenant: Tenant, instance: Instance) -> None:
    names = (
        "in_text__0_messages_upsert",
        "stub_sendText__0_send_message",
        "stub_sendText__1_messages_update",
        "stub_sendText__2_messages_update",
        "stub_connection_open__0_connection_update",
    )
    bodies = [capture(name) for name in names]
    assert send(instance, *bodies) == [200] * len(bodies)
    before = state_of(tenant)
    assert [row[3] for row in before["messages"]] == ["other", "customer"]
    instance.refresh_from_db()
    assert (instance.connection, instance.owner_jid) == ("open", "5511900000000@s.whatsapp.net")
    assert send(instance, *reversed(bodies)) == [200] * len(bodies)
    assert state_of(tenant) == before
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {State.APPLIED}


def test_it_answers_after_the_commit(instance: Instance) -> None:
    async def run() -> None:
        answer = await post(instance.id, message_body("A1"))
        assert json.loads(answer.content) == {"status": "stored"}
        assert await WebhookEvent.objects.acount() == 1
        await sync_to_async(_close)()

    asyncio.run(run())


def test_many_at_once_are_all_stored(instance: Instance) -> None:
    async def run() -> list[HttpResponse]:
        bodies = [message_body(f"A{number}", at=NOON + number) for number in range(100)]
        try:
            return await asyncio.gather(*(post(instance.id, body) for body in bodies))
        finally:
            await sync_to_async(_close)()

    assert {answer.status_code for answer in asyncio.run(run())} == {200}
    assert journal.drain(60)
    assert Message.objects.count() == 100
    assert Conversation.objects.get().unread_count == 100


def test_the_event_name_of_the_address_is_used_when_the_body_has_none(instance: Instance) -> None:
    body = message_body("A1")
    del body["event"]
    assert send(instance, body, event_name="messages-upsert") == [200]
    assert Message.objects.count() == 1


def test_a_by_event_address_takes_the_same_body(instance: Instance) -> None:
    assert send(instance, message_body("A1"), event_name="messages-upsert") == [200]
    assert Message.objects.count() == 1


@pytest.mark.parametrize("jid", ["status@broadcast", "120363000000000009@newsletter"])
def test_status_posts_and_channels_are_dropped(instance: Instance, jid: str) -> None:
    bodies = [message_body("A1", jid=jid), {**status_body("A1", "READ")}]
    bodies[1]["data"]["remoteJid"] = jid
    assert send(instance, *bodies) == [200, 200]
    assert not WebhookEvent.objects.exists()


# --- authentication --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", "ção", "\u0000"])
def test_a_forged_webhook_is_refused(instance: Instance, secret: str | None) -> None:
    assert send(instance, message_body("A1"), secret=secret) == [401]
    assert not WebhookEvent.objects.exists()


def test_an_unknown_instance_answers_like_a_wrong_secret(instance: Instance) -> None:
    unknown = Instance(id=uuid.uuid4())
    assert send(unknown, message_body("A1")) == [401]
    assert send(instance, message_body("A1"), secret="wrong") == [401]


def test_an_instance_without_a_secret_accepts_nobody(instance: Instance) -> None:
    Instance.objects.update(webhook_secret="")
    assert send(instance, message_body("A1"), secret="") == [401]


def test_a_new_secret_is_accepted_within_moments(instance: Instance, eventually: Callable[..., None]) -> None:
    assert send(instance, message_body("A1")) == [200]
    Instance.objects.filter(pk=instance.pk).update(webhook_secret="renewed")
    eventually(lambda: send(instance, message_body("A2"), secret="renewed") == [200], within=10)


def test_one_query_serves_many_webhooks(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.chat import webhook_secrets

    looked_up = []
    real = webhook_secrets._look_up

    async def counted(instance_id: uuid.UUID) -> Any:
        looked_up.append(instance_id)
        return await real(instance_id)

    monkeypatch.setattr(webhook_secrets, "_look_up", counted)
    send(instance, *(message_body(f"A{number}") for number in range(10)))
    assert len(looked_up) == 1


def test_only_post_is_taken(instance: Instance) -> None:
    async def run() -> int:
        answer = await AsyncClient().get(f"/api/chat/webhooks/evolution/{instance.id}/")
        return answer.status_code

    assert asyncio.run(run()) == 405


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b'"text"',
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"event": "messages.upsert", "data": {"key": {"id": "A\\u0000", "remoteJid": "\\ud800@s"}}}',
        b'{"event": "x", "data": [NaN, 1e999, ' + b"9" * 5000 + b"]}",
        b'{"event": {"a": 1}, "data": 7}',
        b'{"event": "messages.upsert", "data": [[], null, {"key": {"id": "A1"}}]}',
    ],
)
def test_what_cannot_be_read_is_kept_as_a_stub(instance: Instance, raw: bytes) -> None:
    assert send(instance, raw) == [200]
    row = WebhookEvent.objects.get()
    assert row.state in (State.IGNORED, State.APPLIED), row.note


def test_an_oversized_body_leaves_its_size(instance: Instance, settings: Any) -> None:
    settings.CHAT_WEBHOOK_MAX_BYTES = 2000
    assert send(instance, message_body("A1", "x" * 5000)) == [200]
    row = WebhookEvent.objects.get()
    assert row.body.keys() == {"oversized"}
    assert row.body["oversized"] > 5000
    assert row.state == State.IGNORED


def test_an_unreadable_body_is_kept_without_credentials(instance: Instance) -> None:
    raw = b'{"event": "x", "apikey": "hidden-1", "data": {"token" : "hid\\"den-2", "text": "kept"}, "a": "cut'
    assert send(instance, raw, b"apikey=hidden-3&x=kept") == [200, 200]
    stored = json.dumps([row.body for row in WebhookEvent.objects.all()])
    assert "kept" in stored
    assert "den-" not in stored


# --- faults of ours --------------------------------------------------------------------------------------------------


def test_a_storage_fault_is_503_and_heals(instance: Instance) -> None:
    assert send(instance, message_body("A1")) == [200]
    journal.stop(10)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE chat_webhookevent RENAME TO away")
    try:
        assert send(instance, message_body("A2"), message_body("A3")) == [503, 503]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO chat_webhookevent")
    assert send(instance, message_body("A2")) == [200]
    assert Message.objects.count() == 2


def test_a_database_that_hangs_is_503(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(entry: journal.Entry) -> int:
        await asyncio.sleep(3600)
        return 0

    monkeypatch.setattr(webhooks, "STORE_SECONDS", 0.05)
    monkeypatch.setattr(journal, "store", never)
    assert send(instance, message_body("A1")) == [503]


def test_a_secret_that_cannot_be_opened_is_503(instance: Instance) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_instance SET webhook_secret = 'sealed with another key'")
    assert send(instance, message_body("A1")) == [503]


def test_an_instance_deleted_meanwhile_does_not_take_others_with_it(instance: Instance) -> None:
    """Its secret is still in the cache for a few seconds."""
    gone = Instance.objects.create(
        tenant_id=instance.tenant_id, name="gone", base_url="x", webhook_secret=SECRET
    )
    assert send(gone, {"event": "call", "data": {}}) == [200]
    WebhookEvent.objects.all().delete()
    gone_id = gone.pk
    gone.delete()

    async def run() -> list[int]:
        try:
            both = [post(gone_id, message_body("A1")), post(instance.id, message_body("A2"))]
            return [answer.status_code for answer in await asyncio.gather(*both)]
        finally:
            await sync_to_async(_close)()

    assert asyncio.run(run()) == [503, 200]
    assert journal.drain(20)
    assert Message.objects.get().provider_id == "A2"


# --- fuzz --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
MUTATIONS = [path.stem for path in CAPTURES.glob("*.json")]


def _mutated(body: Any, chance: random.Random, value: Any) -> Any:
    """The body with one field, somewhere, replaced by `value`."""
    if not isinstance(body, dict) or not body or chance.random() < 0.2:
        return value
    name = chance.choice(sorted(body))
    return {**body, name: _mutated(body[name], chance, value)}


@seed(SEED)
@settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "60")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=st.sampled_from(sorted(MUTATIONS)), value=JSON, chance=st.randoms(use_true_random=False))
def test_nothing_that_can_be_posted_is_an_error(
    transactional_db: None, instance: Instance, name: str, value: Any, chance: random.Random
) -> None:
    print(f"TEST_SEED={SEED}")
    body = json.dumps(_mutated(capture(name), chance, value)).encode()
    assert send(instance, body) == [200]
    assert not WebhookEvent.objects.filter(state__in=[State.NEW, State.FAILED]).exists()


@seed(SEED)
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=300))
def test_no_bytes_are_an_error(transactional_db: None, instance: Instance, raw: bytes) -> None:
    print(f"TEST_SEED={SEED}")
    assert send(instance, raw) == [200]
    assert not WebhookEvent.objects.filter(state__in=[State.NEW, State.FAILED]).exists()
