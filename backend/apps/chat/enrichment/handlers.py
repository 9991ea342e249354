"""The handlers by name, for whoever calls one directly: they ask at once and say what went wrong."""

from __future__ import annotations

import asyncio
from uuid import UUID

from apps.chat.enrichment import cases, jobs
from apps.chat.enrichment.cases import GROUP, NAME, PICTURE, Case
from apps.chat.enrichment.database import call
from apps.chat.enrichment.errors import NotNow


async def handle_fetch_profile_pic(conversation_id: UUID | str, phone: str) -> None:
    """Copy the contact's profile picture.

    Raises:
        NotFound: there is no such conversation.
        EnrichmentError: it was not done; the number may be another contact's.
    """
    await _in_turn(PICTURE, await _checked(conversation_id, address=phone))


async def handle_fetch_group_info(
    conversation_id: UUID | str, group_jid: str, instance_name: str, api_key: str = "", base_url: str = ""
) -> None:
    """Learn a group's subject, description, size and picture, unless that was done a moment ago.

    The conversation's own instance is asked, with its own key; what is given here only has to agree.

    Raises:
        NotFound: there is no such conversation.
        UnknownInstance: the tenant has no such instance.
        EnrichmentError: it was not done.
    """
    case = await _checked(conversation_id, group_jid, instance_name, base_url)
    if GROUP in case.fresh:
        return
    await _in_turn(GROUP, case)


async def handle_fetch_contact_name(
    conversation_id: UUID | str, phone: str, instance_name: str, api_key: str = "", base_url: str = ""
) -> None:
    """Learn the name a person gave themselves. Raises as `handle_fetch_group_info` does."""
    case = await _checked(conversation_id, phone, instance_name, base_url)
    await jobs.run(NAME, case)


async def _in_turn(kind: str, case: Case) -> None:
    try:
        await jobs.run(kind, case)
    except NotNow as problem:
        if not problem.turn:
            raise
        await asyncio.sleep(problem.seconds)
        await jobs.run(kind, case, had_turn=True)


async def _checked(
    conversation_id: UUID | str, address: str = "", instance_name: str = "", base_url: str = ""
) -> Case:
    case = await call(lambda: cases.load(conversation_id))
    await call(lambda: cases.check(case, address=address, instance_name=instance_name, base_url=base_url))
    return case
