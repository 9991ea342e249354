"""What a request does, against a simulated Evolution: what is learnt, what stays, whom nobody calls."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.storage import default_storage
from django.utils import timezone

from apps.chat.enrichment import facts, jobs
from apps.chat.enrichment.cases import GROUP, NAME, PICTURE
from apps.chat.enrichment.errors import GivenUp, NotNow, TryAgain
from apps.chat.errors import NotFound, UnknownInstance
from apps.chat.evolution.client import EvolutionError
from apps.chat.evolution.queries import GroupInfo
from apps.chat.media_tasks import (
    handle_fetch_contact_name,
    handle_fetch_group_info,
    handle_fetch_profile_pic,
)
from apps.chat.models import Contact, Conversation, Instance
from apps.chat.tests.enrichment.conftest import ANA, World, contact_of
from apps.chat.tests.factories import make_conversation

FETCH, FIND, CARD = "chat/fetchProfilePictureUrl", "chat/findContacts", "group/findGroupInfos"


def fetch_picture(conversation: Conversation, phone: str = ANA) -> None:
    async_to_sync(handle_fetch_profile_pic)(conversation.pk, phone)


def fetch_card(conversation: Conversation, name: str = "lab", base_url: str = "", key: str = "any") -> None:
    async_to_sync(handle_fetch_group_info)(conversation.pk, conversation.remote_jid, name, key, base_url)


def fetch_name(conversation: Conversation) -> None:
    async_to_sync(handle_fetch_contact_name)(conversation.pk, ANA, "lab", "any", "")


def work(kind: str, conversation: Conversation, **more: Any) -> str:
    return async_to_sync(jobs.work)(kind, {"conversation_id": str(conversation.pk), **more})


# --- pictures -------------------------------------------------------------------------------------


def test_a_picture_is_copied_not_linked(world: World) -> None:
    conversation = world.person()
    fetch_picture(conversation)
    contact = contact_of(conversation)
    with default_storage.open(contact.picture) as file:
        assert file.read().startswith(b"\x89PNG")
    assert contact.picture_type == "image/png" and contact.picture_sha256 in contact.picture
    assert contact.picture_checked_at is not None
    assert world.server.url not in contact.picture


def test_a_new_picture_replaces_the_old_one_and_browsers_hear_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(facts, "publish", lambda tenant, event: told.append(event))
    conversation = world.person()
    fetch_picture(conversation)
    fetch_picture(conversation)
    first = contact_of(conversation).picture_sha256
    world.server.control("POST", "customers", {"number": ANA, "picture": world.picture("another")})
    fetch_picture(conversation)
    assert contact_of(conversation).picture_sha256 != first
    urls = [event["conversation"]["contact"]["picture_url"] for event in told]
    assert len(urls) == 2 and urls[0] != urls[1], "a picture that did not change is no news"


def test_no_answer_leaves_the_picture_we_have(world: World) -> None:
    """Evolution says null for a hidden picture, for none, and for every failure."""
    conversation = world.person()
    fetch_picture(conversation)
    before = contact_of(conversation)
    world.server.control("POST", "customers", {"number": ANA, "picture": None})
    fetch_picture(conversation)
    after = contact_of(conversation)
    assert (after.picture, after.picture_sha256) == (before.picture, before.picture_sha256)
    assert after.picture_checked_at and before.picture_checked_at
    assert after.picture_checked_at > before.picture_checked_at


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        ("https://169.254.169.254/latest/meta-data/iam", "picture_address_refused"),
        ("http://127.0.0.1:1/x.png", "picture_not_https"),
        ("file:///etc/passwd", "picture_bad_url"),
    ],
)
def test_an_address_that_leads_inside_is_never_visited(world: World, picture: str, reason: str) -> None:
    conversation = world.person(picture=picture)
    with pytest.raises(GivenUp, match=reason):
        fetch_picture(conversation)
    assert contact_of(conversation).picture == ""


def test_what_is_no_picture_is_not_kept(world: World) -> None:
    """The instance's own address, so that the fetch is allowed: its answer is JSON."""
    conversation = world.person(picture=f"{world.server.url}/")
    with pytest.raises(GivenUp, match="media_"):
        fetch_picture(conversation)
    assert contact_of(conversation).picture == ""


def test_a_picture_that_is_too_large_is_not_kept(world: World, settings: Any) -> None:
    settings.CHAT_PICTURE_MAX_BYTES = 100
    conversation = world.person()
    with pytest.raises(GivenUp, match="picture_too_big"):
        fetch_picture(conversation)


def test_a_picture_that_is_gone_is_asked_for_another_time(world: World) -> None:
    conversation = world.person(picture=f"{world.server.url}/nothing/here")
    with pytest.raises(TryAgain, match="picture_http_status"):
        fetch_picture(conversation)


