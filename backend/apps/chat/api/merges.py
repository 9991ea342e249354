"""`contacts/<id>/merges/`: which contacts were made one, for their addresses proved to be one person's; undoing it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import contact_merges
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.errors import NotFound
from apps.chat.models import Contact, ContactMerge
from apps.chat.realtime.shapes import person, stamp

MOST = 200


class MergeViews(ChatViews):
    """Merges of one contact."""

    @extend_schema(responses=schemas.Merges)
    def list(self, request: Request, pk: UUID) -> Response:
        """The merges into this contact, latest first."""
        if not Contact.objects.filter(pk=pk, tenant_id__in=self.tenants).exists():
            raise NotFound("There is no such contact.")
        rows = ContactMerge.objects.select_related("undone_by").filter(contact_id=pk).order_by("-at", "-id")
        return Response({"results": [_shape(row) for row in rows[:MOST]]})

    @extend_schema(request=None, responses=schemas.Merge)
    def undo(self, request: Request, pk: UUID, merge_id: UUID) -> Response:
        """Make two contacts of one again; they are not merged by themselves any more."""
        found = ContactMerge.objects.filter(pk=merge_id, contact_id=pk, tenant_id__in=self.tenants).first()
        if found is None:
            raise NotFound("There is no such merge.")
        contact_merges.undo(found.pk, self.user)
        found.refresh_from_db()
        return Response(_shape(found))


def _shape(row: ContactMerge) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "contact": str(row.contact_id),
        "merged": {"id": row.left["id"], "name": row.left["name"], "phone": row.left["phone"]},
        "addresses": [one["jid"] for one in row.left["addresses"]],
        "why": row.why,
        "at": stamp(row.at),
        "undone_at": stamp(row.undone_at),
        "undone_by": person(row.undone_by),
    }
