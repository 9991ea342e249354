"""The one place that speaks HTTP to Evolution.

A send is one POST, never repeated here: no retries, no redirects. The trace tells the last instant before bytes
leave, where the caller's gate is asked, and afterwards whether they left; that alone separates "not sent" from
"maybe". The transport is chosen by name (`transports`); requests and answers are httpx's either way.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar
from weakref import WeakValueDictionary

import httpx

from . import queries
from .errors import EvolutionError, SendCancelled
from .exchange import BODY_LEAVES, HEAD_LEAVES
from .forms import Form, SourceError
from .instance import InstanceRef, Limits, SendGate, Timeouts
from .jids import is_group, is_sendable
from .outcomes import classify_answer, classify_transport_error
from .queries import FindResult, GroupInfo, MessageKey, NumberCheck
from .retry_after import seconds_to_wait
from .transports import TRANSPORTS
from .verdicts import Outcome, Verdict
from .wire import mapping_of, storable, word_of

__all__ = [
    "EvolutionClient",
    "EvolutionError",
    "InstanceRef",
    "Limits",
    "MessageKey",
    "SendCancelled",
    "SendGate",
    "Timeouts",
]

_Answered = TypeVar("_Answered")

_SEND_BODY_CAP: Final = 1 << 20
_QUERY_BODY_CAP: Final = 32 << 20
_MEDIA: Final = "getBase64FromMediaMessage"
_MEDIA_CHUNK: Final = 1 << 18
# Everything httpx, TLS and the event loop raise for a call that did not work; defects of ours pass through.
_CALL_FAILURES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    OSError,
    ValueError,
    RuntimeError,
)


class _FencedError(Exception):
    """The gate said no before the request could be complete."""


class _TooSlowError(Exception):
    """A streamed body took so long that its end may not leave any more."""


class _Watch:
    """Follows one request through httpcore's trace: asks the gate, remembers whether the body began to leave.

    A body that never began makes the request incomplete, and no server acts on it; so `bytes_left` counts the
    body, and the gate is asked again before it, for the event loop may stall between head and body. A streamed
    body is incomplete until its end is written, and counts from there.
    """

    def __init__(self, gate: SendGate, *, streamed: bool) -> None:
        self.bytes_left = self._begun = False
        self._gate, self._streamed = gate, streamed

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        if event not in (HEAD_LEAVES, BODY_LEAVES):
            return
        if not self._gate.may_send():
            raise _FencedError
        self._begun = event == BODY_LEAVES
        self.bytes_left = self._begun and not self._streamed

    def before_end(self) -> None:
        """Asked before the end of a streamed body leaves: what was written until here is no request yet."""
        if not self._gate.may_finish():
            raise _TooSlowError
        self.bytes_left = True

    def failed(self, kind: str) -> Outcome:
        """What a call without an answer came to. A file that broke off is its own trouble, not the instance's."""
        if self._streamed and self._begun and not self.bytes_left and kind != "Cancelled":
            return Outcome(Verdict.NOT_SENT, "media_interrupted", wait=5, scope="media", detail=kind)
        return classify_transport_error(kind, self.bytes_left)


