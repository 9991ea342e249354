"""How Evolution's Baileys channel turns what a caller calls a number into a JID."""

from __future__ import annotations

import re

USER_SUFFIX = "@s.whatsapp.net"
GROUP_SUFFIX = "@g.us"
LID_SUFFIX = "@lid"
BROADCAST_SUFFIX = "@broadcast"

_DEVICE = re.compile(r":\d+")
_BRAZIL_MOBILE = re.compile(r"^55(\d{2})\d(\d{8})$")
_FULL_JIDS = (GROUP_SUFFIX, USER_SUFFIX, LID_SUFFIX, BROADCAST_SUFFIX)
_GROUP_DIGITS = 18
_OLD_GROUP_LENGTH = 24


def create_jid(number: str) -> str:
    """The JID Evolution addresses for `number`; an empty or alphabetic one gives `@s.whatsapp.net`."""
    number = _DEVICE.sub("", number)
    if any(suffix in number for suffix in _FULL_JIDS):
        return number
    local = re.sub(r"[\s+()]", "", number).split("@")[0]
    if "-" in local and len(local) >= _OLD_GROUP_LENGTH:
        return re.sub(r"[^\d-]", "", local) + GROUP_SUFFIX
    digits = re.sub(r"\D", "", local)
    if len(digits) >= _GROUP_DIGITS:
        return digits + GROUP_SUFFIX
    return _brazil(_mexico_or_argentina(digits)) + USER_SUFFIX


def canonical_digits(number: str) -> str:
    """The digits under which WhatsApp knows a phone, whichever way it was written."""
    return create_jid(local_part(number)).split("@")[0] if not is_lid(number) else local_part(number)


def local_part(jid: str) -> str:
    """What stands before the `@` and before any device number."""
    return jid.split("@")[0].split(":")[0]


def is_group(jid: str) -> bool:
    """True for a group's JID."""
    return jid.endswith(GROUP_SUFFIX)


def is_lid(jid: str) -> bool:
    """True for an opaque (`@lid`) JID."""
    return jid.endswith(LID_SUFFIX)


def exists_by_default(jid: str) -> bool:
    """Whether an unregistered number counts as being on WhatsApp.

    Brazilian area codes begin at 11, so `5500…` is a number nobody can have.
    """
    digits = local_part(jid)
    return not (digits.startswith("55") and digits[2:4].isdigit() and int(digits[2:4]) < 11)


def _brazil(digits: str) -> str:
    """Drop the ninth digit where WhatsApp does: area code 31 and up, and a subscriber beginning with 7-9."""
    match = _BRAZIL_MOBILE.match(digits)
    if match is None or int(match[1]) < 31 or int(match[2][0]) < 7:
        return digits
    return f"55{match[1]}{match[2]}"


def _mexico_or_argentina(digits: str) -> str:
    """13-digit Mexican and Argentine mobiles lose the digit after the country code."""
    if digits[:2] in {"52", "54"} and len(digits) == 13:
        return digits[:2] + digits[3:]
    return digits
