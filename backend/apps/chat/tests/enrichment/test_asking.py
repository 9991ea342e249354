"""Producers and when they are called: nothing secret in Redis, nothing asked twice, no message kept waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import transaction
from django.utils import timezone

from apps.chat import actions, inbound, redis_queue
from apps.chat.enrichment import asking
from apps.chat.errors import NotFound, UnknownInstance
from apps.chat.models import Contact, Conversation, Message
from apps.chat.redis_clients import sync_client
from apps.chat.tasks import fetch_contact_name, fetch_group_info, fetch_profile_pic
from apps.chat.tests.factories import make_conversation, make_instance
from apps.chat.tests.inbound.conftest import SECRET, journalled, message_body

KEY, URL = "a-very-secret-key", "http://evolution.test"


@pytest.fixture
def items(settings: Any, redis_url: str, transactional_db: None) -> redis.Redis:
    redis_queue.outage._since = None
    return sync_client(settings.CHAT_QUEUE_REDIS_URL)


def waiting(items: redis.Redis) -> dict[str, int]:
    lengths = {
        name: row["length"] for name, row in redis_queue.get_list_metrics().items() if isinstance(row, dict)
    }
    return {name: length for name, length in lengths.items() if length}


def whole(items: redis.Redis) -> str:
    """Everything in the lists' database, as text."""
    kinds = {"list": lambda key: items.lrange(key, 0, -1), "string": items.get}
    return str([(key, kinds[str(items.type(key))](key)) for key in items.scan_iter("*")])


def test_the_lists_have_the_names_of_the_seeds(items: redis.Redis) -> None:
    conversation = make_conversation()
    name = conversation.instance.name
    fetch_profile_pic.delay(conversation.pk, "5511999990000")
    fetch_group_info.delay(conversation.pk, "1@g.us", name, KEY, URL)
    fetch_contact_name.delay(conversation.pk, "5511999990000", name, KEY, URL)
    for queue in ("fetch_profile_pic", "fetch_group_info", "fetch_contact_name"):
        assert items.llen(f"chat:queue:{queue}") == 1
        item = redis_queue.dequeue_message(f"chat:queue:{queue}", timeout=1)
        assert item == {"conversation_id": str(conversation.pk)}


def test_no_credential_number_or_address_enters_redis(items: redis.Redis) -> None:
    conversation = make_conversation(number="5511987650001")
    name = conversation.instance.name
    fetch_profile_pic.delay(str(conversation.pk), "5511987650001")
    fetch_group_info.delay(str(conversation.pk), "1@g.us", name, KEY, URL)
    fetch_contact_name.delay(str(conversation.pk), "5511987650001", name, KEY, URL)
    everything = whole(items)
    assert str(conversation.pk) in everything
    for secret in (KEY, URL, "evolution.test", "5511987650001", conversation.instance.api_key):
        assert secret not in everything


@pytest.mark.parametrize(
    ("name", "base_url"),
    [("mine", "http://169.254.169.254"), ("theirs", URL), ("nobody", URL), ("", "http://evil.example")],
)
def test_an_instance_that_is_not_the_tenants_is_refused(items: redis.Redis, name: str, base_url: str) -> None:
    conversation = make_conversation(make_instance(name="mine"))
    make_instance(name="theirs")
    for producer, address in ((fetch_group_info, "1@g.us"), (fetch_contact_name, "5511999990000")):
        with pytest.raises(UnknownInstance, match="none of the tenant's instances"):
            producer.delay(conversation.pk, address, name, KEY, base_url)
    assert waiting(items) == {}


