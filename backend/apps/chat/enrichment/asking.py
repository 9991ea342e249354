"""Asking for what we do not know of a contact: producers with `.delay`, and when to ask.

An item names its conversation and nothing else: which number, whose instance, with which key stands in the database. A
request that is lost or refused costs nothing but time; asking never raises because Redis is away.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from prometheus_client import Counter

from apps.chat import redis_queue
from apps.chat.enrichment.cases import GROUP, NAME, PICTURE, check_instance
from apps.chat.enrichment.jobs import QUEUE_OF
from apps.chat.errors import NotFound, QueueAway
from apps.chat.models import Contact, Conversation

logger = logging.getLogger(__name__)

QUEUED, ASKED, FULL, AWAY = ANSWERS = ("queued", "asked", "full", "away")
_ASKED = Counter("chat_enrichment_asked", "Requests for pictures, names and groups.", ["kind", "answer"])


class fetch_profile_pic:
    """Producer: copy the profile picture of a conversation's contact."""

    @staticmethod
    def delay(conversation_id: UUID | str, phone: str = "") -> str:
        """Ask for it: `queued`, `asked` (a moment ago), `full` or `away`. The worker looks the number up."""
        return _ask(PICTURE, conversation_id)


class fetch_group_info:
    """Producer: learn what a group is called and who is in it."""

    @staticmethod
    def delay(
        conversation_id: UUID | str,
        group_jid: str = "",
        instance_name: str = "",
        api_key: str = "",
        base_url: str = "",
    ) -> str:
        """Ask for it; the answers are those of `fetch_profile_pic`. The key goes nowhere.

        Raises:
            NotFound: there is no such conversation.
            UnknownInstance: the conversation's tenant has no such instance.
        """
        _check(conversation_id, instance_name, base_url)
        return _ask(GROUP, conversation_id)


class fetch_contact_name:
    """Producer: learn the name a person gave themselves."""

    @staticmethod
    def delay(
        conversation_id: UUID | str,
        phone: str = "",
        instance_name: str = "",
        api_key: str = "",
        base_url: str = "",
    ) -> str:
        """Ask for it. Answers and raises as `fetch_group_info` does."""
        _check(conversation_id, instance_name, base_url)
        return _ask(NAME, conversation_id)


def _check(conversation_id: UUID | str, instance_name: str, base_url: str) -> None:
    if not instance_name and not base_url:
        return
    try:
        tenant_id = Conversation.objects.values_list("tenant_id", flat=True).get(
            pk=UUID(str(conversation_id))
        )
    except (Conversation.DoesNotExist, ValueError):
        raise NotFound("There is no such conversation.") from None
    check_instance(tenant_id, instance_name, base_url)


def _ask(kind: str, conversation_id: UUID | str) -> str:
    try:
        answer = redis_queue.enqueue_once(QUEUE_OF[kind], {"conversation_id": str(conversation_id)})
    except QueueAway:
        answer = AWAY
    _ASKED.labels(kind, answer).inc()
    if answer not in (QUEUED, ASKED):
        logger.info(
            "not asked for", extra={"kind": kind, "why": answer, "conversation": str(conversation_id)}
        )
    return answer


# --- when -----------------------------------------------------------------------------------------


def refresh(conversation: Conversation) -> dict[str, str]:
    """Ask for all there is to know of a conversation's contact, which must be loaded: kind -> answer."""
    return {kind: _ask(kind, conversation.pk) for kind in _kinds(conversation.contact)}


def when_stale(conversation: Conversation) -> None:
    """After the transaction's commit, ask for what was never looked up or long ago. `contact` must be loaded.

    Never raises: whoever calls this has a message to look after.
    """
    contact = conversation.contact
    wanted = [kind for kind in _kinds(contact) if _is_stale(kind, contact)]
    if wanted:
        # No partial: Django names a hook that failed by its __qualname__.
        transaction.on_commit(lambda: _ask_all(wanted, conversation.pk), robust=True)


def _ask_all(kinds: list[str], conversation_id: UUID) -> None:
    for kind in kinds:
        _ask(kind, conversation_id)


def _kinds(contact: Contact) -> tuple[str, ...]:
    """A group's card brings its picture."""
    if contact.kind == Contact.Kind.GROUP:
        return (GROUP,)
    return (PICTURE, NAME) if contact.kind == Contact.Kind.INDIVIDUAL else ()


def _is_stale(kind: str, contact: Contact) -> bool:
    if kind == NAME and contact.name:
        return False  # messages bring it
    checked = {
        PICTURE: contact.picture_checked_at,
        NAME: contact.name_checked_at,
        GROUP: contact.group_checked_at,
    }[kind]
    if checked is None:
        return True
    after = settings.CHAT_INFO_STALE_SECONDS
    return bool(after) and checked < timezone.now() - timedelta(seconds=after)
