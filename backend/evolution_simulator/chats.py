"""/chat/*: numbers, pictures, reading, presence, edits, deletions, media download."""

from __future__ import annotations

import base64
import mimetypes
import time
from typing import Any

from . import content, shapes
from .calls import NOT_ON_EVOLUTION, Call
from .http import Reply
from .numbers import create_jid, is_group, is_lid
from .shapes import ApiError, Json, bad_request, error_body, server_error, undefined
from .store import Instance, Row

_CLOSED_BOOM = {
    "data": None,
    "isBoom": True,
    "isServer": False,
    "output": {
        "statusCode": 428,
        "payload": {"statusCode": 428, "error": "Precondition Required", "message": "Connection Closed"},
        "headers": {},
    },
}
_EDITABLE = frozenset({"conversation", "extendedTextMessage", "imageMessage", "videoMessage"})


async def whatsapp_numbers(call: Call) -> Reply:
    """POST /chat/whatsappNumbers: groups first, then users; its errors have a shape of their own."""
    numbers = call.body.get("numbers")
    if numbers is not None and not (isinstance(numbers, list) and all(isinstance(n, str) for n in numbers)):
        raise _bare(['"numbers" must be an array of numeric strings'], nested=True)
    if not call.instance.is_baileys:
        raise _bare([NOT_ON_EVOLUTION])
    if not call.instance.is_open:
        raise ApiError(400, body=_CLOSED_BOOM if call.instance.has_socket else {})
    found = [(_known(call, number), number) for number in numbers or []]
    found.sort(key=lambda pair: not is_group(pair[0]["jid"]))
    return Reply(200, [about for about, _ in found])


async def fetch_profile_picture(call: Call) -> Reply:
    """POST /chat/fetchProfilePictureUrl: every failure is a null."""
    number = call.body.get("number")
    if not isinstance(number, str):
        raise server_error(undefined("replace"))
    found = call.sim.directory.resolve(number)
    picture = found.customer.picture if found.customer and call.instance.is_open else None
    return Reply(200, {"wuid": found.jid, "profilePictureUrl": picture})


async def mark_as_read(call: Call) -> Reply:
    """POST /chat/markMessageAsRead: drops @lid keys and says success."""
    call.require_baileys()
    if not call.instance.is_open:
        why = (
            "Error: Connection Closed"
            if call.instance.has_socket
            else f"TypeError: {undefined('readMessages')}"
        )
        raise ApiError(500, ["Read messages fail", why])
    for key in call.body["readMessages"]:
        taken = is_group(key["remoteJid"]) or key["remoteJid"].endswith("@s.whatsapp.net")
        entry = {"at": time.time(), "instance": call.instance.name, **key, "reached_whatsapp": taken}
        call.sim.traffic.reads.append(entry)
    return Reply(201, {"message": "Read messages", "read": "success"})


async def send_presence(call: Call) -> Reply:
    """POST /chat/sendPresence: answers after its `delay`."""
    call.require_baileys()
    if not call.instance.is_open:
        closed = (
            "Error: Connection Closed"
            if call.instance.has_socket
            else f"TypeError: {undefined('onWhatsApp')}"
        )
        raise bad_request(closed)
    if not call.sim.directory.resolve(call.body["number"]).exists:
        raise bad_request("[object Object]")
    await call.sim.pause(int(call.body["delay"]) / 1000)
    return Reply(201, {"presence": call.body["presence"]})


async def update_message(call: Call) -> Reply:
    """POST /chat/updateMessage: an edit; the id must be in the database."""
    call.require_baileys()
    key, text = call.body["key"], call.body["text"]
    row = call.instance.messages.get(key["id"])
    if row is None or row.message_type not in _EDITABLE:
        raise bad_request("Message not compatible")
    if row.jid != create_jid(call.body["number"]):
        raise bad_request("RemoteJid does not match")
    _require_socket(call.instance, "sendMessage")
    edited = {"extendedTextMessage": {"text": text}}
    moment = time.time_ns() // 1_000_000
    protocol = {"key": key, "type": "MESSAGE_EDIT", "editedMessage": edited, "timestampMs": str(moment)}
    answer = _raw(key["remoteJid"], {"protocolMessage": protocol})
    _accepted(call, "edit", row.jid, text, answer)
    row.message, row.timestamp = {"conversation": text}, shapes.now_seconds()
    row.updates.append((shapes.new_cuid(), "EDITED"))
    data = {"key": key, "editedMessage": edited, "timestampMs": moment, "type": 14}
    call.sim.webhooks.emit(call.instance, "send.message.update", data)
    return Reply(200, answer)


