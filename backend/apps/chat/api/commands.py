"""What a client may say on its socket: one coroutine per command, each checking what it is given.

All of them act for the socket's user on the socket's tenant and on nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

from channels.db import database_sync_to_async

from apps.chat import actions, attaching, lookups
from apps.chat.api.rows import attachments_of
from apps.chat.errors import ChatError
from apps.chat.models import Conversation, Message
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.realtime.shapes import person
from apps.tenancy.models import User

Command = dict[str, Any]


class Refused(ChatError):
    """A command that cannot be followed, with a code of its own."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Socket(Protocol):
    """What a command needs of its socket."""

    user: User
    tenant_id: str

    @property
    def position(self) -> int: ...

    async def greet(self, **fields: Any) -> None: ...

    async def say(self, kind: str, **fields: Any) -> None: ...

    async def resume(self, last_seq: int) -> None: ...


async def subscribe(socket: Socket, command: Command) -> None:
    """Confirm that events come, optionally that this conversation is among them. All of the tenant's are."""
    fields: dict[str, Any] = {}
    if command.get("conversation_id") is not None:
        found = await _conversation(socket, command)
        fields["conversation_id"] = str(found.pk)
    await socket.greet(**fields)


async def unsubscribe(socket: Socket, command: Command) -> None:
    """Nothing to undo: agents see all conversations of their tenant."""


async def send_message(socket: Socket, command: Command) -> None:
    """Write a message. The answer is `message_received`, as for everyone; direct when it was known already."""
    key = "conversation" if "conversation" in command else "conversation_id"
    wanted = _id(command, key)
    content, meant, reply = (command.get(name) for name in ("content", "client_message_id", "reply_to"))
    if not isinstance(content, str):
        raise Refused("content must be a text.", "invalid_message")
    if meant is not None and not isinstance(meant, str):
        raise Refused("client_message_id must be a text.", "invalid_message")
    reply_to = _id(command, "reply_to") if reply is not None else None
    files = _ids(command, "attachments")

    def write() -> events.Event | None:
        conversation = lookups.conversation_to_write_in(socket.tenant_id, wanted)
        if files:
            rows, new = attaching.send_files(socket.user, conversation, content, files, meant, reply_to)
            return None if new else known_again(rows[0])
        message, created = actions.send_message(socket.user, conversation, content, meant, reply_to)
        return None if created else known_again(message)

    def known_again(message: Message) -> events.Event:
        rows = attachments_of([message]).get(message.pk, ())
        return events.message_received(message, lookups.delivery_of(message), rows)

    known: events.Event | None = await _in_thread(write)
    if known is not None:
        await socket.say(known.pop("type"), **known)


async def typing(socket: Socket, command: Command) -> None:
    """Let colleagues see that someone is writing."""
    conversation = await _conversation(socket, command)
    active = command.get("is_typing", True) is not False
    publish(
        socket.tenant_id,
        events.typing(conversation_id=conversation.pk, user=person(socket.user), active=active),
    )


async def mark_as_seen(socket: Socket, command: Command) -> None:
    """Mark a conversation read, up to a message when one is named."""
    wanted = _id(command, "conversation_id")
    message_id = _id(command, "message_id") if command.get("message_id") is not None else None

    def mark() -> None:
        actions.mark_as_read(lookups.conversation_of(socket.tenant_id, wanted), message_id)

    await _in_thread(mark)


async def resume(socket: Socket, command: Command) -> None:
    """Replay what followed `last_seq`."""
    last_seq = command.get("last_seq")
    if not isinstance(last_seq, int) or isinstance(last_seq, bool) or not 0 <= last_seq < 2**53:
        raise Refused("last_seq must be the number of the last event you have.", "invalid_last_seq")
    await socket.resume(last_seq)


async def ping(socket: Socket, command: Command) -> None:
    """Answer with the number of the last event that was sent on this socket."""
    await socket.say(events.PONG, seq=socket.position)


COMMANDS: dict[str, Callable[[Any, Command], Awaitable[None]]] = {
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "send_message": send_message,
    "typing": typing,
    "mark_as_seen": mark_as_seen,
    "resume": resume,
    "ping": ping,
}


def _id(command: Command, name: str) -> UUID:
    try:
        return UUID(command[name])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(f"{name} must be an id.", "invalid_id") from None


def _ids(command: Command, name: str) -> list[UUID]:
    """A list of ids, empty when there is none."""
    given = command.get(name) or []
    try:
        return [UUID(one) for one in given]
    except (TypeError, ValueError, AttributeError):
        raise Refused(f"{name} must be a list of ids.", "invalid_id") from None


async def _conversation(socket: Socket, command: Command) -> Conversation:
    wanted = _id(command, "conversation_id")
    found: Conversation = await _in_thread(lookups.conversation_of, socket.tenant_id, wanted)
    return found


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run database work in any thread: sockets must not queue behind one another."""
    return await database_sync_to_async(function, thread_sensitive=False)(*args)