def test_an_unknown_conversation_is_refused_where_an_instance_is_named(items: redis.Redis) -> None:
    for unknown in ("x", "0190a000-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound):
            fetch_group_info.delay(unknown, "1@g.us", "lab", KEY, URL)


def test_the_same_within_minutes_is_one_item(items: redis.Redis) -> None:
    conversation = make_conversation()
    answers = [fetch_profile_pic.delay(conversation.pk, "5511999990000") for _ in range(5)]
    assert answers == ["queued"] + ["asked"] * 4
    assert waiting(items) == {"fetch_profile_pic": 1}


def test_redis_away_is_no_error_of_the_caller(items: redis.Redis, settings: Any) -> None:
    conversation = make_conversation()
    settings.CHAT_QUEUE_REDIS_URL = "redis://127.0.0.1:1/2"
    assert fetch_profile_pic.delay(conversation.pk, "") == "away"
    assert fetch_contact_name.delay(conversation.pk, "") == "away", "and the second time it costs nothing"
    redis_queue.outage._since = None


# --- when -----------------------------------------------------------------------------------------


def look(conversation: Conversation) -> None:
    with transaction.atomic():
        asking.when_stale(Conversation.objects.select_related("contact").get(pk=conversation.pk))


def set_contact(conversation: Conversation, **values: Any) -> None:
    Contact.objects.filter(pk=conversation.contact_id).update(**values)


def test_a_new_contact_is_asked_about_after_the_commit(items: redis.Redis) -> None:
    conversation = make_conversation()
    with transaction.atomic():
        asking.when_stale(conversation)
        assert waiting(items) == {}
    assert waiting(items) == {"fetch_profile_pic": 1, "fetch_contact_name": 1}


def test_a_rolled_back_message_asks_for_nothing(items: redis.Redis) -> None:
    conversation = make_conversation()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        asking.when_stale(conversation)
        raise ZeroDivisionError
    assert waiting(items) == {}


def test_what_is_known_is_asked_again_after_a_day(items: redis.Redis, settings: Any) -> None:
    conversation = make_conversation()
    now = timezone.now()
    set_contact(conversation, name="Ana", picture_checked_at=now - timedelta(hours=23))
    look(conversation)
    assert waiting(items) == {}
    set_contact(conversation, picture_checked_at=now - timedelta(hours=25))
    settings.CHAT_INFO_STALE_SECONDS = 0
    look(conversation)
    assert waiting(items) == {}
    settings.CHAT_INFO_STALE_SECONDS = 86_400
    look(conversation)
    assert waiting(items) == {"fetch_profile_pic": 1}


def test_a_groups_card_brings_its_picture(items: redis.Redis) -> None:
    conversation = make_conversation()
    set_contact(conversation, kind=Contact.Kind.GROUP)
    look(conversation)
    assert waiting(items) == {"fetch_group_info": 1}


def test_a_broadcast_has_no_face(items: redis.Redis) -> None:
    conversation = make_conversation()
    set_contact(conversation, kind=Contact.Kind.BROADCAST)
    look(conversation)
    assert waiting(items) == {}


def test_starting_a_conversation_asks(items: redis.Redis) -> None:
    instance = make_instance()
    actions.start_conversation(instance.tenant_id, "+55 11 99999-0000", instance)
    assert waiting(items) == {"fetch_profile_pic": 1, "fetch_contact_name": 1}


def test_a_failure_of_asking_never_breaks_what_came_before(
    items: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr(asking, "_ask", broken)
    instance = make_instance()
    conversation, is_new = actions.start_conversation(instance.tenant_id, "+55 11 99999-0000", instance)
    assert is_new and Conversation.objects.filter(pk=conversation.pk).exists()


def test_a_customers_first_message_asks_and_is_stored_whatever_becomes_of_it(
    items: redis.Redis, settings: Any
) -> None:
    """Once with Redis there, once without: the message is the same."""
    instance = make_instance(webhook_secret=SECRET)
    assert (
        inbound.apply(journalled(instance, message_body("A1", jid="5511990000001@s.whatsapp.net")))
        == "received"
    )
    assert waiting(items) == {"fetch_profile_pic": 1}, "its name came along"
    assert (
        inbound.apply(journalled(instance, message_body("A2", jid="5511990000001@s.whatsapp.net")))
        == "received"
    )
    assert waiting(items) == {"fetch_profile_pic": 1}
    settings.CHAT_QUEUE_REDIS_URL = "redis://127.0.0.1:1/2"
    assert (
        inbound.apply(journalled(instance, message_body("A3", jid="5511990000002@s.whatsapp.net")))
        == "received"
    )
    assert Message.objects.count() == 3
    redis_queue.outage._since = None
