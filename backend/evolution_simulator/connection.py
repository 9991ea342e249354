"""Connection state: how it changes, and which webhooks say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from . import shapes
from .content import TINY_PNG
from .shapes import Json
from .simulator import Simulator
from .store import Instance

FINAL_REASONS = frozenset({401, 402, 403, 406})
"""Closes WhatsApp means; after any other one Evolution reconnects at once, without a close event."""

_QR_IMAGE = "data:image/png;base64,"


def set_state(
    sim: Simulator, instance: Instance, state: str, reason: int = 401, *, webhook: bool = True
) -> None:
    """Put an instance in a state, with the webhooks the real server sends for it."""
    if state == "open":
        _open(sim, instance, webhook=webhook)
    elif state == "connecting":
        _connecting(sim, instance, webhook=webhook)
    else:
        _close(
            sim,
            instance,
            reason,
            HTTPStatus(reason).phrase if reason in FINAL_REASONS else "closed",
            webhook=webhook,
        )


def log_out(sim: Simulator, instance: Instance) -> None:
    """What DELETE /instance/logout leads to."""
    _close(sim, instance, 401, "Intentional Logout", webhook=instance.is_baileys)
    instance.silenced = True


def new_qr(sim: Simulator, instance: Instance, *, pairing: bool) -> Json:
    """A fresh QR code (which nobody can scan: pair with POST /_control/instances/{i}/state)."""
    import base64

    instance.qr_count += 1
    code: Json = {
        "pairingCode": "ABCD1234" if pairing else None,
        "code": f"2@SIMULATED-{shapes.new_key_id()}",
        "base64": _QR_IMAGE + base64.b64encode(TINY_PNG).decode(),
    }
    sim.webhooks.emit(instance, "qrcode.updated", {"qrcode": {"instance": instance.name, **code}})
    return {**code, "count": instance.qr_count}


def state_body(instance: Instance) -> Json:
    """The body of connectionState."""
    return {"instance": {"instanceName": instance.name, "state": instance.state}}


def _open(sim: Simulator, instance: Instance, *, webhook: bool) -> None:
    instance.state, instance.has_socket, instance.qr_count = "open", True, 0
    if instance.is_baileys:
        instance.own_jid = instance.own_jid or sim.store.own_jid_for(instance)
        instance.profile_name = instance.profile_name or f"{instance.name} phone"
    if webhook:
        shown = {"wuid": instance.own_jid, "profileName": instance.profile_name, "profilePictureUrl": None}
        _update(sim, instance, {"instance": instance.name, **shown, "state": "open", "statusReason": 200})
    sim.release(instance)


def _connecting(sim: Simulator, instance: Instance, *, webhook: bool) -> None:
    instance.state, instance.has_socket = "connecting", True
    if webhook:
        _update(sim, instance, {"instance": instance.name, "state": "connecting", "statusReason": 200})


def _close(sim: Simulator, instance: Instance, reason: int, why: str, *, webhook: bool) -> None:
    instance.state = "close"
    instance.disconnection = _disconnection(reason, why)
    if not webhook:
        return
    if reason not in FINAL_REASONS:
        _update(sim, instance, {"instance": instance.name, "state": "connecting", "statusReason": 200})
        return
    closed = {"instance": instance.name, "status": "closed", **instance.disconnection}
    close = {"instance": instance.name, "state": "close", "statusReason": reason}
    events: list[Callable[[], object]] = [
        lambda: sim.webhooks.emit(instance, "status.instance", closed),
        lambda: sim.webhooks.emit(instance, "logout.instance", None),
        lambda: _update(sim, instance, close),
    ]
    sim.rng.shuffle(events)
    for event in events:
        event()


def _update(sim: Simulator, instance: Instance, data: Json) -> None:
    sim.webhooks.emit(instance, "connection.update", data)


def _disconnection(reason: int, why: str) -> Json:
    phrase = HTTPStatus(reason).phrase if reason in set(HTTPStatus) else "Unknown"
    payload = {"statusCode": reason, "error": phrase, "message": why}
    output = {"statusCode": reason, "payload": payload, "headers": {}}
    error = {"data": None, "isBoom": True, "isServer": False, "output": output}
    detail = json.dumps({"error": error, "date": shapes.iso()}, separators=(",", ":"))
    return {"disconnectionAt": shapes.iso(), "disconnectionReasonCode": reason, "disconnectionObject": detail}
