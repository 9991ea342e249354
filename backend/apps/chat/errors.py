"""What may go wrong, as exceptions: `code` is for programs, the message for people, `status` for HTTP."""

from __future__ import annotations


class ChatError(Exception):
    """Root of what the chat raises on purpose."""

    code = "chat_error"
    status = 400


class InvalidMessage(ChatError):
    """The text or its address cannot be sent as given; nothing was stored."""

    code = "invalid_message"
    status = 400


class NotFound(ChatError):
    """There is no such thing, or it is another tenant's: both read the same."""

    code = "not_found"
    status = 404


class Conflict(ChatError):
    """The thing is not in a state in which this can be done."""

    code = "conflict"
    status = 409


class QueueAway(ChatError):
    """Redis cannot be reached. What was accepted is safe in the database and moves without it, more slowly."""

    code = "queue_away"
    status = 503


class UnknownInstance(ChatError):
    """A caller named an instance that the conversation's tenant does not have; it was not called."""

    code = "unknown_instance"
    status = 400


class LinkEnded(ChatError):
    """A link to a file whose time is over; asking for the attachment again brings a new one."""

    code = "link_expired"
    status = 403


class FileAway(ChatError):
    """The storage does not give a file at present."""

    code = "storage_away"
    status = 503
