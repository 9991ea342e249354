"""What an administrator does to a WhatsApp number: make it, pair it by QR code, restart it, log it out, remove it.

Every verb asks Evolution and then writes what came of it; the webhooks that follow say the same. Facts that bite
(EVOLUTION.md 0.11): an instance that was logged out and paired again in the same Evolution process receives nothing any
more. So pairing again deletes it there and makes it anew first; our row, its conversations and its address stay.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.db.models.functions import Now
from django.utils import timezone

from apps.chat.delivery import gate, lane
from apps.chat.errors import ChatError, Conflict, InvalidMessage
from apps.chat.evolution import numbers
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef, Timeouts
from apps.chat.evolution.jids import digits_of
from apps.chat.evolution.numbers import QrCode
from apps.chat.evolution.reasons import REASONS
from apps.chat.evolution.webhook_events import WANTED
from apps.chat.models import Instance
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.webhook_registration import Registration, register_all, webhook_url
from apps.chat.webhooks import SECRET_HEADER

logger = logging.getLogger(__name__)

NAME_LONGEST: Final = 100
REMOVED: Final = "removed"
_QR_TRIES: Final = 5
_QR_PAUSE_SECONDS: Final = 1.0
_QR_FRESH: Final = timedelta(seconds=45)

Answer = TypeVar("Answer")


class EvolutionRefused(ChatError):
    """Evolution could not do it; the sentence says why."""

    code = "evolution_refused"
    status = 502


@dataclass(frozen=True, slots=True)
class Pairing:
    """How pairing stands: open, or a code to scan or to type (None: ask again in a moment)."""

    state: str
    code: QrCode | None
    recreated: bool = False


# --- verbs ----------------------------------------------------------------------------------------


def check_name(name: str) -> str:
    """The name without outer space; raises InvalidMessage unless it can name an instance in Evolution's URLs."""
    name = name.strip()
    if not 0 < len(name) <= NAME_LONGEST or not name.isprintable() or any(c in name for c in "/\\?#%"):
        raise InvalidMessage(f"A name has 1 to {NAME_LONGEST} characters, without / \\ ? # %.")
    if not name.strip("."):
        raise InvalidMessage("A name is more than dots.")
    return name


def check_number(number: str) -> str:
    """Digits with country code of what a person typed, empty for none; raises InvalidMessage."""
    if not number.strip():
        return ""
    try:
        return digits_of(number)
    except ValueError as problem:
        raise InvalidMessage(str(problem)) from None


def create(tenant_id: UUID, name: str, number: str = "") -> tuple[Instance, Registration]:
    """Make a number here and in Evolution, with its webhook; it is paired by `connect`.

    Raises:
        InvalidMessage: it cannot be called so.
        Conflict: there is one of this name, or no Evolution server is known.
        EvolutionRefused: Evolution did not make it; nothing is left behind here.
    """
    name, number = check_name(name), check_number(number)
    base_url, key = _server_for(tenant_id)
    try:
        with transaction.atomic():
            instance = Instance.objects.create(
                tenant_id=tenant_id,
                name=name,
                base_url=base_url,
                api_key=secrets.token_urlsafe(24),
                webhook_secret=secrets.token_urlsafe(32),
                connection=Instance.Connection.CLOSE,
            )
    except IntegrityError:
        raise Conflict("There is a number of this name already.") from None
    try:
        _ask(lambda client: _create(client, instance, [key], number))
    except ChatError:
        instance.delete()
        raise
    logger.info("instance made", extra={"instance": str(instance.pk)})
    return instance, setup_webhook(instance)


def setup_webhook(instance: Instance) -> Registration:
    """Register the webhook and read it back."""
    return register_all([instance.pk])[0]


