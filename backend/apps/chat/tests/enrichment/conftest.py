"""A simulated Evolution with a person and a group, and what we know of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testing import servers

from apps.chat import redis_queue
from apps.chat.models import Contact, ContactJid, Conversation, Instance
from apps.chat.tests.factories import make_conversation, make_instance

ANA = "5511990000001"
GROUP = "120363000000000001@g.us"


@pytest.fixture(scope="package")
def server() -> Iterator[servers.Simulator]:
    with servers.simulator() as running:
        yield running


class World:
    """The instance `lab` at the simulator, and the rows that stand for it here."""

    def __init__(self, server: servers.Simulator) -> None:
        self.server = server
        server.control("POST", "reset", {"instances": True})
        self.open("lab")
        self.instance = make_instance(
            name="lab", base_url=server.url, api_key=server.api_key, connection="open"
        )

    def open(self, name: str) -> None:
        self.server.call(
            "POST", "/instance/create", {"instanceName": name, "integration": "WHATSAPP-BAILEYS"}
        )
        self.server.control("POST", f"instances/{name}/state", {"state": "open", "number": "5511900000000"})

    def picture(self, name: str) -> str:
        return f"{self.server.url}/pictures/view?of={name}"

    def person(self, number: str = ANA, **about: Any) -> Conversation:
        given = {"number": number, "name": "Ana Test", "picture": self.picture(number), **about}
        self.server.control("POST", "customers", given)
        return make_conversation(self.instance, number)

    def group(self, jid: str = GROUP, **about: Any) -> Conversation:
        people = [{"id": f"{number}@s.whatsapp.net", "admin": None} for number in (ANA, "5511990000002")]
        given = {"subject": "Lab Group", "desc": "synthetic", "participants": people, **about}
        self.server.control("POST", "groups", {"jid": jid, "picture": self.picture(jid), **given})
        contact = Contact.objects.create(tenant_id=self.instance.tenant_id, kind=Contact.Kind.GROUP)
        ContactJid.objects.create(tenant_id=self.instance.tenant_id, contact=contact, key=jid, jid=jid)
        return Conversation.objects.create(
            tenant_id=self.instance.tenant_id, instance=self.instance, contact=contact, remote_jid=jid
        )

    def fault(self, endpoint: str, **fault: Any) -> None:
        self.server.control("POST", "faults", {"match": {"endpoint": endpoint}, **fault})

    def asked(self, endpoint: str) -> int:
        """How often Evolution was asked this."""
        return int(self.server.control("GET", "requests")["requests"].get(endpoint, 0))


@pytest.fixture
def world(transactional_db: None, server: servers.Simulator, redis_url: str) -> World:
    redis_queue.outage._since = None
    return World(server)


def contact_of(conversation: Conversation) -> Contact:
    return Contact.objects.get(pk=conversation.contact_id)


def instance_named(world: World, name: str, **values: Any) -> Instance:
    return make_instance(world.instance.tenant, name=name, **values)
