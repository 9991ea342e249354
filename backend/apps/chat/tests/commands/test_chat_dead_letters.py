"""`chat_dead_letters`: what an operator types, and what it answers."""

from __future__ import annotations

import asyncio
import sys
import threading
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from testing import servers

from apps.chat import redis_dead_letters, redis_streams
from apps.chat.delivery import dead_letters
from apps.chat.models import Conversation, Delivery
from apps.chat.tests import factories
from apps.chat.tests.commands.run import Ran, run

pytestmark = pytest.mark.django_db(transaction=True)
State = Delivery.State
TEXT = "what nobody but the customer may read"


def failed(conversation: Conversation | None = None, reason: str = "not_on_whatsapp") -> Delivery:
    """A message that was refused for good, with its notice in the stream."""
    delivery = factories.queue(conversation, TEXT)
    step = factories.stepped(delivery.conversation)
    factories.write(factories.not_sent(step, State.FAILED, reason=reason))
    dead_letters.record([delivery.pk])
    return Delivery.objects.select_related("message", "conversation", "instance", "tenant").get(
        pk=delivery.pk
    )


def letters(*args: object) -> Ran:
    return run("chat_dead_letters", *args)


def state(delivery: Delivery) -> int:
    return Delivery.objects.get(pk=delivery.pk).state


async def garbage() -> None:
    await redis_streams.push_to_dead_letter(settings.CHAT_STREAM_SEND_NAME, "garbage", size=3)


# --- list and show --------------------------------------------------------------------------------


def test_nothing_to_list() -> None:
    assert letters("list") == Ran(0, "No dead letters.\n", "")


def test_list_shows_the_latest_first_and_nothing_private() -> None:
    first, second = failed(), failed(reason="body_rejected")

    ran = letters("list")

    lines = ran.out.splitlines()
    assert (ran.code, lines[-1]) == (0, "2 dead letters.")
    assert [str(second.message_id) in lines[0], str(first.message_id) in lines[1]] == [True, True]
    assert "body_rejected" in lines[0]
    for secret in (TEXT, first.conversation.remote_jid.partition("@")[0], "test-key", "secret-of-the-tests"):
        assert secret not in ran.out


def test_list_as_json_with_filters_and_a_limit() -> None:
    old, new, other = failed(), failed(reason="body_rejected"), failed(reason="body_rejected")
    Delivery.objects.filter(pk=old.pk).update(finished_at=Now() - timedelta(days=2))

    def ids(*args: str) -> list[str]:
        return [row["message_id"] for row in letters("list", "--json", *args).json["dead_letters"]]

    assert ids() == [str(row.message_id) for row in (other, new, old)]
    assert ids("--since", "1d") == [str(row.message_id) for row in (other, new)]
    assert ids("--reason", "body_rejected", "--limit", "1") == [str(other.message_id)]
    assert ids("--tenant", new.tenant.name) == [str(new.message_id)]
    assert (
        ids("--tenant", str(old.tenant_id)) == ids("--instance", old.instance.name) == [str(old.message_id)]
    )
    assert letters("list", "--json", "--limit", "1").json["total"] == 3


def test_list_puts_a_flushed_stream_right(redis_client: Any) -> None:
    delivery = failed()
    redis_client.flushall()

    letters("list")

    assert [one.delivery_id for one in redis_dead_letters.entries()] == [delivery.pk]


def test_list_works_with_redis_away(settings: Any) -> None:
    delivery = failed()
    settings.CHAT_STREAM_REDIS_URL = "redis://127.0.0.1:1/3"

    ran = letters("list")

    redis_streams.outage.worked()
    assert ran.code == 0
    assert str(delivery.message_id) in ran.out
    assert "Redis does not answer" in ran.err


def test_list_shows_entries_that_have_no_message() -> None:
    asyncio.run(garbage())

    assert "garbage" in letters("list").out
    assert [one["reason"] for one in letters("list", "--json").json["others"]] == ["garbage"]
    assert letters("list", "--json", "--reason", "body_rejected").json["others"] == []


def test_show_tells_all_but_the_text() -> None:
    delivery = failed()

    ran, shown = letters("show", delivery.message_id), letters("show", delivery.message_id, "--json").json

    assert ran.code == 0
    assert "Check the number with the customer" in ran.out
    assert "attempt_not_sent" in ran.out
    assert (shown["reason"], shown["attempts"], shown["failure_gen"]) == ("not_on_whatsapp", 1, 1)
    assert TEXT not in ran.out


def test_show_of_what_is_no_dead_letter() -> None:
    queued, nobody = factories.queue(), uuid.uuid4()

    assert letters("show", nobody).code == letters("show", queued.message_id).code == 1
    assert "no such message" in letters("show", nobody).err
    assert "it is queued" in letters("show", queued.message_id).err


# --- replay and discard ---------------------------------------------------------------------------


def test_replay_sends_once_however_often_pressed() -> None:
    delivery = failed()

    first = letters("replay", delivery.message_id, "--yes")
    seq = Delivery.objects.get(pk=delivery.pk).seq
    again = letters("replay", delivery.message_id, "--yes")

    assert (first.code, first.out.splitlines()[-1]) == (0, "1 message replayed.")
    assert (again.code, "it is queued" in again.err) == (1, True)
    row = Delivery.objects.get(pk=delivery.pk)
    assert (row.state, row.seq, row.failure_gen) == (State.QUEUED, seq, 2)
    assert redis_dead_letters.entries() == []


