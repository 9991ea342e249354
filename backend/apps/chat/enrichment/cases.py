"""What a request is about, read from the database: the conversation's contact and its own instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from apps.chat.enrichment.errors import GivenUp
from apps.chat.errors import NotFound, UnknownInstance
from apps.chat.evolution import jids
from apps.chat.evolution.client import InstanceRef
from apps.chat.models import Contact, Conversation, Instance

PICTURE, NAME, GROUP = "profile_pic", "contact_name", "group_info"
_CHECKED: Final = {
    PICTURE: "contact__picture_checked_at",
    NAME: "contact__name_checked_at",
    GROUP: "contact__group_checked_at",
}


@dataclass(frozen=True, slots=True)
class Case:
    """`fresh` holds the kinds that were looked up within CHAT_LIST_SAME_SECONDS, by the database's clock."""

    conversation_id: UUID
    contact_id: UUID
    tenant_id: UUID
    instance_id: UUID
    ref: InstanceRef
    connected: bool
    is_group: bool
    remote_jid: str
    addresses: tuple[str, ...]
    picture_sha256: str
    fresh: frozenset[str]

    def knows(self, address: str) -> bool:
        """Is this one of the contact's addresses, however it is written?"""
        return jids.canonical_key(address) in {jids.canonical_key(known) for known in self.addresses}


def load(conversation_id: UUID | str) -> Case:
    """The case of a conversation.

    Raises:
        NotFound: there is no such conversation.
    """
    try:
        pk = UUID(str(conversation_id))
    except ValueError:
        raise NotFound("There is no such conversation.") from None
    rows = Conversation.objects.select_related("contact", "instance").filter(pk=pk)
    row = rows.annotate(**{f"fresh_{kind}": _fresh(column) for kind, column in _CHECKED.items()}).first()
    if row is None:
        raise NotFound("There is no such conversation.")
    instance, contact = row.instance, row.contact
    known = contact.jids.order_by("pk").values_list("jid", flat=True)
    return Case(
        conversation_id=row.pk,
        contact_id=contact.pk,
        tenant_id=row.tenant_id,
        instance_id=instance.pk,
        ref=InstanceRef(instance.name, instance.base_url, instance.api_key),
        connected=_is_connected(instance),
        is_group=contact.kind == Contact.Kind.GROUP,
        remote_jid=row.remote_jid,
        addresses=tuple(dict.fromkeys([row.remote_jid, *known])),
        picture_sha256=contact.picture_sha256,
        fresh=frozenset(kind for kind in _CHECKED if getattr(row, f"fresh_{kind}")),
    )


def check(case: Case, *, address: str = "", instance_name: str = "", base_url: str = "") -> None:
    """What a caller says must agree with what we know.

    Raises:
        UnknownInstance: the tenant has no such instance.
        GivenUp: the address is another contact's.
    """
    check_instance(case.tenant_id, instance_name, base_url)
    if address and not case.knows(address):
        raise GivenUp("another_address")


def check_instance(tenant_id: UUID, instance_name: str, base_url: str) -> None:
    """A name or an address of Evolution that a caller gives must be one of the tenant's own instances'.

    Raises:
        UnknownInstance: it is not; nobody is called.
    """
    if not instance_name and not base_url:
        return
    rows = Instance.objects.filter(tenant_id=tenant_id)
    if instance_name:
        rows = rows.filter(name=instance_name)
    known = {_plain(url) for url in rows.values_list("base_url", flat=True)}
    if not known or (base_url and _plain(base_url) not in known):
        raise UnknownInstance(
            "This is none of the tenant's instances: name one of them with the address it is stored with."
        )


def _fresh(column: str) -> Any:
    window = timedelta(seconds=settings.CHAT_LIST_SAME_SECONDS)
    return ExpressionWrapper(Q(**{f"{column}__gte": Now() - window}), output_field=BooleanField())


def _is_connected(instance: Instance) -> bool:
    """As far as we were told; nobody told us anything of a new one."""
    away = (Instance.Connection.CLOSE, Instance.Connection.CONNECTING)
    return instance.connection not in away and instance.gate != Instance.Gate.FROZEN


def _plain(url: str) -> str:
    return url.strip().rstrip("/").lower()
