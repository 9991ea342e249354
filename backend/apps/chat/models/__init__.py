"""The rows. A `Delivery` is the truth about one thing we owe WhatsApp; everything else on the way is a hint.

Ids that leave the system are UUIDv7; ids that only the engine uses are big integers.
"""

from .attachments import MessageAttachment
from .conversations import Contact, ContactJid, ContactMerge, Conversation
from .deliveries import Attempt, Delivery, Evidence, PassportEntry, Worker
from .instances import Instance
from .journal import WebhookEvent
from .messages import Ack, Message
from .reactions import MessageReaction

__all__ = [
    "Ack",
    "Attempt",
    "Contact",
    "ContactJid",
    "ContactMerge",
    "Conversation",
    "Delivery",
    "Evidence",
    "Instance",
    "Message",
    "MessageAttachment",
    "MessageReaction",
    "PassportEntry",
    "WebhookEvent",
    "Worker",
]
