"""Which of Evolution's webhook events we ask for: those from which something follows here, and no others.

Evolution sends about four webhooks for each message that comes in: `chats.update` says nothing we use, and what
`contacts.update` repeats is dropped at the door. Names as `/webhook/set` takes them; an unknown one is refused with 400
(EVOLUTION.md, webhook/set).
"""

from typing import Final

WANTED: Final = (
    "CALL",
    "CHATS_SET",
    "CONNECTION_UPDATE",
    "CONTACTS_SET",
    "CONTACTS_UPDATE",
    "CONTACTS_UPSERT",
    "GROUPS_UPSERT",
    "GROUP_PARTICIPANTS_UPDATE",
    "GROUP_UPDATE",
    "LOGOUT_INSTANCE",
    "MESSAGES_DELETE",
    "MESSAGES_EDITED",
    "MESSAGES_SET",
    "MESSAGES_UPDATE",
    "MESSAGES_UPSERT",
    "PRESENCE_UPDATE",
    "QRCODE_UPDATED",
    "REMOVE_INSTANCE",
    "SEND_MESSAGE",
    "SEND_MESSAGE_UPDATE",
    "STATUS_INSTANCE",
)
