"""Request schemas and a validator that words its complaints as Evolution's does.

Evolution validates with the npm package `jsonschema`: one sentence per violation, properties in
schema order first, then missing ones; a property's `description` replaces the sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .webhook_events import EVENTS

Schema = dict[str, Any]

NUMBER: Schema = {"type": "string", "description": "Invalid format"}
DELAY: Schema = {"type": "integer", "description": "Enter a value in milliseconds"}
STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
_KEY: Schema = {
    "type": "object",
    "properties": {"id": STRING, "remoteJid": STRING, "fromMe": BOOLEAN},
    "required": ["id", "remoteJid", "fromMe"],
}
_OPTIONS: Schema = {
    "delay": DELAY,
    "quoted": {"type": "object"},
    "everyOne": BOOLEAN,
    "mentioned": {"type": "array", "minItems": 1, "items": STRING},
}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


SEND_TEXT = _object(["number", "text"], number=NUMBER, text=STRING, linkPreview=BOOLEAN, **_OPTIONS)
SEND_MEDIA = _object(
    ["number", "mediatype"],
    number=NUMBER,
    mediatype={"type": "string", "enum": ["image", "document", "video", "audio"]},
    mimetype=STRING,
    media=STRING,
    fileName=STRING,
    caption=STRING,
    **_OPTIONS,
)
SEND_AUDIO = _object(["number"], number=NUMBER, audio=STRING, **_OPTIONS)
SEND_STICKER = _object(["number"], number=NUMBER, sticker=STRING, **_OPTIONS)
SEND_LOCATION = _object(
    ["number", "latitude", "longitude", "name", "address"],
    number=NUMBER,
    latitude={"type": "number"},
    longitude={"type": "number"},
    name=STRING,
    address=STRING,
    **_OPTIONS,
)
SEND_CONTACT = _object(
    ["number", "contact"],
    number=NUMBER,
    contact={
        "type": "array",
        "minItems": 1,
        "items": _object(
            ["fullName", "phoneNumber"], fullName=STRING, phoneNumber={"type": "string", "minLength": 10}
        ),
    },
)
SEND_REACTION = _object(["key", "reaction"], key=_KEY, reaction=STRING)
SEND_POLL = _object(
    ["number", "name", "selectableCount", "values"],
    number=NUMBER,
    name=STRING,
    selectableCount={"type": "integer", "minimum": 0, "maximum": 10},
    values={"type": "array", "minItems": 2, "maxItems": 10, "uniqueItems": True, "items": STRING},
    **_OPTIONS,
)
SEND_LIST = _object(
    ["number", "title", "footerText", "buttonText", "sections"],
    number=NUMBER,
    title=STRING,
    description=STRING,
    footerText=STRING,
    buttonText=STRING,
    sections={"type": "array", "minItems": 1},
    **_OPTIONS,
)
SEND_BUTTONS = _object(["number"], number=NUMBER, **_OPTIONS)
SEND_STATUS = _object(
    ["type", "content"],
    type={"type": "string", "enum": ["text", "image", "audio", "video"]},
    content=STRING,
    statusJidList={"type": "array", "minItems": 1, "items": STRING},
    allContacts=BOOLEAN,
)
SEND_PRESENCE = _object(
    ["number", "presence", "delay"],
    number=NUMBER,
    presence={"type": "string", "enum": ["unavailable", "available", "composing", "recording", "paused"]},
    delay=DELAY,
)
FIND_MESSAGES = _object([], where={"type": "object"}, limit={"type": "integer"})
FIND = _object([], where={"type": "object"})
READ_MESSAGES = _object(
    ["readMessages"],
    readMessages={
        "type": "array",
        "minItems": 1,
        "items": _object(["id", "fromMe", "remoteJid"], id=STRING, fromMe=BOOLEAN, remoteJid=STRING),
    },
)
UPDATE_MESSAGE = _object([], number=NUMBER, text=STRING, key=_KEY)
DELETE_MESSAGE = _object(
    ["id", "fromMe", "remoteJid"], id=STRING, fromMe=BOOLEAN, remoteJid=STRING, participant=STRING
)
_SETTING_FLAGS = [
    "rejectCall",
    "groupsIgnore",
    "alwaysOnline",
    "readMessages",
    "readStatus",
    "syncFullHistory",
]
SETTINGS = _object(_SETTING_FLAGS, **dict.fromkeys(_SETTING_FLAGS, BOOLEAN), msgCall=STRING)
WEBHOOK = _object(
    ["webhook"],
    webhook=_object(
        ["enabled", "url"],
        enabled=BOOLEAN,
        url=STRING,
        headers={"type": "object"},
        byEvents=BOOLEAN,
        base64=BOOLEAN,
        events={"type": "array", "minItems": 0, "items": {"type": "string", "enum": list(EVENTS)}},
    ),
)


def violations(body: Any, schema: Schema) -> list[str]:
    """Every complaint about `body`, in the order and wording Evolution uses."""
    return [text.removeprefix("instance.") for text in _check(body, schema, "instance")]


def _check(value: Any, schema: Schema, path: str) -> Iterator[str]:
    for problem in _own_problems(value, schema):
        yield schema.get("description") or f"{path} {problem}"
    if isinstance(value, dict):
        yield from _check_properties(value, schema, path)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _check(item, schema["items"], f"{path}[{index}]")


def _check_properties(value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        if name in value:
            yield from _check(value[name], child, f"{path}.{name}")
    for name in schema.get("required", ()):
        if name not in value:
            yield f'{path} requires property "{name}"'


def _own_problems(value: Any, schema: Schema) -> Iterator[str]:
    kind = schema.get("type")
    if kind and not _is(value, kind):
        yield f"is not of a type(s) {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield "is not one of enum values: " + ",".join(schema["enum"])
    yield from _size_problems(value, schema)


def _size_problems(value: Any, schema: Schema) -> Iterator[str]:
    size = len(value) if isinstance(value, str | list) else 0
    if size < max(schema.get("minItems", 0), schema.get("minLength", 0)):
        yield f"does not meet minimum length of {schema.get('minItems', schema.get('minLength'))}"
    if "maxItems" in schema and size > schema["maxItems"]:
        yield f"does not meet maximum length of {schema['maxItems']}"
    if schema.get("uniqueItems") and len({repr(item) for item in value}) < size:
        yield "contains duplicate item"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"must be greater than or equal to {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"must be less than or equal to {schema['maximum']}"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind == "object":
        return isinstance(value, dict | list)
    types: dict[str, type | tuple[type, ...]] = {"string": str, "number": (int, float), "array": list}
    return kind in types and isinstance(value, types[kind])
