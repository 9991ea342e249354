"""Where Evolution posts: authenticate, journal, answer 200. Nothing is applied here.

Evolution tries again after 5xx and never after 400, 401, 403, 404 or 422, so whatever a genuine
sender posts is stored, as a stub when it cannot be read, and a fault of ours is a 503. Only a wrong secret is
turned away, in the same way whether the instance exists or not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from prometheus_client import Counter

from apps.chat import inbound, journal
from apps.chat.evolution import jids
from apps.chat.evolution.events import event_name as event_name_of
from apps.chat.evolution.events import strip_credentials
from apps.chat.evolution.wire import mapping_of, storable
from apps.chat.inbound import passing
from apps.chat.webhook_secrets import is_secret_of
from apps.tenancy.secrets import SecretUnreadable

logger = logging.getLogger(__name__)

SECRET_HEADER: Final = "X-Chat-Webhook-Secret"  # noqa: S105  (the name, not the secret)
STORE_SECONDS: Final = 20.0
RAW_LENGTH: Final = 65_536
_CHUNK: Final = 1 << 20
_QUOTED_PAIR: Final = re.compile(r'"([^"\\]{1,40})"\s*:\s*"(?:[^"\\]|\\.)*"?', re.DOTALL)
_FORM_PAIR: Final = re.compile(r"(?i)\b(api_?key|token|secret|password)=[^&\s]+")

_DROPPED = Counter(
    "chat_webhook_dropped",
    "Webhooks that are not journalled: status and channel posts, passing things.",
    ["why"],
)
_REFUSED = Counter("chat_webhook_refused", "Webhooks with a wrong secret.")


@csrf_exempt
@require_POST
async def receive(request: HttpRequest, instance_id: UUID, event_name: str = "") -> HttpResponseBase:
    """Journal one webhook: 200 once it is committed, 401 for a wrong secret, 503 when it cannot be stored."""
    try:
        if not await is_secret_of(instance_id, request.headers.get(SECRET_HEADER, "")):
            _REFUSED.inc()
            return JsonResponse({"status": "unauthorized"}, status=401)
        entry = _entry(request, instance_id, event_name)
        if entry is None:
            _DROPPED.labels("status or channel post").inc()
            return JsonResponse({"status": "dropped"})
        if await passing.taken(entry):
            _DROPPED.labels(passing.WHY[event_name_of(entry.event)]).inc()
            return JsonResponse({"status": "taken"})
        async with asyncio.timeout(STORE_SECONDS):
            await journal.store(entry)
        passing.stored(entry)
    except (journal.NotStored, DatabaseError, SecretUnreadable, TimeoutError) as error:
        logger.warning(
            "webhook not stored", extra={"instance": str(instance_id), "error": type(error).__name__}
        )
        return JsonResponse({"status": "unavailable"}, status=503, headers={"Retry-After": "5"})
    return JsonResponse({"status": "stored"})


def _entry(request: HttpRequest, instance_id: UUID, event_name: str) -> journal.Entry | None:
    """What to journal; None for what nobody wants."""
    raw, size = _read(request)
    body = _parsed(raw, size)
    if not body.get("event") and event_name and "data" in body:
        body["event"] = storable(event_name).replace("-", ".")
    if _is_unwanted(body):
        return None
    event = body.get("event")
    name = event if isinstance(event, str) else ""
    return journal.Entry(instance_id, name, body, inbound.settled(body), size)


def _read(request: HttpRequest) -> tuple[bytes, int]:
    """The body as far as it may be kept, and its whole length."""
    raw = request.read(settings.CHAT_WEBHOOK_MAX_BYTES + 1)
    size = len(raw)
    if size > settings.CHAT_WEBHOOK_MAX_BYTES:
        while chunk := request.read(_CHUNK):
            size += len(chunk)
    return raw, size


def _parsed(raw: bytes, size: int) -> dict[str, Any]:
    """The body without credentials, as any database stores it; a stub when it is too big or unreadable."""
    if size > settings.CHAT_WEBHOOK_MAX_BYTES:
        return {"oversized": size}
    try:
        return strip_credentials(json.loads(raw))
    except (ValueError, RecursionError) as error:
        return {"unreadable": type(error).__name__, "bytes": size, "raw": _without_credentials(raw)}


def _without_credentials(raw: bytes) -> str:
    text = storable(raw[:RAW_LENGTH].decode(errors="replace"))
    return _FORM_PAIR.sub(r"\1=[removed]", _QUOTED_PAIR.sub(_pair_without_credential, text))


def _pair_without_credential(pair: re.Match[str]) -> str:
    return pair[0] if strip_credentials({pair[1]: ""}) else f'"{pair[1]}": "[removed]"'


def _is_unwanted(body: dict[str, Any]) -> bool:
    """Is everything this speaks of a status post or a channel?"""
    data = body.get("data")
    found = [_address(item) for item in (data if isinstance(data, list) else [data])]
    return bool(found) and all(_nobody_writes_to(address) for address in found)


def _address(item: object) -> str:
    fields = mapping_of(item)
    address = mapping_of(fields.get("key")).get("remoteJid") or fields.get("remoteJid")
    return address if isinstance(address, str) else ""


def _nobody_writes_to(address: str) -> bool:
    return jids.is_status_broadcast(address) or jids.is_newsletter(address)
