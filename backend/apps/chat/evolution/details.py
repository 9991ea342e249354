"""What messages of other kinds than text say, reduced to a few fields of plain JSON: pure, bounded, never raising.

Whatever a customer's program puts into these fields is a claim; it is shown and never called or executed.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from .wire import long_of, mapping_of, text_of, word_of

__all__ = ["details_of", "names_in"]

Details = dict[str, object]

_LONGEST: Final = 1000
_MOST_CARDS: Final = 50
_MOST_LINES: Final = 200
_MOST_OPTIONS: Final = 20
_CARD_LINE: Final = re.compile(r"(?:item\d+\.)?([A-Za-z-]+)((?:;[^:]*)?):(.*)")


def details_of(kind: str, raw_type: str, fields: Mapping[str, object]) -> Details | None:
    """The details of a message's content part, None for kinds that say it all in words or in a file.

    location: `location {latitude, longitude, name?, address?, live?}` · contact: `contacts [{name, phones
    [{number, wa_id?}], emails?, organization?}]` · poll: `poll {name, options, selectable}` · poll_vote: `vote
    {poll_id, options?}` · choice: `choice {id, title, description?}` · interactive: `interactive {title?, body?,
    footer?, options}` · unknown: `type`, WhatsApp's own name for it.
    """
    read = _READERS.get(kind)
    found = read(raw_type, fields) if read else {}
    return found or None


def names_in(details: Details | None) -> str | None:
    """The names on contact cards, for kinds whose words stand nowhere else."""
    cards = (details or {}).get("contacts")
    names = [word_of(mapping_of(card).get("name")) for card in cards] if isinstance(cards, list) else []
    return ", ".join(name for name in names if name) or None


def _location(raw_type: str, fields: Mapping[str, object]) -> Details:
    latitude, longitude = _degrees(fields.get("degreesLatitude")), _degrees(fields.get("degreesLongitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return {}
    place: Details = {"latitude": latitude, "longitude": longitude}
    place |= _texts(fields, name="name", address="address")
    if raw_type == "liveLocationMessage":
        place["live"] = True
    return {"location": place}


def _degrees(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _contacts(raw_type: str, fields: Mapping[str, object]) -> Details:
    several = fields.get("contacts")
    cards = several if isinstance(several, list) else [fields]
    return {"contacts": [_card(mapping_of(card)) for card in cards[:_MOST_CARDS]]}


def _card(fields: Mapping[str, object]) -> Details:
    """One vCard (RFC 6350, as WhatsApp writes it): `TEL;waid=<digits>:<number as shown>`."""
    phones: list[Details] = []
    emails: list[str] = []
    card: Details = {"name": _short(fields.get("displayName")), "phones": phones}
    for name, parameters, value in _lines(text_of(fields.get("vcard")) or ""):
        if name == "FN" and not card["name"]:
            card["name"] = value
        elif name == "TEL":
            phones.append({"number": value, **_wa_id(parameters)})
        elif name == "EMAIL":
            emails.append(value)
        elif name == "ORG":
            card["organization"] = value.replace(";", " ").strip()
    return card | ({"emails": emails} if emails else {})


def _lines(card: str) -> Iterable[tuple[str, str, str]]:
    for line in card[:50_000].splitlines()[:_MOST_LINES]:
        match = _CARD_LINE.fullmatch(line.strip())
        if match and match[3].strip():
            yield match[1].upper(), match[2], match[3].strip()[:_LONGEST]


def _wa_id(parameters: str) -> dict[str, object]:
    match = re.search(r";waid=(\d{5,20})", parameters)
    return {"wa_id": match[1]} if match else {}


def _poll(raw_type: str, fields: Mapping[str, object]) -> Details:
    options = fields.get("options")
    names = [_short(mapping_of(option).get("optionName")) for option in _some(options)]
    selectable = long_of(fields.get("selectableOptionsCount")) or 0
    return {
        "poll": {
            "name": _short(fields.get("name")),
            "options": names,
            "selectable": max(0, min(selectable, 99)),
        }
    }


def _vote(raw_type: str, fields: Mapping[str, object]) -> Details:
    """A vote is sealed with the poll's secret; Evolution hands on at most which poll it is for."""
    vote = mapping_of(fields.get("vote"))
    chosen = [_short(option) for option in _some(vote.get("selectedOptions")) if isinstance(option, str)]
    poll = word_of(mapping_of(fields.get("pollCreationMessageKey")).get("id"))
    return {"vote": {"poll_id": poll, **({"options": chosen} if chosen else {})}}


def _choice(raw_type: str, fields: Mapping[str, object]) -> Details:
    row = mapping_of(fields.get("singleSelectReply")).get("selectedRowId")
    flow = mapping_of(fields.get("nativeFlowResponseMessage"))
    chosen = row or fields.get("selectedButtonId") or fields.get("selectedId") or _flow_id(flow)
    title = fields.get("title") or fields.get("selectedDisplayText")
    title = title or mapping_of(fields.get("body")).get("text")
    return {
        "choice": {"id": _short(chosen), "title": _short(title), **_texts(fields, description="description")}
    }


def _flow_id(flow: Mapping[str, object]) -> object:
    """The chosen id in a native flow's answer, which is JSON inside JSON."""
    raw = flow.get("paramsJson")
    if not isinstance(raw, str) or len(raw) > 10_000:
        return None
    try:
        return mapping_of(json.loads(raw)).get("id")
    except (ValueError, RecursionError):
        return None


def _interactive(raw_type: str, fields: Mapping[str, object]) -> Details:
    said = _texts(fields, title="title", body="description", footer="footerText")
    for name in ("header", "body", "footer"):
        part = mapping_of(fields.get(name))
        if words := _short(part.get("text") or part.get("title")):
            said[name] = words
    buttons = [mapping_of(mapping_of(one).get("buttonText")) for one in _some(fields.get("buttons"))]
    labels = [label for button in buttons if (label := _short(button.get("displayText")))]
    return {"interactive": {**said, "options": labels}}


def _unknown(raw_type: str, fields: Mapping[str, object]) -> Details:
    return {"type": raw_type[:60]} if raw_type else {}


def _some(value: object) -> list[object]:
    return value[:_MOST_OPTIONS] if isinstance(value, list) else []


def _short(value: object) -> str:
    return (text_of(value) or "").strip()[:_LONGEST]


def _texts(fields: Mapping[str, object], **names: str) -> Details:
    return {name: words for name, field in names.items() if (words := _short(fields.get(field)))}


_READERS: Final[Mapping[str, Callable[[str, Mapping[str, object]], Details]]] = {
    "location": _location,
    "contact": _contacts,
    "poll": _poll,
    "poll_vote": _vote,
    "choice": _choice,
    "interactive": _interactive,
    "unknown": _unknown,
}
