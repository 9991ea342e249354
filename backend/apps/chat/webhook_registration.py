"""Telling Evolution where its webhooks go, and checking that it knows."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef, Timeouts
from apps.chat.evolution.reasons import REASONS
from apps.chat.evolution.webhook_events import WANTED
from apps.chat.evolution.wire import mapping_of
from apps.chat.models import Instance
from apps.chat.webhooks import SECRET_HEADER
from apps.tenancy.secrets import SecretUnreadable

AT_ONCE: Final = 8
ANSWER_SECONDS: Final = 15.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Registration:
    """How an instance's webhook stands. `sentence` is for people and names no secret."""

    instance_id: UUID
    instance: str
    tenant: str
    ok: bool
    state: str
    """registered, right, differs, missing, unreachable or unusable"""
    sentence: str


def webhook_url(instance_id: UUID) -> str:
    """Where Evolution posts this instance's events: PUBLIC_URL and the path."""
    return f"{settings.PUBLIC_URL}/api/chat/webhooks/evolution/{instance_id}/"


def register_all(instance_ids: Sequence[UUID], *, only_check: bool = False) -> list[Registration]:
    """Register the webhook of each instance (unless `only_check`), read it back, and say how it stands."""
    readable = [_read(instance_id) for instance_id in instance_ids]
    return asyncio.run(_register_all(readable, only_check))


def _read(instance_id: UUID) -> Instance | Registration:
    """The row; when its credentials cannot be opened, that as the result."""
    rows = Instance.objects.select_related("tenant")
    try:
        return rows.get(pk=instance_id)
    except SecretUnreadable:
        plain = rows.defer("api_key", "webhook_secret").get(pk=instance_id)
        sentence = "its credentials cannot be opened: check SECRET_KEY and CHAT_SECRETS_KEYS"
        return _standing(plain, False, "unusable", sentence)


def _standing(instance: Instance, ok: bool, state: str, sentence: str) -> Registration:
    return Registration(instance.pk, instance.name, instance.tenant.name, ok, state, sentence)


async def _register_all(rows: Sequence[Instance | Registration], only_check: bool) -> list[Registration]:
    slots = asyncio.Semaphore(AT_ONCE)
    async with EvolutionClient(timeouts=Timeouts(query=ANSWER_SECONDS)) as client:

        async def one(row: Instance | Registration) -> Registration:
            if isinstance(row, Registration):
                return row
            async with slots:
                return _standing(row, *await _register(client, row, only_check))

        return list(await asyncio.gather(*map(one, rows)))


async def _register(client: EvolutionClient, instance: Instance, only_check: bool) -> tuple[bool, str, str]:
    """ok, state and sentence of one instance."""
    if wrong := _unusable(instance):
        return False, "unusable", wrong
    ref = InstanceRef(instance.name, instance.base_url, instance.api_key)
    try:
        if not only_check:
            await _set(client, ref, instance)
        row = await client.find_webhook(ref)
    except EvolutionError as error:
        return False, "unreachable", _why(error, ref)
    if row is None:
        return False, "missing", "no webhook is registered: nothing that happens in WhatsApp reaches us"
    if differences := differing(row, instance):
        return False, "differs", f"what Evolution has differs: {', '.join(differences)}"
    return True, "right" if only_check else "registered", webhook_url(instance.pk) + _note(row, instance)


async def _set(client: EvolutionClient, ref: InstanceRef, instance: Instance) -> None:
    headers = {SECRET_HEADER: instance.webhook_secret}
    await client.set_webhook(ref, url=webhook_url(instance.pk), headers=headers, events=WANTED)


def _unusable(instance: Instance) -> str:
    if urlsplit(settings.PUBLIC_URL).scheme not in ("http", "https"):
        return "PUBLIC_URL must begin with http:// or https://: Evolution posts nowhere else, and does not say so"
    if not instance.webhook_secret:
        return "it has no webhook secret: make it with chat_bootstrap"
    return ""


def _why(error: EvolutionError, ref: InstanceRef) -> str:
    status = f", HTTP {error.status}" if error.status else ""
    words = {
        "connect_failed": "Evolution cannot be reached",
        "read_timeout": "Evolution does not answer in time",
        "unauthorized": "Evolution refuses the API key",
        "instance_missing": "Evolution has no instance of this name",
    }
    said = words.get(error.reason) or REASONS.get(error.reason, (error.reason,))[0].rstrip(".")
    return f"{said} (at {ref.address}{status}, {error.reason})"


def differing(row: Mapping[str, object], instance: Instance) -> list[str]:
    """What in Evolution's row is not as we want it, in words without values that are secret."""
    found = []
    if row.get("enabled") is not True:
        found.append("it is switched off")
    if row.get("url") != webhook_url(instance.pk):
        found.append(f"it posts to {_place(row.get('url'))}")
    if not _has_secret(mapping_of(row.get("headers")), instance.webhook_secret):
        found.append(f"the header {SECRET_HEADER} is not our secret")
    if missing := sorted(set(WANTED) - _events(row)):
        found.append(f"it leaves out {', '.join(missing)}")
    found += [words for name, words in _UNWANTED if row.get(name) is True]
    return found


_UNWANTED: Final = (
    ("webhookByEvents", "it adds the event's name to the URL"),
    ("webhookBase64", "it carries whole files"),
)


def _has_secret(headers: Mapping[str, object], secret: str) -> bool:
    given = [str(value) for name, value in headers.items() if name.lower() == SECRET_HEADER.lower()]
    return len(given) == 1 and hmac.compare_digest(given[0].encode(), secret.encode())


def _events(row: Mapping[str, object]) -> set[str]:
    events = row.get("events")
    return {str(event) for event in events} if isinstance(events, list) else set()


def _place(url: object) -> str:
    """Scheme, host and path of a URL that somebody else wrote: it may hold a password."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return "an unreadable URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _note(row: Mapping[str, object], instance: Instance) -> str:
    notes = []
    if extra := sorted(_events(row) - set(WANTED)):
        notes.append(f"it also sends what nobody reads: {', '.join(extra)}")
    ours, theirs = urlsplit(settings.PUBLIC_URL).hostname, urlsplit(instance.base_url).hostname
    if ours in _LOOPBACK and theirs not in _LOOPBACK:
        notes.append(f"Evolution at {theirs} cannot reach a PUBLIC_URL on {ours}")
    return f"; {'; '.join(notes)}" if notes else ""
