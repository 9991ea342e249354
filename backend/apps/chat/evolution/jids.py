"""WhatsApp addresses: what a person types, what Evolution answers, and when two of them are the same person.

A JID is `<user>[:device]@<domain>`. Evolution rewrites Brazilian, Mexican and Argentinian numbers before it
sends, its EVOLUTION channel returns whatever string it was given, and WhatsApp alternates between phone and
`@lid` addresses, so addresses are compared by `canonical_key`, never as strings.
"""

import re
import unicodedata
from typing import Final

import phonenumbers

PHONE_DOMAIN: Final = "s.whatsapp.net"
GROUP_DOMAIN: Final = "g.us"
LID_DOMAIN: Final = "lid"
STATUS_BROADCAST: Final = "status@broadcast"

_DOMAIN_ALIASES: Final = {"c.us": PHONE_DOMAIN, "hosted": PHONE_DOMAIN, "hosted.lid": LID_DOMAIN}
_TYPED_NUMBER: Final = re.compile(r"\+?[0-9 ()./-]+")
_DEVICE: Final = re.compile(r"[:_][0-9]+$")
_USER_OF: Final = {
    PHONE_DOMAIN: re.compile(r"[0-9]{5,15}"),
    LID_DOMAIN: re.compile(r"[0-9]{1,20}"),
    GROUP_DOMAIN: re.compile(r"[0-9]{5,20}(-[0-9]{5,15})?"),
}
# Evolution reads a bare number of this many digits as a group id.
_GROUP_DIGITS: Final = 18

_BR_NINTH: Final = re.compile(r"(55[1-9][0-9])9([016-9][0-9]{7})")
_BR_EIGHT: Final = re.compile(r"(55[1-9][0-9])([016-9][0-9]{7})")
_MX_MOBILE: Final = re.compile(r"(52)1([0-9]{10})")
_AR_MOBILE: Final = re.compile(r"(54)9([0-9]{10})")
_MX_OR_AR: Final = re.compile(r"(52|54)([0-9]{10})")
_MOBILE_MARK: Final = {"52": "1", "54": "9"}


def digits_of(text: str) -> str:
    """Return the user part of what a person typed or of a JID: digits, country code first.

    Accepts a phone number with country code in any usual notation, and full JIDs of persons, groups and
    lids (an old group id keeps its hyphen). Only the length of a number is checked against its country's
    plan, so that synthetic numbers pass.

    Raises ValueError with a sentence fit for the person who typed it.
    """
    cleaned = _without_invisibles(text)
    if not cleaned:
        raise ValueError("The phone number is empty.")
    if "@" in cleaned:
        return _user_of_jid(cleaned)
    return _parse_typed(cleaned)


def canonical_key(jid: str) -> str:
    """Return a key under which all spellings of one person's phone address are equal.

    Persons become `<shortest digits>@s.whatsapp.net`; groups and lids stay themselves, without device.
    Never raises: what is no address is returned stripped and in lower case.
    """
    user, domain = _split(jid)
    if domain == PHONE_DOMAIN and user.isdigit():
        user = _shortest(user)
    return f"{user}@{domain}" if domain else user


def number_variants(digits: str) -> tuple[str, ...]:
    """Return the spellings under which WhatsApp may know this number, the given one first.

    For the guarded re-check of "not on WhatsApp" and for queries that match a JID exactly.
    """
    shortest = _shortest(digits)
    candidates = (digits, shortest, _longest(shortest))
    return tuple(dict.fromkeys(candidates))


def phone_jid(digits: str) -> str:
    """Return the JID of a phone number given as digits with country code."""
    return f"{digits}@{PHONE_DOMAIN}"


def is_group(jid: str) -> bool:
    """Tell whether messages to this address reach a group."""
    return _split(jid)[1] == GROUP_DOMAIN


