"""What an answer means given what came before it: the rows of the failure list that need counting or a question.

`evolution.outcomes` reads one answer by itself. Here the same answer again may be final (E9, E14, E16), the trouble of
the whole instance (E5), or worth one question to Evolution before a message is given up (E2, E11).
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import replace
from typing import Final as Constant
from uuid import UUID

from django.conf import settings

from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.lane import OWN_SENDS, Step
from apps.chat.evolution import jids
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Attempt, ContactJid, Conversation

logger = logging.getLogger(__name__)

# Attempts that may end for this reason, the first included; CHAT_STREAM_MAX_RETRIES holds beside it.
MOST_OF: Constant = {"no_sessions": 3, "media_upload_failed": 4, "media_fetch_failed": 2}
LOOKUP = "lookup_timed_out"
LOOKUPS_IN_A_ROW: Constant = 2
RECHECKED = "number_rechecked"
RECHECK_AGAIN_SECONDS: Constant = 15.0
GROUPS_WITHOUT_SESSIONS: Constant = 3


class Judge:
    """One per process; what it remembers of instances is a hint, what decides about a message is in the database."""

    def __init__(self, database: DatabaseThread, client: EvolutionClient) -> None:
        self._database, self._client = database, client
        self._lookups: dict[UUID, int] = {}
        self._without_sessions: defaultdict[UUID, set[UUID]] = defaultdict(set)

    async def judge(self, step: Step, outcome: Outcome, began: float) -> Outcome:
        """The outcome as it stands after what came before. Whatever cannot be found out changes nothing."""
        try:
            if outcome.reason in MOST_OF:
                return await self._count(step, outcome)
            if outcome.reason == "not_on_whatsapp" and step.kind in OWN_SENDS:
                return await self._recheck(step, outcome, began)
            if outcome.reason == "group_unreachable":
                return await self._ask_group(step, outcome)
        except Exception as error:  # the database is away: the answer by itself must do
            logger.warning("an answer was taken by itself", extra={"error": type(error).__name__})
        return outcome

    async def parks(self, step: Step, outcome: Outcome) -> bool:
        """E5: number lookups that time out twice in a row are the instance's trouble. The message's try still counts:
        a single number that nobody can look up must not close the gate for ever."""
        if outcome.reason != LOOKUP:
            self._lookups.pop(step.instance_id, None)
            return False
        row = self._lookups[step.instance_id] = self._lookups.get(step.instance_id, 0) + 1
        if row < LOOKUPS_IN_A_ROW and not await self._database.call(lambda: ended_so_before(step, LOOKUP)):
            return False
        self._lookups.pop(step.instance_id, None)
        return True

    async def _count(self, step: Step, outcome: Outcome) -> Outcome:
        before = await self._database.call(lambda: times(step.id, outcome.reason))
        if before + 1 < MOST_OF[outcome.reason]:
            return outcome
        if outcome.reason == "no_sessions":
            self._without(step)
        return replace(outcome, permanent=True)

    def _without(self, step: Step) -> None:
        """E9: one group without sessions is the group's trouble, three are the number's."""
        groups = self._without_sessions[step.instance_id]
        groups.add(step.conversation_id)
        if len(groups) >= GROUPS_WITHOUT_SESSIONS:
            logger.error(
                "groups cannot be encrypted to: pair the number anew",
                extra={"instance": str(step.instance_id), "groups": len(groups)},
            )
            groups.clear()

    async def _recheck(self, step: Step, outcome: Outcome, began: float) -> Outcome:
        """E2: before a number is given up, look once whether WhatsApp knows it in another spelling or as a LID."""
        if await self._database.call(lambda: times(step.id, RECHECKED)):
            return outcome
        address = await self._database.call(lambda: lid_of(step))
        if address is None and jids.is_phone(step.remote_jid):
            if time.monotonic() - began > settings.CHAT_SEND_LEASE_SECONDS / 2:
                return replace(outcome, permanent=False, wait=RECHECK_AGAIN_SECONDS)  # no time left to ask
            try:
                address = await self._spelling(step)
            except EvolutionError:
                return replace(outcome, permanent=False, wait=RECHECK_AGAIN_SECONDS)
        if address is None:
            return outcome
        found = address
        await self._database.call(lambda: readdress(step.conversation_id, found))
        logger.info("a number was found in another spelling", extra={"delivery": step.id})
        return Outcome(Verdict.NOT_SENT, RECHECKED, wait=1.0, http_status=outcome.http_status)

    async def _spelling(self, step: Step) -> str | None:
        ref = InstanceRef(step.instance_name, step.base_url, step.api_key)
        variants = jids.number_variants(step.remote_jid.partition("@")[0])
        answers = {check.number: check for check in await self._client.whatsapp_numbers(ref, variants)}
        known = [answers[number] for number in variants if number in answers and answers[number].exists]
        return next((check.jid or jids.phone_jid(check.number) for check in known), None)

    async def _ask_group(self, step: Step, outcome: Outcome) -> Outcome:
        """E11: an answer that says nothing of a group; Evolution knows whether it is gone."""
        ref = InstanceRef(step.instance_name, step.base_url, step.api_key)
        try:
            await self._client.group_info(ref, step.remote_jid)
        except EvolutionError as error:
            if error.reason == "group_not_found":
                return replace(outcome, reason=error.reason, permanent=True)
        return outcome


# --- database side --------------------------------------------------------------------------------


def times(delivery_id: int, reason: str) -> int:
    """How many of the delivery's attempts ended for this reason."""
    return Attempt.objects.filter(delivery_id=delivery_id, reason=reason).count()


def ended_so_before(step: Step, reason: str) -> bool:
    """Did the attempt before this one end the same way?"""
    return Attempt.objects.filter(delivery_id=step.id, n=step.attempts - 1, reason=reason).exists()


def lid_of(step: Step) -> str | None:
    """The contact's LID, when what looks like its phone number is that LID's digits."""
    user = step.remote_jid.partition("@")[0]
    contact = Conversation.objects.filter(pk=step.conversation_id).values("contact_id")[:1]
    known = ContactJid.objects.filter(contact_id__in=contact).values_list("jid", flat=True)
    same = (jid for jid in known if jids.is_lid(jid) and jid.partition("@")[0] == user)
    return next((jid for jid in same if jid != step.remote_jid), None)


def readdress(conversation_id: UUID, jid: str) -> None:
    """Send to this address from now on."""
    Conversation.objects.filter(pk=conversation_id).update(remote_jid=jid)
