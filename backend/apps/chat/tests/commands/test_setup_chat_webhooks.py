"""`setup_chat_webhooks` against the simulator: what it registers, and what it says of anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.urls import resolve
from evolution_simulator.webhook_events import EVENTS
from testing import servers
from testing.ports import spare_port

from apps.chat import webhooks
from apps.chat.evolution import events, other_events
from apps.chat.evolution.webhook_events import WANTED
from apps.chat.inbound import passing
from apps.chat.models import Instance
from apps.chat.tests import factories
from apps.chat.tests.commands.run import Ran, run
from apps.chat.webhook_registration import webhook_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def evolution() -> Iterator[servers.Simulator]:
    with servers.simulator() as running:
        yield running


@pytest.fixture
def instance(evolution: servers.Simulator) -> Instance:
    name = f"shop-{uuid4().hex[:8]}"
    evolution.call("POST", "/instance/create", {"instanceName": name, "integration": "WHATSAPP-BAILEYS"})
    return factories.make_instance(name=name, base_url=evolution.url, api_key=evolution.api_key)


def setup(*args: object) -> Ran:
    return run("setup_chat_webhooks", *args)


def known(evolution: servers.Simulator, instance: Instance) -> Any:
    return evolution.call("GET", f"/webhook/find/{instance.name}")


def change(evolution: servers.Simulator, instance: Instance, **fields: Any) -> None:
    right = {
        "enabled": True,
        "url": webhook_url(instance.pk),
        "byEvents": False,
        "base64": False,
        "headers": {webhooks.SECRET_HEADER: instance.webhook_secret},
        "events": list(WANTED),
    }
    evolution.call("POST", f"/webhook/set/{instance.name}", {"webhook": {**right, **fields}})


def test_it_registers_and_reads_back(evolution: servers.Simulator, instance: Instance, settings: Any) -> None:
    settings.PUBLIC_URL = "https://chat.example.org"

    ran = setup()

    url = f"https://chat.example.org/api/chat/webhooks/evolution/{instance.pk}/"
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{instance.name} ({instance.tenant.name}): registered: {url}\n"
    row = known(evolution, instance)
    assert row["url"] == url
    assert row["headers"] == {webhooks.SECRET_HEADER: instance.webhook_secret}
    assert sorted(row["events"]) == sorted(WANTED)
    assert (row["enabled"], row["webhookByEvents"], row["webhookBase64"]) == (True, False, False)
    assert setup("--check").code == 0


def test_the_url_leads_to_the_endpoint(instance: Instance, settings: Any) -> None:
    found = resolve(webhook_url(instance.pk).removeprefix(settings.PUBLIC_URL))

    assert (found.func, found.kwargs["instance_id"]) == (webhooks.receive, instance.pk)


def test_check_changes_nothing(evolution: servers.Simulator, instance: Instance) -> None:
    ran = setup("--check")

    assert (ran.code, ": missing: " in ran.out) == (1, True)
    assert known(evolution, instance) is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"enabled": False}, "it is switched off"),
        (
            {"url": "http://user:hush@elsewhere.example/x?token=hush"},
            "it posts to http://elsewhere.example/x",
        ),
        ({"headers": {}}, "is not our secret"),
        ({"headers": {webhooks.SECRET_HEADER: "old"}}, "is not our secret"),
        ({"events": ["SEND_MESSAGE"]}, "it leaves out CALL"),
        ({"byEvents": True}, "it adds the event's name to the URL"),
        ({"base64": True}, "it carries whole files"),
    ],
)
def test_each_difference_is_told_and_put_right(
    evolution: servers.Simulator, instance: Instance, fields: dict[str, Any], sentence: str
) -> None:
    change(evolution, instance, **fields)

    told = setup("--check")

    assert (told.code, sentence in told.out) == (1, True), told
    assert not any(secret in told.out for secret in ("hush", instance.webhook_secret, evolution.api_key))
    assert setup().code == 0
    assert setup("--check").code == 0


def test_events_nobody_reads_are_told_and_no_problem(
    evolution: servers.Simulator, instance: Instance
) -> None:
    change(evolution, instance, events=[*WANTED, "LABELS_EDIT"])

    ran = setup("--check")

    assert (ran.code, "nobody reads: LABELS_EDIT" in ran.out) == (0, True)


def test_one_sentence_per_instance_and_the_others_go_on(
    evolution: servers.Simulator, instance: Instance
) -> None:
    away = factories.make_instance(name="away", base_url=f"http://127.0.0.1:{spare_port()}")
    locked = factories.make_instance(name=instance.name, base_url=evolution.url, api_key="wrong")
    absent = factories.make_instance(name="absent", base_url=evolution.url, api_key=evolution.api_key)
    sealed = factories.make_instance(name="sealed", base_url=evolution.url)
    Instance.objects.filter(pk=sealed.pk).update(webhook_secret="x")
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_instance SET webhook_secret = 'unreadable' WHERE name = 'sealed'")

    ran = setup("--json")

    found = {one["instance_id"]: (one["ok"], one["state"], one["sentence"]) for one in ran.json["instances"]}
    assert ran.code == 1
    assert "4 of 5" in ran.err
    assert found[str(instance.pk)][:2] == (True, "registered")
    assert "cannot be reached" in found[str(away.pk)][2]
    assert "refuses the API key" in found[str(locked.pk)][2]
    assert "no instance of this name" in found[str(absent.pk)][2]
    assert "cannot be opened" in found[str(sealed.pk)][2]


def test_choosing(evolution: servers.Simulator, instance: Instance) -> None:
    factories.make_instance(name="away", base_url=f"http://127.0.0.1:{spare_port()}")

    for args in (
        ["--instance", instance.name],
        ["--instance", instance.pk],
        ["--tenant", instance.tenant.name],
        ["--tenant", instance.tenant_id],
    ):
        assert [one["instance"] for one in setup(*args, "--json").json["instances"]] == [instance.name]
    assert setup("--instance", "nobody").code == setup("--tenant", "nobody").code == 2


def test_no_instance_yet() -> None:
    assert setup() == Ran(0, "There is no instance yet: make one with chat_bootstrap.\n", "")


def test_a_public_url_that_evolution_never_posts_to(instance: Instance, settings: Any) -> None:
    settings.PUBLIC_URL = "chat.example.org"

    ran = setup()

    assert (ran.code, "must begin with http" in ran.out) == (1, True)


def test_all_that_is_read_is_asked_for_and_evolution_knows_each() -> None:
    names = {*events._READERS, *other_events._READERS, *passing.WHY} - {"findmessages"}
    read = {name.replace(".", "_").upper() for name in names}
    links = {"STATUS_INSTANCE", "LOGOUT_INSTANCE", "REMOVE_INSTANCE"}  # inbound.connections
    unasked = {"CHATS_UPDATE", "CHATS_UPSERT", "GROUPS_UPDATE"}  # two for each message, and one never sent

    assert set(WANTED) == (read | links) - unasked
    assert set(WANTED) <= set(EVENTS)


def test_from_a_shell(child_env: dict[str, str], evolution: servers.Simulator, instance: Instance) -> None:
    printed = json.loads(servers.manage("setup_chat_webhooks", "--json", env=child_env))

    assert [one["state"] for one in printed["instances"]] == ["registered"]
    assert known(evolution, instance)["url"].endswith(f"/{instance.pk}/")
