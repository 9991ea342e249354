"""Calls about an instance itself: make it, pair it, restart it, log it out, remove it.

Evolution tells some failures of these with HTTP 200 and `{"error": true}` (EVOLUTION.md, section 2; E26).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_
from typing import Final

from .client import EvolutionClient, EvolutionError, InstanceRef
from .wire import mapping_of, word_of

__all__ = ["QrCode", "connect", "create", "log_out", "remove", "restart"]

_CHANNEL: Final = "WHATSAPP-BAILEYS"


@dataclass(frozen=True, slots=True)
class QrCode:
    """What links a phone: the picture and its text, or a code to type. Never in a repr."""

    code: str | None = field(repr=False)
    base64: str | None = field(repr=False)
    pairing_code: str | None = field(repr=False)

    def __bool__(self) -> bool:
        return bool(self.code or self.base64 or self.pairing_code)


async def create(
    client: EvolutionClient,
    ref: InstanceRef,
    *,
    token: str,
    number: str,
    url: str,
    headers: Mapping[str, str],
    events: Sequence[str],
) -> None:
    """Make the instance, with its webhook registered from the start. `ref` holds a key that may create.

    Raises EvolutionError; status 403 means that the name is taken.
    """
    webhook = {
        "enabled": True,
        "url": url,
        "byEvents": False,
        "base64": False,
        "headers": dict(headers),
        "events": list(events),
    }
    body: dict[str, object] = {
        "instanceName": ref.name,
        "integration": _CHANNEL,
        "token": token,
        "qrcode": False,
        "webhook": webhook,
        **({"number": number} if number else {}),
    }
    await client.ask(with_(ref, name=""), "POST", "instance", "create", body)


async def connect(client: EvolutionClient, ref: InstanceRef, number: str = "") -> tuple[str, QrCode]:
    """Begin pairing: (state, code). Open already: the state alone; no code may mean "ask again soon".

    Args:
        number: digits with country code, for a pairing code instead of a picture.

    Raises EvolutionError.
    """
    params = {"number": number} if number else None
    body = _answered(await client.ask(ref, "GET", "instance", "connect", params=params), "connect", ref)
    state = word_of(mapping_of(body.get("instance")).get("state")) or "connecting"
    code = QrCode(word_of(body.get("code")), word_of(body.get("base64")), word_of(body.get("pairingCode")))
    return state, code


async def restart(client: EvolutionClient, ref: InstanceRef) -> str:
    """Restart it; its state. Raises EvolutionError, also for one that is closed."""
    body = _answered(await client.ask(ref, "POST", "instance", "restart"), "restart", ref)
    return word_of(mapping_of(body.get("instance")).get("state")) or "connecting"


async def log_out(client: EvolutionClient, ref: InstanceRef) -> bool:
    """Unlink the phone; False when it was not linked. Raises EvolutionError."""
    return await _gone(client, ref, "logout", already=(400,))


async def remove(client: EvolutionClient, ref: InstanceRef) -> bool:
    """Delete the instance and what Evolution stored of it; False when there is none. Raises EvolutionError."""
    return await _gone(client, ref, "delete", already=(404,))


async def _gone(client: EvolutionClient, ref: InstanceRef, verb: str, already: tuple[int, ...]) -> bool:
    try:
        await client.ask(ref, "DELETE", "instance", verb)
    except EvolutionError as error:
        if error.status in already:
            return False
        raise
    return True


def _answered(body: object, verb: str, ref: InstanceRef) -> Mapping[str, object]:
    """The answer as an object. Raises EvolutionError for a failure that calls itself a success."""
    answer = mapping_of(body)
    if answer.get("error") is True:
        raise EvolutionError(
            "connection_closed", permanent=False, status=200, where=f"instance/{verb} at {ref.address}"
        )
    return answer
