"""The WhatsApp numbers of a tenant: are they connected, and what waits for them. Never a credential."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Q
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import actions
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.pagination import page
from apps.chat.api.parsing import checked
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
        return Response(found.answer(lambda row: _shape(row, waiting.get(row.pk, (0, 0)))))

    @extend_schema(responses=schemas.Instance)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One number."""
        return Response(_shape(self._one(pk), _waiting([pk]).get(pk, (0, 0))))

    @extend_schema(request=schemas.Release, responses=schemas.ReleasedStale)
    def release_stale(self, request: Request, pk: UUID) -> Response:
        """Decide about all messages that grew too old while the number was away: send them in order, or not at all."""
        wanted = checked(schemas.Release, request.data)
        count = actions.release_stale(self._one(pk), send=wanted["action"] == "send")
        return Response({"action": wanted["action"], "count": count})

    def _one(self, pk: UUID) -> Instance:
        found: Instance | None = self._rows().filter(pk=pk).first()
        if found is None:
            raise NotFound("There is no such instance.")
        return found

    def _rows(self) -> Any:
        return Instance.objects.filter(tenant_id__in=self.tenants).defer("api_key", "webhook_secret")


def _waiting(ids: list[UUID]) -> dict[UUID, tuple[int, int]]:
    """Per instance: what has not left yet, and how much of it is stale."""
    live = Delivery.objects.filter(instance_id__in=ids, live=True).order_by()
    stale = Q(state=Delivery.State.HELD, reason="stale")
    rows = live.values_list("instance_id").annotate(all=Count("id"), stale=Count("id", filter=stale))
    return {pk: (count, old) for pk, count, old in rows}


def _shape(row: Instance, waiting: tuple[int, int]) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "name": row.name,
        "connection": row.connection,
        "connection_reason": row.connection_reason,
        "connection_changed_at": stamp(row.connection_changed_at),
        "gate": Instance.Gate(row.gate).name.lower(),
        "gate_reason": row.gate_reason,
        "gate_since": stamp(row.gate_since),
        "waiting": waiting[0],
        "stale": waiting[1],
        "created_at": stamp(row.created_at),
    }