def test_replay_all_keeps_the_order_of_each_lane() -> None:
    here, there = factories.make_conversation(), factories.make_conversation()
    mixed = [failed(lane) for lane in (here, there, here, there, here)]
    # The order of failing is not the order of writing.
    Delivery.objects.filter(pk=mixed[0].pk).update(finished_at=Now() + timedelta(hours=1))

    assert letters("replay", "--all", "--yes").code == 0

    for lane, wanted in ((here, mixed[0::2]), (there, mixed[1::2])):
        order = Delivery.objects.filter(conversation=lane).order_by("seq").values_list("pk", flat=True)
        assert list(order) == [row.pk for row in wanted]
    assert redis_dead_letters.entries() == []


def test_two_people_replay_all_at_once_and_each_goes_once() -> None:
    conversation = factories.make_conversation()
    rows = [failed(conversation) for _ in range(6)]
    ran: list[Ran] = []

    def press() -> None:
        try:
            ran.append(letters("replay", "--all", "--yes", "--json"))
        finally:
            connection.close()

    people = [threading.Thread(target=press) for _ in range(2)]
    for one in people:
        one.start()
    for one in people:
        one.join()

    replayed = [message for one in ran for message in one.json["replayed"]]
    assert sorted(replayed) == sorted(str(row.message_id) for row in rows)
    assert set(Delivery.objects.values_list("failure_gen", flat=True)) == {2}


def test_a_preview_counts_and_changes_nothing() -> None:
    conversation = factories.make_conversation()
    rows = [failed(conversation), failed(conversation), failed(reason="body_rejected")]
    type(rows[2].instance).objects.filter(pk=rows[2].instance_id).update(gate=1, gate_reason="logged_out")

    ran, plan = (
        letters("replay", "--all", "--dry-run"),
        letters("replay", "--all", "--dry-run", "--json").json,
    )

    assert ran.code == 0
    assert "not_on_whatsapp 2, body_rejected 1" in ran.out
    assert "2, at most 2 in one" in ran.out
    assert "cannot send now (logged_out)" in ran.out
    assert ran.out.splitlines()[-1] == "Dry run: nothing was done."
    assert plan["order"] == [str(row.message_id) for row in rows]
    assert plan["plan"]["reasons"] == {"not_on_whatsapp": 2, "body_rejected": 1}
    assert [state(row) for row in rows] == [State.FAILED] * 3


def test_replay_all_takes_only_what_matches() -> None:
    wanted, other = failed(reason="body_rejected"), failed()

    assert letters("replay", "--all", "--reason", "body_rejected", "--yes").code == 0

    assert (state(wanted), state(other)) == (State.QUEUED, State.FAILED)


def test_replay_all_of_nothing_is_done() -> None:
    assert letters("replay", "--all", "--yes") == Ran(0, "No dead letters match.\n", "")


def test_what_can_be_replayed_is_and_the_rest_is_named() -> None:
    delivery, nobody = failed(), uuid.uuid4()

    ran = letters("replay", delivery.message_id, nobody, "--yes")

    assert ran.code == 1
    assert ran.err == f"{nobody}: there is no such message."
    assert state(delivery) == State.QUEUED


def test_discard_gives_up_and_stays_given_up() -> None:
    delivery = failed()

    assert letters("discard", delivery.message_id, "--yes").code == 0
    assert state(delivery) == State.CANCELLED
    assert redis_dead_letters.entries() == []
    assert letters("replay", delivery.message_id, "--yes").code == 1


def test_discard_takes_entries_without_a_message() -> None:
    for _ in range(3):
        asyncio.run(garbage())
    delivery = failed()
    first, *_ = redis_dead_letters.entries()

    named = letters("discard", first.entry_id, "--yes")
    assert named.out.splitlines()[-1] == "0 messages discarded, 1 entry removed."
    assert letters("discard", "--all", "--reason", "garbage", "--yes").code == 0
    assert [one.delivery_id for one in redis_dead_letters.entries()] == [delivery.pk]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["replay"], "say --all"),
        (["replay", "--all", "6f1f2d3c-0000-7000-8000-000000000000"], "not both"),
        (["replay", "6f1f2d3c-0000-7000-8000-000000000000", "--reason", "x"], "go with --all"),
        (["replay", "--all", "--tenant", "Nobody"], "no tenant 'Nobody'"),
        (["list", "--tenant", "Nobody"], "no tenant 'Nobody'"),
    ],
)
def test_wrong_use_is_code_2(args: list[str], sentence: str) -> None:
    ran = letters(*args)

    assert (ran.code, sentence in ran.err) == (2, True), ran


def test_nobody_to_ask_is_code_2_and_does_nothing() -> None:
    delivery = failed()

    for options in ([], ["--json"]):
        ran = letters("replay", delivery.message_id, *options)
        assert (ran.code, "--yes" in ran.err) == (2, True)
    assert state(delivery) == State.FAILED


@pytest.mark.parametrize(("answer", "code", "after"), [("yes", 0, State.QUEUED), ("no", 1, State.FAILED)])
def test_asking(monkeypatch: pytest.MonkeyPatch, answer: str, code: int, after: int) -> None:
    delivery = failed()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)

    assert letters("replay", delivery.message_id).code == code
    assert state(delivery) == after


def test_from_a_shell(child_env: Mapping[str, str]) -> None:
    """Exit codes and stdout as a script sees them."""
    delivery = failed()
    assert str(delivery.message_id) in servers.manage("chat_dead_letters", "list", env=child_env)
    for args, code in (
        (["replay", "no-id"], 2),
        (["show", str(uuid.uuid4())], 1),
        (["list", "--since", "x"], 2),
    ):
        with pytest.raises(servers.ServerError, match=rf"\(code {code}\)"):
            servers.manage("chat_dead_letters", *args, env=child_env)
