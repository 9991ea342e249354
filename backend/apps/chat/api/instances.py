"""The WhatsApp numbers of a tenant: are they connected, and what waits for them. Never a credential."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.pagination import page
from apps.chat.errors import NotFound
from apps.chat.models import Delivery, Instance
from apps.chat.realtime.shapes import stamp


class InstanceViews(ChatViews):
    """`instances/`."""

    @extend_schema(responses=schemas.InstancePage)
    def list(self, request: Request) -> Response:
        """The numbers of the caller's tenants."""
        found = page(request, self._rows(), "created_at", newest_first=False, id_type=UUID)
        waiting = _waiting([row.pk for row in found.rows])
        return Response(found.answer(lambda row: _shape(row, waiting.get(row.pk, 0))))

    @extend_schema(responses=schemas.Instance)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One number."""
        found = self._rows().filter(pk=pk).first()
        if found is None:
            raise NotFound("There is no such instance.")
        return Response(_shape(found, _waiting([pk]).get(pk, 0)))

    def _rows(self) -> Any:
        return Instance.objects.filter(tenant_id__in=self.tenants).defer("api_key", "webhook_secret")


def _waiting(ids: list[UUID]) -> dict[UUID, int]:
    live = Delivery.objects.filter(instance_id__in=ids, live=True).order_by()
    return dict(live.values_list("instance_id").annotate(Count("id")))


def _shape(row: Instance, waiting: int) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "name": row.name,
        "connection": row.connection,
        "connection_reason": row.connection_reason,
        "connection_changed_at": stamp(row.connection_changed_at),
        "gate": Instance.Gate(row.gate).name.lower(),
        "gate_reason": row.gate_reason,
        "gate_since": stamp(row.gate_since),
        "waiting": waiting,
        "created_at": stamp(row.created_at),
    }