def is_lid(jid: str) -> bool:
    """Tell whether this is an opaque id that hides the phone number."""
    return _split(jid)[1] == LID_DOMAIN


def is_phone(jid: str) -> bool:
    """Tell whether this names a person by phone number (bare digits included)."""
    return _split(jid)[1] == PHONE_DOMAIN


def is_sendable(jid: str) -> bool:
    """Tell whether a message can be addressed to this; Evolution itself even sends to an empty number."""
    user, domain = _split(jid)
    pattern = _USER_OF.get(domain)
    return jid.isascii() and pattern is not None and pattern.fullmatch(user) is not None


def is_status_broadcast(jid: str) -> bool:
    """Tell whether this is the channel of status posts ("stories")."""
    return jid.strip().lower() == STATUS_BROADCAST


def is_newsletter(jid: str) -> bool:
    """Tell whether this is a WhatsApp channel."""
    return _split(jid)[1] == "newsletter"


def _split(jid: str) -> tuple[str, str]:
    """Return (user, domain), device dropped, aliases resolved; domain "" when it is no address at all."""
    text = jid.strip().lower()
    user, at, domain = text.rpartition("@")
    if at:
        return _DEVICE.sub("", user), _DOMAIN_ALIASES.get(domain, domain)
    if not _TYPED_NUMBER.fullmatch(text):
        return text, ""
    digits = re.sub(r"[^0-9]", "", text)
    if not digits:
        return text, ""
    return digits, GROUP_DOMAIN if len(digits) >= _GROUP_DIGITS else PHONE_DOMAIN


def _without_invisibles(text: str) -> str:
    """Drop direction marks that copying a contact leaves; make exotic digits and dashes plain ones."""
    plain = unicodedata.normalize("NFKC", text)
    kept = (c for c in plain if unicodedata.category(c) != "Cf")
    return "".join(_plain_character(c) for c in kept).strip()


def _plain_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Pd":
        return "-"
    return " " if category == "Zs" else character


def _user_of_jid(jid: str) -> str:
    user, domain = _split(jid)
    pattern = _USER_OF.get(domain)
    if pattern is None or not pattern.fullmatch(user):
        raise ValueError("This is not the WhatsApp address of a person or a group.")
    return user


def _parse_typed(text: str) -> str:
    if not _TYPED_NUMBER.fullmatch(text):
        raise ValueError("A phone number has only digits, spaces, dashes, parentheses and a leading +.")
    digits = re.sub(r"[^0-9]", "", text)
    if not text.startswith("+"):
        digits = digits.removeprefix("00")
    for candidate in number_variants(digits):
        national_form = _possible(candidate)
        if national_form is not None:
            return national_form if candidate == digits and _is_written_out(text) else digits
    raise ValueError(
        "This is not a possible phone number. Write it with country code, as in +55 85 99000-0001."
    )


def _is_written_out(text: str) -> bool:
    """Tell a notation for people, where "(085)" holds a trunk zero, from digits that are meant exactly."""
    return not text.removeprefix("+").isdigit()


def _possible(digits: str) -> str | None:
    """Return the number as its country writes it (trunk zeros dropped), or None when its length is wrong."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _shortest(digits: str) -> str:
    """Drop the Brazilian ninth digit, the Mexican 1 and the Argentinian 9.

    Brazilian mobiles whose number after the 9 starts with 2 to 5 are left alone: they were issued after the
    ninth digit came, and without it they would be another person's landline.
    """
    for pattern in (_BR_NINTH, _MX_MOBILE, _AR_MOBILE):
        match = pattern.fullmatch(digits)
        if match:
            return match[1] + match[2]
    return digits


def _longest(digits: str) -> str:
    match = _BR_EIGHT.fullmatch(digits)
    if match:
        return f"{match[1]}9{match[2]}"
    match = _MX_OR_AR.fullmatch(digits)
    return f"{match[1]}{_MOBILE_MARK[match[1]]}{match[2]}" if match else digits