def connect(instance: Instance, number: str = "") -> Pairing:
    """Begin pairing: a QR code, or with `number` a code to type on the phone.

    Raises:
        InvalidMessage: that is no number.
        EvolutionRefused: Evolution cannot be asked.
    """
    number = check_number(number)
    keys = [instance.api_key, *_keys_for(instance)]
    anew = instance.logged_out_at is not None or instance.gate_reason == REMOVED
    pairing = _ask(lambda client: _pair(client, instance, number, keys, anew=anew))
    values: dict[str, object] = {"connection": _connection(pairing.state), "qr_at": Now()}
    if pairing.recreated:
        values["logged_out_at"] = None
    if pairing.code:
        kept = {
            "code": pairing.code.code,
            "base64": pairing.code.base64,
            "pairingCode": pairing.code.pairing_code,
        }
        values["qr"] = json.dumps(kept)
    Instance.objects.filter(pk=instance.pk).update(**values)
    if pairing.recreated and instance.gate_reason == REMOVED:
        _thaw(instance.pk)
    return pairing


def latest_code(instance: Instance) -> Pairing:
    """The code as the last webhook told it: Evolution makes a new one every twenty seconds or so."""
    fresh = instance.qr_at is not None and timezone.now() - instance.qr_at < _QR_FRESH
    if instance.connection == Instance.Connection.OPEN or not fresh or not instance.qr:
        return Pairing(instance.connection, None)
    kept = json.loads(instance.qr)
    return Pairing(instance.connection, QrCode(kept.get("code"), kept.get("base64"), kept.get("pairingCode")))


def restart(instance: Instance) -> str:
    """Restart it in Evolution; its state. A mute one may send again.

    Raises:
        EvolutionRefused: it is closed (pair it instead), or Evolution cannot be asked.
    """
    state = _ask(lambda client: numbers.restart(client, _ref(instance)))
    Instance.objects.filter(pk=instance.pk).update(connection=_connection(state), heal_at=Now())
    if instance.gate_reason == gate.MUTE:
        gate.reopen(instance.pk, "restarted by a person")
    return state


def log_out(instance: Instance) -> bool:
    """Unlink the phone; False when it was not linked. What is queued waits."""
    done = _ask(lambda client: numbers.log_out(client, _ref(instance)))
    Instance.objects.filter(pk=instance.pk).update(
        connection=Instance.Connection.CLOSE, connection_reason="401", logged_out_at=Now(), qr=""
    )
    gate.park(instance.pk, "logged_out")
    _tell(instance.pk)
    return done


def remove(instance: Instance) -> bool:
    """Delete it in Evolution. True: it is gone here, too; False: its conversations keep it, frozen, as history."""
    _ask(lambda client: numbers.remove(client, _ref(instance)))
    try:
        instance.delete()
    except ProtectedError:
        Instance.objects.filter(pk=instance.pk).update(
            connection=Instance.Connection.CLOSE,
            gate=Instance.Gate.FROZEN,
            gate_reason=REMOVED,
            gate_since=Now(),
            qr="",
        )
        _tell(instance.pk)
        return False
    return True


def state(instance: Instance) -> str:
    """What Evolution says of the link now: open, connecting or close; its opinion is written down."""
    found = _ask(lambda client: client.connection_state(_ref(instance))) or "connecting"
    Instance.objects.filter(pk=instance.pk).update(connection=_connection(found))
    if found == Instance.Connection.OPEN and instance.gate_reason not in (gate.MUTE, gate.THROTTLED):
        gate.connection_changed(instance.pk, found, None)
    return found


# --- Evolution's side -----------------------------------------------------------------------------


def _ref(instance: Instance, key: str = "") -> InstanceRef:
    return InstanceRef(instance.name, instance.base_url, key or instance.api_key)


def _ask(work: Callable[[EvolutionClient], Awaitable[Answer]]) -> Answer:
    """Run calls with a client of their own; an EvolutionError becomes a sentence for people."""

    async def run() -> Answer:
        async with EvolutionClient(timeouts=Timeouts(query=settings.CHAT_EVOLUTION_ADMIN_SECONDS)) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except EvolutionError as error:
        raise _refused(error) from None


def _refused(error: EvolutionError) -> ChatError:
    if error.status == 403:
        return Conflict("Evolution has an instance of this name already. Choose another name.")
    words = {
        "connect_failed": "Evolution cannot be reached.",
        "read_timeout": "Evolution does not answer in time. Look at its state before you try again.",
        "unauthorized": "Evolution refuses our key for this. Set EVOLUTION_API_KEY to its global key.",
        "instance_missing": "Evolution has no instance of this name. Connect it: that makes it anew.",
        "connection_closed": "Evolution says that the number is closed. Connect it.",
    }
    said = words.get(error.reason) or REASONS.get(error.reason, (f"Evolution refused: {error.reason}.",))[0]
    return EvolutionRefused(said)