@pytest.mark.parametrize("kind", [PICTURE, NAME, GROUP])
def test_a_failing_evolution_is_a_failure_of_the_request_alone(world: World, kind: str) -> None:
    world.fault({PICTURE: FETCH, NAME: FIND, GROUP: CARD}[kind], answer={"status": 500})
    conversation = world.group() if kind == GROUP else world.person()
    with pytest.raises(TryAgain):
        work(kind, conversation)


# --- groups ---------------------------------------------------------------------------------------


def test_a_group_tells_its_subject_description_size_and_picture(world: World) -> None:
    conversation = world.group()
    fetch_card(conversation)
    contact = contact_of(conversation)
    assert (contact.name, contact.description, contact.members) == ("Lab Group", "synthetic", 2)
    assert contact.picture and contact.picture_checked_at and contact.group_checked_at


def test_a_card_is_good_without_its_picture(world: World) -> None:
    conversation = world.group(picture="https://10.0.0.1/x.jpg")
    fetch_card(conversation)
    contact = contact_of(conversation)
    assert contact.name == "Lab Group" and not contact.picture


def test_a_card_that_was_read_a_moment_ago_is_not_read_again(world: World, settings: Any) -> None:
    conversation = world.group()
    fetch_card(conversation)
    fetch_card(conversation)
    assert work(GROUP, conversation) == "known"
    assert world.asked(CARD) == 1
    settings.CHAT_LIST_SAME_SECONDS = 0.001
    settings.CHAT_GROUP_INFO_SECONDS = 0
    time.sleep(0.01)
    fetch_card(conversation)
    assert world.asked(CARD) == 2


def test_an_instance_is_asked_about_one_group_at_a_time(world: World, settings: Any) -> None:
    """The first at once, the second when its turn comes; the turns of another instance are its own."""
    settings.CHAT_GROUP_INFO_SECONDS = 30
    first, second = world.group(), world.group("120363000000000002@g.us")
    assert work(GROUP, first) == "changed"
    with pytest.raises(NotNow, match="paced") as raised:
        work(GROUP, second)
    assert raised.value.turn and 25 < raised.value.seconds <= 30
    with pytest.raises(NotNow) as raised:
        work(GROUP, second)
    assert 55 < raised.value.seconds <= 60, "each turn is given away once"
    assert async_to_sync(jobs.work)(GROUP, {"conversation_id": str(second.pk)}, had_turn=True) == "changed"
    world.open("other")
    elsewhere = world.group("120363000000000003@g.us")
    other = Instance.objects.create(
        tenant=world.instance.tenant, name="other", base_url=world.server.url, api_key=world.server.api_key
    )
    Conversation.objects.filter(pk=elsewhere.pk).update(instance=other)
    assert work(GROUP, elsewhere) == "changed"


def test_a_caller_of_the_handler_waits_for_the_turn(world: World, settings: Any) -> None:
    settings.CHAT_GROUP_INFO_SECONDS = 0.3
    first, second = world.group(), world.group("120363000000000002@g.us")
    fetch_card(first)
    began = time.monotonic()
    fetch_card(second)
    assert time.monotonic() - began > 0.2
    assert contact_of(second).name == "Lab Group"


def test_what_a_card_leaves_out_stays(world: World) -> None:
    conversation = world.group()
    fetch_card(conversation)
    before = contact_of(conversation)
    empty = GroupInfo(conversation.remote_jid, None, None, None, None, ())
    assert not facts.set_group(conversation.contact_id, empty)
    blank = GroupInfo(conversation.remote_jid, "  ", None, None, None, (), "")
    assert not facts.set_group(conversation.contact_id, blank)
    after = contact_of(conversation)
    assert (after.name, after.description, after.members) == (before.name, before.description, before.members)


def test_a_group_that_is_gone_is_given_up(world: World) -> None:
    conversation = world.group()
    world.server.control("POST", "reset", {"instances": False})
    with pytest.raises(GivenUp, match="group_not_found"):
        work(GROUP, conversation)


# --- names ----------------------------------------------------------------------------------------


def test_a_person_is_called_what_evolution_calls_them(world: World) -> None:
    conversation = world.person()
    world.server.control("POST", f"customers/{ANA}/say", {"instance": "lab", "text": "oi"})
    fetch_name(conversation)
    contact = contact_of(conversation)
    assert contact.name == "Ana Test" and contact.name_checked_at


def test_no_name_leaves_the_name_we_have(world: World) -> None:
    conversation = world.person()
    Contact.objects.filter(pk=conversation.contact_id).update(name="Ana, from the counter")
    fetch_name(conversation)
    assert contact_of(conversation).name == "Ana, from the counter"


@pytest.mark.parametrize(
    "text", [None, "", "  ", "5511990000001", "+55 (11) 99000-0001", "123@lid", "55:2@s.whatsapp.net"]
)
def test_a_number_is_no_name(world: World, text: str | None) -> None:
    conversation = world.person()
    Contact.objects.filter(pk=conversation.contact_id).update(name="Ana")
    facts.set_name(conversation.contact_id, text)
    assert contact_of(conversation).name == "Ana"


