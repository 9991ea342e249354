"""Doing what a request asks: one question to Evolution, and the answer written where it adds to what is known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from prometheus_client import Counter

from apps.chat import redis_hands, redis_queue
from apps.chat.enrichment import cases, facts, pictures
from apps.chat.enrichment.cases import GROUP, NAME, PICTURE, Case
from apps.chat.enrichment.database import call
from apps.chat.enrichment.errors import GivenUp, NotNow, TryAgain
from apps.chat.errors import NotFound, UnknownInstance
from apps.chat.evolution import jids
from apps.chat.evolution.client import EvolutionClient, EvolutionError, Limits
from apps.chat.redis_clients import TROUBLE

logger = logging.getLogger(__name__)

AWAY_SECONDS: Final = 60.0
_HORIZON_SECONDS: Final = 3600.0
_TIRED_SECONDS: Final = 300.0
_PER_HOST: Final = 8
QUEUE_OF: Final = {
    PICTURE: redis_queue.REDIS_QUEUE_FETCH_PROFILE_PIC,
    GROUP: redis_queue.REDIS_QUEUE_FETCH_GROUP_INFO,
    NAME: redis_queue.REDIS_QUEUE_FETCH_CONTACT_NAME,
}
KIND_OF: Final = {queue: kind for kind, queue in QUEUE_OF.items()}

_DONE = Counter("chat_enrichment", "Pictures, names and groups by what came of asking.", ["kind", "outcome"])
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, EvolutionClient] = WeakKeyDictionary()


@asynccontextmanager
async def evolution() -> AsyncIterator[EvolutionClient]:
    """The running loop's client for questions: not the deliveries', whose slots belong to messages."""
    running = _clients.get(asyncio.get_running_loop())
    if running is not None:
        yield running
        return
    async with EvolutionClient(limits=Limits(per_host=_PER_HOST)) as client:
        yield client


@asynccontextmanager
async def client_kept_open() -> AsyncIterator[None]:
    """While the block runs, all requests of this loop share one client."""
    loop = asyncio.get_running_loop()
    if loop in _clients:
        yield
        return
    async with EvolutionClient(limits=Limits(per_host=_PER_HOST)) as client:
        _clients[loop] = client
        try:
            yield
        finally:
            del _clients[loop]


async def work(kind: str, payload: Mapping[str, Any], *, had_turn: bool = False) -> str:
    """Do what an item of a list asks; in one word what came of it.

    Args:
        had_turn: the item waited for its instance's turn, and this is it.

    Raises:
        NotNow: later, without counting an attempt.
        TryAgain: it may work another time.
        GivenUp: it never will.
    """
    try:
        case = await call(lambda: _case(payload))
    except NotFound:
        raise GivenUp("no_such_conversation") from None
    except UnknownInstance:
        raise GivenUp("unknown_instance") from None
    if kind in case.fresh:
        return told(kind, "known")
    if not case.connected:
        raise NotNow("instance_away", AWAY_SECONDS)
    return await run(kind, case, had_turn=had_turn)


def _case(payload: Mapping[str, Any]) -> Case:
    case = cases.load(str(payload.get("conversation_id")))
    given = {
        name: str(payload.get(name) or "") for name in ("phone", "group_jid", "instance_name", "base_url")
    }
    address = given.pop("phone") or given["group_jid"]
    cases.check(case, address=address, instance_name=given["instance_name"], base_url=given["base_url"])
    return case


async def run(kind: str, case: Case, *, had_turn: bool = False) -> str:
    """Ask, and write the answer. Raises as `work` does."""
    try:
        return told(kind, await _JOBS[kind](case, had_turn))
    except EvolutionError as error:
        raise (GivenUp if error.permanent else TryAgain)(error.reason) from None


def told(kind: str, outcome: str) -> str:
    _DONE.labels(kind, outcome).inc()
    return outcome


async def _picture(case: Case, had_turn: bool) -> str:
    if not had_turn:
        await _wait_for_turn(PICTURE, case.instance_id, settings.CHAT_PICTURE_SECONDS)
    async with evolution() as client:
        url = await client.fetch_profile_picture(case.ref, case.remote_jid)
    if (
        url is None
    ):  # a hidden picture, none, or a failure: all look alike, and say nothing against the one we have
        await call(lambda: facts.looked(case.contact_id, "picture_checked_at"))
        return "unknown"
    return "changed" if await pictures.copy(case, url) else "same"


async def _name(case: Case, had_turn: bool) -> str:
    if case.is_group:
        raise GivenUp("not_a_person")
    found = await _first_name(case)
    return "changed" if await call(lambda: facts.set_name(case.contact_id, found)) else "same"


async def _first_name(case: Case) -> str | None:
    async with evolution() as client:
        for address in spellings(case):
            name = await client.contact_name(case.ref, address)
            if name and facts.is_name(name):
                return name
    return None


def spellings(case: Case) -> list[str]:
    """The exact addresses under which Evolution may have stored the contact; it compares them letter by letter."""
    found: list[str] = []
    for address in case.addresses:
        found.append(address)
        if jids.is_phone(address):
            digits = address.partition("@")[0].partition(":")[0]
            found += [jids.phone_jid(variant) for variant in jids.number_variants(digits)]
    return list(dict.fromkeys(found))


async def _group(case: Case, had_turn: bool) -> str:
    if not case.is_group:
        raise GivenUp("not_a_group")
    if not had_turn:
        await _wait_for_turn(GROUP, case.instance_id, settings.CHAT_GROUP_INFO_SECONDS)
    async with evolution() as client:
        card = await client.group_info(case.ref, case.remote_jid)
    changed = await call(lambda: facts.set_group(case.contact_id, card))
    if card.picture_url and PICTURE not in case.fresh:
        changed |= await _copied(case, card.picture_url)
    return "changed" if changed else "same"


async def _copied(case: Case, url: str) -> bool:
    """A group's card is good without its picture."""
    try:
        return await pictures.copy(case, url)
    except (TryAgain, GivenUp) as problem:
        logger.info(
            "group without picture", extra={"contact": str(case.contact_id), "reason": problem.reason}
        )
        _DONE.labels(PICTURE, "failed").inc()
        return False


async def _wait_for_turn(kind: str, instance_id: UUID, interval: float) -> None:
    """Raises NotNow when the instance was asked the same kind of thing a moment ago: the turn at that time is ours."""
    if not interval:
        return
    try:
        wait = await redis_hands.next_turn(QUEUE_OF[kind], str(instance_id), interval, _HORIZON_SECONDS)
    except TROUBLE as error:  # nobody can tell the pace; what a caller does by hand may go on
        redis_queue.outage.failed(error)
        return
    if wait is None:
        raise NotNow("paced", _TIRED_SECONDS)
    if wait > 0:
        raise NotNow("paced", wait, turn=True)


_JOBS: Final[dict[str, Callable[[Case, bool], Awaitable[str]]]] = {
    PICTURE: _picture,
    NAME: _name,
    GROUP: _group,
}