async def delete_for_everyone(call: Call) -> Reply:
    """DELETE /chat/deleteMessageForEveryone: an unknown id is a success without a webhook."""
    call.require_baileys()
    if not call.instance.is_open:
        known = call.instance.own_jid is not None
        why = "Error: Connection Closed" if known else f"TypeError: {undefined('id')}"
        raise ApiError(500, ["Error while deleting message for everyone", why])
    key = {
        name: call.body[name] for name in ("remoteJid", "fromMe", "id", "participant") if name in call.body
    }
    answer = _raw(key["remoteJid"], {"protocolMessage": {"key": key, "type": "REVOKE"}})
    _accepted(call, "revoke", key["remoteJid"], "", answer)
    row = call.instance.messages.get(key["id"])
    if row is not None:
        _delete(call, row)
    return Reply(201, answer)


async def get_base64(call: Call) -> Reply:
    """POST /chat/getBase64FromMediaMessage, by id or with a webhook's whole `data` as `message`."""
    asked = call.body.get("message")
    if not isinstance(asked, dict):
        raise bad_request(f"TypeError: {undefined('key')}")
    call.require_baileys()
    key_id = (asked.get("key") or {}).get("id")
    row = call.instance.messages.get(key_id)
    message = asked.get("message") or (row.message if row else None)
    if message is None:
        raise bad_request("Message not found")
    kind = next((name for name in message if name.endswith("Message") and "mediaKey" in message[name]), None)
    if kind is None:
        raise bad_request("The message is not of the media type")
    data = call.instance.media.get(key_id or "")
    if data is None:
        raise bad_request(f"Error: Failed to fetch stream from {message[kind].get('url')}")
    return Reply(201, _downloaded(str(key_id), kind, message[kind], data))


def _known(call: Call, number: str) -> Json:
    found = call.sim.directory.resolve(number)
    about: Json = {"jid": found.jid, "exists": found.exists, "number": number}
    if is_group(found.jid):
        group = call.sim.groups.get(found.jid)
        return {**about, "exists": group is not None, **({"name": group.subject} if group else {})}
    contact = call.instance.contacts.get(found.jid)
    name = contact.name if contact and contact.name else (found.customer.name if found.customer else "")
    if found.exists and name:
        about["name"] = name
    if is_lid(found.jid):
        about["lid"] = "lid"
    return about


def _bare(message: list[str], *, nested: bool = False) -> ApiError:
    body = error_body(400, None)
    del body["response"]
    return ApiError(400, body={**body, "message": [message] if nested else message})


def _require_socket(instance: Instance, reading: str) -> None:
    if not instance.is_open:
        raise bad_request(
            "Error: Connection Closed" if instance.has_socket else f"TypeError: {undefined(reading)}"
        )


def _raw(jid: str, message: Json) -> Json:
    """What Baileys' sendMessage returns: numbers as strings."""
    key = {"remoteJid": jid, "fromMe": True, "id": shapes.new_key_id()}
    return {
        "key": key,
        "message": message,
        "messageTimestamp": str(shapes.now_seconds()),
        "status": "PENDING",
    }


def _accepted(call: Call, kind: str, jid: str, text: str, answer: Json) -> None:
    endpoint = call.endpoint.rpartition("/")[2]
    call.sim.accepted.add(
        at=time.time(), instance=call.instance.name, endpoint=endpoint, kind=kind,
        number=call.body.get("number") or jid, jid=jid, text=text, key_id=answer["key"]["id"],
        answered="200" if kind == "edit" else "201", first_byte_at=call.first_byte_at,
        body_sha256=call.body_sha256(),
    )  # fmt: skip


def _delete(call: Call, row: Row) -> None:
    row.key["deleted"] = True
    row.status = "DELETED"
    row.updates.append((shapes.new_cuid(), "DELETED"))
    data = {
        "id": row.id, "instanceId": row.instance_id, "key": row.key, "messageType": row.message_type,
        "status": "DELETED", "source": row.source, "messageTimestamp": row.timestamp,
        "pushName": row.push_name, "participant": row.key.get("participant"), "message": row.message,
    }  # fmt: skip
    call.sim.webhooks.emit(call.instance, "messages.delete", data)


def _downloaded(key_id: str, kind: str, message: Any, data: bytes) -> Json:
    mimetype = message.get("mimetype") or content.MIMETYPES["document"]
    extension = mimetypes.guess_extension(mimetype.split(";")[0]) or ".bin"
    extension = {".jpg": ".jpeg", ".oga": ".ogg"}.get(extension, extension)
    size = {name: message.get(name) for name in ("fileLength", "height", "width")}
    return {
        "mediaType": kind,
        "fileName": message.get("fileName") or f"{key_id}{extension}",
        "caption": message.get("caption"),
        "size": {name: value for name, value in size.items() if value is not None},
        "mimetype": mimetype,
        "base64": base64.b64encode(data).decode(),
        "buffer": None,
    }
