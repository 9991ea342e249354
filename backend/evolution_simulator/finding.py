"""The find* endpoints, with the filters Evolution really applies and those it silently ignores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from . import shapes
from .calls import Call
from .http import Reply
from .numbers import is_group
from .shapes import ApiError, Json, server_error
from .store import Contact, Instance, Row

_PAGE_SIZE = 50
_DAY = 86_400
Test = Callable[[Row], bool]


async def find_messages(call: Call) -> Reply:
    """POST /chat/findMessages. `offset` is the page size; newest first."""
    page, size = _number(call, "page") or 1, _number(call, "offset") or _PAGE_SIZE
    where = call.body.get("where") or {}
    rows = [] if call.empty else _matching(call.instance, where)
    rows.sort(key=lambda row: -row.timestamp)
    shown = rows[(page - 1) * size : page * size]
    pages = -(-len(rows) // size)
    records = [_record(row) for row in shown]
    return Reply(
        200, {"messages": {"total": len(rows), "pages": pages, "currentPage": page, "records": records}}
    )


async def find_status_message(call: Call) -> Reply:
    """POST /chat/findStatusMessage: the status history of one message; only `id` and `remoteJid` filter."""
    page, size = _number(call, "page") or 1, _number(call, "offset") or _PAGE_SIZE
    where = call.body.get("where") or {}
    key = {name: where[name] for name in ("id", "remoteJid") if where.get(name)}
    rows = [] if call.empty else _matching(call.instance, {"key": key})
    found = [entry for row in rows for entry in _history(row)]
    return Reply(200, found[(page - 1) * size : page * size])


async def find_chats(call: Call) -> Reply:
    """POST /chat/findChats: chats that have a stored message, newest first."""
    wanted = (call.body.get("where") or {}).get("remoteJid")
    chats = [pair for pair in call.instance.messages.chats() if wanted in {None, pair[0]}]
    chats.sort(key=lambda pair: -pair[1].timestamp)
    skip, take = int(call.body.get("skip") or 0), call.body.get("take")
    chats = chats[skip : skip + int(take)] if take else chats[skip:]
    return Reply(200, [] if call.empty else [_chat(call.instance, jid, row) for jid, row in chats])


async def find_contacts(call: Call) -> Reply:
    """POST /chat/findContacts: only `remoteJid` filters; `offset` is the page size."""
    wanted = (call.body.get("where") or {}).get("remoteJid")
    found = [contact for contact in call.instance.contacts.values() if wanted in {None, contact.jid}]
    size, page = int(call.body.get("offset") or 0), int(call.body.get("page") or 1)
    if size:
        found = found[(page - 1) * size : page * size]
    return Reply(200, [] if call.empty else [_contact(call.instance, contact) for contact in found])


async def find_chat_by_remote_jid(call: Call) -> Reply:
    """GET /chat/findChatByRemoteJid: the row or null."""
    jid = call.query.get("remoteJid")
    if not jid:
        raise ApiError(400, body={"error": "remoteJid is a required query parameter"})
    chat = call.instance.chats.get(jid)
    return Reply(200, _chat_row(call.instance, chat) if chat else None)


def _number(call: Call, name: str) -> int | None:
    value = call.body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        argument = "take" if name == "offset" else "skip"
        raise server_error(
            "\nInvalid `this.prismaRepository.message.findMany()` invocation\n\n"
            f"Argument `{argument}`: Invalid value provided. Expected Int, provided String."
        )
    return int(value) if value else None


def _matching(instance: Instance, where: Json) -> list[Row]:
    """Exact matches on what Evolution filters by; fromMe:false, limit and message are ignored."""
    key = where.get("key") or {}
    tests: list[Test] = [
        lambda row, name=name, value=key[name]: row.key.get(name) == value  # type: ignore[misc]
        for name in ("id", "participant", "remoteJidAlt", "remoteJid")
        if key.get(name)
    ]
    if key.get("fromMe"):
        tests.append(lambda row: bool(row.key.get("fromMe")))
    tests += _column_tests(where)
    return [row for row in _candidates(instance, key) if all(test(row) for test in tests)]


def _candidates(instance: Instance, key: Json) -> Iterable[Row]:
    if key.get("id"):
        row = instance.messages.get(key["id"])
        return [row] if row else []
    return instance.messages.of_chat(key["remoteJid"]) if key.get("remoteJid") else instance.messages


def _column_tests(where: Json) -> Iterable[Test]:
    if where.get("id"):
        yield lambda row: row.id == where["id"]
    if where.get("source"):
        yield lambda row: row.source == where["source"]
    if where.get("messageType"):
        yield lambda row: row.message_type == where["messageType"]
    span = where.get("messageTimestamp") or {}
    if span.get("gte") and span.get("lte"):
        low, high = _seconds(span["gte"]), _seconds(span["lte"])
        yield lambda row: low <= row.timestamp <= high


def _seconds(value: Any) -> int:
    """`new Date(value)` in whole seconds: an ISO date, or epoch milliseconds as a number."""
    if isinstance(value, int | float):
        return int(value // 1000)
    try:
        return int(datetime.fromisoformat(str(value)).timestamp())
    except ValueError as error:
        raise server_error("Invalid time value") from error


def _record(row: Row) -> Json:
    return {
        "id": row.id, "key": row.key, "pushName": row.push_name, "messageType": row.message_type,
        "message": row.message, "messageTimestamp": row.timestamp, "instanceId": row.instance_id,
        "source": row.source, "contextInfo": row.context_info,
        "MessageUpdate": [{"status": status} for _, status in row.updates],
    }  # fmt: skip


def _history(row: Row) -> Iterable[Json]:
    for update_id, status in row.updates:
        yield {
            "id": update_id, "keyId": row.key["id"], "remoteJid": row.jid, "fromMe": row.key["fromMe"],
            "participant": row.key.get("participant"), "pollUpdates": None, "status": status,
            "messageId": row.id, "instanceId": row.instance_id,
        }  # fmt: skip


def _chat(instance: Instance, jid: str, row: Row) -> Json:
    contact, chat = instance.contacts.get(jid), instance.chats.get(jid)
    window = chat.created_at if chat else None
    return {
        "id": contact.id if contact else None,
        "remoteJid": jid,
        "pushName": contact.name if contact and instance.is_baileys else None,
        "profilePicUrl": contact.picture if contact else None,
        "updatedAt": shapes.iso(row.timestamp),
        "windowStart": shapes.iso(window) if window else None,
        "windowExpires": shapes.iso(window + _DAY) if window else None,
        "windowActive": bool(window and time.time() < window + _DAY),
        "lastMessage": _last_message(row),
        "unreadCount": 0 if chat else None,
        "isSaved": contact is not None,
    }


def _last_message(row: Row) -> Json:
    push_name = row.push_name or ("Você" if row.key.get("fromMe") else None)
    return {
        "id": row.id, "key": row.key, "pushName": push_name, "participant": row.key.get("participant"),
        "messageType": row.message_type, "message": row.message, "contextInfo": row.context_info,
        "source": row.source, "messageTimestamp": row.timestamp, "instanceId": row.instance_id,
        "sessionId": None, "status": row.status,
    }  # fmt: skip


def _contact(instance: Instance, contact: Contact) -> Json:
    return {
        "id": contact.id, "remoteJid": contact.jid, "pushName": contact.name,
        "profilePicUrl": contact.picture,
        "createdAt": shapes.iso(contact.created_at), "updatedAt": shapes.iso(contact.updated_at),
        "instanceId": instance.id, "isGroup": is_group(contact.jid), "isSaved": True,
        "type": "group" if is_group(contact.jid) else "contact",
    }  # fmt: skip


def _chat_row(instance: Instance, chat: Contact) -> Json:
    return {
        "id": chat.id, "remoteJid": chat.jid, "name": chat.name, "labels": None,
        "createdAt": shapes.iso(chat.created_at), "updatedAt": shapes.iso(chat.updated_at),
        "instanceId": instance.id, "unreadMessages": 0,
    }  # fmt: skip
