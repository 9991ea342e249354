"""From an answer to what to do: sent, not sent, or unclear.

Pure. 201 alone is no success, 400 and 500 alone are no failure: the verdict comes from the status, the
`error` field, the shape of the message and its first words. The rows stand in `rules`, the sentences in
`reasons`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from .answers import endpoint_name, read_answer, short_detail
from .reasons import REASONS
from .rules import decide
from .verdicts import Answer, Outcome, Scope, Verdict
from .wire import mapping_of, seconds_of, word_of

__all__ = [
    "REASONS",
    "Answer",
    "Outcome",
    "Scope",
    "Verdict",
    "classify",
    "classify_answer",
    "classify_transport_error",
]

# updateMessage is the one sending call that answers 200.
_SUCCESS_STATUS: Final = {"updateMessage": 200}
_INSTANCE_ACTIONS: Final = frozenset({"connect", "restart"})

# Error codes of Meta's Cloud API that are not about the one message.
_META_THROTTLES: Final = frozenset({4, 80007, 130429, 131048, 131056})
_META_CONFIG: Final = frozenset({0, 10, 190, 131005, 131031, 133010, *range(200, 300)})
_META_UNKNOWN: Final = frozenset({1, 2, 131000, 131016})

_BAD_ADDRESS: Final = Outcome(Verdict.NOT_SENT, "bad_address", park=True, alert=True, scope="instance")
_NEVER_LEFT: Final = {
    "PoolTimeout": Outcome(Verdict.NOT_SENT, "busy", wait=5, scope="host"),
    "Fenced": Outcome(Verdict.NOT_SENT, "fenced"),
    "Cancelled": Outcome(Verdict.NOT_SENT, "cancelled"),
    "InvalidURL": _BAD_ADDRESS,
    "UnsupportedProtocol": _BAD_ADDRESS,
    "LocalProtocolError": _BAD_ADDRESS,
    "UnicodeEncodeError": _BAD_ADDRESS,
    "ValueError": _BAD_ADDRESS,
}
_CONNECT_FAILED: Final = Outcome(Verdict.NOT_SENT, "connect_failed", wait=5, scope="host")
_TIMEOUTS: Final = frozenset({"ReadTimeout", "WriteTimeout", "DeadlineExceeded"})


def classify(
    answer: Answer, *, bytes_left: bool = True, to_group: bool = False, retry_after: float | None = None
) -> Outcome:
    """Classify an answer, or the transport error that came instead of one."""
    if answer.status is None:
        return classify_transport_error(answer.error or "", bytes_left)
    return classify_answer(
        answer.status, answer.body, answer.endpoint, to_group=to_group, retry_after=retry_after
    )


def classify_answer(
    status: int,
    body: object,
    endpoint: str,
    *,
    to_group: bool = False,
    retry_after: float | None = None,
) -> Outcome:
    """Return what an answer to a sending call means.

    `body` is the parsed JSON, None when there was none; `endpoint` the call's name or path. `to_group` says
    that the addressee is a group: some texts mean "not sent" there only. `retry_after` is that header in
    seconds.
    """
    name = endpoint_name(endpoint)
    if name in _INSTANCE_ACTIONS and status == 200:
        return _instance_action(mapping_of(body))
    if status == _SUCCESS_STATUS.get(name, 201):
        return _success(status, mapping_of(body), retry_after)
    return decide(read_answer(status, body, endpoint, to_group=to_group), retry_after)


def classify_transport_error(kind: str, bytes_left: bool, detail: str = "") -> Outcome:
    """Return what a failure without an answer means (E21, E22).

    `kind` is the exception's class name as httpx spells it, or Fenced, Cancelled, DeadlineExceeded. What
    counts is `bytes_left`: whether any of the body may have been written.
    """
    if bytes_left:
        reason = "read_timeout" if kind in _TIMEOUTS else "reset_after_write"
        reason = "cancelled_after_write" if kind == "Cancelled" else reason
        outcome = Outcome(Verdict.UNCLEAR, reason, scope="host")
    else:
        outcome = _NEVER_LEFT.get(kind, _CONNECT_FAILED)
    return replace(outcome, detail=short_detail(f"{kind}: {detail}" if detail else kind))


def _success(status: int, body: Mapping[str, object], retry_after: float | None) -> Outcome:
    """Read a 201: accepted only with an id; Business passes Meta's refusals on as 201, too."""
    key = mapping_of(body.get("key"))
    provider_id = word_of(key.get("id"))
    if provider_id is None:
        refused = _meta_error(body, retry_after) if "key" not in body else None
        outcome = refused or Outcome(Verdict.UNCLEAR, "unexplained_answer")
        return replace(outcome, http_status=status)
    return Outcome(
        Verdict.ACCEPTED,
        "accepted",
        provider_id=provider_id,
        remote_jid=word_of(key.get("remoteJid")),
        provider_time=seconds_of(body.get("messageTimestamp")),
        http_status=status,
    )


def _meta_error(body: Mapping[str, object], retry_after: float | None) -> Outcome | None:
    """Read Meta's error object `{message, type, code, error_data, fbtrace_id}`, None when it is none."""
    code = body.get("code")
    if not isinstance(code, int) or isinstance(code, bool) or not ("type" in body or "fbtrace_id" in body):
        return None
    detail = short_detail(word_of(body.get("message")) or f"code {code}")
    if code in _META_UNKNOWN:
        return Outcome(Verdict.UNCLEAR, "unexplained_answer", detail=detail)
    if code in _META_THROTTLES:
        wait = max(60.0, retry_after or 0.0)
        return Outcome(
            Verdict.NOT_SENT, "rate_limited", wait=wait, throttle=True, scope="instance", detail=detail
        )
    if code in _META_CONFIG:
        return Outcome(
            Verdict.NOT_SENT, "unauthorized", park=True, alert=True, scope="instance", detail=detail
        )
    return Outcome(Verdict.NOT_SENT, "meta_refused", permanent=True, detail=detail)


def _instance_action(body: Mapping[str, object]) -> Outcome:
    """Read connect and restart, which report failure as 200 with `error: true` (E26)."""
    if body.get("error") is True:
        return Outcome(
            Verdict.NOT_SENT, "instance_action_failed", alert=True, scope="instance", http_status=200
        )
    return Outcome(Verdict.ACCEPTED, "accepted", scope="instance", http_status=200)
