"""`contacts/<id>/picture/`: our copy of a contact's profile picture, for members of the contact's tenant."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat.api.base import ChatViews
from apps.chat.errors import FileAway, NotFound
from apps.chat.media.errors import StorageAway
from apps.chat.media.store import open_kept
from apps.chat.models import Contact

_SECONDS = 86_400


class PictureViews(ChatViews):
    """Bytes that a stranger chose: never guessed at, never run, kept by the caller's own browser only."""

    @extend_schema(
        parameters=[
            OpenApiParameter("v", str, description="Part of the picture's name: a new one, a new address.")
        ],
        responses={(200, "image/*"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def retrieve(self, request: Request, pk: UUID) -> Response | HttpResponse:
        """The picture; 304 for who has it, 404 when there is none."""
        rows = Contact.objects.filter(pk=pk, tenant_id__in=self.tenants).exclude(picture="")
        contact = rows.only("picture", "picture_type", "picture_sha256").first()
        if contact is None:
            raise NotFound("There is no such contact, or it has no picture.")
        tag = f'"{contact.picture_sha256}"'
        if request.headers.get("If-None-Match") == tag:
            return _kept_by_caller(HttpResponse(status=304), tag)
        return _kept_by_caller(HttpResponse(_read(contact), content_type=contact.picture_type), tag)


def _read(contact: Contact) -> bytes:
    try:
        with open_kept(contact.picture) as file:
            return file.read()
    except (StorageAway, OSError):
        raise FileAway("The storage does not answer. Try again in a minute.") from None


def _kept_by_caller(response: HttpResponse, tag: str) -> HttpResponse:
    response["ETag"] = tag
    response["Cache-Control"] = f"private, max-age={_SECONDS}"
    response["Vary"] = "Cookie, Authorization"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Disposition"] = "inline"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
