"""Which of Evolution's webhook events we ask for: those from which something follows here, and no others.

Evolution sends about four webhooks for each message that comes in; two of them (`contacts.update`, `chats.update`) say
nothing we use. Names as `/webhook/set` takes them; an unknown one is refused with 400 (EVOLUTION.md, webhook/set).
"""

from typing import Final

WANTED: Final = (
    "CONNECTION_UPDATE",
    "LOGOUT_INSTANCE",
    "MESSAGES_DELETE",
    "MESSAGES_EDITED",
    "MESSAGES_UPDATE",
    "MESSAGES_UPSERT",
    "REMOVE_INSTANCE",
    "SEND_MESSAGE",
    "SEND_MESSAGE_UPDATE",
    "STATUS_INSTANCE",
)
