"""What each error answer means: one rule per row of the failure list (E1-E20, E26), the first match decides.

Collected from Evolution API 2.3.6's source, observed answers and public threads. The message text is matched
from its start, never searched: an error of its database quotes the customer's words.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from .answers import INTERNAL_ERROR, Said, Shape
from .verdicts import Outcome, Verdict

_NO: Final = Verdict.NOT_SENT
_MAYBE: Final = Verdict.UNCLEAR

_CLOSED = r"Connection Closed$"
_FIRST_THROTTLE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Rule:
    """A row: when it applies (every given condition must hold) and what follows."""

    row: str
    then: Outcome
    statuses: frozenset[int] | None = None
    shapes: frozenset[Shape] | None = None
    text: re.Pattern[str] | None = None
    error: str | None = None
    endpoint: str | None = None
    media: bool | None = None
    group: bool | None = None

    def matches(self, said: Said) -> bool:
        """Tell whether every condition of this row holds."""
        return (
            (self.statuses is None or said.status in self.statuses)
            and (self.shapes is None or said.shape in self.shapes)
            and (self.text is None or self.text.match(said.first) is not None)
            and (self.error is None or said.error == self.error)
            and (self.endpoint is None or said.endpoint == self.endpoint)
            and (self.media is None or said.is_media == self.media)
            and (self.group is None or said.to_group == self.group)
        )


def _rule(
    row: str,
    then: Outcome,
    *statuses: int,
    shape: Shape | None = None,
    text: str | None = None,
    error: str | None = None,
    endpoint: str | None = None,
    media: bool | None = None,
    group: bool | None = None,
) -> Rule:
    return Rule(
        row=row,
        then=then,
        statuses=frozenset(statuses) or None,
        shapes=frozenset({shape}) if shape else None,
        text=re.compile(text) if text else None,
        error=error,
        endpoint=endpoint,
        media=media,
        group=group,
    )


_PARK: Final = Outcome(_NO, "connection_closed", park=True, scope="instance")
_REFUSED: Final = Outcome(_NO, "body_rejected", permanent=True, alert=True)
_MEDIA_REFUSED: Final = Outcome(_NO, "media_refused", permanent=True, scope="media")
_NO_METHOD: Final = Outcome(_NO, "method_unavailable", permanent=True)
_LOOKUP: Final = Outcome(_NO, "lookup_timed_out", wait=15, scope="instance")
_THROTTLE: Final = Outcome(_NO, "rate_limited", wait=_FIRST_THROTTLE, throttle=True, scope="instance")
_NOT_LOADED: Final = Outcome(_NO, "instance_not_loaded", park=True, alert=True, scope="instance")
_UPLOAD: Final = Outcome(_NO, "media_upload_failed", wait=30, scope="media")
_FETCH: Final = Outcome(_NO, "media_fetch_failed", wait=5, scope="media")
_INLINE: Final = Outcome(_NO, "media_too_large_inline", permanent=True, scope="media")
_MISSING: Final = Outcome(_NO, "instance_missing", park=True, alert=True, scope="instance")
_WRONG_URL: Final = Outcome(_NO, "wrong_base_url", park=True, alert=True, scope="instance")
_FORBIDDEN: Final = Outcome(_NO, "forbidden", park=True, alert=True, scope="instance")
_AFTER: Final = Outcome(_MAYBE, "failed_after_send")
_GATEWAY: Final = Outcome(_MAYBE, "gateway_error", scope="host")

_BAD_MEDIA_TEXT: Final = (
    r"Owned media must be a url|For base64 the file name must be informed|File or buffer is undefined"
)
_BAD_BODY_TEXT: Final = (
    r"Text is required|Reaction must be a single emoji|Font is required|Message not found$"
    r"|Message not compatible$|RemoteJid does not match"
)
_FETCH_TEXT: Final = (
    r"AxiosError|Request failed with status code|connect E|getaddrinfo |read ECONN|socket hang up"
)

RULES: Final = (
    _rule("E10", _THROTTLE, 429),
    _rule("E10", _THROTTLE, text=r"rate-overlimit"),
    _rule("E19", Outcome(_NO, "too_large", permanent=True), 413),
    # Evolution passes on the status of the server that holds our file.
    _rule("E16", _FETCH, 401, 403, 404, 410, error=INTERNAL_ERROR, media=True),
    _rule("E16", Outcome(_MAYBE, "unexplained_answer"), 401, 403, 404, 410, error=INTERNAL_ERROR),
    _rule("E18", Outcome(_NO, "unauthorized", wait=40, scope="instance"), 401),
    _rule("E18", _FORBIDDEN, 403),
    _rule("E17", _MISSING, 404, text=r'The ".*" instance does not exist'),
    _rule("E17", _WRONG_URL, 404, text=r"Cannot [A-Z]+ /"),
    _rule("E1", _REFUSED, 400, shape=Shape.NESTED),
    _rule("E3", _MEDIA_REFUSED, 400, text=_BAD_MEDIA_TEXT),
    _rule("E3", _REFUSED, 400, text=_BAD_BODY_TEXT),
    _rule("E3", _NO_METHOD, 400, text=r"Method not available on "),
    _rule(
        "E7",
        Outcome(_MAYBE, "connection_lost_in_send", park=True, scope="instance"),
        400,
        shape=Shape.STRINGS,
        text=_CLOSED,
    ),
    _rule("E8", Outcome(_MAYBE, "timed_out"), 400, shape=Shape.STRINGS, text=r"Timed Out$"),
    _rule("E9", Outcome(_NO, "no_sessions", wait=5), 400, text=r"SessionError: No sessions", group=True),
    _rule(
        "E11",
        Outcome(_NO, "group_unreachable", wait=30),
        400,
        shape=Shape.STRINGS,
        text=r"\[object Object\]$",
        group=True,
    ),
    _rule("E12", _AFTER, 400, text=r"Prisma|DriverAdapterError|TypeError|\s*Invalid `"),
    _rule("E4", _PARK, 500, shape=Shape.STRING, text=_CLOSED),
    _rule("E5", _LOOKUP, 500, shape=Shape.STRING, text=r"Timed Out$"),
    # What a timed-out number lookup says in 2.3.6; the rows below it are an instance without a socket.
    _rule(
        "E5", _LOOKUP, 500, shape=Shape.STRING, text=r"Cannot read properties of undefined \(reading 'find'\)"
    ),
    _rule(
        "E1",
        _REFUSED,
        500,
        shape=Shape.STRING,
        text=r"Cannot read properties of undefined \(reading 'length'\)",
        endpoint="sendButtons",
    ),
    _rule("E13", _NOT_LOADED, 500, shape=Shape.STRING, text=r"Cannot read properties of undefined"),
    _rule("E13", _NOT_LOADED, 500, text=r"TypeError: .*'waUploadToServer'", media=True),
    _rule("E14", _UPLOAD, 500, text=r"Media upload failed on all hosts"),
    _rule("E15", _INLINE, 500, text=r"Maximum call stack size exceeded"),
    _rule("E3", _MEDIA_REFUSED, 500, text=_BAD_MEDIA_TEXT),
    _rule("E6", _PARK, 500, shape=Shape.STRINGS, text=_CLOSED, media=True),
    _rule("E16", _FETCH, 500, shape=Shape.STRINGS, text=_FETCH_TEXT, media=True),
    _rule("E3", _MEDIA_REFUSED, 500, shape=Shape.STRINGS, text=r"Input buffer ", media=True),
    # A list with status 500 comes from preparing the file only, before anything is sent.
    _rule("E16", Outcome(_NO, "media_failed", wait=30, scope="media"), 500, shape=Shape.STRINGS, media=True),
)


def decide(said: Said, retry_after: float | None) -> Outcome:
    """Return what an answer that is no success means; what no row knows is unclear."""
    outcome = _first_match(said)
    if outcome.wait is not None or outcome.throttle or outcome.scope == "host":
        outcome = replace(outcome, wait=_longer(outcome.wait, retry_after))
    return replace(outcome, detail=said.detail, http_status=said.status)


def _first_match(said: Said) -> Outcome:
    if said.status == 400 and said.shape is Shape.OBJECTS:
        return _refused_objects(said)
    for rule in RULES:
        if rule.matches(said):
            return rule.then
    if said.status in (301, 307, 308):
        return _WRONG_URL
    return _GATEWAY if said.status > 500 else Outcome(_MAYBE, "unexplained_answer")


def _refused_objects(said: Said) -> Outcome:
    """Read a list of objects: the number check (E2), or the form check of the group routes (E1)."""
    if any(item.get("exists") is False for item in said.objects):
        return Outcome(_NO, "not_on_whatsapp", permanent=True)
    if all("property" in item for item in said.objects):
        return _REFUSED
    return Outcome(_MAYBE, "unexplained_answer")


def _longer(wait: float | None, retry_after: float | None) -> float | None:
    """Never come back before the server asked for, nor before the row says."""
    if retry_after is None:
        return wait
    return max(wait or 0.0, min(retry_after, 3600.0))
