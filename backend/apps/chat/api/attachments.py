"""`attachments/`: one file's state, its bytes by signed link, and asking for it again.

A link is enough to read the file it names, so that a browser can show it; whoever is known to us must belong to its
tenant all the same. Nothing a stranger sent may run in the agent's page: the type is what the bytes say, guessing is
forbidden, all but pictures, sounds and films is a download, and even those come with a policy that allows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.http import HttpResponseBase, HttpResponseNotModified
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import media_links, media_tasks
from apps.chat.api import schemas
from apps.chat.api.authentication import tenants_of
from apps.chat.api.base import ChatViews, text_param
from apps.chat.api.ranges import RangedFile
from apps.chat.errors import Conflict, FileAway, LinkEnded, NotFound
from apps.chat.media import names, sniff
from apps.chat.models import MessageAttachment
from apps.chat.realtime.shapes import attachment_json

_LINKED: Final = frozenset({"content", "thumbnail"})
_NO_ATTACHMENT: Final = "There is no such attachment."
_POLICY: Final = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
_TOKEN = OpenApiParameter("t", OpenApiTypes.STR, description="The signature, as in `url`; or be logged in.")
_BYTES = {(200, "application/octet-stream"): OpenApiTypes.BINARY}


class AttachmentViews(ChatViews):
    """`attachments/{id}/`."""

    def get_permissions(self) -> Sequence[Any]:
        return [AllowAny()] if self.action in _LINKED else super().get_permissions()

    @extend_schema(responses=schemas.Attachment)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One file's state, with fresh links."""
        return Response(attachment_json(self._own(pk)))

    @extend_schema(request=None, responses=schemas.Attachment)
    def download_again(self, request: Request, pk: UUID) -> Response:
        """Fetch a file that failed or was skipped once more."""
        row = self._own(pk)
        if not media_tasks.download_again(row):
            raise Conflict("This file is on its way, there already, or did not come from WhatsApp.")
        return Response(attachment_json(row))

    @extend_schema(parameters=[_TOKEN], responses=_BYTES)
    def content(self, request: Request, pk: UUID) -> HttpResponseBase:
        """The file. Supports Range; a link that ended answers 403: ask for the attachment again."""
        row, seconds = self._linked(request, pk, media_links.CONTENT)
        inline = sniff.is_inline(row.mime_type)
        mime = row.mime_type if inline or not _is_text(row.mime_type) else "application/octet-stream"
        name = names.for_download(row.file_name, row.mime_type, row.kind)
        return _answer(request, row.file, row.sha256, mime, seconds, name=name, inline=inline)

    @extend_schema(parameters=[_TOKEN], responses=_BYTES)
    def thumbnail(self, request: Request, pk: UUID) -> HttpResponseBase:
        """A small JPEG of a picture or film."""
        row, seconds = self._linked(request, pk, media_links.THUMBNAIL)
        if not row.thumbnail:
            raise NotFound("This file has no small picture.")
        name = f"{row.pk}.jpg"
        tag = row.thumbnail.rpartition("/")[2]
        return _answer(request, row.thumbnail, tag, "image/jpeg", seconds, name=name, inline=True)

    def _own(self, pk: UUID) -> MessageAttachment:
        found = (
            MessageAttachment.objects.select_related("message")
            .filter(pk=pk, tenant_id__in=self.tenants)
            .first()
        )
        if found is None:
            raise NotFound(_NO_ATTACHMENT)
        return found

    def _linked(self, request: Request, pk: UUID, part: str) -> tuple[MessageAttachment, int]:
        """The file of a link, or of a member without one, and for how long it may be kept."""
        token = text_param(request, "t")
        known = request.user.is_authenticated
        if not token and not known:
            raise NotAuthenticated
        row = MessageAttachment.objects.filter(pk=pk).first()
        if row is None or (known and row.tenant_id not in tenants_of(request.user)):
            raise NotFound(_NO_ATTACHMENT)
        seconds = _seconds_of(token, row, part) if token else 0
        if row.status != MessageAttachment.Status.COMPLETED or not row.file:
            raise NotFound("This file is not here yet.")
        return row, seconds


def _seconds_of(token: str, row: MessageAttachment, part: str) -> int:
    try:
        return media_links.check(token, row.pk, row.tenant_id, part)
    except media_links.LinkExpired:
        raise LinkEnded("This link has ended. Ask for the attachment again to get a new one.") from None
    except media_links.LinkForged:
        raise NotFound(_NO_ATTACHMENT) from None


def _is_text(mime: str) -> bool:
    """Types that a browser might render, were it to ignore that this is a download."""
    return mime.startswith("text/") or mime.endswith("xml") or mime == "application/json"


def _answer(
    request: Request, file: str, tag: str, mime: str, seconds: int, *, name: str, inline: bool
) -> HttpResponseBase:
    etag = f'"{tag}"'
    if etag in request.headers.get("If-None-Match", ""):
        return _guarded(HttpResponseNotModified(), seconds, etag)
    try:
        response = RangedFile(file, request.headers, etag).response(mime)
    except OSError:
        raise FileAway("The storage of files does not answer. Try again in a minute.") from None
    response["Content-Disposition"] = content_disposition_header(not inline, name) or "attachment"
    return _guarded(response, seconds, etag)


def _guarded(response: HttpResponseBase, seconds: int, etag: str) -> HttpResponseBase:
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = _POLICY
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = f"private, max-age={seconds}, immutable" if seconds else "private, no-cache"
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    return response