def test_the_brazilian_ninth_digit_does_not_hide_a_name(world: World) -> None:
    """Evolution stores the number as WhatsApp spells it, and compares letter by letter."""
    number = "5585990000001"
    world.server.control("POST", "customers", {"number": number, "name": "Rita"})
    world.server.control("POST", f"customers/{number}/say", {"instance": "lab", "text": "oi"})
    conversation = make_conversation(world.instance, number)
    async_to_sync(handle_fetch_contact_name)(conversation.pk, number, "lab")
    assert contact_of(conversation).name == "Rita"


def test_the_last_speakers_name_never_names_a_group(world: World) -> None:
    """Evolution's contact row of a group carries the name of whoever spoke last."""
    conversation = world.group()
    with pytest.raises(GivenUp, match="not_a_person"):
        work(NAME, conversation)
    facts.set_name(conversation.contact_id, "Somebody who spoke")
    assert contact_of(conversation).name == ""


# --- whom to ask ----------------------------------------------------------------------------------


def test_an_instance_that_is_not_the_tenants_is_never_called(world: World) -> None:
    conversation = world.group()
    for name, base_url in [
        ("lab", "http://127.0.0.1:9/evil"),
        ("nobody", world.server.url),
        ("nobody", ""),
        ("", "https://evil.example"),
    ]:
        with pytest.raises(UnknownInstance):
            fetch_card(conversation, name, base_url)
        with pytest.raises(GivenUp, match="unknown_instance"):
            work(GROUP, conversation, instance_name=name, base_url=base_url)
    assert world.asked(CARD) == 0
    fetch_card(conversation, "lab", world.server.url.upper().replace("HTTP", "http") + "/")
    assert world.asked(CARD) == 1


def test_the_key_in_the_database_is_used_not_the_callers(world: World) -> None:
    conversation = world.group()
    fetch_card(conversation, key="a wrong key")
    assert contact_of(conversation).name == "Lab Group"
    world.instance.api_key = "wrong"
    world.instance.save(update_fields=["api_key"])
    with pytest.raises((GivenUp, TryAgain, EvolutionError)):
        work(PICTURE, world.person())


def test_anothers_number_does_not_bring_their_face(world: World) -> None:
    conversation = world.person()
    world.server.control("POST", "customers", {"number": "5511990000099", "picture": world.picture("x")})
    with pytest.raises(GivenUp, match="another_address"):
        fetch_picture(conversation, "5511990000099")
    assert world.asked(FETCH) == 0


def test_an_instance_that_is_away_is_waited_for(world: World) -> None:
    conversation = world.person()
    Instance.objects.update(connection="close")
    with pytest.raises(NotNow, match="instance_away"):
        work(PICTURE, conversation)
    assert world.asked(FETCH) == 0


def test_what_is_fresh_is_not_asked_again_by_workers(world: World, settings: Any) -> None:
    settings.CHAT_PICTURE_SECONDS = 0  # no turns to wait for
    conversation = world.person()
    assert work(PICTURE, conversation) == "changed"
    assert work(PICTURE, conversation) == "known"
    assert world.asked(FETCH) == 1
    Contact.objects.update(picture_checked_at=timezone.now() - timedelta(hours=1))
    assert work(PICTURE, conversation) == "same"


@pytest.mark.parametrize("conversation_id", ["", "x", "0190a000-0000-7000-8000-000000000000", None])
def test_no_such_conversation(world: World, conversation_id: Any) -> None:
    with pytest.raises(NotFound):
        async_to_sync(handle_fetch_profile_pic)(conversation_id, ANA)
    with pytest.raises(GivenUp, match="no_such_conversation"):
        async_to_sync(jobs.work)(PICTURE, {"conversation_id": conversation_id})


def test_nothing_of_a_person_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    conversation, group = world.person(), world.group(picture="https://10.0.0.1/x.jpg")
    fetch_picture(conversation)
    fetch_card(group)
    said = " ".join(
        f"{record.getMessage()} {vars(record)}" for record in caplog.records if "apps" in record.name
    )
    for secret in (ANA, "Ana Test", world.server.api_key, "Lab Group"):
        assert secret not in said


def test_pictures_of_one_instance_are_asked_for_in_turn(world: World, settings: Any) -> None:
    settings.CHAT_PICTURE_SECONDS = 30
    first, second = world.person(), world.person("5511990000002")
    assert work(PICTURE, first) == "changed"
    with pytest.raises(NotNow, match="paced"):
        work(PICTURE, second)
    assert async_to_sync(jobs.work)(PICTURE, {"conversation_id": str(second.pk)}, had_turn=True) == "changed"