class EvolutionClient:
    """Calls Evolution over one connection pool: one per process and event loop, closed at the end."""

    def __init__(
        self, *, limits: Limits | None = None, timeouts: Timeouts | None = None, transport: str = "native"
    ) -> None:
        self._limits = limits or Limits()
        self._timeouts = timeouts or Timeouts()
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._http: httpx.AsyncBaseTransport = TRANSPORTS[transport](self._limits.keepalive_expiry)
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool; calls under way end as transport errors."""
        self._closed = True
        await self._http.aclose()

    async def send_text(
        self, ref: InstanceRef, *, number: str, text: str, quoted_id: str | None = None, gate: SendGate
    ) -> Outcome:
        """Send a text in exactly one POST and return what came of it.

        `number` is digits with country code or a full JID. Evolution's typing delay and link preview are off:
        both would run inside the request. Raises SendCancelled when the task is cancelled.
        """
        if refusal := _refusal(number, text):
            return refusal
        payload: dict[str, object] = {"number": number, "text": text, "delay": 0, "linkPreview": False}
        if quoted_id:
            payload["quoted"] = {"key": {"id": quoted_id}}
        return await self.post_once(ref, "message", "sendText", payload, gate, to_group=is_group(number))

    async def connection_state(self, ref: InstanceRef) -> str | None:
        """Return open, connecting or close, as Evolution remembers it; None while it is still loading."""
        body = await self._query(ref, "GET", "instance", "connectionState")
        return word_of(mapping_of(mapping_of(body).get("instance")).get("state"))

    async def find_messages(
        self,
        ref: InstanceRef,
        *,
        remote_jid: str,
        gte: datetime,
        lte: datetime,
        from_me: bool | None = True,
        page: int = 1,
        page_size: int = 50,
    ) -> FindResult:
        """Return stored messages of one exact JID between two aware datetimes, newest first."""
        payload = queries.find_messages_body(remote_jid, gte, lte, from_me, page, page_size)
        body = await self._query(ref, "POST", "chat", "findMessages", payload)
        return _expect(queries.read_find_messages(body, ref.name, from_me), "findMessages", ref)

    async def mark_as_read(self, ref: InstanceRef, keys: Iterable[MessageKey]) -> None:
        """Send read receipts; Evolution drops those of lids silently."""
        payload = {"readMessages": [key.as_json() for key in keys]}
        await self._query(ref, "POST", "chat", "markMessageAsRead", payload)

    async def fetch_profile_picture(self, ref: InstanceRef, number: str) -> str | None:
        """Return a URL that expires soon; None means unknown (every failure looks so), not "no picture"."""
        body = await self._query(ref, "POST", "chat", "fetchProfilePictureUrl", {"number": number})
        return word_of(mapping_of(body).get("profilePictureUrl"))

    async def group_info(self, ref: InstanceRef, jid: str) -> GroupInfo:
        """Return a group's card. WhatsApp limits the rate: at most one call per 2 s and instance."""
        body = await self._query(ref, "GET", "group", "findGroupInfos", params={"groupJid": jid})
        return _expect(queries.read_group_info(body), "findGroupInfos", ref)

    async def contact_name(self, ref: InstanceRef, jid: str) -> str | None:
        """Return what Evolution's own table calls a contact, by exact address; None when it has no name."""
        body = await self._query(ref, "POST", "chat", "findContacts", {"where": {"remoteJid": jid}})
        return queries.read_contact_name(body, jid)

    async def whatsapp_numbers(self, ref: InstanceRef, numbers: Sequence[str]) -> list[NumberCheck]:
        """Tell which numbers are on WhatsApp; match the answers by `number`, they come in another order."""
        body = await self._query(ref, "POST", "chat", "whatsappNumbers", {"numbers": list(numbers)})
        return _expect(queries.read_number_checks(body), "whatsappNumbers", ref)

    async def stream_media(
        self, ref: InstanceRef, key: MessageKey, take: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Ask for a message's file and hand on the answer as it comes; `base64_answer` reads it.

        `take` may raise, which ends the call.

        Raises:
            EvolutionError: no such answer; `media_not_found_yet` while Evolution's own database is behind.
        """
        where = f"{_MEDIA} at {ref.address}"
        payload: dict[str, object] = {"message": {"key": key.as_json()}, "convertToMp4": False}
        try:
            async with asyncio.timeout(self._timeouts.media), self._slot(ref):
                request = self._request(ref, "POST", "chat", _MEDIA, payload, self._timeouts.read)
                response = await self._http.handle_async_request(request)
                try:
                    if response.status_code not in (200, 201):
                        body = _parse(await _read_capped(response, _SEND_BODY_CAP))
                        raise queries.media_failure(response.status_code, body, _MEDIA, where)
                    async for chunk in response.aiter_bytes(_MEDIA_CHUNK):
                        await take(chunk)
                finally:
                    await response.aclose()
        except _CALL_FAILURES as error:
            raise queries.transport_failure(type(error).__name__, where) from None

    async def set_webhook(
        self,
        ref: InstanceRef,
        *,
        url: str,
        headers: Mapping[str, str],
        events: Sequence[str],
        base64: bool = False,
        by_events: bool = False,
    ) -> None:
        """Register the webhook; an empty list of events means all of them."""
        payload = queries.webhook_body(url, headers, events, base64=base64, by_events=by_events)
        await self._query(ref, "POST", "webhook", "set", payload)

    async def find_webhook(self, ref: InstanceRef) -> Mapping[str, object] | None:
        """Return the registered webhook (url, headers, enabled, events, …), None when there is none."""
        return mapping_of(await self._query(ref, "GET", "webhook", "find")) or None

    async def post_once(
        self,
        ref: InstanceRef,
        group: str,
        endpoint: str,
        payload: Mapping[str, object] | Form,
        gate: SendGate,
        *,
        to_group: bool = False,
        method: str = "POST",
    ) -> Outcome:
        """Make one call that WhatsApp sees, and turn whatever happens into an outcome."""
        watch = _Watch(gate, streamed=isinstance(payload, Form))
        try:
            async with asyncio.timeout(self._timeouts.send_total), self._slot(ref):
                request = self._request(
                    ref, method, group, endpoint, payload, self._timeouts.read, watch=watch
                )
                request.extensions["trace"] = watch
                status, body, wait = await self._exchange(request, _SEND_BODY_CAP)
        except _FencedError:
            return classify_transport_error("Fenced", bytes_left=False)
        except _TooSlowError:
            return Outcome(Verdict.NOT_SENT, "media_too_slow", scope="media")
        except SourceError:
            return Outcome(Verdict.NOT_SENT, "media_unreadable", wait=30, scope="media")
        except asyncio.CancelledError:
            outcome = classify_transport_error("Cancelled", watch.bytes_left)
            raise SendCancelled(outcome, bytes_left=watch.bytes_left) from None
        except TimeoutError:
            return watch.failed("DeadlineExceeded")
        except _CALL_FAILURES as error:
            return watch.failed(type(error).__name__)
        return classify_answer(status, body, endpoint, to_group=to_group, retry_after=wait)

    async def ask(
        self,
        ref: InstanceRef,
        method: str,
        group: str,
        endpoint: str,
        payload: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> object:
        """Make one call that sends nothing, for the modules beside this one (`records`, `numbers`).

        Raises EvolutionError.
        """
        return await self._query(ref, method, group, endpoint, payload, params)

    async def _query(
        self,
        ref: InstanceRef,
        method: str,
        group: str,
        endpoint: str,
        payload: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> object:
        """Make one call that sends nothing and return its body. Raises EvolutionError."""
        where = f"{group}/{endpoint} at {ref.address}"
        try:
            async with asyncio.timeout(self._timeouts.query), self._slot(ref):
                request = self._request(ref, method, group, endpoint, payload, self._timeouts.query, params)
                status, body, _ = await self._exchange(request, _QUERY_BODY_CAP)
        except _CALL_FAILURES as error:
            raise queries.transport_failure(type(error).__name__, where) from None
        if status not in (200, 201):
            raise queries.query_failure(status, body, endpoint, where)
        return body

    @asynccontextmanager
    async def _slot(self, ref: InstanceRef) -> AsyncIterator[None]:
        """Hold one of the host's slots. Raises httpx.PoolTimeout when none comes free in time."""
        slots = self._slots.setdefault(ref.address, asyncio.Semaphore(self._limits.per_host))
        try:
            async with asyncio.timeout(self._timeouts.slot):
                await slots.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no free slot") from None
        try:
            yield
        finally:
            slots.release()

    def _request(
        self,
        ref: InstanceRef,
        method: str,
        group: str,
        endpoint: str,
        payload: Mapping[str, object] | Form | None,
        read: float,
        params: Mapping[str, str] | None = None,
        watch: _Watch | None = None,
    ) -> httpx.Request:
        if self._closed:
            raise RuntimeError("this client is closed")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "apikey": ref.api_key}
        content: bytes | AsyncIterator[bytes] | None = None
        if isinstance(payload, Form) and watch is not None:
            headers |= {"Content-Type": payload.content_type, "Content-Length": str(payload.length)}
            content = payload.parts(watch.before_end)
        elif payload is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        return httpx.Request(
            method,
            ref.url(group, endpoint),
            params=params,
            headers=headers,
            content=content,
            extensions={"timeout": self._timeout(read)},
        )

    async def _exchange(self, request: httpx.Request, cap: int) -> tuple[int, object, float | None]:
        """Send and read at most `cap` bytes; return status, parsed body (None: no JSON) and Retry-After."""
        response = await self._http.handle_async_request(request)
        try:
            raw = await _read_capped(response, cap)
        finally:
            await response.aclose()
        return response.status_code, _parse(raw), seconds_to_wait(response.headers.get("Retry-After"))

    def _timeout(self, read: float) -> dict[str, float]:
        times = self._timeouts
        return {"connect": times.connect, "read": read, "write": times.write, "pool": times.slot}


def _refusal(number: str, text: str) -> Outcome | None:
    """Stop what Evolution would send to a garbage address, or send and then fail to store (NUL)."""
    if not is_sendable(number):
        return Outcome(Verdict.NOT_SENT, "body_rejected", permanent=True, alert=True, detail="no address")
    if not text.strip() or storable(text) != text:
        return Outcome(Verdict.NOT_SENT, "text_unsendable", permanent=True)
    return None


async def _read_capped(response: httpx.Response, cap: int) -> bytes | None:
    """Return the body, None when it is larger than `cap`."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > cap:
            return None
    return bytes(body)


def _parse(raw: bytes | None) -> object:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _expect(value: _Answered | None, endpoint: str, ref: InstanceRef) -> _Answered:
    if value is None:
        raise EvolutionError(
            "unexplained_answer", permanent=False, status=200, where=f"{endpoint} at {ref.address}"
        )
    return value