async def _create(client: EvolutionClient, instance: Instance, keys: list[str], number: str) -> None:
    """Make it with the first key that may. Our key becomes its token, unless that is the server's own key."""
    for key in keys:
        token = instance.api_key if key != instance.api_key else secrets.token_urlsafe(24)
        try:
            await numbers.create(
                client,
                _ref(instance, key),
                token=token,
                number=number,
                url=webhook_url(instance.pk),
                headers={SECRET_HEADER: instance.webhook_secret},
                events=WANTED,
            )
        except EvolutionError as error:
            if error.status != 401 or key == keys[-1]:
                raise
        else:
            return


async def _pair(
    client: EvolutionClient, instance: Instance, number: str, keys: list[str], *, anew: bool
) -> Pairing:
    if not anew:
        try:
            return await _code(client, instance, number)
        except EvolutionError as error:
            if error.reason != "instance_missing":
                raise
    await _remake(client, instance, number, keys)
    found = await _code(client, instance, number)
    return Pairing(found.state, found.code, recreated=True)


async def _remake(client: EvolutionClient, instance: Instance, number: str, keys: list[str]) -> None:
    """Delete it there and make it anew, under the same name and key. A shared key cannot be its token."""
    try:
        await numbers.remove(client, _ref(instance))
    except EvolutionError as error:
        if error.reason != "instance_missing":
            raise
    await _create(client, instance, list(dict.fromkeys(keys)), number)


async def _code(client: EvolutionClient, instance: Instance, number: str) -> Pairing:
    """The first code; just after the start there may be none for some seconds."""
    for _ in range(_QR_TRIES):
        state, code = await numbers.connect(client, _ref(instance), number)
        if state == Instance.Connection.OPEN or code:
            return Pairing(state, code or None)
        await asyncio.sleep(_QR_PAUSE_SECONDS)
    return Pairing("connecting", None)


# --- our side -------------------------------------------------------------------------------------


def _server_for(tenant_id: UUID) -> tuple[str, str]:
    """Where new instances are made and the key that may: the settings', else that of the tenant's first number."""
    if settings.EVOLUTION_URL and settings.EVOLUTION_API_KEY:
        return settings.EVOLUTION_URL, settings.EVOLUTION_API_KEY
    first = Instance.objects.filter(tenant_id=tenant_id).exclude(api_key="").order_by("created_at").first()
    if first is None:
        raise Conflict("No Evolution server is known: set EVOLUTION_URL and EVOLUTION_API_KEY.")
    return first.base_url, first.api_key


def _keys_for(instance: Instance) -> list[str]:
    """Keys that may create on this instance's server: the global one, else those of the tenant's other numbers."""
    keys = [settings.EVOLUTION_API_KEY] if instance.base_url == settings.EVOLUTION_URL else []
    others = Instance.objects.filter(tenant_id=instance.tenant_id, base_url=instance.base_url)
    keys += [row.api_key for row in others.exclude(pk=instance.pk).order_by("created_at")[:10]]
    return [key for key in keys if key]


def _connection(state: str) -> Instance.Connection:
    known = set(Instance.Connection.values)
    return Instance.Connection(state) if state in known else Instance.Connection.CONNECTING


def _thaw(instance_id: UUID) -> None:
    """A removed number that was made anew may send again, as soon as it is paired."""
    Instance.objects.filter(pk=instance_id, gate=Instance.Gate.FROZEN).update(
        gate=Instance.Gate.PARKED, gate_reason="logged_out", probe_at=Now()
    )
    lane.wake_instance(instance_id)


def _tell(instance_id: UUID) -> None:
    row = Instance.objects.defer("api_key", "webhook_secret", "qr").get(pk=instance_id)
    publish(
        row.tenant_id,
        events.instance_status_changed(
            instance_id=row.pk,
            name=row.name,
            connection=row.connection,
            gate=Instance.Gate(row.gate).name.lower(),
            reason=row.gate_reason,
        ),
    )
