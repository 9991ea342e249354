"""`POST attachments/`: a file for a message yet to be written. Plain multipart, so that clients see progress."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import lookups, uploads
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.parsing import checked
from apps.chat.api.problems import BodyTooLarge
from apps.chat.realtime.shapes import attachment_json

# Room for the form around the file.
_FORM_BYTES = 1024 * 1024
_ANSWERS = {
    201: schemas.Attachment,
    400: schemas.Problem,
    404: schemas.Problem,
    413: schemas.Problem,
    503: schemas.Problem,
}


class UploadViews(ChatViews):
    """`attachments/`."""

    parser_classes = [MultiPartParser]

    @extend_schema(request={"multipart/form-data": schemas.Upload}, responses=_ANSWERS)
    def create(self, request: Request) -> Response:
        """Keep a file for a message: name its id in `attachments`. One that no message takes is forgotten in a day."""
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES + _FORM_BYTES:
            raise BodyTooLarge
        wanted = checked(schemas.Upload, request.data)
        tenant_id = self._tenant(wanted.get("conversation"), wanted.get("tenant"))
        file = wanted["file"]
        row = uploads.keep(self.user, tenant_id, file.chunks(), file.name or "", voice=wanted["voice"])
        return Response(attachment_json(row), status=201)

    def _tenant(self, conversation_id: UUID | None, tenant_id: UUID | None) -> UUID:
        if conversation_id is not None:
            return lookups.conversation_to_write_in(self.tenants, conversation_id).tenant_id
        if tenant_id is None and len(self.tenants) == 1:
            return next(iter(self.tenants))
        if tenant_id is None or tenant_id not in self.tenants:
            raise ValidationError({"tenant": "Say which of your tenants, or name a conversation."})
        return tenant_id
