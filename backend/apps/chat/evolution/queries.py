"""Bodies and answers of the calls that send nothing: pure, so that captures can be read back in tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .answers import read_answer
from .errors import EvolutionError
from .events import MessageEvent, message_from_record
from .outcomes import classify_answer, classify_transport_error
from .verdicts import Outcome
from .wire import long_of, mapping_of, word_of

# What WhatsApp says of a group that is gone; any other text with 404 is a passing failure.
_GROUP_GONE = ("item-not-found", "forbidden", "not-authorized", "gone")


@dataclass(frozen=True, slots=True)
class MessageKey:
    """Names one message towards Evolution; `participant` is its author in a group."""

    id: str
    remote_jid: str
    from_me: bool = False
    participant: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the key for markMessageAsRead; 2.3.6 drops lids and `participant` and says success."""
        key: dict[str, object] = {"id": self.id, "remoteJid": self.remote_jid, "fromMe": self.from_me}
        return key | {"participant": self.participant} if self.participant else key


@dataclass(frozen=True, slots=True)
class FindResult:
    """One page of stored messages, newest first. `unread` counts rows that lack an id or an address."""

    records: list[MessageEvent]
    total: int
    pages: int
    unread: int = 0


@dataclass(frozen=True, slots=True)
class NumberCheck:
    """Whether a number is on WhatsApp. `number` is the input as given: the order of answers is not ours."""

    number: str
    exists: bool
    jid: str | None
    name: str | None
    lid: str | None


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group's card. What is missing must never overwrite what is known."""

    jid: str
    subject: str | None
    picture_url: str | None
    size: int | None
    owner: str | None
    participants: tuple[str, ...]
    description: str | None = None


def find_messages_body(
    remote_jid: str, gte: datetime, lte: datetime, from_me: bool | None, page: int, page_size: int
) -> dict[str, object]:
    """Return the body of findMessages; an empty JID asks for the whole instance.

    One bound alone would be ignored; `offset` is the page size.

    Raises ValueError for naive datetimes.
    """
    key: dict[str, object] = {"remoteJid": remote_jid} if remote_jid else {}
    if from_me:
        key["fromMe"] = True
    return {
        "where": {"key": key, "messageTimestamp": {"gte": _instant(gte), "lte": _instant(lte)}},
        "page": page,
        "offset": page_size,
    }


def read_find_messages(body: object, instance_name: str, from_me: bool | None) -> FindResult | None:
    """Return a page of findMessages, None when the answer has another shape.

    The server ignores `fromMe: false`, so that filter is applied here; `total` and `pages` are the server's.
    """
    page = mapping_of(mapping_of(body).get("messages"))
    rows = page.get("records")
    if not isinstance(rows, list):
        return None
    read = [message_from_record(row, instance_name) for row in rows]
    messages = [message for message in read if message is not None]
    return FindResult(
        records=[m for m in messages if from_me is None or m.from_me is from_me],
        total=long_of(page.get("total")) or 0,
        pages=long_of(page.get("pages")) or 0,
        unread=len(rows) - len(messages),
    )


def read_number_checks(body: object) -> list[NumberCheck] | None:
    """Return the answers of whatsappNumbers, None when the body is no list."""
    if not isinstance(body, list):
        return None
    return [_number_check(mapping_of(row)) for row in body]


def read_group_info(body: object) -> GroupInfo | None:
    """Return a group's card, None when it has no id."""
    group = mapping_of(body)
    jid = word_of(group.get("id"))
    if jid is None:
        return None
    members = group.get("participants")
    ids = [word_of(mapping_of(m).get("id")) for m in members] if isinstance(members, list) else []
    return GroupInfo(
        jid=jid,
        subject=word_of(group.get("subject")),
        picture_url=word_of(group.get("pictureUrl")),
        size=long_of(group.get("size")),
        owner=word_of(group.get("owner")),
        participants=tuple(i for i in ids if i),
        description=word_of(group.get("desc")),
    )


def read_contact_name(body: object, jid: str) -> str | None:
    """Return the name in an answer of findContacts; a group's row has its last speaker's, which is no name."""
    rows = [mapping_of(row) for row in body] if isinstance(body, list) else []
    own = [row for row in rows if row.get("remoteJid") == jid and row.get("isGroup") is not True]
    return word_of(own[0].get("pushName")) if own else None


def webhook_body(
    url: str, headers: Mapping[str, str], events: Sequence[str], *, base64: bool, by_events: bool
) -> dict[str, object]:
    """Return the body of webhook/set. Every field is given: what is left out keeps its old value."""
    settings = {
        "enabled": True,
        "url": url,
        "byEvents": by_events,
        "base64": base64,
        "headers": dict(headers),
        "events": list(events),
    }
    return {"webhook": settings}


def query_failure(status: int, body: object, endpoint: str, where: str) -> EvolutionError:
    """Return the error for an answer that is no success."""
    outcome = _outcome(status, body, endpoint)
    return EvolutionError(outcome.reason, permanent=outcome.permanent, status=status, where=where)


def media_failure(status: int, body: object, endpoint: str, where: str) -> EvolutionError:
    """Return the error for a file that did not come.

    "Message not found" means that Evolution's database is behind; a failed download it has tried twice itself.
    """
    said = read_answer(status, body, endpoint)
    if said.first == "Message not found":
        return EvolutionError("media_not_found_yet", permanent=False, status=status, where=where)
    if said.first == "The message is not of the media type":
        return EvolutionError("media_gone", permanent=True, status=status, where=where)
    if status == 400 and "Connection Closed" not in said.first:
        return EvolutionError("media_download_failed", permanent=False, status=status, where=where)
    return query_failure(status, body, endpoint, where)


def transport_failure(kind: str, where: str) -> EvolutionError:
    """Return the error for a call that got no answer; `kind` is the exception's class name."""
    late = kind in ("ReadTimeout", "TimeoutError")
    reason = "read_timeout" if late else classify_transport_error(kind, bytes_left=False).reason
    return EvolutionError(reason, permanent=reason == "bad_address", status=None, where=where)


def _outcome(status: int, body: object, endpoint: str) -> Outcome:
    said = read_answer(status, body, endpoint)
    if said.first == "Error fetching group":
        return _group_failure(body)
    if endpoint == "whatsappNumbers" and said.first == "" and status == 400:
        return classify_answer(500, {"response": {"message": "Connection Closed"}}, endpoint)
    return classify_answer(status, body, endpoint)


def _group_failure(body: object) -> Outcome:
    """Tell a group that is gone from an instance that is not connected: both answer 404."""
    message = mapping_of(mapping_of(body).get("response")).get("message")
    texts = [str(text) for text in message] if isinstance(message, list) else []
    gone = any(text.removeprefix("Error: ") in _GROUP_GONE for text in texts)
    outcome = classify_answer(400, {"response": {"message": ["[object Object]"]}}, "group", to_group=True)
    if not gone:
        return outcome
    return Outcome(outcome.verdict, "group_not_found", permanent=True)


def _number_check(row: Mapping[str, object]) -> NumberCheck:
    return NumberCheck(
        number=word_of(row.get("number")) or "",
        exists=row.get("exists") is True,
        jid=word_of(row.get("jid")),
        name=word_of(row.get("name")),
        lid=word_of(row.get("lid")),
    )


def _instant(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("findMessages needs datetimes with a time zone.")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
